"""MemoryCounter: what is its own. The contract's tests have the rest."""

import asyncio
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import override_settings

from django_counter.backends.memory import SWEEP_AT, MemoryCounter
from django_counter.exceptions import CounterConfigError
from django_counter.handler import counters
from django_counter.values import Budget


class Clock:
    """Seconds that only a test moves."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counter(clock: Clock) -> MemoryCounter:
    return MemoryCounter(clock=clock)


@pytest.mark.parametrize("start", [0.0, 1_800_000_000.123, -5.0])
def test_a_counter_lives_until_the_millisecond_of_its_ttl(start: float) -> None:
    clock = Clock(start)
    counter = MemoryCounter(clock=clock)
    counter.set("key", 5, 10)
    clock.now = start + 9.999
    assert counter.get("key") == 5
    clock.now = start + 10
    assert counter.get("key") == 0
    assert counter.entry("key") is None
    assert counter.multi_get(["key"]) == {"key": 0}
    assert list(counter.scan()) == []


def test_the_ttl_left_follows_the_clock(counter: MemoryCounter, clock: Clock) -> None:
    counter.set("key", 5, 10)
    clock.now = 2.5
    assert counter.entry("key") == ("key", 5, 7.5)


def test_a_counter_that_ends_during_a_scan_is_not_yielded(
    counter: MemoryCounter, clock: Clock
) -> None:
    for key in "abc":
        counter.set(key, 1, 10)
    entries = counter.scan()
    next(entries)
    clock.now = 10
    assert list(entries) == []


def test_the_clock_comes_from_the_options(clock: Clock) -> None:
    entry = {
        "BACKEND": "django_counter.backends.memory.MemoryCounter",
        "OPTIONS": {"clock": clock},
    }
    with override_settings(COUNTERS={"default": entry}):
        counters["default"].set("key", 5, 10)
        clock.now = 10
        assert counters["default"].get("key") == 0


def test_the_clock_is_a_callable() -> None:
    with pytest.raises(CounterConfigError, match="'clock' must be a callable"):
        MemoryCounter(clock=5)  # type: ignore[arg-type]


def test_without_a_clock_time_passes() -> None:
    counter = MemoryCounter()
    counter.set("key", 5, 0.01)
    until = time.monotonic() + 10
    while counter.entry("key"):
        assert time.monotonic() < until
        time.sleep(0.001)
    assert counter.get("key") == 0


def test_each_instance_is_a_store_of_its_own() -> None:
    first, second = MemoryCounter(key_prefix="same"), MemoryCounter(key_prefix="same")
    first.increment("key")
    assert second.get("key") == 0


@pytest.mark.parametrize("create", ["increment", "decrement", "set", "set_if_not_exists", "take"])
def test_short_lived_keys_leave_the_dict_small(
    counter: MemoryCounter, clock: Clock, create: str
) -> None:
    largest = 0
    for number in range(40_000):
        clock.now += 0.01
        if create == "take":
            counter.take([Budget(f"{number}", 10, 1)])
        else:
            getattr(counter, create)(f"{number}", 1, 1)
        largest = max(largest, len(counter._stored))
    assert largest <= SWEEP_AT


def test_idempotency_keys_leave_the_store_small(counter: MemoryCounter, clock: Clock) -> None:
    largest = 0
    for number in range(40_000):
        clock.now += 1
        counter.increment("key", idempotency_key=str(number))
        largest = max(largest, len(counter._applied))
    assert largest == 600  # what a window of ten minutes has
    assert counter.get("key") == 40_000


@pytest.mark.parametrize("window", [0, -1, "600", None, float("nan"), True, 10**11])
def test_the_window_of_idempotency_keys_is_a_ttl(window: Any) -> None:
    with pytest.raises(CounterConfigError, match=r"^option 'idempotency_window' must be "):
        MemoryCounter(idempotency_window=window)


def test_the_window_comes_from_the_options(clock: Clock) -> None:
    entry = {
        "BACKEND": "django_counter.backends.memory.MemoryCounter",
        "OPTIONS": {"clock": clock, "idempotency_window": 10},
    }
    with override_settings(COUNTERS={"default": entry}):
        counter = counters["default"]
        for clock.now, total in ((0, 1), (9, 1), (10, 2)):
            assert counter.increment("key", idempotency_key="order 17") == total


def test_the_dict_stays_within_twice_what_lives(counter: MemoryCounter, clock: Clock) -> None:
    largest = 0
    for number in range(50_000):
        clock.now += 0.01
        counter.increment(f"{number}", 1, 50)  # 5,000 live at a time
        largest = max(largest, len(counter._stored))
    assert 5000 <= largest <= 10_001


def test_a_sweep_comes_only_when_the_dict_has_doubled(counter: MemoryCounter) -> None:
    sweeps = 0
    for number in range(5 * SWEEP_AT):
        before = counter._stored
        counter.increment(f"{number}")
        sweeps += counter._stored is not before
    assert sweeps == 3  # at 1,024, 2,048 and 4,096


def test_a_dict_that_was_large_becomes_small_again(counter: MemoryCounter, clock: Clock) -> None:
    for number in range(10_000):
        counter.increment(f"{number}", 1, 10)
    clock.now = 10
    for number in range(20_000):
        counter.increment(f"later {number}", 1, 0.001)
        clock.now += 0.001
    assert len(counter._stored) <= SWEEP_AT


def test_a_sweep_leaves_what_lives(counter: MemoryCounter, clock: Clock) -> None:
    counter.set("for ever", 1)
    counter.set("long", 2, 1_000_000)
    for number in range(5 * SWEEP_AT):
        counter.increment(f"{number}", 1, 1)
        clock.now += 0.01
    assert counter.multi_get(["for ever", "long"]) == {"for ever": 1, "long": 2}


def test_counters_without_a_ttl_are_all_kept(counter: MemoryCounter) -> None:
    for number in range(3 * SWEEP_AT):
        counter.increment(f"{number}")
    assert sum(entry.value for entry in counter.scan()) == 3 * SWEEP_AT


def test_a_sweep_in_the_middle_of_a_take_loses_no_budget(
    counter: MemoryCounter, clock: Clock
) -> None:
    budgets = [Budget(f"budget {number}", 10, 5) for number in range(2 * SWEEP_AT)]
    for number in range(SWEEP_AT - 1):
        counter.increment(f"{number}", 1, 1)
    clock.now = 1
    counter.take(budgets[:1])
    assert {result.success for result in counter.take(budgets, 2)} == {True}
    left = counter.multi_get(budget.key for budget in budgets)
    assert list(left.values()) == [7] + [8] * (len(budgets) - 1)


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_and_event_loops_share_a_counter(
    counter: MemoryCounter, impatient_threads: None
) -> None:
    async def acount() -> None:
        for _ in range(1000):
            await counter.aincrement("key", 1, 10)

    def count() -> None:
        for _ in range(1000):
            counter.increment("key", 1, 10)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            pool.submit(count)
            pool.submit(asyncio.run, acount())
    assert counter.get("key") == 8000


def test_threads_may_scan_while_others_sweep(
    counter: MemoryCounter, impatient_threads: None
) -> None:
    counter.set("for ever", 1)

    def churn(thread: int) -> None:
        for number in range(3000):
            counter.increment(f"{thread} {number}", 1, 0.001)
            counter.delete(f"{thread} {number - 1}")

    def scan() -> list[bool]:
        return ["for ever" in {entry.key for entry in counter.scan()} for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        churning = [pool.submit(churn, thread) for thread in range(2)]
        scanning = [pool.submit(scan) for _ in range(2)]
        for each in churning:
            each.result()
        for found in scanning:
            assert all(found.result())


def test_a_signal_handler_may_count_while_a_call_is_made() -> None:
    calls = 0

    def handler() -> float:
        """The clock, which is asked in the midst of it."""
        nonlocal calls
        calls += 1
        if calls == 1:
            counter.increment("key")
        return 0.0

    counter = MemoryCounter(clock=handler)
    assert counter.increment("key") == 2
