"""A program that uses the whole public API, for the type checker and for the tests."""

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, assert_type

from django_counter import (
    Batch,
    Budget,
    Counter,
    CounterConfigError,
    CounterError,
    CounterIdempotencyError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterPartlyApplied,
    CounterTypeError,
    CounterUnavailable,
    DecrementResult,
    Entry,
    Operation,
    Page,
    Pending,
    Timer,
    TimerResult,
    counter,
    counters,
)
from django_counter.middleware import (
    BufferedMiddleware,
    CircuitBreakerMiddleware,
    CounterMiddleware,
    FallbackMiddleware,
    LoggingMiddleware,
)


class Tally(CounterMiddleware):
    """Counts the operations that pass."""

    def __init__(self, next: Counter, start: int = 0) -> None:
        super().__init__(next)
        self.operations = start

    @contextmanager
    def around(self, operation: str, keys: tuple[str, ...]) -> Iterator[None]:
        self.operations += 1
        yield


class Doubling(CounterMiddleware):
    """Changes one operation, and its twin."""

    def increment(
        self,
        key: str,
        value: int = 1,
        ttl: float | timedelta | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> int:
        return super().increment(key, 2 * value, ttl, idempotency_key=idempotency_key)

    async def aincrement(
        self,
        key: str,
        value: int = 1,
        ttl: float | timedelta | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> int:
        return await super().aincrement(key, 2 * value, ttl, idempotency_key=idempotency_key)


def once(next: Counter) -> Counter:
    """Be a middleware that is a function."""
    return next


def operations(counted: Counter) -> None:
    """Use every operation."""
    assert_type(counted.increment("visits"), int)
    assert_type(counted.increment("visits", 5, 60), int)
    assert_type(counted.increment("visits", value=5, ttl=timedelta(hours=1)), int)
    assert_type(counted.decrement("visits", 2, ttl=0.5), int)
    assert_type(counted.get("visits"), int)
    assert_type(counted.multi_get(["visits", "missing"]), dict[str, int])
    assert_type(counted.multi_get(key for key in ("visits",)), dict[str, int])
    assert_type(counted.set_if_not_exists("stock", 10, ttl=60), bool)
    assert_type(counted.set("stock", 10, ttl=None), bool)
    assert_type(counted.set("stock", 9, if_equal=10), bool)

    result = assert_type(counted.decrement_if_exists("stock", 3), DecrementResult)
    assert_type(result.value, int)
    assert_type(result.existed, bool)
    assert_type(result.success, bool)
    value, existed, success = result
    assert (value, existed, success) == (6, True, True)

    hour = Budget("search.hour", 100, ttl=3600)
    day = Budget(key="search.day", limit=1000, ttl=timedelta(days=1), floor=10)
    drawn = assert_type(counted.take([hour, day], cost=2), list[DecrementResult])
    assert [each.value for each in drawn] == [98, 998]

    assert_type(counted.increment("orders", idempotency_key="order-17"), int)
    assert_type(counted.increment("orders", idempotency_key="order-17"), int)
    assert counted.get("orders") == 1
    counted.decrement_if_exists("orders", idempotency_key="order-17-cancelled")
    series = Budget("search.hour.4711", 100, ttl=3600, scope="search.hour")
    counted.take([series], idempotency_key="order-17")

    counted.refund([hour], cost=1)
    tick = Timer("tick", start=100, step=10, ceiling=150, ttl=60)
    assert_type(counted.advance([tick], cost=2), list[TimerResult])

    entry = assert_type(counted.entry("search.hour"), Entry | None)
    if entry is not None:
        assert_type(entry.key, str)
        assert_type(entry.value, int)
        assert_type(entry.ttl, float | None)
    entries = assert_type(counted.scan("search."), Iterator[Entry])
    assert {each.key for each in entries} == {"search.hour", "search.day", "search.hour.4711"}

    page = assert_type(counted.scan_page("search.", cursor=""), Page)
    assert_type(page.entries, list[Entry])
    assert_type(page.cursor, str)

    counted.delete("stock")
    counted.close()


def batches(counted: Counter) -> None:
    """Make several operations at once."""
    assert_type(counted.multi_increment({"one": 1, "two": 2}), dict[str, int])
    assert_type(counted.multi_increment({"three": 3}, timedelta(hours=1)), dict[str, int])
    with assert_type(counted.batch(), Batch) as batch:
        sum_ = assert_type(batch.increment("one", 5, ttl=60, idempotency_key="a"), Pending[int])
        batch.decrement("one", 2)
        value = assert_type(batch.get("one"), Pending[int])
        drawn = assert_type(batch.decrement_if_exists("two"), Pending[DecrementResult])
        created = assert_type(batch.set_if_not_exists("new", 1), Pending[bool])
        budget = Budget("budget", 10, 60)
        taken = assert_type(batch.take([budget], 2), Pending[list[DecrementResult]])
        batch.refund([budget])
        moved = assert_type(batch.advance([Timer("t", 0, 1, 9, 60)]), Pending[list[TimerResult]])
        stored = assert_type(batch.set("two", 7, if_equal=1), Pending[bool])
        entry = assert_type(batch.entry("two"), Pending[Entry | None])
        gone = assert_type(batch.delete("new"), Pending[None])
    assert assert_type(sum_.result(), int) == 6
    assert assert_type(value.result(), int) == 4
    assert assert_type(entry.result(), Entry | None) == ("two", 7, None)
    assert [drawn.result().success, created.result(), stored.result()] == [True, True, True]
    assert (taken.result()[0].value, moved.result()[0].value) == (8, 1)
    gone.result()
    assert_type(counted.run_all([Operation("get", ("one",), {})]), list[Any])


async def abatches(counted: Counter) -> None:
    """Use the twins of these."""
    async with counted.batch() as batch:
        value = batch.get("one")
    assert await counted.amulti_increment({"one": 1}) == {"one": value.result() + 1}
    assert_type(await counted.arun_all([Operation("get", ("one",), {})]), list[Any])


async def twins(counted: Counter) -> None:
    """Use every operation's twin."""
    assert_type(await counted.aincrement("visits"), int)
    assert_type(await counted.aincrement("visits", 5, timedelta(hours=1)), int)
    assert_type(await counted.adecrement("visits", 2, ttl=0.5), int)
    assert_type(await counted.aget("visits"), int)
    assert_type(await counted.amulti_get(["visits"]), dict[str, int])
    assert_type(await counted.aset_if_not_exists("stock", 10, ttl=60), bool)
    assert_type(await counted.aset("stock", 9, if_equal=10), bool)
    assert_type(await counted.adecrement_if_exists("stock", 3), DecrementResult)
    assert_type(await counted.atake([Budget("search.hour", 100, 3600)]), list[DecrementResult])
    await counted.arefund([Budget("search.hour", 100, 3600)])
    assert_type(await counted.aadvance([Timer("tick", 0, 1, 9, None)]), list[TimerResult])
    assert_type(await counted.aentry("search.hour"), Entry | None)
    entries = assert_type(counted.ascan("search."), AsyncIterator[Entry])
    assert "search.hour" in [each.key async for each in entries]
    assert_type(await counted.ascan_page("search."), Page)
    await asyncio.gather(*(counted.aincrement("together") for _ in range(10)))
    assert await counted.aget("together") == 10
    await counted.adelete("stock")
    await counted.aclose()


def middleware(counted: Counter) -> None:
    """Wrap a counter by hand, as settings do."""
    start = functools.partial(Tally, start=100)
    tally = assert_type(start(LoggingMiddleware(Doubling(once(counted)))), Tally)
    tally.delete("wrapped")
    assert tally.increment("wrapped", 5) == 10
    assert tally.operations == 102
    assert_type(tally.next, Counter)
    breaker = functools.partial(
        CircuitBreakerMiddleware, share=0.8, calls=10, within=5, open_for=1, name="typed"
    )
    fallback = assert_type(
        FallbackMiddleware(breaker(counted), alias="default"), FallbackMiddleware
    )
    assert_type(fallback.get("wrapped"), int)
    assert_type(fallback.take([Budget("wrapped", 10, None)]), list[DecrementResult])
    assert_type(breaker(counted).name, str)
    buffer = functools.partial(BufferedMiddleware, interval=1, max_keys=100)(counted)
    assert_type(buffer, BufferedMiddleware)
    buffer.increment("buffered")
    buffer.flush()
    assert counted.get("buffered") == 1


def errors(counted: Counter) -> list[str]:
    """Say what may be concluded from a call that fails."""
    concluded = []
    for value, idempotency_key in ((2**63 - 1, "a"), (1, "b"), (2, "a")):
        try:
            counted.increment("full", value, idempotency_key=idempotency_key)
        except CounterOverflow as error:
            concluded.append(str(error))
        except CounterOutcomeUnknown as error:
            assert_type(error.operation, str)
            assert_type(error.key, str)
            assert_type(error.value, int | None)
        except CounterPartlyApplied as error:
            assert_type(error.values, dict[str, int])
            assert_type(error.errors, dict[str, CounterError])
        except CounterIdempotencyError as error:
            concluded.append(str(error))
        except (CounterUnavailable, CounterTypeError, CounterConfigError) as error:
            root: CounterError = error
            concluded.append(str(root))
    return concluded


def main() -> None:
    """Run all of it on the counters of the settings."""
    assert_type(counter, Counter)
    assert_type(counters["default"], Counter)
    assert "default" in list(counters)
    operations(counter)
    asyncio.run(twins(counter))
    batches(counter)
    asyncio.run(abatches(counter))
    middleware(counter)
    assert len(errors(counter)) == 2
    counters.reset()


if __name__ == "__main__":
    main()
