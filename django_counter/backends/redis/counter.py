"""The operations as Redis commands: which one each is, and what its reply means."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from django_counter.arguments import (
    check_cursor,
    check_key,
    check_prefix,
    checked_amount,
    checked_budgets,
    checked_keys,
    checked_refund,
    checked_timers,
    checked_value,
    checked_values,
    milliseconds,
    plain_values,
)
from django_counter.backends.redis.bulk import Increments, MultiGets
from django_counter.backends.redis.call import Answer, Call, Reply, pack, raw
from django_counter.backends.redis.lanes import lanes
from django_counter.backends.redis.replication import checked_replicas
from django_counter.backends.redis.scripts import script, script_once
from django_counter.backends.redis.tokens import token_call, token_name
from django_counter.base import Counter
from django_counter.batch import Operation, checked_sums
from django_counter.exceptions import CounterError, CounterTypeError
from django_counter.idempotency import (
    DEFAULT_WINDOW,
    Once,
    advance_once,
    checked_window,
    once,
    take_once,
)
from django_counter.regulars import Regulars
from django_counter.values import (
    INT64_MAX,
    INT64_MIN,
    TIMER_MAX,
    Budget,
    Budgets,
    DecrementResult,
    Entry,
    Page,
    Timer,
    TimerResult,
    Ttl,
    new,
)

SCRIPTS = ("add", "increment", "take", "refund", "advance", "set", "entries")
MAX_INCREMENTS = 5_000  # that are remembered
SCAN_COUNT = 1000  # keys that the server looks through for one page


class RedisCounter(Counter):
    """Counters under raw keys, `key_prefix:key`, on the server of a django-redis cache.

    `cache` is its alias in CACHES. `timeout` is how long one call may take, in seconds; without
    one it is that cache's SOCKET_TIMEOUT, or else 1. `idempotency_window` is how long idempotency
    keys are remembered, in seconds. `replicas` is how many of them must have confirmed a change
    before it counts as made; what they have not confirmed in time is a CounterOutcomeUnknown.
    """

    def __init__(
        self,
        *,
        key_prefix: str = "counter",
        cache: str = "default",
        timeout: float | None = None,
        idempotency_window: float = DEFAULT_WINDOW,
        replicas: int = 0,
    ) -> None:
        self._window = str(checked_window(idempotency_window))
        self._prefix = f"{key_prefix}:"
        self._lane, self._async_lane = lanes(cache, timeout, checked_replicas(replicas))
        self._reads, self._async_reads = self._lane, self._async_lane
        if replicas:  # what changes nothing is not confirmed, and waits behind nothing that is
            self._reads, self._async_reads = lanes(cache, timeout)
        self._rewrites = str(int(replicas > 0))
        self._scripts = {name: script(name) for name in SCRIPTS}
        self._increment_calls: Regulars[Call[int]] = Regulars(MAX_INCREMENTS)

    def increment(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        return self._lane.call(self._increment(key, value, ttl, idempotency_key))

    async def aincrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        return await self._async_lane.call(self._increment(key, value, ttl, idempotency_key))

    def _increment(
        self, key: str, value: int, ttl: Ttl, idempotency_key: str | None = None
    ) -> Call[int]:
        bare = ttl is None and idempotency_key is None
        if bare and type(key) is str:
            remembered = self._increment_calls.get(key)
            if remembered is not None and remembered.value is value:
                return remembered
        check_key(key)
        value = checked_value(value)
        if not bare:
            return self._add(key, value, ttl, "increment", value, idempotency_key)
        command = ("INCRBY", self._prefix + key, str(value))
        call = Call(command, "increment", key, raw, value, packed=pack(command))
        if type(key) is str:  # any other may say to equal it
            self._increment_calls.note(key, call)
        return call

    def multi_increment(self, values: Mapping[str, int], ttl: Ttl = None) -> dict[str, int]:
        checked = checked_values(values)
        if ttl is None:
            outcomes = self._lane.send_all(self._increments(checked))
        else:
            outcomes = self._lane.call_all(self._increments_with_ttl(checked, ttl))
        return checked_sums(checked, outcomes)

    async def amulti_increment(self, values: Mapping[str, int], ttl: Ttl = None) -> dict[str, int]:
        checked = checked_values(values)
        if ttl is None:
            outcomes = await self._async_lane.send_all(self._increments(checked))
        else:
            outcomes = await self._async_lane.call_all(self._increments_with_ttl(checked, ttl))
        return checked_sums(checked, outcomes)

    def _increments(self, values: dict[str, int]) -> Increments:
        return Increments(self._prefix, list(values), list(values.values()), self._increment)

    def _increments_with_ttl(self, values: dict[str, int], ttl: Ttl) -> list[Call[int]]:
        milliseconds(ttl)  # refused without values, too
        return [self._increment(key, value, ttl) for key, value in values.items()]

    def get(self, key: str) -> int:
        return self._reads.call(self._get(key))

    async def aget(self, key: str) -> int:
        return await self._async_reads.call(self._get(key))

    def _get(self, key: str) -> Call[int]:
        check_key(key)
        return Call(("GET", self._prefix + key), "get", key, _value, safe=True)

    def multi_get(self, keys: Iterable[str]) -> dict[str, int]:
        checked = checked_keys(keys)
        groups = self._together(checked)
        replies = self._reads.send_all(MultiGets(self._prefix, groups))
        return _values(replies, groups, checked)

    async def amulti_get(self, keys: Iterable[str]) -> dict[str, int]:
        checked = checked_keys(keys)
        groups = self._together(checked)
        replies = await self._async_reads.send_all(MultiGets(self._prefix, groups))
        return _values(replies, groups, checked)

    def decrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        return self._lane.call(self._decrement(key, value, ttl, idempotency_key))

    async def adecrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        return await self._async_lane.call(self._decrement(key, value, ttl, idempotency_key))

    def _decrement(
        self, key: str, value: int, ttl: Ttl, idempotency_key: str | None = None
    ) -> Call[int]:
        check_key(key)
        value = checked_amount(value)
        if ttl is None and idempotency_key is None:
            command = ("DECRBY", self._prefix + key, str(value))
            return Call(command, "decrement", key, _integer, value)
        return self._add(key, -value, ttl, "decrement", value, idempotency_key)

    def _add(
        self,
        key: str,
        amount: int,
        ttl: Ttl,
        operation: str,
        value: int,
        idempotency_key: str | None,
    ) -> Call[int]:
        duration = milliseconds(ttl)
        token = once(idempotency_key, key, operation, value, duration)
        if duration is None:
            return self._run("add", [key], [str(amount)], operation, _integer, value, once=token)
        words = [str(amount), str(duration)]
        return self._run("increment", [key], words, operation, _integer, value, once=token)

    def decrement_if_exists(
        self, key: str, value: int = 1, *, idempotency_key: str | None = None
    ) -> DecrementResult:
        return self._lane.call(self._decrement_if_exists(key, value, idempotency_key))

    async def adecrement_if_exists(
        self, key: str, value: int = 1, *, idempotency_key: str | None = None
    ) -> DecrementResult:
        return await self._async_lane.call(self._decrement_if_exists(key, value, idempotency_key))

    def _decrement_if_exists(
        self, key: str, value: int, idempotency_key: str | None = None
    ) -> Call[DecrementResult]:
        check_key(key)
        value = checked_amount(value)
        operation = "decrement_if_exists"
        token = once(idempotency_key, key, operation, value)
        words = [str(value), "", "", str(value)]
        return self._run("take", [key], words, operation, _decremented, value, once=token)

    def set_if_not_exists(self, key: str, value: int, ttl: Ttl = None) -> bool:
        return self._lane.call(self._set_if_not_exists(key, value, ttl))

    async def aset_if_not_exists(self, key: str, value: int, ttl: Ttl = None) -> bool:
        return await self._async_lane.call(self._set_if_not_exists(key, value, ttl))

    def _set_if_not_exists(self, key: str, value: int, ttl: Ttl) -> Call[bool]:
        check_key(key)
        value = checked_value(value)
        expiry = () if ttl is None else ("PX", _milliseconds(ttl))
        command = ("SET", self._prefix + key, str(value), *expiry, "NX")
        return Call(command, "set_if_not_exists", key, _stored, value)

    def delete(self, key: str) -> None:
        self._lane.call(self._delete(key))

    async def adelete(self, key: str) -> None:
        await self._async_lane.call(self._delete(key))

    def _delete(self, key: str) -> Call[None]:
        check_key(key)
        return Call(("DEL", self._prefix + key), "delete", key, _nothing)

    def take(
        self, budgets: Sequence[Budget], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[DecrementResult]:
        return self._lane.call(self._take(budgets, cost, idempotency_key))

    async def atake(
        self, budgets: Sequence[Budget], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[DecrementResult]:
        return await self._async_lane.call(self._take(budgets, cost, idempotency_key))

    def _take(
        self, budgets: Sequence[Budget], cost: int, idempotency_key: str | None = None
    ) -> Call[list[DecrementResult]]:
        if type(budgets) is Budgets and budgets.prepared and idempotency_key is None:
            counter, call = budgets.prepared
            if counter is self and call.value is cost:
                return call  # type: ignore[no-any-return]  # a counter prepares what it likes
        checked = checked_budgets(budgets)
        cost = checked_amount(cost, "cost")
        words = [str(cost)]
        for _, limit, ttl, floor, _ in checked:
            words += str(limit), _milliseconds(ttl), str(cost + floor)
        keys = [budget.key for budget in checked]
        token = take_once(idempotency_key, checked, cost)
        call = self._run("take", keys, words, "take", _taken, cost, once=token)
        if type(budgets) is Budgets and token is None:
            budgets.prepared = self, call
        return call

    def refund(self, budgets: Sequence[Budget], cost: int = 1) -> None:
        self._lane.call(self._refund(budgets, cost))

    async def arefund(self, budgets: Sequence[Budget], cost: int = 1) -> None:
        await self._async_lane.call(self._refund(budgets, cost))

    def _refund(self, budgets: Sequence[Budget], cost: int) -> Call[None]:
        budgets = checked_budgets(budgets)
        cost = checked_refund(budgets, cost)
        words = [str(cost)]
        for budget in budgets:
            words += str(budget.limit), str(budget.limit - cost)
        keys = [budget.key for budget in budgets]
        return self._run("refund", keys, words, "refund", _nothing, cost)

    def advance(
        self, timers: Sequence[Timer], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[TimerResult]:
        return self._lane.call(self._advance(timers, cost, idempotency_key))

    async def aadvance(
        self, timers: Sequence[Timer], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[TimerResult]:
        return await self._async_lane.call(self._advance(timers, cost, idempotency_key))

    def _advance(
        self, timers: Sequence[Timer], cost: int, idempotency_key: str | None = None
    ) -> Call[list[TimerResult]]:
        timers = checked_timers(timers)
        cost = checked_amount(cost, "cost")
        words: list[str] = []
        for timer in timers:
            distance = min(cost * timer.step, TIMER_MAX + 1)  # either is too far
            words += str(timer.start), str(distance), str(timer.ceiling), _milliseconds(timer.ttl)
        keys = [timer.key for timer in timers]
        token = advance_once(idempotency_key, timers, cost)
        return self._run("advance", keys, words, "advance", _advanced, cost, once=token)

    def set(self, key: str, value: int, ttl: Ttl = None, *, if_equal: int | None = None) -> bool:
        return self._lane.call(self._set(key, value, ttl, if_equal))

    async def aset(
        self, key: str, value: int, ttl: Ttl = None, *, if_equal: int | None = None
    ) -> bool:
        return await self._async_lane.call(self._set(key, value, ttl, if_equal))

    def _set(self, key: str, value: int, ttl: Ttl, if_equal: int | None) -> Call[bool]:
        check_key(key)
        value = checked_value(value)
        if if_equal is not None:
            if_equal = checked_value(if_equal, "if_equal")
        words = [str(value), _milliseconds(ttl), "" if if_equal is None else str(if_equal)]
        return self._run("set", [key], words, "set", _done, value)

    def entry(self, key: str) -> Entry | None:
        return self._reads.call(self._entry(key))

    async def aentry(self, key: str) -> Entry | None:
        return await self._async_reads.call(self._entry(key))

    def _entry(self, key: str) -> Call[Entry | None]:
        check_key(key)
        return self._run("entries", [key], [], "entry", _found, safe=True)

    def scan(self, prefix: str = "") -> Iterator[Entry]:
        cursor = ""
        while True:
            entries, cursor = self.scan_page(prefix, cursor)
            yield from entries
            if not cursor:
                return

    async def ascan(self, prefix: str = "") -> AsyncIterator[Entry]:
        cursor = ""
        while True:
            entries, cursor = await self.ascan_page(prefix, cursor)
            for entry in entries:
                yield entry
            if not cursor:
                return

    def scan_page(self, prefix: str = "", cursor: str = "") -> Page:
        look, number = self._look(prefix, cursor)
        (position, found), nodes = self._reads.call_node(number, look)
        groups = self._together(self._keys(found, prefix))
        replies = self._reads.call_all([self._read(group) for group in groups])
        return Page(_entries(replies, groups), _following(number, nodes, position))

    async def ascan_page(self, prefix: str = "", cursor: str = "") -> Page:
        look, number = self._look(prefix, cursor)
        (position, found), nodes = await self._async_reads.call_node(number, look)
        groups = self._together(self._keys(found, prefix))
        replies = await self._async_reads.call_all([self._read(group) for group in groups])
        return Page(_entries(replies, groups), _following(number, nodes, position))

    def _look(self, prefix: str, cursor: str) -> tuple[Call[list[Any]], int]:
        """Return the call for a page, and the number of the node that has it."""
        check_prefix(prefix)
        check_cursor(cursor)
        parts = _CURSOR.fullmatch(cursor or "0:0")
        if parts is None:
            raise ValueError(f"{cursor!r} is no cursor of scan_page()")
        pattern = _GLOB_CHARACTER.sub(r"\\\g<0>", self._prefix + prefix) + "*"
        command = ("SCAN", parts[2], "MATCH", pattern, "COUNT", str(SCAN_COUNT))
        return Call(command, "scan", prefix, raw, safe=True), int(parts[1])

    def _keys(self, found: list[bytes], prefix: str) -> list[str]:
        """Return what a caller could name of the keys found, without our prefix."""
        keys = []
        for name in found:
            try:
                key = name.decode().removeprefix(self._prefix)
                check_key(key)
            except ValueError:
                continue
            if key.startswith(prefix):
                keys.append(key)
        return keys

    def _read(self, keys: list[str]) -> Call[list[Any]]:
        return self._run("entries", keys, [], "scan", raw, safe=True)

    def _together(self, keys: list[str]) -> list[list[str]]:
        """Return the keys in groups that one command may name."""
        return self._lane.together(self._prefix, keys) if keys else []

    def run_all(self, operations: Sequence[Operation]) -> list[Any]:
        bulk = self._as_increments(operations)
        if bulk is None:
            return self._lane.call_all(self._calls(operations))
        return self._lane.send_all(bulk)

    async def arun_all(self, operations: Sequence[Operation]) -> list[Any]:
        bulk = self._as_increments(operations)
        if bulk is None:
            return await self._async_lane.call_all(self._calls(operations))
        return await self._async_lane.send_all(bulk)

    def _as_increments(self, operations: Sequence[Operation]) -> Increments | None:
        """Return operations that are all increments and no more, as those of most batches are."""
        keys: list[str] = []
        values: list[int] = []
        for name, arguments, keywords in operations:
            if name != "increment" or keywords:
                return None
            key, value, ttl = arguments
            if ttl is not None:
                return None
            keys.append(key)
            values.append(value)
        if not plain_values(keys, values):
            return None
        return Increments(self._prefix, keys, values, self._increment)

    def _calls(self, operations: Sequence[Operation]) -> list[Call[Any]]:
        return [
            _BUILDERS[name](self, *arguments, **keywords)
            for name, arguments, keywords in operations
        ]

    def close(self) -> None:
        self._lane.close()
        self._reads.close()

    async def aclose(self) -> None:
        self.close()
        await self._async_lane.close()
        await self._async_reads.close()

    def _run(
        self,
        name: str,
        keys: list[str],
        words: list[str],
        operation: str,
        parse: Callable[[Reply, str], Answer],
        value: int | None = None,
        safe: bool = False,
        once: Once | None = None,
    ) -> Call[Answer]:
        script = self._scripts[name]
        places = list(map(self._prefix.__add__, keys))
        if once:
            script = script_once(name)
            places.append(token_name(self._prefix, once))
            words += token_call(once), self._window, str(int(once.refusals)), self._rewrites
        command = ("EVALSHA", script.digest, str(len(places)), *places, *words)
        key, packed = ", ".join(keys), pack(command)  # here, for take() remembers the call
        return Call(command, operation, key, parse, value, safe, script, bool(once), packed)


# What makes the call of each operation that a batch may have.
_BUILDERS: dict[str, Callable[..., Call[Any]]] = {
    "increment": RedisCounter._increment,
    "get": RedisCounter._get,
    "decrement": RedisCounter._decrement,
    "decrement_if_exists": RedisCounter._decrement_if_exists,
    "set_if_not_exists": RedisCounter._set_if_not_exists,
    "delete": RedisCounter._delete,
    "take": RedisCounter._take,
    "refund": RedisCounter._refund,
    "advance": RedisCounter._advance,
    "set": RedisCounter._set,
    "entry": RedisCounter._entry,
}

# The number of a node, and where its scan goes on, below 2**64 for sure.
_CURSOR = re.compile("([0-9]{1,4}):([0-9]{1,19}|1[0-8][0-9]{18})")
_GLOB_CHARACTER = re.compile(r"[\\*?\[\]^-]")


def _milliseconds(ttl: Ttl) -> str:
    return "" if ttl is None else str(milliseconds(ttl))


def _counted(stored: bytes) -> int | None:
    """Return the value of a counter, None for any other string: int() takes `1_000` and ` 1`."""
    try:
        value = int(stored)
    except ValueError:
        return None
    return value if INT64_MIN <= value <= INT64_MAX and b"%d" % value == stored else None


def _all_counted(stored: list[bytes | None]) -> list[int] | None:
    """Return the values of many, 0 for a missing one; None where one of them is no counter."""
    try:
        found = b",".join(cast(list[bytes], stored))
    except TypeError:  # one is missing
        found = b",".join([b"0" if each is None else each for each in stored])
    if found.translate(None, _OF_INTEGERS) or b"-0" in found:
        return None
    try:
        # JSON has integers as Redis has them; int() takes `007`, and is a call for each.
        values: list[int] = json.loads(f"[{found.decode()}]")
    except ValueError:
        return None
    if len(values) != len(stored):  # `1,2`
        return None
    return values if min(values) >= INT64_MIN and max(values) <= INT64_MAX else None


_OF_INTEGERS = b"-0123456789,"


def _value(stored: bytes | None, key: str) -> int:
    if stored is None:
        return 0
    value = _counted(stored)
    if value is None:
        raise CounterTypeError(f"what is stored under {key!r} is not a counter")
    return value


def _integer(reply: Reply, key: str) -> int:
    return int(reply)


def _stored(reply: Reply, key: str) -> bool:
    return reply is not None


def _done(reply: Reply, key: str) -> bool:
    return bool(reply)


def _nothing(reply: Reply, key: str) -> None:
    """Return nothing: the reply says no more than that the call was applied."""


def _values(
    replies: list[Reply | CounterError], groups: list[list[str]], keys: list[str]
) -> dict[str, int]:
    values: dict[str, int] = {}
    for group, reply in _answered(groups, replies):
        numbers = _all_counted(reply) or map(_value, reply, group)
        values |= zip(group, numbers, strict=True)
    return values if len(groups) == 1 else {key: values[key] for key in keys}


def _answered(
    groups: list[list[str]], replies: list[Reply | CounterError]
) -> Iterator[tuple[list[str], Reply]]:
    """Yield each group of keys with its reply; raise the first error."""
    for group, reply in zip(groups, replies, strict=True):
        if isinstance(reply, CounterError):
            raise reply
        yield group, reply


def _decremented(reply: Reply, key: str) -> DecrementResult:
    if type(reply) is list and reply[1] == b"":
        return DecrementResult(0, existed=False, success=False)
    [result] = _taken(reply, key)
    return result


def _taken(reply: Reply, key: str) -> list[DecrementResult]:
    if type(reply) is not list:  # see draw.lua
        return [new(DecrementResult, (int(reply), True, type(reply) is int))]
    drawn, *values = reply
    return [DecrementResult(int(each), True, drawn == 1) for each in values]


def _advanced(reply: Reply, key: str) -> list[TimerResult]:
    moved, *values = reply
    return [TimerResult(int(value), moved == 1) for value in values]


def _found(reply: Reply, key: str) -> Entry | None:
    stored, left = reply
    if stored is None and left == _NO_KEY:
        return None
    return Entry(key, _value(b"" if stored is None else stored, key), _ttl(left))


def _following(number: int, nodes: int, position: Reply) -> str:
    """Return the cursor of the next page, empty after the last one of the last node."""
    if int(position):
        return f"{number}:{int(position)}"
    return f"{number + 1}:0" if number + 1 < nodes else ""


def _entries(replies: list[Reply | CounterError], groups: list[list[str]]) -> list[Entry]:
    return [
        Entry(key, value, _ttl(left))
        for group, reply in _answered(groups, replies)
        for key, stored, left in zip(group, reply[::2], reply[1::2], strict=True)
        if stored is not None and (value := _counted(stored)) is not None
    ]


# PTTL's words for it.
_NO_KEY = -2
_NO_EXPIRY = -1


def _ttl(left: int) -> float | None:
    return None if left == _NO_EXPIRY else left / 1000
