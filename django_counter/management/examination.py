"""What is to be found out about a counter, by using it."""

import secrets
from collections.abc import Callable, Iterator
from itertools import islice
from time import perf_counter

from django.core.checks import WARNING, CheckMessage, Error, run_checks

from django_counter.backends.redis import RedisCounter
from django_counter.backends.redis.checkup import (
    CHECKS,
    Finding,
    check_up,
    lacks_rights,
)
from django_counter.backends.redis.masters import Master, masters
from django_counter.backends.redis.topology import Address
from django_counter.base import Counter
from django_counter.exceptions import (
    CounterConfigError,
    CounterError,
    CounterOutcomeUnknown,
    CounterUnavailable,
)
from django_counter.handler import counters, definition
from django_counter.ratelimit.limit import PREFIX
from django_counter.values import Budget, Timer

READS = 200  # to time
TTL = 60  # seconds: what the doctor writes is gone then, whatever becomes of the doctor
SHARED = "django_counter.W003"
SHOWN = 3
UNREACHABLE = "unreachable"  # a status of its own: the exit code is another one


def examine(alias: str) -> Iterator[Finding]:
    """Yield the findings of all checks; no more of them where the server cannot be reached."""
    messages = [message for tag in ("counters", "rate_limits") for message in _checked(tag)]
    yield from _configuration(messages, alias)
    try:
        counter = counters.backend(alias)
    except CounterConfigError as error:
        yield Finding("connection", "problem", str(error), "Mend the settings.")
        return
    found: list[Master] = []
    try:
        found = _masters(alias)
        gone = False
        for finding in _gone(found, counter, alias):
            gone = True
            yield finding
        if gone:
            return
        yield from _connection(counter)
    except CounterUnavailable as error:
        yield Finding("connection", UNREACHABLE, str(error), "Is it running, and LOCATION right?")
        return
    except CounterError as error:
        yield Finding("connection", "problem", str(error), "Mend CACHES, or the server's users.")
        if not lacks_rights(error):
            return
    yield _rights(counter)
    yield from _server(alias, [each.address for each in found if each.address])
    yield _endless_budgets(counter)


def _checked(tag: str) -> list[CheckMessage]:
    try:
        return run_checks(tags=[tag])
    except Exception as error:  # noqa: BLE001 - whatever the modules do that the URLconf imports
        return [Error(f"the checks end in {type(error).__name__}", hint="See 'manage.py check'.")]


def _configuration(messages: list[CheckMessage], alias: str) -> Iterator[Finding]:
    mine = f"COUNTERS[{alias!r}]"
    shared = [each for each in messages if each.id == SHARED and each.msg.startswith(mine)]
    others = [each for each in messages if each not in shared]
    for message in others:
        yield Finding("configuration", _status(message), message.msg, message.hint or "")
    if not others:
        yield Finding("configuration", "ok", "the system checks find nothing")
    for message in shared:
        yield Finding("database", _status(message), message.msg, message.hint or "")
    if not shared:
        yield Finding("database", "ok", "no cache that is usually cleared shares it")


def _status(message: CheckMessage) -> str:
    return "problem" if message.level > WARNING else "warning"


def _masters(alias: str) -> list[Master]:
    entry = definition(alias)
    if not entry.is_of(RedisCounter):
        return []
    return masters(entry.options.get("cache", "default"), entry.options.get("timeout"))


def _gone(found: list[Master], counter: Counter, alias: str) -> Iterator[Finding]:
    prefix = definition(alias).key_prefix
    for master in found:
        try:
            if key := master.key(prefix):
                counter.get(key)
        except CounterUnavailable as error:
            words = str(error).partition(": ")[2]
            advice = "Start what is gone, see CLUSTER NODES, or give its slots to another node."
            yield Finding("connection", UNREACHABLE, f"{master}: {words}", advice)


