"""advance()."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from enum import IntEnum
from threading import Barrier
from typing import Any

import pytest
from django.test import override_settings
from django.utils.safestring import mark_safe

from django_counter.backends.redis import RedisCounter
from django_counter.base import Counter
from django_counter.exceptions import CounterTypeError, CounterUnavailable
from django_counter.values import INT64_MAX, INT64_MIN, TIMER_MAX, Timer, TimerResult
from tests.contract.stores import (
    ON_ONE_SERVER,
    ON_SERVERS,
    VARIANTS,
    Blocking,
    RedisStore,
    Store,
    Variant,
    server_cache,
)
from tests.contract.test_arguments import NO_INT, NO_INT64, NO_KEY, NO_SECONDS, NO_STR, NO_TTL
from tests.contract.test_round_trips import commands_of
from tests.contract.test_stored import NO_COUNTERS
from tests.servers import free_port


def timer(
    key: str, start: int = 1000, step: int = 10, ceiling: int = 1100, ttl: Any = 100
) -> Timer:
    return Timer(key, start, step, ceiling, ttl)


def test_a_missing_timer_moves_from_its_start(counter: Counter, key: str) -> None:
    assert counter.advance([timer(key)], 3) == [(1030, True)]
    assert counter.get(key) == 1030


def test_advance_moves_by_1_step_by_itself(counter: Counter, key: str) -> None:
    assert counter.advance([timer(key)]) == [(1010, True)]


def test_a_timer_moves_from_where_it_is(counter: Counter, key: str) -> None:
    counter.advance([timer(key)], 3)
    assert counter.advance([timer(key, start=1020)], 2) == [(1050, True)]
    assert counter.advance([timer(key, start=1050)]) == [(1060, True)]


def test_a_timer_that_lies_before_its_start_begins_there(counter: Counter, key: str) -> None:
    for held in (999, 1, 0, -1, -1000, INT64_MIN):
        counter.set(key, held)
        assert counter.advance([timer(key)], 3) == [(1030, True)]
        assert counter.get(key) == 1030


def test_a_timer_moves_up_to_its_ceiling(counter: Counter, key: str) -> None:
    results = [counter.advance([timer(key)], 4)[0] for _ in range(4)]
    assert results == [(1040, True), (1080, True), (1080, False), (1080, False)]
    assert counter.advance([timer(key)], 2) == [(1100, True)]
    assert counter.advance([timer(key)], 1) == [(1100, False)]
    assert counter.get(key) == 1100


def test_a_timer_one_short_of_a_step_is_not_moved(counter: Counter, key: str) -> None:
    assert counter.advance([timer(key, ceiling=1029)], 3) == [(1000, False)]
    assert counter.advance([timer(key, ceiling=1030)], 3) == [(1030, True)]


def test_the_ceiling_step_and_start_are_the_callers_at_each_call(
    counter: Counter, key: str
) -> None:
    counter.advance([timer(key)], 10)
    assert counter.advance([timer(key, ceiling=1101)]) == [(1100, False)]
    assert counter.advance([timer(key, ceiling=1101, step=1)]) == [(1101, True)]
    assert counter.advance([timer(key, start=2000, ceiling=2005, step=5)]) == [(2005, True)]


def test_a_timer_that_is_not_moved_is_not_created(counter: Counter, key: str) -> None:
    assert counter.advance([timer(key)], 11) == [(1000, False)]
    assert counter.entry(key) is None


def test_a_timer_that_is_not_moved_is_where_it_is_or_at_its_start(
    counter: Counter, key: str
) -> None:
    counter.set(key, 500)
    assert counter.advance([timer(key)], 11) == [(1000, False)]
    assert counter.get(key) == 500
    counter.set(key, 1500)
    assert counter.advance([timer(key)], 1) == [(1500, False)]
    assert counter.get(key) == 1500


def test_a_ceiling_below_the_start_moves_nothing(counter: Counter, key: str) -> None:
    assert counter.advance([timer(key, ceiling=0)]) == [(1000, False)]
    assert counter.entry(key) is None


# The ttl.


def test_the_ttl_starts_anew_with_each_move(counter: Counter, key: str) -> None:
    for ttl in (100, 99.5, timedelta(minutes=1, seconds=40)):
        for before in (None, 5, 1000):
            counter.set(key, 0, before)
            counter.advance([timer(key, ttl=ttl)])
            entry = counter.entry(key)
            assert entry is not None
            assert entry.ttl is not None
            assert 50 < entry.ttl <= 100


def test_no_ttl_is_no_expiry(counter: Counter, key: str) -> None:
    counter.advance([timer(f"{key}new", ttl=None)])
    assert counter.entry(f"{key}new") == (f"{key}new", 1010, None)
    counter.set(key, 5, 100)
    counter.advance([timer(key, ttl=None)])
    assert counter.entry(key) == (key, 1010, None)


@pytest.mark.parametrize("before", [100, None])
def test_the_ttl_stays_where_nothing_is_moved(
    counter: Counter, key: str, before: int | None
) -> None:
    counter.set(key, 1100, before)
    assert not counter.advance([timer(key, ttl=1000)])[0].success
    entry = counter.entry(key)
    assert entry is not None
    assert entry.value == 1100
    assert (entry.ttl is None) == (before is None)
    assert entry.ttl is None or 50 < entry.ttl <= 100


def test_a_timer_whose_ttl_has_ended_begins_at_its_start(
    counter: Counter, store: Store, key: str
) -> None:
    counter.advance([timer(key, ttl=0.02)], 10)
    store.outlive(key)
    assert counter.advance([timer(key)]) == [(1010, True)]


# Several.


def test_all_timers_are_moved(counter: Counter, key: str) -> None:
    timers = [timer(f"{key}a"), timer(f"{key}b", start=5, step=1, ceiling=9)]
    assert counter.advance(timers, 3) == [(1030, True), (8, True)]
    assert counter.advance(timers, 1) == [(1040, True), (9, True)]


@pytest.mark.parametrize("short", [0, 1, 2])
def test_none_is_moved_when_one_would_pass_its_ceiling(
    counter: Counter, key: str, short: int
) -> None:
    timers = [timer(f"{key}{number}", ceiling=1100) for number in range(3)]
    counter.set(timers[short].key, 1080, 100)
    other = timers[short - 1].key
    counter.set(other, 1010, 100)
    values = [1080 if n == short else 1010 if n == (short - 1) % 3 else 1000 for n in range(3)]
    assert counter.advance(timers, 3) == [(value, False) for value in values]
    for number, value in enumerate(values):
        entry = counter.entry(timers[number].key)
        if value == 1000:
            assert entry is None
        else:
            assert entry is not None
            assert (entry.value, entry.ttl is not None) == (value, True)


def test_the_results_are_in_the_order_of_the_timers(counter: Counter, key: str) -> None:
    timers = [timer(f"{key}{start}", start=start) for start in (5, 1, 9, 3, 7)]
    assert [each.value for each in counter.advance(timers)] == [15, 11, 19, 13, 17]
    assert [each.value for each in counter.advance(timers, 500)] == [15, 11, 19, 13, 17]


def test_each_timer_has_its_own_ttl(counter: Counter, key: str) -> None:
    counter.advance([timer(f"{key}{ttl}", ttl=ttl) for ttl in (100, 1000, None)])
    entries = [counter.entry(f"{key}{ttl}") for ttl in (100, 1000, None)]
    ttls = [entry.ttl for entry in entries if entry]
    assert ttls == [pytest.approx(75, abs=25), pytest.approx(975, abs=25), None]


def test_100_timers_are_moved_at_once(counter: Counter, key: str) -> None:
    timers = [timer(f"{key}{number}", start=number) for number in range(100)]
    assert counter.advance(timers) == [(number + 10, True) for number in range(100)]


def test_advance_takes_any_sequence(counter: Counter, key: str) -> None:
    assert counter.advance([timer(key)]) == [(1010, True)]
    assert counter.advance((timer(key),)) == [(1020, True)]


def test_advance_answers_with_timer_results(counter: Counter, key: str) -> None:
    for cost in (1, 1000):
        results = counter.advance([timer(f"{key}a"), timer(f"{key}b")], cost)
        assert type(results) is list
        for result in results:
            assert type(result) is TimerResult
            assert [type(field) for field in result] == [int, bool]


# The range.


def test_advance_is_exact_up_to_2_to_the_53(counter: Counter, key: str) -> None:
    for number, (start, step, cost, value) in enumerate(
        [
            (0, 1, 1, 1),
            (0, TIMER_MAX, 1, TIMER_MAX),
            (TIMER_MAX - 1, 1, 1, TIMER_MAX),
            (2**52, 2**52 - 1, 1, TIMER_MAX),
            (2**52 + 1, 1, 2**52 - 2, TIMER_MAX),
            (1, 2, 2**52 - 1, TIMER_MAX),
            (1_700_000_000_000_001, 333_334, 3, 1_700_000_001_000_003),
        ]
    ):
        short = Timer(f"{key}{number}", start, step, value - 1, None)
        assert counter.advance([short], cost) == [(start, False)]
        assert counter.entry(short.key) is None
        enough = short._replace(ceiling=value)
        assert counter.advance([enough], cost) == [(value, True)]
        assert counter.get(enough.key) == value
        assert counter.advance([enough]) == [(value, False)]


def test_what_goes_beyond_the_range_is_not_moved(counter: Counter, key: str) -> None:
    for start, step, cost in [
        (1, TIMER_MAX, 1),
        (1, 1, TIMER_MAX),
        (1, 1, INT64_MAX),
        (1, TIMER_MAX, INT64_MAX),
        (TIMER_MAX, 1, 1),
        (TIMER_MAX, TIMER_MAX, INT64_MAX),
        (2**52, 2**52, 1),
    ]:
        assert counter.advance([Timer(key, start, step, TIMER_MAX, None)], cost) == [(start, False)]
        assert counter.entry(key) is None


def test_nor_is_what_begins_at_0(counter: Counter, key: str) -> None:
    for step, cost in [(1, TIMER_MAX + 1), (TIMER_MAX, 2), (1, INT64_MAX)]:
        assert counter.advance([Timer(key, 0, step, TIMER_MAX, None)], cost) == [(0, False)]
        assert counter.entry(key) is None


def test_a_counter_beyond_the_range_is_left(counter: Counter, key: str) -> None:
    for held in (TIMER_MAX, TIMER_MAX + 1, 2**53 + 1, 2**60, INT64_MAX):
        counter.set(key, held)
        assert not counter.advance([Timer(key, 0, 1, TIMER_MAX, None)])[0].success
        assert counter.get(key) == held


def test_a_counter_beyond_the_range_is_answered_as_it_is(counter: Counter, key: str) -> None:
    for held in (TIMER_MAX + 1, 2**53 + 1, INT64_MAX):
        counter.set(key, held)
        assert counter.advance([Timer(key, 0, 1, TIMER_MAX, None)]) == [(held, False)]


# Arguments.


@pytest.fixture
def timers(counter: Counter, key: str) -> Any:
    """A missing timer and one that exists, which nothing may become of."""
    counter.set(f"{key}existing", 1050)
    yield [timer(f"{key}missing"), timer(f"{key}existing")]
    assert counter.entry(f"{key}missing") is None
    assert counter.entry(f"{key}other") is None
    assert counter.entry(f"{key}existing") == (f"{key}existing", 1050, None)


def test_a_cost_that_is_no_positive_int64_is_refused(counter: Counter, timers: list[Timer]) -> None:
    for cost in NO_INT:
        with pytest.raises(TypeError, match=r"^cost must be an int, not "):
            counter.advance(timers, cost)  # type: ignore[arg-type]
    for cost in (0, -1, INT64_MIN, *NO_INT64):
        with pytest.raises(ValueError, match=r"^cost must be from 1 .*, not "):
            counter.advance(timers, cost)


@pytest.mark.parametrize(("name", "least"), [("start", 0), ("step", 1), ("ceiling", 0)])
def test_a_timer_with_a_bad_number_is_refused(
    counter: Counter, timers: list[Timer], key: str, name: str, least: int
) -> None:
    good = timer(f"{key}other")
    for value in NO_INT:
        with pytest.raises(TypeError, match=rf"^{name} must be an int, not "):
            counter.advance([*timers, good._replace(**{name: value})])
    for value in (least - 1, INT64_MIN, TIMER_MAX + 1, INT64_MAX, *NO_INT64):
        with pytest.raises(ValueError, match=rf"^{name} must be from {least} to 2\*\*53 - 1, not "):
            counter.advance([*timers, good._replace(**{name: value})])


def test_a_timer_with_a_bad_key_is_refused(counter: Counter, timers: list[Timer]) -> None:
    for key in NO_STR:
        with pytest.raises(TypeError, match=r"^key must be a str, not "):
            counter.advance([*timers, timer(key)])  # type: ignore[arg-type]
    for key in NO_KEY:
        with pytest.raises(ValueError, match=r"^key must "):
            counter.advance([*timers, timer(key)])


def test_a_timer_with_a_bad_ttl_is_refused(counter: Counter, timers: list[Timer], key: str) -> None:
    for ttl in NO_SECONDS:
        with pytest.raises(TypeError, match=r"^ttl must be seconds .*, not "):
            counter.advance([*timers, timer(f"{key}other", ttl=ttl)])
    for ttl in NO_TTL:
        with pytest.raises(ValueError, match=r"^ttl must be from .*, not "):
            counter.advance([*timers, timer(f"{key}other", ttl=ttl)])


def test_advance_refuses_no_timers(counter: Counter) -> None:
    with pytest.raises(ValueError, match=r"^timers must not be empty"):
        counter.advance([])


def test_advance_refuses_a_key_twice(counter: Counter, timers: list[Timer]) -> None:
    with pytest.raises(ValueError, match=r"^timers must have different keys"):
        counter.advance([*timers, timers[0]])


def test_advance_refuses_what_is_not_several_timers(counter: Counter) -> None:
    bad: Any
    for bad in (None, 5, "key", Timer("key", 0, 1, 10, None), [("key", 0, 1, 10, None)], [None]):
        with pytest.raises(TypeError, match=r"^timers must be several Timer, not "):
            counter.advance(bad)


def test_subclasses_of_str_and_int_are_arguments(counter: Counter, key: str) -> None:
    size = IntEnum("Size", {"TWO": 2, "TEN": 10, "HUNDRED": 100})
    moved = counter.advance(
        [Timer(mark_safe(key), size.TEN, size.TEN, size.HUNDRED, None)], size.TWO
    )
    assert moved == [(30, True)]
    assert counter.get(key) == 30
    assert type(counter.get(key)) is int


def test_a_bad_argument_is_refused_before_anything_is_sent(runner: asyncio.Runner) -> None:
    with override_settings(CACHES={"default": server_cache(f"redis://127.0.0.1:{free_port()}")}):
        nowhere = RedisCounter()
    for counter in (nowhere, Blocking(nowhere, runner)):
        with pytest.raises(CounterUnavailable, match="advance"):
            counter.advance([timer("key")])
        for timers, cost in (
            ([], 1),
            ([timer("")], 1),
            ([timer("key")], 0),
            ([timer("key", step=0)], 1),
            ([timer("key", ttl=0)], 1),
        ):
            with pytest.raises(ValueError, match=r"^(timers|key|cost|step|ttl) must "):
                counter.advance(timers, cost)
    runner.run(nowhere.aclose())


# On servers.


@pytest.mark.parametrize("variant", ON_SERVERS, indirect=True, ids=str)
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_advance_moves_no_timer_when_one_is_no_counter(
    counter: Counter, store: RedisStore, key: str, bad: int
) -> None:
    timers = [timer(f"{key}{number}") for number in range(3)]
    existing, missing = (timers[number].key for number in range(3) if number != bad)
    counter.set(existing, 1020)
    for name, stored in NO_COUNTERS.items():
        counter.delete(timers[bad].key)
        store.write(timers[bad].key, stored)
        before = store.dump(timers[bad].key)
        with pytest.raises(CounterTypeError):
            counter.advance(timers, 2)
        assert store.dump(timers[bad].key) == before, name
        assert counter.entry(existing) == (existing, 1020, None)
        assert counter.entry(missing) is None


@pytest.mark.parametrize("variant", ON_SERVERS, indirect=True, ids=str)
def test_a_timer_is_a_counter(counter: Counter, store: RedisStore, key: str) -> None:
    for start in (0, 999_999, 10**15, 1_700_000_000_123_456, TIMER_MAX - 10):
        counter.advance([timer(key, start=start, ceiling=TIMER_MAX)])
        assert store.client.get(store.place(key)) == b"%d" % (start + 10)
        assert counter.increment(key, -1) == start + 9


@pytest.mark.parametrize("variant", ON_ONE_SERVER, indirect=True, ids=str)
def test_an_advance_is_one_command(counter: Counter, store: RedisStore, key: str) -> None:
    timers = [timer(key + letter) for letter in "abc"]
    counter.advance(timers)
    commands_of(store, lambda: None)  # connects who asks for them
    assert commands_of(store, lambda: counter.advance(timers, 2)) == ["EVALSHA"]
    assert commands_of(store, lambda: counter.advance(timers, 200)) == ["EVALSHA"]


@pytest.mark.parametrize("variant", ON_ONE_SERVER, indirect=True, ids=str)
def test_an_advance_whose_script_the_server_forgot_moves_once(
    counter: Counter, store: RedisStore, key: str
) -> None:
    counter.advance([timer(key)])
    store.client.script_flush()
    assert counter.advance([timer(key)], 3) == [(1040, True)]


@pytest.mark.parametrize("variant", [v for v in VARIANTS if not v.wrapped], indirect=True, ids=str)
def test_many_at_once_move_a_timer_up_to_its_ceiling(
    variant: Variant, composed: Counter, key: str, runner: asyncio.Runner
) -> None:
    timers = [timer(f"{key}a", ceiling=1300), timer(f"{key}b", ceiling=1400)]

    async def work_in_task() -> list[TimerResult]:
        return [(await composed.aadvance(timers))[0] for _ in range(10)]

    async def tasks() -> list[list[TimerResult]]:
        return await asyncio.gather(*(work_in_task() for _ in range(5)))

    def work(barrier: Barrier) -> list[TimerResult]:
        barrier.wait()
        return [composed.advance(timers)[0] for _ in range(10)]

    def threads() -> list[list[TimerResult]]:
        barrier = Barrier(5)
        with ThreadPoolExecutor(5) as pool:
            return [each.result() for each in [pool.submit(work, barrier) for _ in range(5)]]

    lists = runner.run(tasks()) if variant.asynchronous else threads()
    moved = sorted(result.value for results in lists for result in results if result.success)
    assert moved == list(range(1010, 1301, 10))
