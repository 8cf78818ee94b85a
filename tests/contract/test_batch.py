"""batch(): many operations that leave together."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from django_counter.base import Counter
from django_counter.batch import Batch, Operation
from django_counter.exceptions import CounterIdempotencyError, CounterOverflow, CounterTypeError
from django_counter.values import INT64_MAX, Budget, Timer
from tests.contract.stores import ON_ONE_SERVER, ON_REAL_SERVERS, ON_SERVERS, RedisStore
from tests.contract.test_round_trips import commands_of

# Each on a counter that holds 10.
CALLS: dict[str, Callable[[Any, str], Any]] = {
    "increment": lambda counter, key: counter.increment(key, 3),
    "increment with a ttl": lambda counter, key: counter.increment(key, 3, 60),
    "increment with a token": lambda counter, key: counter.increment(key, 3, idempotency_key="a"),
    "get": lambda counter, key: counter.get(key),
    "decrement": lambda counter, key: counter.decrement(key, 3),
    "decrement with a ttl": lambda counter, key: counter.decrement(key, 3, 60),
    "decrement with a token": lambda counter, key: counter.decrement(key, 3, idempotency_key="a"),
    "decrement_if_exists": lambda counter, key: counter.decrement_if_exists(key, 3),
    "decrement_if_exists with a token": lambda counter, key: counter.decrement_if_exists(
        key, 30, idempotency_key="a"
    ),
    "set_if_not_exists": lambda counter, key: counter.set_if_not_exists(key, 3),
    "set_if_not_exists of a missing one": lambda counter, key: counter.set_if_not_exists(
        f"{key}missing", 3, 60
    ),
    "delete": lambda counter, key: counter.delete(key),
    "take": lambda counter, key: counter.take([Budget(key, 20, 60)], 3),
    "take with a token": lambda counter, key: counter.take(
        [Budget(key, 20, 60)], 3, idempotency_key="a"
    ),
    "refund": lambda counter, key: counter.refund([Budget(key, 20, 60)], 3),
    "advance": lambda counter, key: counter.advance([Timer(key, 0, 2, 99, 60)], 3),
    "advance with a token": lambda counter, key: counter.advance(
        [Timer(key, 0, 2, 99, 60)], 3, idempotency_key="a"
    ),
    "set": lambda counter, key: counter.set(key, 3),
    "set with if_equal": lambda counter, key: counter.set(key, 3, if_equal=9),
    "entry": lambda counter, key: counter.entry(key),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def test_a_batch_has_every_operation_of_one_answer() -> None:
    names = {name for name in vars(Batch) if not name.startswith("_")}
    several = {"multi_increment", "multi_get", "scan", "scan_page", "run_all", "close"}
    assert names == {n for n in Counter.__abstractmethods__ if f"a{n}" in dir(Counter)} - several
    for name in names:
        ours, contract = getattr(Batch, name), getattr(Counter, name)
        parameters = inspect.signature(contract).parameters
        assert inspect.signature(ours).parameters == parameters
        assert ours.__doc__ == f"See Counter.{name}()."


@each_call
def test_an_operation_answers_in_a_batch_as_by_itself(
    counter: Counter, key: str, call: Callable[[Any, str], Any]
) -> None:
    for each in (f"{key}alone", f"{key}batch"):
        counter.set(each, 10)
    alone = call(counter, f"{key}alone")
    with counter.batch() as batch:
        pending = call(batch, f"{key}batch")
    answer = pending.result()
    assert type(answer) is type(alone)
    if hasattr(alone, "key"):
        alone = alone._replace(key=answer.key)
    assert answer == alone
    assert counter.get(f"{key}batch") == counter.get(f"{key}alone")


def test_operations_are_applied_in_the_order_recorded(counter: Counter, key: str) -> None:
    with counter.batch() as batch:
        pending = [
            batch.set(key, 5),
            batch.increment(key, 2),
            batch.get(key),
            batch.decrement(key, 3),
            batch.decrement_if_exists(key, 9),
            batch.delete(key),
            batch.get(key),
        ]
    answers = [each.result() for each in pending]
    assert answers == [True, 7, 7, 4, (4, True, False), None, 0]


def test_a_result_is_there_as_often_as_it_is_asked_for(counter: Counter, key: str) -> None:
    with counter.batch() as batch:
        pending = batch.increment(key)
    assert [pending.result(), pending.result()] == [1, 1]


def test_there_is_no_result_before_the_end_of_the_block(counter: Counter, key: str) -> None:
    with counter.batch() as batch:
        pending = batch.increment(key)
        with pytest.raises(RuntimeError, match="after its block"):
            pending.result()
        assert counter.get(key) == 0
    assert pending.result() == 1


def test_a_block_that_raises_sends_nothing(counter: Counter, key: str) -> None:
    pending = []

    def block() -> None:
        with counter.batch() as batch:
            pending.append(batch.increment(key))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        block()
    with pytest.raises(RuntimeError, match="after its block"):
        pending[0].result()
    assert counter.entry(key) is None


def test_operations_are_recorded_inside_the_block_only(counter: Counter, key: str) -> None:
    block = counter.batch()
    with block as batch:
        pass
    with pytest.raises(RuntimeError, match="inside its block"):
        batch.increment(key)
    assert counter.entry(key) is None


def test_an_empty_batch_does_nothing(counter: Counter) -> None:
    with counter.batch():
        pass
    assert counter.run_all([]) == []


def test_a_batch_may_be_used_again(composed: Counter, key: str) -> None:
    batch = composed.batch()
    sums = []
    for _ in range(2):
        with batch:
            sums.append(batch.increment(key))
    assert [each.result() for each in sums] == [1, 2]


BAD: dict[str, tuple[type[Exception], Callable[[Any, str], Any]]] = {
    "key": (TypeError, lambda batch, key: batch.increment(5)),
    "list as a key": (TypeError, lambda batch, key: batch.get(["a"])),
    "empty key": (ValueError, lambda batch, key: batch.get("")),
    "value": (TypeError, lambda batch, key: batch.increment(key, "1")),
    "large value": (ValueError, lambda batch, key: batch.increment(key, 2**63)),
    "amount": (ValueError, lambda batch, key: batch.decrement(key, 0)),
    "ttl": (ValueError, lambda batch, key: batch.set(key, 1, 0)),
    "if_equal": (TypeError, lambda batch, key: batch.set(key, 1, if_equal="1")),
    "token": (ValueError, lambda batch, key: batch.increment(key, idempotency_key="")),
    "no budgets": (ValueError, lambda batch, key: batch.take([])),
    "budget": (TypeError, lambda batch, key: batch.take([key])),
    "refund": (ValueError, lambda batch, key: batch.refund([Budget(key, 1, None)], 2)),
    "timer": (TypeError, lambda batch, key: batch.advance(5)),
    "cost": (ValueError, lambda batch, key: batch.advance([Timer(key, 0, 1, 9, None)], 0)),
}


@pytest.mark.parametrize("operation", ["take", "refund", "advance"])
def test_budgets_and_timers_that_cannot_be_are_refused_at_once(
    composed: Counter, operation: str
) -> None:
    bad = Timer("", 0, 1, 9, 60) if operation == "advance" else Budget("", 1, 60)
    batch = composed.batch()
    with batch, pytest.raises(ValueError, match="key"):
        getattr(batch, operation)([bad])


@pytest.mark.parametrize(("error", "call"), BAD.values(), ids=BAD)
def test_a_refused_argument_is_raised_and_nothing_is_sent(
    counter: Counter, key: str, error: type[Exception], call: Callable[[Any, str], Any]
) -> None:
    def block() -> None:
        with counter.batch() as batch:
            batch.increment(key)
            call(batch, key)
            batch.increment(key)

    with pytest.raises(error) as caught:
        block()
    assert type(caught.value) is error
    assert counter.entry(key) is None


def test_budgets_and_timers_may_be_generators(counter: Counter, key: str) -> None:
    with counter.batch() as batch:
        taken = batch.take(each for each in [Budget(f"{key}a", 9, None)])
        moved = batch.advance(each for each in [Timer(f"{key}b", 0, 1, 9, None)])
    assert (taken.result(), moved.result()) == ([(8, True, True)], [(1, True)])


def test_an_error_of_one_operation_is_its_own(counter: Counter, key: str) -> None:
    counter.set(f"{key}full", INT64_MAX)
    with counter.batch() as batch:
        first = batch.increment(key)
        full = batch.increment(f"{key}full")
        second = batch.increment(key)
    with pytest.raises(CounterOverflow):
        full.result()
    assert (first.result(), second.result()) == (1, 2)
    assert counter.get(f"{key}full") == INT64_MAX


def test_increments_of_any_keys_and_values_are_applied(counter: Counter, key: str) -> None:
    longest = key + "x" * (512 - len(key))
    with counter.batch() as batch:
        sums = [batch.increment(each, -5) for each in (key, longest, f"{key}é", key)]
    assert [each.result() for each in sums] == [-5, -5, -5, -10]
    assert counter.multi_get([key, longest, f"{key}é"]) == {key: -10, longest: -5, f"{key}é": -5}


@pytest.mark.parametrize("variant", ON_SERVERS, indirect=True, ids=str)
@pytest.mark.parametrize("stored", [b"abc", [b"1"]], ids=["text", "list"])
def test_what_is_no_counter_is_the_error_of_that_operation(
    counter: Counter, store: RedisStore, key: str, stored: Any
) -> None:
    store.write(f"{key}other", stored)
    with counter.batch() as batch:
        first = batch.increment(key)
        others = [
            batch.increment(f"{key}other"),
            batch.get(f"{key}other"),
            batch.take([Budget(f"{key}other", 9, 60)]),
            batch.entry(f"{key}other"),
        ]
        second = batch.entry(key)
    for other in others:
        with pytest.raises(CounterTypeError):
            other.result()
    assert (first.result(), second.result()) == (1, (key, 1, None))


def test_an_idempotency_key_holds_in_a_batch_and_across(counter: Counter, key: str) -> None:
    with counter.batch() as batch:
        sums = [batch.increment(key, 3, idempotency_key="order 17") for _ in range(2)]
        other = batch.increment(key, 4, idempotency_key="order 17")
        drawn = batch.decrement_if_exists(key, 1, idempotency_key="order 18")
    assert [each.result() for each in sums] == [3, 3]
    with pytest.raises(CounterIdempotencyError):
        other.result()
    assert drawn.result() == (2, True, True)
    assert counter.increment(key, 3, idempotency_key="order 17") == 3
    assert counter.get(key) == 2


@pytest.mark.parametrize("variant", ON_REAL_SERVERS, indirect=True, ids=str)
def test_a_batch_of_10001_operations_is_answered_whole(counter: Counter, key: str) -> None:
    with counter.batch() as batch:
        sums = [batch.increment(key) for _ in range(10_001)]
    assert [each.result() for each in sums] == list(range(1, 10_002))


def test_run_all_answers_with_errors_in_their_places(counter: Counter, key: str) -> None:
    counter.set(f"{key}full", INT64_MAX)
    operations = [
        Operation("increment", (f"{key}full", 5, None), {}),
        Operation("increment", (key, 5, None), {}),
    ]
    full, answer = counter.run_all(operations)
    assert type(full) is CounterOverflow
    assert answer == 5


on_one_server = pytest.mark.parametrize("variant", ON_ONE_SERVER, indirect=True, ids=str)


@on_one_server
def test_each_operation_is_one_command(counter: Counter, store: RedisStore, key: str) -> None:
    counter.increment(key, 1, 60)

    def work() -> None:
        with counter.batch() as batch:
            batch.increment(key)
            batch.get(key)
            batch.increment(key, 1, 60)
            batch.increment(key, 1, 60)
            batch.delete(key)

    # The first run of a script has its source: were it unknown, it would be applied too late.
    assert commands_of(store, work) == ["INCRBY", "GET", "EVAL", "EVALSHA", "DEL"]


@on_one_server
def test_scripts_that_the_server_forgot_run_in_their_places(
    counter: Counter, store: RedisStore, key: str
) -> None:
    counter.get(key)
    store.client.script_flush()
    with counter.batch() as batch:
        pending = [
            batch.increment(key, 5, 60),
            batch.take([Budget(key, 9, None)], 2),
            batch.get(key),
            batch.set(key, 7),
            batch.increment(key, 1, 60),
        ]
    answers = [each.result() for each in pending]
    assert answers == [5, [(3, True, True)], 3, True, 8]


@on_one_server
def test_an_empty_batch_asks_nothing(counter: Counter, store: RedisStore) -> None:
    def work() -> None:
        with counter.batch():
            pass

    assert commands_of(store, work) == []
