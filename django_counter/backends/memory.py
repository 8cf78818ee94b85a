"""Counters in the memory of one process, for tests and single processes."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from threading import RLock
from typing import Any, NamedTuple, TypeVar

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
)
from django_counter.base import Counter
from django_counter.batch import Operation, checked_sums, increments_of
from django_counter.exceptions import (
    CounterConfigError,
    CounterError,
    CounterIdempotencyError,
    CounterOverflow,
)
from django_counter.idempotency import (
    DEFAULT_WINDOW,
    Once,
    advance_once,
    checked_window,
    once,
    take_once,
)
from django_counter.values import (
    INT64_MAX,
    INT64_MIN,
    Budget,
    DecrementResult,
    Entry,
    Page,
    Timer,
    TimerResult,
    Ttl,
)

PAGE = 1000  # stored counters
SWEEP_AT = 1024  # stored counters, expired ones included


class Stored(NamedTuple):
    value: int
    expires: int | None  # milliseconds of the clock; None = no expiry

    def live(self, now: int) -> bool:
        return self.expires is None or now < self.expires

    def ttl(self, now: int) -> float | None:
        return None if self.expires is None else (self.expires - now) / 1000


Answer = TypeVar("Answer", int, DecrementResult, list[DecrementResult], list[TimerResult])


class Applied(NamedTuple):
    """A call with an idempotency key, and its answer."""

    call: str
    answer: Any
    expires: int  # milliseconds of the clock


class MemoryCounter(Counter):
    """A dict and a lock. Each instance is a store of its own, so `key_prefix` changes nothing.

    `clock` returns seconds and never goes back; tests hand in one that they move.
    `idempotency_window` is how long idempotency keys are remembered, in seconds.
    """

    def __init__(
        self,
        *,
        key_prefix: str = "counter",
        clock: Callable[[], float] = time.monotonic,
        idempotency_window: float = DEFAULT_WINDOW,
    ) -> None:
        if not callable(clock):
            raise CounterConfigError("option 'clock' must be a callable that returns seconds")
        self._clock = clock
        self._lock = RLock()  # a signal handler may count, too
        self._stored: dict[str, Stored] = {}
        self._sweep_at = SWEEP_AT
        self._window = checked_window(idempotency_window)
        self._applied: OrderedDict[str, Applied] = OrderedDict()  # the oldest first

    def increment(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        check_key(key)
        value = checked_value(value)
        duration = milliseconds(ttl)
        call = once(idempotency_key, key, "increment", value, duration)
        return self._apply(call, lambda now: self._add(key, value, duration, now))

    async def aincrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        return self.increment(key, value, ttl, idempotency_key=idempotency_key)

    def multi_increment(self, values: Mapping[str, int], ttl: Ttl = None) -> dict[str, int]:
        checked = checked_values(values)
        return checked_sums(checked, _applied(self, increments_of(checked, ttl)))

    async def amulti_increment(self, values: Mapping[str, int], ttl: Ttl = None) -> dict[str, int]:
        return self.multi_increment(values, ttl)

    def get(self, key: str) -> int:
        check_key(key)
        with self._lock:
            return self._value(key, self._now())

    async def aget(self, key: str) -> int:
        return self.get(key)

    def multi_get(self, keys: Iterable[str]) -> dict[str, int]:
        checked = checked_keys(keys)
        with self._lock:
            now = self._now()
            return {key: self._value(key, now) for key in checked}

    async def amulti_get(self, keys: Iterable[str]) -> dict[str, int]:
        return self.multi_get(keys)

    def decrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        check_key(key)
        value = checked_amount(value)
        duration = milliseconds(ttl)
        call = once(idempotency_key, key, "decrement", value, duration)
        return self._apply(call, lambda now: self._add(key, -value, duration, now))

    async def adecrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        return self.decrement(key, value, ttl, idempotency_key=idempotency_key)

    def decrement_if_exists(
        self, key: str, value: int = 1, *, idempotency_key: str | None = None
    ) -> DecrementResult:
        check_key(key)
        value = checked_amount(value)
        call = once(idempotency_key, key, "decrement_if_exists", value)
        return self._apply(call, lambda now: self._draw(key, value, now))

    async def adecrement_if_exists(
        self, key: str, value: int = 1, *, idempotency_key: str | None = None
    ) -> DecrementResult:
        return self.decrement_if_exists(key, value, idempotency_key=idempotency_key)

    def set_if_not_exists(self, key: str, value: int, ttl: Ttl = None) -> bool:
        check_key(key)
        value = checked_value(value)
        duration = milliseconds(ttl)
        with self._lock:
            now = self._now()
            missing = self._live(key, now) is None
            if missing:
                self._create(key, value, duration, now)
            return missing

    async def aset_if_not_exists(self, key: str, value: int, ttl: Ttl = None) -> bool:
        return self.set_if_not_exists(key, value, ttl)

    def delete(self, key: str) -> None:
        check_key(key)
        with self._lock:
            self._stored.pop(key, None)

    async def adelete(self, key: str) -> None:
        self.delete(key)

    def take(
        self, budgets: Sequence[Budget], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[DecrementResult]:
        budgets = checked_budgets(budgets)
        cost = checked_amount(cost, "cost")
        durations = [milliseconds(budget.ttl) for budget in budgets]
        call = take_once(idempotency_key, budgets, cost)
        return self._apply(call, lambda now: self._take(budgets, cost, durations, now))

    async def atake(
        self, budgets: Sequence[Budget], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[DecrementResult]:
        return self.take(budgets, cost, idempotency_key=idempotency_key)

    def refund(self, budgets: Sequence[Budget], cost: int = 1) -> None:
        budgets = checked_budgets(budgets)
        cost = checked_refund(budgets, cost)
        with self._lock:
            now = self._now()
            for budget in budgets:
                stored = self._live(budget.key, now)
                if stored:
                    room = max(0, budget.limit - stored.value)
                    self._change(budget.key, stored, min(cost, room))

    async def arefund(self, budgets: Sequence[Budget], cost: int = 1) -> None:
        self.refund(budgets, cost)

    def advance(
        self, timers: Sequence[Timer], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[TimerResult]:
        timers = checked_timers(timers)
        cost = checked_amount(cost, "cost")
        durations = [milliseconds(timer.ttl) for timer in timers]
        call = advance_once(idempotency_key, timers, cost)
        return self._apply(call, lambda now: self._advance(timers, cost, durations, now))

    async def aadvance(
        self, timers: Sequence[Timer], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[TimerResult]:
        return self.advance(timers, cost, idempotency_key=idempotency_key)

    def set(self, key: str, value: int, ttl: Ttl = None, *, if_equal: int | None = None) -> bool:
        check_key(key)
        value = checked_value(value)
        duration = milliseconds(ttl)
        if if_equal is not None:
            if_equal = checked_value(if_equal, "if_equal")
        with self._lock:
            now = self._now()
            stored = self._live(key, now)
            if if_equal is not None and (stored is None or stored.value != if_equal):
                return False
            self._create(key, value, duration, now)
            return True

    async def aset(
        self, key: str, value: int, ttl: Ttl = None, *, if_equal: int | None = None
    ) -> bool:
        return self.set(key, value, ttl, if_equal=if_equal)

    def entry(self, key: str) -> Entry | None:
        check_key(key)
        with self._lock:
            now = self._now()
            stored = self._live(key, now)
            return stored and Entry(key, stored.value, stored.ttl(now))

    async def aentry(self, key: str) -> Entry | None:
        return self.entry(key)

    def scan(self, prefix: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        with self._lock:
            keys = [key for key in self._stored if key.startswith(prefix)]
        for key in keys:
            found = self.entry(key)
            if found:
                yield found

    async def ascan(self, prefix: str = "") -> AsyncIterator[Entry]:
        for entry in self.scan(prefix):
            yield entry

    def scan_page(self, prefix: str = "", cursor: str = "") -> Page:
        check_prefix(prefix)
        check_cursor(cursor)  # the last key of the page before
        with self._lock:
            now = self._now()
            keys = nsmallest(
                PAGE + 1,
                (key for key in self._stored if key > cursor and key.startswith(prefix)),
            )
            live = [(key, self._live(key, now)) for key in keys[:PAGE]]
        entries = [Entry(key, stored.value, stored.ttl(now)) for key, stored in live if stored]
        return Page(entries, keys[PAGE - 1] if len(keys) > PAGE else "")

    async def ascan_page(self, prefix: str = "", cursor: str = "") -> Page:
        return self.scan_page(prefix, cursor)

    def run_all(self, operations: Sequence[Operation]) -> list[Any]:
        _applied(MemoryCounter(), operations)  # a bad argument is refused before anything is done
        return _applied(self, operations)

    async def arun_all(self, operations: Sequence[Operation]) -> list[Any]:
        return self.run_all(operations)

    def close(self) -> None:
        """See Counter.close(): there is nothing to drop, and the counters stay."""

    async def aclose(self) -> None:
        """See close()."""

    def _now(self) -> int:
        return round(self._clock() * 1000)

    def _live(self, key: str, now: int) -> Stored | None:
        stored = self._stored.get(key)
        return stored if stored and stored.live(now) else None

    def _value(self, key: str, now: int) -> int:
        stored = self._live(key, now)
        return stored.value if stored else 0

    def _apply(self, call: Once | None, change: Callable[[int], Answer]) -> Answer:
        """Return what a change answers, or what it did answer to the same call before."""
        with self._lock:
            now = self._now()
            if call is None:
                return change(now)
            self._forget(now)
            applied = self._applied.get(call.name)
            if applied is None:
                answer = change(now)
                if call.refusals or not _refused(answer):
                    expires = now + self._window
                    self._applied[call.name] = Applied(call.call, answer, expires)
                return answer
            if applied.call != call.call:
                raise CounterIdempotencyError(
                    f"the idempotency key belongs to another call on {call.scope!r}"
                )
            repeated: Answer = applied.answer
            return repeated

    def _forget(self, now: int) -> None:
        while self._applied and next(iter(self._applied.values())).expires <= now:
            self._applied.popitem(last=False)

    def _add(self, key: str, amount: int, duration: int | None, now: int) -> int:
        stored = self._live(key, now)
        if stored is None:
            return self._create(key, amount, duration, now).value
        return self._change(key, stored, amount)

    def _draw(self, key: str, amount: int, now: int) -> DecrementResult:
        stored = self._live(key, now)
        if stored is None:
            return DecrementResult(0, existed=False, success=False)
        if stored.value < amount:
            return DecrementResult(stored.value, existed=True, success=False)
        return DecrementResult(self._change(key, stored, -amount), existed=True, success=True)

    def _take(
        self, budgets: Sequence[Budget], cost: int, durations: list[int | None], now: int
    ) -> list[DecrementResult]:
        stored = [
            self._live(budget.key, now) or self._create(budget.key, budget.limit, duration, now)
            for budget, duration in zip(budgets, durations, strict=True)
        ]
        success = all(
            each.value - cost >= budget.floor for budget, each in zip(budgets, stored, strict=True)
        )
        drawn = -cost if success else 0
        return [
            DecrementResult(self._change(budget.key, each, drawn), True, success)
            for budget, each in zip(budgets, stored, strict=True)
        ]

    def _advance(
        self, timers: list[Timer], cost: int, durations: list[int | None], now: int
    ) -> list[TimerResult]:
        values = [max(timer.start, self._value(timer.key, now)) for timer in timers]
        moved = [value + cost * timer.step for value, timer in zip(values, timers, strict=True)]
        success = all(value <= timer.ceiling for value, timer in zip(moved, timers, strict=True))
        if success:
            values = moved
            for timer, value, duration in zip(timers, values, durations, strict=True):
                self._create(timer.key, value, duration, now)
        return [TimerResult(value, success) for value in values]

    def _change(self, key: str, stored: Stored, amount: int) -> int:
        value = stored.value + amount
        if not INT64_MIN <= value <= INT64_MAX:
            raise CounterOverflow(f"the counter {key!r} would leave int64")
        self._stored[key] = stored._replace(value=value)
        return value

    def _create(self, key: str, value: int, duration: int | None, now: int) -> Stored:
        self._sweep(now)
        stored = Stored(value, None if duration is None else now + duration)
        self._stored[key] = stored
        return stored

    def _sweep(self, now: int) -> None:
        """Drop what has expired, each time the dict has doubled: a constant cost a call."""
        if len(self._stored) >= self._sweep_at:
            self._stored = {key: each for key, each in self._stored.items() if each.live(now)}
            self._sweep_at = max(SWEEP_AT, 2 * len(self._stored))


def _applied(counter: MemoryCounter, operations: Iterable[Operation]) -> list[Any]:
    outcomes = []
    for name, arguments, keywords in operations:
        try:
            outcomes.append(getattr(counter, name)(*arguments, **keywords))
        except CounterError as error:
            outcomes.append(error)
    return outcomes


def _refused(answer: object) -> bool:
    return isinstance(answer, list) and not answer[0].success
