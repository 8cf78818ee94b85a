"""increment() and decrement()."""

import pytest

from django_counter.base import Counter
from django_counter.exceptions import CounterOverflow
from django_counter.values import INT64_MAX, INT64_MIN


def test_a_missing_counter_is_incremented_from_0(counter: Counter, key: str) -> None:
    assert counter.increment(key, 5) == 5
    assert counter.get(key) == 5


def test_increment_adds_1_by_itself(counter: Counter, key: str) -> None:
    counter.set(key, 7)
    assert counter.increment(key) == 8


def test_increment_returns_the_sum(counter: Counter, key: str) -> None:
    counter.set(key, 7)
    assert counter.increment(key, 3) == 10
    assert counter.get(key) == 10


def test_increment_adds_a_value_of_either_sign(counter: Counter, key: str) -> None:
    assert counter.increment(key, -5) == -5
    assert counter.increment(key, 2) == -3
    assert counter.increment(key, -4) == -7


@pytest.mark.parametrize("ttl", [None, 100])
def test_increment_by_0_creates_a_counter(counter: Counter, key: str, ttl: int | None) -> None:
    assert counter.increment(key, 0, ttl) == 0
    entry = counter.entry(key)
    assert entry is not None
    assert entry.value == 0


@pytest.mark.parametrize("ttl", [None, 100])
def test_increment_gives_an_int(counter: Counter, key: str, ttl: int | None) -> None:
    assert type(counter.increment(key, 5, ttl)) is int
    assert type(counter.increment(key, 5, ttl)) is int


def test_a_missing_counter_is_decremented_from_0(counter: Counter, key: str) -> None:
    assert counter.decrement(key, 5) == -5
    assert counter.get(key) == -5


def test_decrement_subtracts_1_by_itself(counter: Counter, key: str) -> None:
    counter.set(key, 7)
    assert counter.decrement(key) == 6


def test_decrement_returns_the_difference(counter: Counter, key: str) -> None:
    counter.set(key, 7)
    assert counter.decrement(key, 3) == 4
    assert counter.get(key) == 4


def test_decrement_may_go_below_zero(counter: Counter, key: str) -> None:
    counter.set(key, 3)
    assert counter.decrement(key, 5) == -2
    assert counter.decrement(key, 5) == -7


@pytest.mark.parametrize("ttl", [None, 100])
def test_decrement_gives_an_int(counter: Counter, key: str, ttl: int | None) -> None:
    assert type(counter.decrement(key, 5, ttl)) is int
    assert type(counter.decrement(key, 5, ttl)) is int


@pytest.mark.figure("int64")
@pytest.mark.fault("numbers beyond doubles")
@pytest.mark.parametrize("ttl", [None, 100])
def test_increment_is_exact_over_int64(counter: Counter, key: str, ttl: int | None) -> None:
    for start, value, total in [
        (INT64_MAX - 1, 1, INT64_MAX),
        (INT64_MIN + 1, -1, INT64_MIN),
        (0, INT64_MAX, INT64_MAX),
        (0, INT64_MIN, INT64_MIN),
        (INT64_MAX, INT64_MIN, -1),
        (INT64_MIN, INT64_MAX, -1),
        (2**53, 1, 2**53 + 1),
        (2**53 + 1, 2, 2**53 + 3),
        (-(2**53), -1, -(2**53) - 1),
        (2**62, 2**62 - 1, INT64_MAX),
        (INT64_MAX, 0, INT64_MAX),
    ]:
        counter.set(key, start)
        assert counter.increment(key, value, ttl) == total
        assert counter.get(key) == total


@pytest.mark.figure("int64")
@pytest.mark.fault("numbers beyond doubles")
@pytest.mark.parametrize("ttl", [None, 100])
def test_increment_creates_any_int64(counter: Counter, key: str, ttl: int | None) -> None:
    for value in (INT64_MAX, INT64_MIN, 2**53 + 1, -(2**53) - 1):
        assert counter.increment(f"{key}{value}", value, ttl) == value
        assert counter.get(f"{key}{value}") == value


@pytest.mark.figure("int64")
@pytest.mark.fault("numbers beyond doubles")
@pytest.mark.parametrize("ttl", [None, 100])
def test_decrement_is_exact_over_int64(counter: Counter, key: str, ttl: int | None) -> None:
    for start, value, difference in [
        (INT64_MIN + 1, 1, INT64_MIN),
        (0, INT64_MAX, -INT64_MAX),
        (-1, INT64_MAX, INT64_MIN),
        (INT64_MAX, INT64_MAX, 0),
        (2**53 + 3, 2, 2**53 + 1),
        (-(2**53), 1, -(2**53) - 1),
    ]:
        counter.set(key, start)
        assert counter.decrement(key, value, ttl) == difference
        assert counter.get(key) == difference


@pytest.mark.figure("int64")
@pytest.mark.fault("numbers beyond doubles")
@pytest.mark.parametrize("ttl", [None, 100])
def test_decrement_creates_the_negative_of_any_amount(
    counter: Counter, key: str, ttl: int | None
) -> None:
    for value in (INT64_MAX, 2**53 + 1):
        assert counter.decrement(f"{key}{value}", value, ttl) == -value
        assert counter.get(f"{key}{value}") == -value


@pytest.mark.figure("int64")
@pytest.mark.fault("int64 overflow")
@pytest.mark.parametrize("ttl", [None, 1000])
def test_an_increment_out_of_int64_changes_neither_value_nor_ttl(
    counter: Counter, key: str, ttl: int | None
) -> None:
    for start, value in [
        (INT64_MAX, 1),
        (INT64_MIN, -1),
        (1, INT64_MAX),
        (-1, INT64_MIN),
        (INT64_MAX, INT64_MAX),
        (INT64_MIN, INT64_MIN),
    ]:
        counter.set(key, start, 100)
        with pytest.raises(CounterOverflow):
            counter.increment(key, value, ttl)
        assert_held(counter, key, start)


@pytest.mark.figure("int64")
@pytest.mark.fault("int64 overflow")
@pytest.mark.parametrize("ttl", [None, 1000])
def test_a_decrement_out_of_int64_changes_neither_value_nor_ttl(
    counter: Counter, key: str, ttl: int | None
) -> None:
    for start, value in [(INT64_MIN, 1), (-2, INT64_MAX), (INT64_MIN, INT64_MAX)]:
        counter.set(key, start, 100)
        with pytest.raises(CounterOverflow):
            counter.decrement(key, value, ttl)
        assert_held(counter, key, start)


def test_an_overflow_gives_no_ttl_to_a_counter_without(counter: Counter, key: str) -> None:
    counter.set(key, INT64_MAX)
    with pytest.raises(CounterOverflow):
        counter.increment(key, 1, 100)
    assert counter.entry(key) == (key, INT64_MAX, None)


def test_an_overflow_names_the_key(counter: Counter, key: str) -> None:
    counter.set(key, INT64_MAX)
    with pytest.raises(CounterOverflow, match=repr(key)):
        counter.increment(key)


def test_counters_are_apart(counter: Counter, key: str) -> None:
    counter.increment(f"{key}a", 1)
    counter.increment(f"{key}b", 2)
    assert counter.get(f"{key}a") == 1
    assert counter.get(f"{key}b") == 2


def assert_held(counter: Counter, key: str, value: int) -> None:
    """Assert that it has this value, and goes on with a ttl of 100 s."""
    entry = counter.entry(key)
    assert entry is not None
    assert entry.value == value
    assert entry.ttl is not None
    assert 50 < entry.ttl <= 100
