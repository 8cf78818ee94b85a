"""The ttl of what an operation creates."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from django_counter.base import Counter
from django_counter.values import TTL_MAX, Budget, Ttl
from tests.contract.stores import Store

Create = Callable[[Counter, str, Ttl], object]

WITH_TTL: dict[str, Create] = {
    "increment": lambda counter, key, ttl: counter.increment(key, 5, ttl),
    "decrement": lambda counter, key, ttl: counter.decrement(key, 5, ttl),
    "set_if_not_exists": lambda counter, key, ttl: counter.set_if_not_exists(key, 5, ttl),
    "take": lambda counter, key, ttl: counter.take([Budget(key, 10, ttl)]),
    "set": lambda counter, key, ttl: counter.set(key, 5, ttl),
}
# What leaves an existing counter its ttl.
CREATING: dict[str, Create] = {
    **{name: create for name, create in WITH_TTL.items() if name != "set"},
    "increment by 0": lambda counter, key, ttl: counter.increment(key, 0, ttl),
    "denied take": lambda counter, key, ttl: counter.take([Budget(key, 10, ttl)], 100),
}

with_ttl = pytest.mark.parametrize("create", WITH_TTL.values(), ids=WITH_TTL)
creating = pytest.mark.parametrize("create", CREATING.values(), ids=CREATING)


def left(counter: Counter, key: str) -> float:
    """Return the ttl left, of a counter that has one."""
    entry = counter.entry(key)
    assert entry is not None
    assert entry.ttl is not None
    return entry.ttl


@with_ttl
@pytest.mark.parametrize(
    "ttl", [100, 99.5, timedelta(minutes=1, milliseconds=40_000)], ids=["int", "float", "timedelta"]
)
def test_a_ttl_is_seconds_or_a_timedelta(
    counter: Counter, key: str, create: Create, ttl: Ttl
) -> None:
    create(counter, key, ttl)
    assert 50 < left(counter, key) <= 100


@with_ttl
def test_a_ttl_may_be_below_a_second(counter: Counter, key: str, create: Create) -> None:
    create(counter, key, 0.9)
    assert 0 < left(counter, key) <= 0.9


@with_ttl
def test_no_ttl_is_no_expiry(counter: Counter, key: str, create: Create) -> None:
    create(counter, key, None)
    entry = counter.entry(key)
    assert entry is not None
    assert entry.ttl is None


@with_ttl
def test_a_ttl_may_be_100_years(counter: Counter, key: str, create: Create) -> None:
    create(counter, key, timedelta(days=36_525))
    assert TTL_MAX - 50 < left(counter, key) <= TTL_MAX


@with_ttl
def test_a_ttl_is_kept_in_whole_milliseconds(counter: Counter, key: str, create: Create) -> None:
    create(counter, key, 100.0004)
    ttl = left(counter, key)
    assert ttl <= 100
    assert ttl == round(ttl, 3)


@with_ttl
def test_a_counter_is_missing_after_its_ttl(
    counter: Counter, key: str, store: Store, create: Create
) -> None:
    create(counter, key, store.short)
    store.outlive(key)
    assert counter.entry(key) is None
    assert counter.get(key) == 0
    assert counter.multi_get([key]) == {key: 0}
    assert counter.decrement_if_exists(key) == (0, False, False)
    assert counter.set(key, 1, if_equal=5) is False
    assert list(counter.scan(key)) == []


@with_ttl
def test_an_expired_counter_is_created_anew(
    counter: Counter, key: str, store: Store, create: Create
) -> None:
    counter.set(key, 1000, 0.005)
    store.outlive(key)
    create(counter, key, 100)
    entry = counter.entry(key)
    assert entry is not None
    assert abs(entry.value) <= 10
    assert entry.ttl is not None
    assert 50 < entry.ttl <= 100


@with_ttl
def test_an_expired_counter_leaves_no_ttl(
    counter: Counter, key: str, store: Store, create: Create
) -> None:
    counter.set(key, 1000, 0.005)
    store.outlive(key)
    create(counter, key, None)
    entry = counter.entry(key)
    assert entry is not None
    assert entry.ttl is None


@creating
@pytest.mark.parametrize("value", [7, 0])
def test_an_existing_counter_keeps_its_ttl(
    counter: Counter, key: str, create: Create, value: int
) -> None:
    counter.set(key, value, 100)
    create(counter, key, 1000)
    assert 50 < left(counter, key) <= 100


@creating
def test_an_existing_counter_keeps_its_ttl_when_none_is_given(
    counter: Counter, key: str, create: Create
) -> None:
    counter.set(key, 7, 100)
    create(counter, key, None)
    assert 50 < left(counter, key) <= 100


@creating
@pytest.mark.parametrize("value", [7, 0])
def test_an_existing_counter_without_a_ttl_gets_none(
    counter: Counter, key: str, create: Create, value: int
) -> None:
    counter.set(key, value)
    create(counter, key, 100)
    entry = counter.entry(key)
    assert entry is not None
    assert entry.ttl is None


@creating
def test_the_ttl_does_not_start_again(counter: Counter, key: str, create: Create) -> None:
    create(counter, key, 100)
    create(counter, key, 1000)
    assert 50 < left(counter, key) <= 100


def test_an_increment_back_to_the_amount_keeps_the_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 0, 100)
    assert counter.increment(key, 5, 1000) == 5  # the sum of a counter just created, too
    assert 50 < left(counter, key) <= 100


def test_a_counter_of_1_millisecond_is_created(counter: Counter, key: str, store: Store) -> None:
    assert counter.increment(key, 5, 0.001) == 5
    store.outlive(key)
    assert counter.get(key) == 0


def test_a_dying_counter_is_as_good_as_any(counter: Counter, key: str, store: Store) -> None:
    counter.set(f"{key}short", 5, 0.005)
    counter.set(f"{key}long", 5, 100)
    store.outlive(f"{key}short")
    assert [entry.key for entry in counter.scan(key)] == [f"{key}long"]
    assert counter.multi_get([f"{key}short", f"{key}long"]) == {f"{key}short": 0, f"{key}long": 5}


def test_take_after_the_ttl_starts_with_the_limit(counter: Counter, key: str, store: Store) -> None:
    counter.set(key, 0, 0.005)
    store.outlive(key)
    assert counter.take([Budget(key, 3, 100)]) == [(2, True, True)]