def _connection(counter: Counter) -> Iterator[Finding]:
    key = _own_key()
    counter.get(key)  # connects
    yield Finding("connection", "ok", "the server answers")
    times = []
    for _ in range(READS):
        began = perf_counter()
        counter.get(key)
        times.append((perf_counter() - began) * 1000)
    times.sort()
    p50, p99 = times[READS // 2], times[READS * 99 // 100]
    yield Finding("latency", "ok", f"of {READS} reads: p50 {p50:.3f} ms, p99 {p99:.3f} ms")


def _own_key() -> str:
    return f"doctor:{secrets.token_hex(8)}"


# What the contract does on the server, all tried on one key. The first one gives it a ttl.
OPERATIONS: dict[str, Callable[[Counter, str], object]] = {
    "set_if_not_exists": lambda counter, key: counter.set_if_not_exists(key, 1, TTL),
    "increment with a ttl": lambda counter, key: counter.increment(key, 1, TTL),
    "increment": lambda counter, key: counter.increment(key),
    "decrement": lambda counter, key: counter.decrement(key),
    "get": lambda counter, key: counter.get(key),
    "multi_get": lambda counter, key: counter.multi_get([key]),
    "decrement_if_exists": lambda counter, key: counter.decrement_if_exists(key),
    "take": lambda counter, key: counter.take([Budget(key, 10, TTL)]),
    "refund": lambda counter, key: counter.refund([Budget(key, 10, TTL)]),
    "advance": lambda counter, key: counter.advance([Timer(key, 0, 1, 10, TTL)]),
    "set": lambda counter, key: counter.set(key, 1, TTL),
    "entry": lambda counter, key: counter.entry(key),
    "scan": lambda counter, key: next(iter(counter.scan()), None),
    "delete": lambda counter, key: counter.delete(key),
}
ENDLESS = ("increment", "decrement")  # they would make the key without a ttl


def _rights(counter: Counter) -> Finding:
    refused = {}
    key = _own_key()
    for operation, attempt in OPERATIONS.items():
        if operation in ENDLESS and "set_if_not_exists" in refused:
            continue
        try:
            attempt(counter, key)
        except CounterError as error:
            refused[operation] = error
    if not refused:
        return Finding("rights", "ok", "every operation was tried, and is allowed")
    if {*map(type, refused.values())} == {CounterOutcomeUnknown}:
        found = f"cannot tell, not confirmed were {', '.join(refused)}"
        return Finding("rights", "warning", found, "See what is found of the server's replicas.")
    words = sorted({str(error).partition(": ")[2] for error in refused.values()})
    if "set_if_not_exists" in refused:
        words.append(f"not tried: {', '.join(ENDLESS)}")
    advice = "Mend what the server says."
    if any(isinstance(error, CounterConfigError) for error in refused.values()):
        advice = "Give the user the commands in docs/commands.md, for the keys of KEY_PREFIX."
    return Finding("rights", "problem", f"{', '.join(refused)}: {'; '.join(words)}", advice)


def _server(alias: str, nodes: list[Address]) -> Iterator[Finding]:
    entry = definition(alias)
    if entry.is_of(RedisCounter):
        options = entry.options
        yield from check_up(options.get("cache", "default"), nodes, options.get("replicas", 0))
    else:
        for check in CHECKS:
            yield Finding(check, "skipped", "not on a server of Redis")


def _endless_budgets(counter: Counter) -> Finding:
    try:
        endless = (entry.key for entry in counter.scan(PREFIX) if entry.ttl is None)
        keys = list(islice(endless, SHOWN + 1))
    except CounterError as error:
        return Finding("ttl", "warning", f"cannot tell: {error}", "Try again.")
    if not keys:
        return Finding("ttl", "ok", "every counter of a rate limit ends by itself")
    more = " and more" if len(keys) > SHOWN else ""
    found = f"counters of rate limits that never end: {', '.join(map(repr, keys[:SHOWN]))}{more}"
    return Finding("ttl", "problem", found, "A restore or a hand made them: 'counter delete KEY'.")
