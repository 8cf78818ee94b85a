"""decrement_if_exists(), set_if_not_exists() and delete()."""

import pytest

from django_counter.base import Counter
from django_counter.values import INT64_MAX, INT64_MIN, DecrementResult


def test_decrement_if_exists_draws_what_is_there(counter: Counter, key: str) -> None:
    counter.set(key, 7)
    assert counter.decrement_if_exists(key, 5) == (2, True, True)
    assert counter.get(key) == 2


def test_decrement_if_exists_draws_1_by_itself(counter: Counter, key: str) -> None:
    counter.set(key, 7)
    assert counter.decrement_if_exists(key).value == 6


def test_decrement_if_exists_draws_down_to_0(counter: Counter, key: str) -> None:
    counter.set(key, 7)
    assert counter.decrement_if_exists(key, 7) == (0, True, True)
    assert counter.get(key) == 0


def test_decrement_if_exists_of_a_missing_one_creates_nothing(counter: Counter, key: str) -> None:
    assert counter.decrement_if_exists(key) == (0, False, False)
    assert counter.entry(key) is None


def test_decrement_if_exists_draws_nothing_from_too_little(counter: Counter, key: str) -> None:
    for held in (4, 0, -1, INT64_MIN):
        counter.set(key, held)
        assert counter.decrement_if_exists(key, 5) == (held, True, False)
        assert counter.get(key) == held


def test_decrement_if_exists_never_goes_below_zero(counter: Counter, key: str) -> None:
    counter.set(key, 10)
    results = [counter.decrement_if_exists(key, 3) for _ in range(5)]
    assert [result.success for result in results] == [True, True, True, False, False]
    assert results[-1].value == 1


def test_decrement_if_exists_answers_with_a_decrement_result(counter: Counter, key: str) -> None:
    counter.set(key, 1)
    for each in (key, key, f"{key}missing"):
        result = counter.decrement_if_exists(each)
        assert type(result) is DecrementResult
        assert [type(field) for field in result] == [int, bool, bool]


@pytest.mark.figure("int64")
@pytest.mark.fault("numbers beyond doubles")
def test_decrement_if_exists_is_exact_over_int64(counter: Counter, key: str) -> None:
    for held, value, left in [
        (INT64_MAX, INT64_MAX, 0),
        (INT64_MAX, 1, INT64_MAX - 1),
        (INT64_MAX, INT64_MAX - 1, 1),
        (2**53 + 1, 2**53, 1),
        (2**53 + 1, 1, 2**53),
        (2**53, 2**53, 0),
        (2**62 + 1, 2**62, 1),
        (10, 9, 1),
        (100, 99, 1),
    ]:
        counter.set(key, held)
        assert counter.decrement_if_exists(key, value) == (left, True, True)
        assert counter.get(key) == left


def test_decrement_if_exists_sells_no_more_than_there_is(counter: Counter, key: str) -> None:
    for held, value in [
        (2**53, 2**53 + 1),  # the same double
        (2**53 + 2, 2**53 + 3),
        (INT64_MAX - 1, INT64_MAX),
        (9, 10),  # the larger as a string
        (99, 100),
        (-INT64_MAX, INT64_MAX),
    ]:
        counter.set(key, held)
        assert counter.decrement_if_exists(key, value) == (held, True, False)
        assert counter.get(key) == held


@pytest.mark.parametrize("value", [1, 50])
def test_decrement_if_exists_keeps_the_ttl(counter: Counter, key: str, value: int) -> None:
    counter.set(key, 5, 100)
    counter.decrement_if_exists(key, value)
    entry = counter.entry(key)
    assert entry is not None
    assert entry.ttl is not None
    assert 50 < entry.ttl <= 100


def test_decrement_if_exists_gives_no_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 5)
    counter.decrement_if_exists(key, 5)
    assert counter.entry(key) == (key, 0, None)


def test_set_if_not_exists_creates_a_missing_counter(counter: Counter, key: str) -> None:
    assert counter.set_if_not_exists(key, 5) is True
    assert counter.entry(key) == (key, 5, None)


def test_set_if_not_exists_leaves_an_existing_counter(counter: Counter, key: str) -> None:
    counter.set(key, 5)
    assert counter.set_if_not_exists(key, 7) is False
    assert counter.get(key) == 5


def test_set_if_not_exists_leaves_an_existing_0(counter: Counter, key: str) -> None:
    counter.set(key, 0)
    assert counter.set_if_not_exists(key, 7) is False
    assert counter.get(key) == 0


def test_set_if_not_exists_creates_after_a_delete(counter: Counter, key: str) -> None:
    counter.set(key, 5)
    counter.delete(key)
    assert counter.set_if_not_exists(key, 7) is True
    assert counter.get(key) == 7


@pytest.mark.parametrize("ttl", [None, 100])
def test_set_if_not_exists_creates_any_int64(counter: Counter, key: str, ttl: int | None) -> None:
    for value in (0, -5, INT64_MAX, INT64_MIN, 2**53 + 1):
        assert counter.set_if_not_exists(f"{key}{value}", value, ttl) is True
        assert counter.get(f"{key}{value}") == value


def test_delete_removes_a_counter(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    counter.delete(key)
    assert counter.entry(key) is None
    assert counter.get(key) == 0


def test_delete_removes_no_other_counter(counter: Counter, key: str) -> None:
    counter.set(f"{key}a", 1)
    counter.set(f"{key}b", 2)
    counter.delete(f"{key}a")
    assert counter.multi_get([f"{key}a", f"{key}b"]) == {f"{key}a": 0, f"{key}b": 2}


def test_delete_of_a_missing_counter_is_no_error(counter: Counter, key: str) -> None:
    counter.delete(key)
    counter.delete(key)


def test_delete_answers_nothing(counter: Counter, key: str) -> None:
    counter.set(key, 5)
    assert counter.delete(key) is None  # type: ignore[func-returns-value]


def test_a_deleted_counter_starts_from_0_without_a_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    counter.delete(key)
    assert counter.increment(key) == 1
    assert counter.entry(key) == (key, 1, None)
