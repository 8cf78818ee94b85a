"""Table 8: where our own time goes, a layer after another, from the socket to the public call."""

import itertools
import time
from collections.abc import Callable
from typing import Any

from django.test import override_settings

from django_counter import counter, counters
from django_counter.ratelimit import RateLimit
from django_counter.ratelimit.limit import MAX_PLACES
from tests.benchmarks.results import Bench, Section, Table
from tests.benchmarks.rounds import calling, interleave
from tests.benchmarks.server import Wire, sent

SOCKET = "raw socket"
EXCHANGE = "Lane.exchange: a connection off the stack, and back on it"
FOREVER = 1e12  # seconds: a deadline

Layers = dict[str, Callable[[], object]]


def measure(bench: Bench) -> Section:
    section = Section("Where the time goes", notes=NOTES)
    # A denial that the process remembers asks nobody.
    with override_settings(RATE_LIMIT={"DENY_CACHE": 0}):
        section.tables = [
            table(bench, "An increment, a layer more in each row", increment(bench)),
            table(bench, "An allowed hit, a layer more in each row", hit(bench)),
        ]
    return section


def table(bench: Bench, title: str, layers: Layers) -> Table:
    rounds = interleave([calling(*each) for each in layers.items()], bench.rounds(80))
    made = Table(title, ["", "x raw socket", "us", "client CPU, us"])
    for name in layers:
        wall, cpu = rounds.microseconds(name), rounds.cpu_microseconds(name)
        made.rows.append([name, rounds.times(name, SOCKET), wall, cpu])
    return made


def increment(bench: Bench) -> Layers:
    backend: Any = counters["default"]
    lane = backend._lane
    call = backend._increment("page:home", 1, None)
    packed = only_command(bench, lambda: counter.increment("page:home"))
    return {
        SOCKET: Wire(bench.port).asking(packed),
        EXCHANGE: lambda: lane.exchange(packed, FOREVER),
        "Lane.call: deadline, packing, what the reply means": lambda: lane.call(call),
        "RedisCounter.increment: checks and the call's making": lambda: backend.increment(
            "page:home"
        ),
        "counter.increment: the alias": lambda: counter.increment("page:home"),
    }


def hit(bench: Bench) -> Layers:
    backend: Any = counters["default"]
    lane = backend._lane
    limit, uncounted = (RateLimit("1000000/d", name=name) for name in ("layers", "uncounted"))
    uncounted.counted = False
    strangers = itertools.cycle([f"stranger {number}" for number in range(5 * MAX_PLACES)]).__next__
    place = uncounted._place("client")
    budgets = place.cut(uncounted.rates, int(time.time() * 1000)).budgets
    algorithm = uncounted._algorithm
    packed = only_command(bench, lambda: uncounted.hit("client"))
    return {
        SOCKET: Wire(bench.port).asking(packed),
        EXCHANGE: lambda: lane.exchange(packed, FOREVER),
        "RedisCounter.take: the remembered call, its results": lambda: backend.take(budgets, 1),
        "FixedWindow.draw: the windows, their standings": lambda: algorithm.draw(
            backend, place, 1, time.time(), None
        ),
        "RateLimit.hit without statistics: settings, place, decision": lambda: uncounted.hit(
            "client"
        ),
        "RateLimit.hit": lambda: limit.hit("client"),
        "RateLimit.hit of a client that is not remembered": lambda: limit.hit(strangers()),
    }


def only_command(bench: Bench, call: Callable[[], object]) -> bytes:
    """Return, packed, what a call sends once it is connected and the server knows its script."""
    call()
    [packed] = sent(bench.port, call)
    return packed


NOTES = [
    "Each row does what the one before does, and more. They take turns like all contenders, so "
    "that each runs with caches that others have filled, as it does between two requests.",
    f"A limit remembers {MAX_PLACES:,} clients in a process. Those of the last row are five times "
    "as many, in turn: the digest, the keys and the command are made anew for each.",
]
