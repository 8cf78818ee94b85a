"""refund()."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from threading import Barrier
from typing import Any

import pytest
from django.test import override_settings
from django.utils.safestring import mark_safe

from django_counter.backends.redis import RedisCounter
from django_counter.base import Counter
from django_counter.exceptions import CounterTypeError, CounterUnavailable
from django_counter.values import INT64_MAX, INT64_MIN, Budget
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


def test_a_cost_that_was_drawn_is_given_back(counter: Counter, key: str) -> None:
    budget = Budget(key, 10, None)
    counter.take([budget], 7)
    counter.refund([budget], 3)
    assert counter.get(key) == 6


def test_refund_gives_1_by_itself(counter: Counter, key: str) -> None:
    budget = Budget(key, 10, None)
    counter.take([budget], 7)
    counter.refund([budget])
    assert counter.get(key) == 4


def test_refund_returns_nothing(counter: Counter, key: str) -> None:
    counter.take([Budget(key, 10, None)], 7)
    result: object = counter.refund([Budget(key, 10, None)])
    assert result is None


def test_a_budget_gets_no_more_than_its_limit(counter: Counter, key: str) -> None:
    for held, cost, left in [
        (0, 10, 10),
        (0, 1, 1),
        (1, 9, 10),
        (1, 10, 10),
        (9, 1, 10),
        (9, 2, 10),
        (9, 10, 10),
        (10, 1, 10),
        (10, 10, 10),
    ]:
        counter.set(key, held)
        counter.refund([Budget(key, 10, None)], cost)
        assert counter.get(key) == left, (held, cost)


def test_a_budget_above_its_limit_is_left(counter: Counter, key: str) -> None:
    for held in (11, 99, 100, 1000, INT64_MAX):
        counter.set(key, held)
        counter.refund([Budget(key, 10, None)], 9)
        assert counter.get(key) == held


def test_a_budget_below_0_gets_the_cost(counter: Counter, key: str) -> None:
    for held, cost in [(-1, 1), (-1, 10), (-100, 10), (INT64_MIN, 10)]:
        counter.set(key, held)
        counter.refund([Budget(key, 10, None)], cost)
        assert counter.get(key) == held + cost


def test_a_missing_budget_stays_missing(counter: Counter, key: str) -> None:
    counter.refund([Budget(key, 10, 100)], 3)
    assert counter.entry(key) is None


def test_a_budget_whose_ttl_has_ended_stays_missing(
    counter: Counter, store: Store, key: str
) -> None:
    counter.take([Budget(key, 10, 0.02)], 3)
    store.outlive(key)
    counter.refund([Budget(key, 10, 100)], 3)
    assert counter.entry(key) is None


@pytest.mark.parametrize("cost", [2, 9], ids=["in part", "up to the limit"])
@pytest.mark.parametrize("ttl", [1000, None])
def test_the_ttl_stays(counter: Counter, key: str, cost: int, ttl: int | None) -> None:
    counter.set(key, 5, 100)
    counter.refund([Budget(key, 10, ttl)], cost)
    entry = counter.entry(key)
    assert entry is not None
    assert entry.value == min(10, 5 + cost)
    assert entry.ttl is not None
    assert 50 < entry.ttl <= 100


@pytest.mark.parametrize("cost", [2, 9], ids=["in part", "up to the limit"])
def test_a_budget_without_a_ttl_gets_none(counter: Counter, key: str, cost: int) -> None:
    counter.set(key, 5)
    counter.refund([Budget(key, 10, 100)], cost)
    assert counter.entry(key) == (key, min(10, 5 + cost), None)


def test_each_budget_has_its_own_limit(counter: Counter, key: str) -> None:
    budgets = [Budget(f"{key}{limit}", limit, None) for limit in (5, 9, 20, 7)]
    for budget in budgets:
        counter.set(budget.key, 4)
    counter.delete(f"{key}7")
    counter.refund(budgets, 5)
    assert list(counter.multi_get([budget.key for budget in budgets]).values()) == [5, 9, 9, 0]
    assert counter.entry(f"{key}7") is None


def test_the_floor_is_not_looked_at(counter: Counter, key: str) -> None:
    counter.set(key, 2)
    counter.refund([Budget(key, 10, None, floor=9)], 3)
    assert counter.get(key) == 5


def test_a_refund_undoes_a_take(counter: Counter, key: str) -> None:
    budgets = [Budget(f"{key}{number}", 10 + number, 100) for number in range(5)]
    counter.take(budgets, 3)
    before = counter.multi_get([budget.key for budget in budgets])
    counter.take(budgets, 6)
    counter.refund(budgets, 6)
    assert counter.multi_get([budget.key for budget in budgets]) == before


def test_refund_is_exact_over_int64(counter: Counter, key: str) -> None:
    for limit, held, cost, left in [
        (INT64_MAX, 0, INT64_MAX, INT64_MAX),
        (INT64_MAX, INT64_MAX - 1, 1, INT64_MAX),
        (INT64_MAX, INT64_MAX - 1, 2, INT64_MAX),
        (INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX),
        (INT64_MAX, INT64_MIN, INT64_MAX, -1),
        (INT64_MAX, 2**53, 1, 2**53 + 1),
        (2**53 + 1, 2**53 - 1, 1, 2**53),
        (2**53 + 1, 2**53, 1, 2**53 + 1),
        (2**53 + 1, 2**53, 2, 2**53 + 1),
        (2**53 + 1, 2**53 + 1, 1, 2**53 + 1),
        (2**53 + 3, 2**53 + 2, 2**53, 2**53 + 3),
        (2**53, 2**53 + 1, 1, 2**53 + 1),
    ]:
        counter.set(key, held)
        counter.refund([Budget(key, limit, None)], cost)
        assert counter.get(key) == left, (limit, held, cost)


def test_refund_gives_to_100_budgets_at_once(counter: Counter, key: str) -> None:
    budgets = [Budget(f"{key}{number}", 50 + number, 100) for number in range(100)]
    counter.take(budgets, 50)
    counter.refund(budgets, 50)
    assert list(counter.multi_get([b.key for b in budgets]).values()) == list(range(50, 150))


def test_refund_takes_any_sequence(counter: Counter, key: str) -> None:
    counter.set(key, 5)
    counter.refund([Budget(key, 10, None)])
    counter.refund((Budget(key, 10, None),))
    assert counter.get(key) == 7


# Arguments.


@pytest.fixture
def drawn(counter: Counter, key: str) -> Any:
    """Two budgets, one of them drawn, which nothing may become of."""
    budgets = [Budget(f"{key}missing", 10, 100), Budget(f"{key}drawn", 10, 100)]
    counter.set(f"{key}drawn", 4)
    yield budgets
    assert counter.entry(f"{key}missing") is None
    assert counter.entry(f"{key}drawn") == (f"{key}drawn", 4, None)


def test_a_cost_above_a_limit_is_refused(counter: Counter, drawn: list[Budget], key: str) -> None:
    with pytest.raises(ValueError, match=r"^cost must be at most the limit 10, not 11 "):
        counter.refund(drawn, 11)
    with pytest.raises(ValueError, match=r"^cost must be at most the limit 3, not 4 "):
        counter.refund([*drawn, Budget(f"{key}small", 3, None)], 4)


def test_a_cost_that_is_no_positive_int64_is_refused(counter: Counter, drawn: list[Budget]) -> None:
    for cost in NO_INT:
        with pytest.raises(TypeError, match=r"^cost must be an int, not "):
            counter.refund(drawn, cost)  # type: ignore[arg-type]
    for cost in (0, -1, INT64_MIN, *NO_INT64):
        with pytest.raises(ValueError, match=r"^cost must be from 1 .*, not "):
            counter.refund(drawn, cost)


def test_a_budget_with_a_bad_key_is_refused(counter: Counter, drawn: list[Budget]) -> None:
    for key in NO_STR:
        with pytest.raises(TypeError, match=r"^key must be a str, not "):
            counter.refund([*drawn, Budget(key, 10, None)])  # type: ignore[arg-type]
    for key in NO_KEY:
        with pytest.raises(ValueError, match=r"^key must "):
            counter.refund([*drawn, Budget(key, 10, None)])


@pytest.mark.parametrize("name", ["limit", "floor"])
def test_a_budget_with_a_bad_number_is_refused(
    counter: Counter, drawn: list[Budget], key: str, name: str
) -> None:
    good = Budget(f"{key}other", 10, None)
    for value in NO_INT:
        with pytest.raises(TypeError, match=rf"^{name} must be an int, not "):
            counter.refund([*drawn, good._replace(**{name: value})])
    for value in (-1, INT64_MIN, *NO_INT64):
        with pytest.raises(ValueError, match=rf"^{name} must be from [01] .*, not "):
            counter.refund([*drawn, good._replace(**{name: value})])


def test_a_budget_with_a_bad_ttl_is_refused(
    counter: Counter, drawn: list[Budget], key: str
) -> None:
    for ttl in NO_SECONDS:
        with pytest.raises(TypeError, match=r"^ttl must be seconds .*, not "):
            counter.refund([*drawn, Budget(f"{key}other", 10, ttl)])
    for ttl in NO_TTL:
        with pytest.raises(ValueError, match=r"^ttl must be from .*, not "):
            counter.refund([*drawn, Budget(f"{key}other", 10, ttl)])


def test_refund_refuses_no_budgets(counter: Counter) -> None:
    with pytest.raises(ValueError, match=r"^budgets must not be empty"):
        counter.refund([])


def test_refund_refuses_a_key_twice(counter: Counter, drawn: list[Budget]) -> None:
    with pytest.raises(ValueError, match=r"^budgets must have different keys"):
        counter.refund([*drawn, drawn[1]])


def test_refund_refuses_what_is_not_several_budgets(counter: Counter) -> None:
    bad: Any
    for bad in (None, 5, "key", Budget("key", 10, None), [("key", 10, None, 0)], [None]):
        with pytest.raises(TypeError, match=r"^budgets must be several Budget, not "):
            counter.refund(bad)


def test_subclasses_of_str_and_int_are_arguments(counter: Counter, key: str) -> None:
    size = IntEnum("Size", {"TWO": 2, "TEN": 10})
    counter.set(key, 5)
    counter.refund([Budget(mark_safe(key), size.TEN, None)], size.TWO)
    assert counter.get(key) == 7


def test_a_bad_argument_is_refused_before_anything_is_sent(runner: asyncio.Runner) -> None:
    with override_settings(CACHES={"default": server_cache(f"redis://127.0.0.1:{free_port()}")}):
        nowhere = RedisCounter()
    for counter in (nowhere, Blocking(nowhere, runner)):
        with pytest.raises(CounterUnavailable, match="refund"):
            counter.refund([Budget("key", 10, None)])
        for budgets, cost in (
            ([], 1),
            ([Budget("", 10, None)], 1),
            ([Budget("key", 10, None)], 0),
            ([Budget("key", 10, None)], 11),
        ):
            with pytest.raises(ValueError, match=r"^(budgets|key|cost) must "):
                counter.refund(budgets, cost)
    runner.run(nowhere.aclose())


# On servers.


@pytest.mark.parametrize("variant", ON_SERVERS, indirect=True, ids=str)
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_refund_changes_no_budget_when_one_is_no_counter(
    counter: Counter, store: RedisStore, key: str, bad: int
) -> None:
    budgets = [Budget(f"{key}{number}", 10, 100) for number in range(3)]
    existing, missing = (budgets[number].key for number in range(3) if number != bad)
    counter.set(existing, 5)
    for name, stored in NO_COUNTERS.items():
        counter.delete(budgets[bad].key)
        store.write(budgets[bad].key, stored)
        before = store.dump(budgets[bad].key)
        with pytest.raises(CounterTypeError):
            counter.refund(budgets, 2)
        assert store.dump(budgets[bad].key) == before, name
        assert counter.entry(existing) == (existing, 5, None)
        assert counter.entry(missing) is None


@pytest.mark.parametrize("variant", ON_ONE_SERVER, indirect=True, ids=str)
def test_a_refund_is_one_command(counter: Counter, store: RedisStore, key: str) -> None:
    budgets = [Budget(key + letter, 10, 100) for letter in "abc"]
    counter.take(budgets, 5)
    counter.refund(budgets)
    commands_of(store, lambda: None)  # connects who asks for them
    assert commands_of(store, lambda: counter.refund(budgets, 2)) == ["EVALSHA"]


@pytest.mark.parametrize("variant", ON_ONE_SERVER, indirect=True, ids=str)
def test_a_refund_whose_script_the_server_forgot_is_given_once(
    counter: Counter, store: RedisStore, key: str
) -> None:
    counter.set(key, 1)
    store.client.script_flush()
    counter.refund([Budget(key, 10, None)], 3)
    assert counter.get(key) == 4


@pytest.mark.parametrize("variant", [v for v in VARIANTS if not v.wrapped], indirect=True, ids=str)
def test_takes_and_refunds_at_once_leave_what_they_should(
    variant: Variant, composed: Counter, counter: Counter, key: str, runner: asyncio.Runner
) -> None:
    budgets = [Budget(f"{key}a", 100, 100), Budget(f"{key}b", 90, 100)]

    async def work_in_task() -> None:
        for _ in range(10):
            assert (await composed.atake(budgets, 3))[0].success
            await composed.arefund(budgets, 2)

    async def tasks() -> None:
        await asyncio.gather(*(work_in_task() for _ in range(5)))

    def work(barrier: Barrier) -> None:
        barrier.wait()
        for _ in range(10):
            assert composed.take(budgets, 3)[0].success
            composed.refund(budgets, 2)

    def threads() -> None:
        barrier = Barrier(5)
        with ThreadPoolExecutor(5) as pool:
            for each in [pool.submit(work, barrier) for _ in range(5)]:
                each.result()

    run: Callable[[], None] = (lambda: runner.run(tasks())) if variant.asynchronous else threads
    run()
    assert counter.multi_get([f"{key}a", f"{key}b"]) == {f"{key}a": 50, f"{key}b": 40}
