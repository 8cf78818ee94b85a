"""Idempotency keys: a repeated call is answered as the first one, and applied once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings

from django_counter.backends.memory import MemoryCounter
from django_counter.backends.redis import RedisCounter
from django_counter.base import Counter
from django_counter.exceptions import (
    CounterIdempotencyError,
    CounterOverflow,
    CounterTypeError,
)
from django_counter.values import (
    INT64_MAX,
    INT64_MIN,
    TIMER_MAX,
    Budget,
    DecrementResult,
    Timer,
    TimerResult,
)
from tests.contract.stores import (
    BARE_AND_SYNC,
    ON_ONE_SERVER,
    ON_SERVERS,
    VARIANTS,
    Blocking,
    MemoryStore,
    RedisStore,
    Store,
    Variant,
    wait_until,
)
from tests.contract.test_arguments import NO_KEY, NO_STR
from tests.contract.test_round_trips import commands_of

Call = Callable[..., Any]

# Each with what it does to a counter at 10.
CALLS: dict[str, tuple[Call, Any, int]] = {
    "increment": (lambda counter, key, **token: counter.increment(key, 3, **token), 13, 13),
    "increment with ttl": (
        lambda counter, key, **token: counter.increment(key, 3, 60, **token),
        13,
        13,
    ),
    "decrement": (lambda counter, key, **token: counter.decrement(key, 3, **token), 7, 7),
    "decrement with ttl": (
        lambda counter, key, **token: counter.decrement(key, 3, 60, **token),
        7,
        7,
    ),
    "decrement_if_exists": (
        lambda counter, key, **token: counter.decrement_if_exists(key, 3, **token),
        DecrementResult(7, True, True),
        7,
    ),
    "decrement_if_exists of too much": (
        lambda counter, key, **token: counter.decrement_if_exists(key, 11, **token),
        DecrementResult(10, True, False),
        10,
    ),
    "take": (
        lambda counter, key, **token: counter.take([Budget(key, 9, 60)], 3, **token),
        [DecrementResult(7, True, True)],
        7,
    ),
    "take of too much": (
        lambda counter, key, **token: counter.take([Budget(key, 9, 60)], 11, **token),
        [DecrementResult(10, True, False)],
        10,
    ),
    "advance": (
        lambda counter, key, **token: counter.advance([Timer(key, 5, 2, 100, 60)], 3, **token),
        [TimerResult(16, True)],
        16,
    ),
}
each_call = pytest.mark.parametrize(("call", "answer", "left"), CALLS.values(), ids=CALLS)


@each_call
def test_a_repeat_is_answered_as_the_first_call_and_changes_nothing(
    counter: Counter, key: str, call: Call, answer: Any, left: int
) -> None:
    counter.set(key, 10)
    for _ in range(3):
        repeated = call(counter, key, idempotency_key="order 17")
        assert repeated == answer
        assert type(repeated) is type(answer)
        assert counter.get(key) == left


@each_call
def test_a_repeat_is_answered_whatever_became_of_the_counter(
    counter: Counter, key: str, call: Call, answer: Any, left: int
) -> None:
    counter.set(key, 10)
    call(counter, key, idempotency_key="order 17")
    counter.set(key, 50)
    assert call(counter, key, idempotency_key="order 17") == answer
    assert counter.get(key) == 50
    counter.delete(key)
    assert call(counter, key, idempotency_key="order 17") == answer
    assert counter.entry(key) is None


@each_call
def test_each_idempotency_key_is_a_call(
    counter: Counter, key: str, call: Call, answer: Any, left: int
) -> None:
    for idempotency_key in ("order 17", "order 18", "x" * 512, "é}{", "\U0001f600"):
        counter.set(key, 10)
        assert call(counter, key, idempotency_key=idempotency_key) == answer
        assert counter.get(key) == left


@each_call
def test_an_idempotency_key_belongs_to_a_counter(
    counter: Counter, key: str, call: Call, answer: Any, left: int
) -> None:
    for each in (f"{key}a", f"{key}b"):
        counter.set(each, 10)
        assert call(counter, each, idempotency_key="order 17") == answer
        assert counter.get(each) == left


def test_a_missing_counter_is_missing_in_the_repeat(counter: Counter, key: str) -> None:
    for value in (0, 5):
        repeated = counter.decrement_if_exists(key, 3, idempotency_key="order 17")
        assert repeated == (0, False, False)
        counter.set(key, value)
    assert counter.get(key) == 5


def test_without_an_idempotency_key_each_call_counts(counter: Counter, key: str) -> None:
    assert counter.increment(key, idempotency_key=None) == 1
    assert counter.increment(key, idempotency_key=None) == 2
    assert counter.increment(key, idempotency_key="order 17") == 3
    assert counter.increment(key) == 4


# Other arguments.

OTHER: dict[str, Call] = {
    "another value": lambda counter, key, token: counter.increment(key, 2, idempotency_key=token),
    "a ttl": lambda counter, key, token: counter.increment(key, 1, 60, idempotency_key=token),
    "decrement": lambda counter, key, token: counter.decrement(key, 1, idempotency_key=token),
    "decrement_if_exists": lambda counter, key, token: counter.decrement_if_exists(
        key, 1, idempotency_key=token
    ),
    "take": lambda counter, key, token: counter.take(
        [Budget(key, 1, None)], 1, idempotency_key=token
    ),
    "advance": lambda counter, key, token: counter.advance(
        [Timer(key, 1, 1, 100, None)], 1, idempotency_key=token
    ),
}


@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER)
def test_the_idempotency_key_of_another_call_is_refused(
    counter: Counter, key: str, other: Call
) -> None:
    counter.increment(key, idempotency_key="order 17")
    with pytest.raises(CounterIdempotencyError, match="another call"):
        other(counter, key, "order 17")
    assert counter.entry(key) == (key, 1, None)
    assert counter.increment(key, idempotency_key="order 17") == 1


@pytest.mark.parametrize(
    ("budgets", "cost"),
    [
        ([("a", 10, 60), ("b", 20, 60)], 2),
        ([("a", 11, 60), ("b", 20, 60)], 1),
        ([("a", 10, 61), ("b", 20, 60)], 1),
        ([("a", 10, None), ("b", 20, 60)], 1),
        ([("a", 10, 60), ("c", 20, 60)], 1),
        ([("a", 10, 60)], 1),
        ([("a", 10, 60), ("b", 20, 60), ("c", 1, 60)], 1),
    ],
    ids=["cost", "limit", "ttl", "no ttl", "key", "fewer", "more"],
)
def test_a_take_of_other_arguments_is_refused(
    counter: Counter, key: str, budgets: list[Any], cost: int
) -> None:
    first = [Budget(f"{key}a", 10, 60), Budget(f"{key}b", 20, 60)]
    counter.take(first, idempotency_key="order 17")
    others = [Budget(key + name, limit, ttl) for name, limit, ttl in budgets]
    with pytest.raises(CounterIdempotencyError):
        counter.take(others, cost, idempotency_key="order 17")
    assert counter.multi_get(f"{key}{name}" for name in "abc") == {
        f"{key}a": 9,
        f"{key}b": 19,
        f"{key}c": 0,
    }


@pytest.mark.parametrize(
    "change", [("b", 0, 3, 100, 60), ("b", 0, 2, 100, 61), ("c", 0, 2, 100, 60)], ids=str
)
def test_an_advance_of_other_arguments_is_refused(
    counter: Counter, key: str, change: tuple[str, int, int, int, int]
) -> None:
    timers = [Timer(f"{key}a", 0, 2, 100, 60), Timer(f"{key}b", 0, 2, 100, 60)]
    counter.advance(timers, idempotency_key="order 17")
    other = Timer(key + change[0], *change[1:])
    with pytest.raises(CounterIdempotencyError):
        counter.advance([timers[0], other], idempotency_key="order 17")
    with pytest.raises(CounterIdempotencyError):
        counter.advance(timers, 2, idempotency_key="order 17")


def test_what_moves_with_time_is_no_other_argument(counter: Counter, key: str) -> None:
    for floor in (0, 5):
        budget = Budget(f"{key}budget", 10, 60, floor)
        assert counter.take([budget], 4, idempotency_key="order 17") == [(6, True, True)]
    for start in (0, 1000):
        timer = Timer(f"{key}timer", start, 2, start + 100, 60)
        assert counter.advance([timer], 4, idempotency_key="order 17") == [(8, True)]


def test_a_subclass_of_str_or_int_is_no_other_argument(counter: Counter, key: str) -> None:
    class Text(str):
        def __str__(self) -> str:
            return "something else"

        __repr__ = __str__

    class Number(int):
        __repr__ = __str__ = lambda self: "something else"

    for text, number in ((Text, Number), (str, int)):
        token = {"idempotency_key": text("order 17")}
        assert counter.increment(text(f"{key}a"), number(5), **token) == 5
        budgets = [Budget(text(f"{key}b"), number(9), 60), Budget(text(f"{key}c"), 9, 60)]
        assert counter.take(budgets, number(2), **token) == [(7, True, True)] * 2


# What is not remembered.


def test_an_error_is_not_remembered(counter: Counter, key: str) -> None:
    counter.set(key, INT64_MAX)
    for _ in range(2):
        with pytest.raises(CounterOverflow):
            counter.increment(key, 1, idempotency_key="order 17")
    counter.set(key, 5)
    assert counter.increment(key, 2, idempotency_key="order 17") == 7


@pytest.mark.parametrize("variant", ON_SERVERS, indirect=True, ids=str)
@each_call
def test_what_is_no_counter_is_refused_each_time(
    counter: Counter, store: RedisStore, key: str, call: Call, answer: Any, left: int
) -> None:
    for stored in (b"abc", [b"1"]):
        counter.delete(key)
        store.write(key, stored)
        before = store.dump(key)
        for _ in range(2):
            with pytest.raises(CounterTypeError):
                call(counter, key, idempotency_key="order 17")
            assert store.dump(key) == before
    counter.delete(key)
    counter.set(key, 10)
    assert call(counter, key, idempotency_key="order 17") == answer


def test_a_refusal_by_a_budget_of_a_series_is_not_remembered(counter: Counter, key: str) -> None:
    first, second = (Budget(f"{key}{number}", 10, 60, 0, f"{key}scope") for number in range(2))
    counter.take([first], 9)
    assert counter.take([first], 2, idempotency_key="order 17") == [(1, True, False)]
    assert counter.take([second], 2, idempotency_key="order 17") == [(8, True, True)]
    assert counter.take([second], 2, idempotency_key="order 17") == [(8, True, True)]


def test_a_refusal_by_a_timer_is_not_remembered(counter: Counter, key: str) -> None:
    timer = Timer(key, 0, 10, 100, 60)
    counter.advance([timer], 9)
    assert counter.advance([timer], 2, idempotency_key="order 17") == [(90, False)]
    later = timer._replace(start=10, ceiling=110)
    assert counter.advance([later], 2, idempotency_key="order 17") == [(110, True)]
    assert counter.advance([later], 2, idempotency_key="order 17") == [(110, True)]


# A series.


def test_a_repeat_is_found_from_the_next_budget_of_a_series(counter: Counter, key: str) -> None:
    first, second = (Budget(f"{key}{number}", 10, 60, 0, f"{key}scope") for number in range(2))
    assert counter.take([first], 2, idempotency_key="order 17") == [(8, True, True)]
    assert counter.take([second], 2, idempotency_key="order 17") == [(8, True, True)]
    assert counter.entry(second.key) is None
    assert counter.take([second], 2) == [(8, True, True)]
    with pytest.raises(CounterIdempotencyError):
        counter.take([second], 3, idempotency_key="order 17")


def test_a_bad_scope_is_refused(counter: Counter, key: str) -> None:
    for scope in NO_STR:
        if scope is not None:
            with pytest.raises(TypeError, match=r"^scope must be a str, not "):
                counter.take([Budget(key, 10, 60, 0, scope)])  # type: ignore[arg-type]
    for scope in NO_KEY:
        with pytest.raises(ValueError, match=r"^scope must "):
            counter.take([Budget(key, 10, 60, 0, scope)])
    assert counter.entry(key) is None


# The ttl.


@pytest.mark.parametrize("ttl", [100, None])
@each_call
def test_a_repeat_leaves_the_ttl(
    counter: Counter, key: str, call: Call, answer: Any, left: int, ttl: int | None
) -> None:
    counter.set(key, 10, 60)
    call(counter, key, idempotency_key="order 17")
    counter.set(key, 10, ttl)
    call(counter, key, idempotency_key="order 17")
    entry = counter.entry(key)
    assert entry is not None
    assert (entry.ttl is None) == (ttl is None)
    assert entry.ttl is None or 60 < entry.ttl <= 100


def test_a_call_with_a_ttl_starts_it_as_without_an_idempotency_key(
    counter: Counter, key: str
) -> None:
    counter.increment(key, 1, timedelta(seconds=100), idempotency_key="order 17")
    counter.increment(key, 1, 1000, idempotency_key="order 18")
    entry = counter.entry(key)
    assert entry is not None
    assert entry.ttl is not None
    assert 50 < entry.ttl <= 100


def test_a_repeat_does_not_bring_back_a_counter_that_has_ended(
    counter: Counter, store: Store, key: str
) -> None:
    counter.increment(key, 1, store.short, idempotency_key="order 17")
    store.outlive(key)
    assert counter.increment(key, 1, store.short, idempotency_key="order 17") == 1
    assert counter.entry(key) is None


# Exactness.


def test_a_repeat_is_exact_over_all_of_int64(counter: Counter, key: str) -> None:
    for number, value in enumerate(
        [0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, INT64_MAX - 1, INT64_MAX, INT64_MIN]
    ):
        for _ in range(2):
            assert counter.increment(f"{key}{number}", value, idempotency_key="a") == value
        if value > 1:
            budget = Budget(f"{key}{number}", value, None)
            for _ in range(2):
                taken = counter.take([budget], value - 1, idempotency_key="b")
                assert taken == [(1, True, True)]
    timer = Timer(key, TIMER_MAX - 1, 1, TIMER_MAX, None)
    for _ in range(2):
        assert counter.advance([timer], idempotency_key="a") == [(TIMER_MAX, True)]


def test_amounts_that_doubles_confuse_are_other_arguments(counter: Counter, key: str) -> None:
    counter.increment(key, 2**53, idempotency_key="order 17")
    with pytest.raises(CounterIdempotencyError):
        counter.increment(key, 2**53 + 1, idempotency_key="order 17")


def test_all_budgets_are_drawn_once_or_none(counter: Counter, key: str) -> None:
    budgets = [Budget(f"{key}{name}", limit, 60) for name, limit in (("a", 10), ("b", 3))]
    for idempotency_key, left in (("first", [8, 1]), ("second", [8, 1])):
        for _ in range(2):
            taken = counter.take(budgets, 2, idempotency_key=idempotency_key)
            assert [each.value for each in taken] == left
            assert {each.success for each in taken} == {idempotency_key == "first"}
    assert list(counter.multi_get(budget.key for budget in budgets).values()) == [8, 1]


def test_100_budgets_are_drawn_once(counter: Counter, key: str) -> None:
    budgets = [Budget(f"{key}{number}", number + 5, 60) for number in range(100)]
    for _ in range(2):
        taken = counter.take(budgets, 5, idempotency_key="order 17")
        assert taken == [(number, True, True) for number in range(100)]


# Many at once.


@pytest.mark.parametrize("variant", [v for v in VARIANTS if not v.wrapped], indirect=True, ids=str)
def test_repeats_at_once_count_once(
    variant: Variant, composed: Counter, key: str, runner: asyncio.Runner
) -> None:
    async def tasks() -> list[int]:
        calls = (composed.aincrement(key, idempotency_key=str(n // 8)) for n in range(80))
        return await asyncio.gather(*calls)

    if variant.asynchronous:
        sums = runner.run(tasks())
    else:
        with ThreadPoolExecutor(8) as threads:
            sums = list(
                threads.map(
                    lambda n: composed.increment(key, idempotency_key=str(n // 8)), range(80)
                )
            )
    assert sorted(sums) == [total for total in range(1, 11) for _ in range(8)]
    assert [sums[n : n + 8] for n in range(0, 80, 8)] == [[sums[n]] * 8 for n in range(0, 80, 8)]
    assert composed.get(key) == 10


# Arguments.


@each_call
def test_a_bad_idempotency_key_is_refused(
    counter: Counter, key: str, call: Call, answer: Any, left: int
) -> None:
    counter.set(key, 10)
    for bad in NO_STR:
        if bad is not None:
            with pytest.raises(TypeError, match=r"^idempotency_key must be a str, not "):
                call(counter, key, idempotency_key=bad)
    for bad in NO_KEY:
        with pytest.raises(ValueError, match=r"^idempotency_key must "):
            call(counter, key, idempotency_key=bad)
    assert counter.entry(key) == (key, 10, None)


# On the server.


def test_tokens_are_no_counters(counter: Counter, key: str) -> None:
    counter.increment(key, idempotency_key="order 17")
    counter.increment(f"{key}{{tag}}", idempotency_key="order 17")
    counter.increment(f"{key}}}", idempotency_key="order 17")
    found = {entry.key for entry in counter.scan() if entry.key.startswith(key)}
    assert found == {key, f"{key}{{tag}}", f"{key}}}"}
    assert all(entry.key.isprintable() for entry in counter.scan())


@pytest.mark.parametrize("variant", ON_ONE_SERVER, indirect=True, ids=str)
@each_call
def test_a_call_with_an_idempotency_key_is_one_command(
    counter: Counter, store: RedisStore, key: str, call: Call, answer: Any, left: int
) -> None:
    call(counter, key, idempotency_key="before")
    for _ in range(2):
        commands = commands_of(store, lambda: call(counter, key, idempotency_key="order 17"))
        assert commands == ["EVALSHA"]
    store.client.script_flush()
    again = lambda: call(counter, key, idempotency_key="order 17")  # noqa: E731
    assert commands_of(store, again) == ["EVALSHA", "EVAL"]


@pytest.mark.parametrize(
    "variant", [v for v in BARE_AND_SYNC if v.backend != "memory"], indirect=True, ids=str
)
def test_a_token_is_kept_for_ten_minutes_and_shows_nothing_of_its_key(
    counter: Counter, store: RedisStore, key: str
) -> None:
    counter.increment(key, idempotency_key="ann@example.org")
    names = set(store.client.scan_iter(match="*", count=1000))
    tag = key.rstrip(".").encode()
    [name] = [name for name in names if tag in name and b"\x1f" in name]
    assert name.startswith(b"counter:")
    assert 590_000 < store.client.pttl(name) <= 600_000
    assert b"ann" not in name + store.client.get(name)
    assert len(store.client.get(name)) < 64


# The window.


@pytest.mark.parametrize("window", [0.02, timedelta(milliseconds=20)], ids=["float", "timedelta"])
@pytest.mark.parametrize("variant", BARE_AND_SYNC, indirect=True, ids=str)
def test_a_call_is_forgotten_after_the_window(store: Store, key: str, window: Any) -> None:
    counter: Counter
    if isinstance(store, MemoryStore):
        counter = MemoryCounter(clock=lambda: store.now, idempotency_window=window)
    else:
        with override_settings(CACHES={"default": store.cache}):
            counter = RedisCounter(idempotency_window=window)
    assert counter.increment(key, idempotency_key="order 17") == 1
    if isinstance(store, MemoryStore):
        store.now += 0.019
        assert counter.increment(key, idempotency_key="order 17") == 1
        store.now += 0.001
        assert counter.increment(key, idempotency_key="order 17") == 2
    else:
        wait_until(lambda: counter.increment(key, idempotency_key="order 17") > 1)
        assert counter.get(key) == 2
    counter.close()


def test_twins_share_their_idempotency_keys(
    composed: Counter, key: str, runner: asyncio.Runner
) -> None:
    assert composed.increment(key, idempotency_key="order 17") == 1
    assert Blocking(composed, runner).increment(key, idempotency_key="order 17") == 1
