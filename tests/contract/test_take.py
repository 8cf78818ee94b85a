"""take()."""

import pytest

from django_counter.base import Counter
from django_counter.exceptions import CounterTypeError
from django_counter.values import INT64_MAX, INT64_MIN, Budget, DecrementResult


def test_a_missing_budget_starts_with_its_limit(counter: Counter, key: str) -> None:
    assert counter.take([Budget(key, 10, None)], 3) == [(7, True, True)]
    assert counter.get(key) == 7


def test_take_draws_1_by_itself(counter: Counter, key: str) -> None:
    assert counter.take([Budget(key, 10, None)]) == [(9, True, True)]


def test_take_draws_down_to_0(counter: Counter, key: str) -> None:
    budget = Budget(key, 2, None)
    results = [counter.take([budget])[0] for _ in range(4)]
    assert results == [(1, True, True), (0, True, True), (0, True, False), (0, True, False)]


def test_a_missing_budget_is_created_although_denied(counter: Counter, key: str) -> None:
    [result] = counter.take([Budget(key, 10, 100)], 11)
    assert result == (10, True, False)
    entry = counter.entry(key)
    assert entry is not None
    assert entry.value == 10
    assert entry.ttl is not None


def test_take_starts_the_ttl_of_each_budget(counter: Counter, key: str) -> None:
    counter.take(
        [Budget(f"{key}a", 1, 100), Budget(f"{key}b", 1, 1000), Budget(f"{key}c", 1, None)]
    )
    short, long, none = (counter.entry(f"{key}{letter}") for letter in "abc")
    assert short is not None
    assert short.ttl is not None
    assert 50 < short.ttl <= 100
    assert long is not None
    assert long.ttl is not None
    assert 950 < long.ttl <= 1000
    assert none == (f"{key}c", 0, None)


def test_an_existing_budget_keeps_its_value_and_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    counter.take([Budget(key, 1000, 1000)], 2)
    entry = counter.entry(key)
    assert entry is not None
    assert entry.value == 3
    assert entry.ttl is not None
    assert 50 < entry.ttl <= 100


def test_an_existing_budget_without_a_ttl_gets_none(counter: Counter, key: str) -> None:
    counter.set(key, 5)
    counter.take([Budget(key, 10, 100)])
    assert counter.entry(key) == (key, 4, None)


def test_an_existing_budget_at_0_is_not_filled(counter: Counter, key: str) -> None:
    counter.set(key, 0, 100)
    assert counter.take([Budget(key, 10, 1000)]) == [(0, True, False)]
    entry = counter.entry(key)
    assert entry is not None
    assert entry.ttl is not None
    assert 50 < entry.ttl <= 100


def test_an_existing_budget_below_0_is_left(counter: Counter, key: str) -> None:
    for held in (-1, INT64_MIN):
        counter.set(key, held)
        assert counter.take([Budget(key, 10, None)]) == [(held, True, False)]
        assert counter.get(key) == held


def test_the_limit_of_an_existing_budget_is_not_looked_at(counter: Counter, key: str) -> None:
    counter.set(key, 50)
    assert counter.take([Budget(key, 1, None)], 20) == [(30, True, True)]


def test_take_draws_from_all_budgets(counter: Counter, key: str) -> None:
    budgets = [Budget(f"{key}a", 10, None), Budget(f"{key}b", 20, None)]
    assert counter.take(budgets, 3) == [(7, True, True), (17, True, True)]
    assert counter.take(budgets, 3) == [(4, True, True), (14, True, True)]


def test_take_draws_from_none_when_one_has_too_little(counter: Counter, key: str) -> None:
    for short in range(3):
        budgets = [Budget(f"{key}{short}{number}", 10, None) for number in range(3)]
        counter.set(budgets[short].key, 2)
        values = [2 if number == short else 10 for number in range(3)]
        assert counter.take(budgets, 3) == [(value, True, False) for value in values]
        assert list(counter.multi_get([budget.key for budget in budgets]).values()) == values


def test_take_creates_all_missing_budgets_although_one_denies(counter: Counter, key: str) -> None:
    budgets = [Budget(f"{key}a", 10, 100), Budget(f"{key}b", 2, 100), Budget(f"{key}c", 10, 100)]
    counter.take(budgets, 3)
    assert list(counter.multi_get([f"{key}a", f"{key}b", f"{key}c"]).values()) == [10, 2, 10]


def test_take_creates_missing_budgets_beside_existing_ones(counter: Counter, key: str) -> None:
    counter.set(f"{key}a", 5)
    budgets = [Budget(f"{key}a", 10, None), Budget(f"{key}b", 10, None)]
    assert counter.take(budgets, 2) == [(3, True, True), (8, True, True)]


def test_the_results_are_in_the_order_of_the_budgets(counter: Counter, key: str) -> None:
    budgets = [Budget(f"{key}{number}", number, None) for number in (5, 1, 9, 3, 7)]
    assert [result.value for result in counter.take(budgets)] == [4, 0, 8, 2, 6]


def test_take_leaves_at_least_the_floor(counter: Counter, key: str) -> None:
    budget = Budget(key, 10, None, floor=4)
    assert counter.take([budget], 6) == [(4, True, True)]
    assert counter.take([budget], 1) == [(4, True, False)]
    assert counter.get(key) == 4


def test_take_draws_nothing_that_would_go_below_the_floor(counter: Counter, key: str) -> None:
    assert counter.take([Budget(key, 10, None, floor=4)], 7) == [(10, True, False)]


