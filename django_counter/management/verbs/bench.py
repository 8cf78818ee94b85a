"""`manage.py counter bench`: how fast counters are here."""

import asyncio
import secrets
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from django.core.management import CommandError

from django_counter.backends.redis import RedisCounter
from django_counter.backends.redis.errors import DRIVER_ERRORS
from django_counter.backends.redis.peer import adriver_increment, driver_increment
from django_counter.base import Counter
from django_counter.exceptions import CounterError
from django_counter.handler import definition
from django_counter.management.arguments import add_format, add_using, parse_positive, parse_seconds
from django_counter.management.console import Console
from django_counter.management.exits import UNREACHABLE
from django_counter.management.measuring import Result, ameasure, measure
from django_counter.management.progress import bar
from django_counter.management.rows import Column

HELP = "measure increments here, beside redis-py's own incrby"
NOTES = """
For each of the two: operations a second, and the time that one takes, in microseconds. It adds to
two counters of its own, bench:RANDOM, and deletes them, also after Ctrl-C; they end by themselves
in any case. The server has less time for others meanwhile.
"""

TASKS = 100
MARGIN = 600  # seconds: what it counts in is gone then, whatever becomes of it


def _digits(value: float) -> str:
    return f"{value:,.0f}"


COLUMNS = (
    Column("client"),
    Column("per_second", _digits, right=True),
    Column("p50_us", _digits, right=True),
    Column("p90_us", _digits, right=True),
    Column("p99_us", _digits, right=True),
)


class Plan(NamedTuple):
    """What to measure, and for how long."""

    counter: Counter
    key: str
    cache: str | None  # whose server redis-py asks; None without one
    name: str  # raw, for redis-py
    seconds: float
    workers: int


Tick: TypeAlias = Callable[[float], object]
Results: TypeAlias = list[tuple[str, Result]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", metavar="S", type=parse_seconds, default=5.0, help="for each, default: 5"
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=parse_positive,
        help=f"calls at once: threads (default: 1), or tasks with --async (default: {TASKS})",
    )
    parser.add_argument(
        "--async", action="store_true", dest="asynchronous", help="await them in one event loop"
    )
    add_format(parser)
    add_using(parser)


def run(
    console: Console,
    *,
    using: str,
    seconds: float,
    threads: int | None,
    asynchronous: bool,
    **options: Any,
) -> None:
    plan = _plan(console, using, seconds, threads or (TASKS if asynchronous else 1))
    total = seconds * (2 if plan.cache else 1)
    keys = (plan.key, f"{plan.key}:redis-py")
    try:
        for key in keys:
            plan.counter.set(key, 0, total + MARGIN)  # increments keep this time
        with bar(console, "measuring", unit="s", total=total) as shown:
            if asynchronous:
                results = asyncio.run(_ameasured(plan, shown.update))
            else:
                results = _measured(plan, shown.update)
    except DRIVER_ERRORS as error:
        message = f"redis-py failed: {type(error).__name__}. Find out more: 'counter doctor'"
        raise CommandError(message, returncode=UNREACHABLE) from error
    finally:
        with suppress(CounterError):  # what ended it is told; these end by themselves
            for key in keys:
                plan.counter.delete(key)
    console.rows(COLUMNS, [(client, *result) for client, result in results])


def _plan(console: Console, using: str, seconds: float, workers: int) -> Plan:
    counter = console.counter(using)
    entry = definition(using)
    cache = entry.options.get("cache", "default") if entry.is_of(RedisCounter) else None
    key = f"bench:{secrets.token_hex(8)}"
    name = f"{entry.key_prefix}:{key}:redis-py"
    return Plan(counter, key, cache, name, seconds, workers)


def _measured(plan: Plan, tick: Tick) -> Results:
    increment: Callable[[], object] = partial(plan.counter.increment, plan.key)
    results = [("django-counter", measure(increment, plan.seconds, plan.workers, tick))]
    if plan.cache:
        increment = driver_increment(plan.cache, plan.name)
        results.append(("redis-py", measure(increment, plan.seconds, plan.workers, tick)))
    return results


async def _ameasured(plan: Plan, tick: Tick) -> Results:
    increment = partial(plan.counter.aincrement, plan.key)
    ours = await ameasure(increment, plan.seconds, plan.workers, tick)
    results = [("django-counter", ours)]
    if plan.cache:
        async with adriver_increment(plan.cache, plan.name) as incrby:
            theirs = await ameasure(incrby, plan.seconds, plan.workers, tick)
            results.append(("redis-py", theirs))
    return results