def test_a_floor_above_the_limit_draws_nothing(counter: Counter, key: str) -> None:
    assert counter.take([Budget(key, 10, None, floor=11)]) == [(10, True, False)]


def test_each_budget_has_its_own_floor(counter: Counter, key: str) -> None:
    low, high = Budget(f"{key}a", 10, None, floor=2), Budget(f"{key}b", 10, None, floor=8)
    assert counter.take([low, high], 3) == [(10, True, False), (10, True, False)]
    assert counter.take([low, high], 2) == [(8, True, True), (8, True, True)]


def test_the_floor_is_the_callers_at_each_call(counter: Counter, key: str) -> None:
    assert counter.take([Budget(key, 10, None, floor=9)], 2)[0].success is False
    assert counter.take([Budget(key, 10, None, floor=8)], 2)[0].success is True


def test_take_is_exact_over_int64(counter: Counter, key: str) -> None:
    for limit, floor, cost, left in [
        (10**14 - 1, 0, 1, 10**14 - 2),
        (10**14, 0, 1, 10**14 - 1),
        (10**14, 0, 10**14, 0),
        (INT64_MAX, 0, INT64_MAX, 0),
        (INT64_MAX, 0, 1, INT64_MAX - 1),
        (INT64_MAX, INT64_MAX - 1, 1, INT64_MAX - 1),
        (2**53 + 1, 2**53, 1, 2**53),
        (2**53 + 1, 1, 2**53, 1),
        (2**53 + 3, 0, 2, 2**53 + 1),
    ]:
        counter.delete(key)
        assert counter.take([Budget(key, limit, None, floor)], cost) == [(left, True, True)]
        assert counter.get(key) == left


def test_take_sells_no_more_than_there_is(counter: Counter, key: str) -> None:
    for limit, floor, cost in [
        (INT64_MAX, INT64_MAX, 1),
        (INT64_MAX, INT64_MAX, INT64_MAX),  # their sum is no int64
        (INT64_MAX - 1, 0, INT64_MAX),
        (2**53, 0, 2**53 + 1),
        (2**53 + 1, 2**53 + 1, 1),
        (2**53, 1, 2**53),
        (9, 0, 10),
        (9, 5, 5),
    ]:
        counter.delete(key)
        assert counter.take([Budget(key, limit, None, floor)], cost) == [(limit, True, False)]
        assert counter.get(key) == limit


def test_take_answers_with_decrement_results(counter: Counter, key: str) -> None:
    for cost in (1, 100):
        results = counter.take([Budget(f"{key}a", 10, None), Budget(f"{key}b", 10, None)], cost)
        assert type(results) is list
        for result in results:
            assert type(result) is DecrementResult
            assert [type(field) for field in result] == [int, bool, bool]


def test_take_draws_from_100_budgets_at_once(counter: Counter, key: str) -> None:
    budgets = [Budget(f"{key}{number}", 100 + number, 100) for number in range(100)]
    assert counter.take(budgets, 100) == [(number, True, True) for number in range(100)]


def test_take_takes_any_sequence(counter: Counter, key: str) -> None:
    assert counter.take((Budget(key, 10, None),)) == [(9, True, True)]


def test_take_refuses_no_budgets(counter: Counter) -> None:
    with pytest.raises(ValueError, match=r"^budgets must not be empty"):
        counter.take([])


def test_take_draws_from_thousands_at_once(counter: Counter, key: str) -> None:
    budgets = [Budget(f"{key}{number}", 10, 60) for number in range(9_000)]
    assert {*counter.take(budgets)} == {(9, True, True)}
    assert {*counter.take(budgets)} == {(8, True, True)}


def test_take_refuses_a_key_twice_and_changes_nothing(counter: Counter, key: str) -> None:
    other = Budget(f"{key}other", 10, None)
    with pytest.raises(ValueError, match=r"^budgets must have different keys"):
        counter.take([Budget(key, 10, None), other, Budget(key, 20, 100)])
    assert counter.entry(key) is None
    assert counter.entry(other.key) is None


def test_take_refuses_what_is_not_several_budgets(counter: Counter) -> None:
    for budgets in (
        None,
        5,
        "key",
        Budget("key", 10, None),
        [("key", 10, None, 0)],
        [None],
        [10**10_000],
        [("key", 10**10_000, None, 0)],
    ):
        with pytest.raises(TypeError, match=r"^budgets must be several Budget, not "):
            counter.take(budgets)  # type: ignore[arg-type]


def test_a_bad_budget_changes_no_other(counter: Counter, key: str) -> None:
    counter.set(f"{key}b", 5)
    with pytest.raises(ValueError, match=r"^limit must be "):
        counter.take([Budget(f"{key}a", 10, None), Budget(f"{key}b", 0, None)])
    assert counter.entry(f"{key}a") is None
    assert counter.get(f"{key}b") == 5


def test_a_bad_ttl_of_the_last_budget_changes_no_other(counter: Counter, key: str) -> None:
    with pytest.raises(ValueError, match=r"^ttl must be "):
        counter.take([Budget(f"{key}a", 10, None), Budget(f"{key}b", 10, 0)])
    assert counter.entry(f"{key}a") is None
    assert counter.entry(f"{key}b") is None


def test_take_is_not_mistaken_for_a_type_error(counter: Counter, key: str) -> None:
    with pytest.raises(TypeError) as caught:
        counter.take([Budget(key, 1.5, None)])  # type: ignore[arg-type]
    assert not isinstance(caught.value, CounterTypeError)
