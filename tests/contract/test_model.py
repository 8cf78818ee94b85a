"""Any sequence of operations, on a backend and on a plain-Python model of one."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_counter.base import Counter
from django_counter.exceptions import CounterIdempotencyError, CounterOverflow
from django_counter.values import INT64_MAX, INT64_MIN, Budget, Ttl
from tests.contract.stores import VARIANTS, MemoryStore, Store
from tests.figures import sized

# The same examples in each run: CI fails for a change, never for a lucky find.
SETTINGS = settings(
    max_examples=sized(20, 1000),
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
SLACK = 500  # seconds that a run may take between two steps, and no ttl's end

EDGES = [0, 1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**62, 2**63 - 2, INT64_MAX]
names = st.sampled_from("abc")
values = (
    st.integers(-3, 12)
    | st.sampled_from([*EDGES, *(-edge for edge in EDGES), INT64_MIN])
    | st.integers(INT64_MIN, INT64_MAX)
)
amounts = st.integers(1, 12) | st.sampled_from(EDGES[1:]) | st.integers(1, INT64_MAX)
floors = st.just(0) | st.integers(0, 5) | st.sampled_from(EDGES)
ttls = st.sampled_from([None, 1000, 5000.5, timedelta(hours=3)])


class Model:
    """Counters in a dict, each with its value and when it ends, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.counters: dict[str, tuple[int, float | None]] = {}
        self.tokens: dict[str, tuple[int, int | None, float]] = {}  # value, sum, end

    def get(self, name: str) -> int:
        return self.counters[name][0] if name in self.counters else 0

    def add(self, name: str, amount: int, ttl: Ttl) -> int | None:
        """Return the sum, None for an overflow."""
        if name not in self.counters:
            self.put(name, 0, ttl)
        value, end = self.counters[name]
        if not INT64_MIN <= value + amount <= INT64_MAX:
            return None
        self.counters[name] = (value + amount, end)
        return value + amount

    def put(self, name: str, value: int, ttl: Ttl) -> None:
        seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
        self.counters[name] = (value, None if seconds is None else self.now + seconds)

    def draw(self, name: str, amount: int) -> tuple[int, bool, bool]:
        if name not in self.counters:
            return 0, False, False
        value, end = self.counters[name]
        if value < amount:
            return value, True, False
        self.counters[name] = (value - amount, end)
        return value - amount, True, True

    def take(self, budgets: list[Budget], cost: int) -> list[tuple[int, bool, bool]]:
        for key, limit, ttl, *_ in budgets:
            if key not in self.counters:
                self.put(key, limit, ttl)
        success = all(self.get(key) - cost >= floor for key, _, _, floor, _ in budgets)
        for key, *_ in budgets:
            value, end = self.counters[key]
            self.counters[key] = (value - cost * success, end)
        return [(self.get(key), True, success) for key, *_ in budgets]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tokens = {name: each for name, each in self.tokens.items() if each[2] > self.now}
        for name, (_, end) in list(self.counters.items()):
            if end is not None and end <= self.now:
                del self.counters[name]


class Machine(RuleBasedStateMachine):
    """Every rule does the same to both and compares the answers."""

    store: Store
    counter: Counter
    key: str
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.prefix = f"{self.key}{next(self.numbers)}."

    @rule(name=names, value=values, ttl=ttls)
    def increment(self, name: str, value: int, ttl: Ttl) -> None:
        self._added(self.model.add(name, value, ttl), "increment", name, value, ttl)

    @rule(name=names, value=amounts, ttl=ttls)
    def decrement(self, name: str, value: int, ttl: Ttl) -> None:
        self._added(self.model.add(name, -value, ttl), "decrement", name, value, ttl)

    def _added(self, expected: int | None, operation: str, name: str, *arguments: Any) -> None:
        try:
            result = getattr(self.counter, operation)(self.prefix + name, *arguments)
        except CounterOverflow:
            result = None
        assert result == expected

    @rule(name=names, value=st.integers(1, 2), token=st.sampled_from("xy"))
    def increment_once(self, name: str, value: int, token: str) -> None:
        call = self.prefix + name, value
        known = self.model.tokens.get(name + token)
        if known and known[0] != value:
            with pytest.raises(CounterIdempotencyError):
                self.counter.increment(*call, idempotency_key=token)
            return
        if not known:
            known = value, self.model.add(name, value, None), self.model.now + 600
        try:
            result = self.counter.increment(*call, idempotency_key=token)
        except CounterOverflow:
            result = None
        assert result == known[1]
        if result is not None:
            self.model.tokens[name + token] = known

    @rule(name=names)
    def get(self, name: str) -> None:
        assert self.counter.get(self.prefix + name) == self.model.get(name)

    @rule(several=st.lists(names))
    def multi_get(self, several: list[str]) -> None:
        found = self.counter.multi_get(self.prefix + name for name in several)
        expected = {self.prefix + name: self.model.get(name) for name in several}
        assert list(found.items()) == list(expected.items())

    @rule(name=names, value=amounts)
    def decrement_if_exists(self, name: str, value: int) -> None:
        result = self.counter.decrement_if_exists(self.prefix + name, value)
        assert result == self.model.draw(name, value)

    @rule(name=names, value=values, ttl=ttls)
    def set_if_not_exists(self, name: str, value: int, ttl: Ttl) -> None:
        missing = name not in self.model.counters
        if missing:
            self.model.put(name, value, ttl)
        assert self.counter.set_if_not_exists(self.prefix + name, value, ttl) is missing

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.model.counters.pop(name, None)
        self.counter.delete(self.prefix + name)

    @rule(
        budgets=st.lists(
            st.builds(Budget, names, amounts, ttls, floors, st.none()),
            min_size=1,
            unique_by=lambda budget: budget.key,
        ),
        cost=amounts,
    )
    def take(self, budgets: list[Budget], cost: int) -> None:
        expected = self.model.take(budgets, cost)
        placed = [budget._replace(key=self.prefix + budget.key) for budget in budgets]
        assert self.counter.take(placed, cost) == expected

    @rule(name=names, value=values, ttl=ttls)
    def set(self, name: str, value: int, ttl: Ttl) -> None:
        self.model.put(name, value, ttl)
        assert self.counter.set(self.prefix + name, value, ttl) is True

    @rule(name=names, value=values, ttl=ttls, guess=values | st.none())
    def set_if_equal(self, name: str, value: int, ttl: Ttl, guess: int | None) -> None:
        if guess is None:  # a right one
            guess = self.model.get(name)
        equal = name in self.model.counters and self.model.get(name) == guess
        if equal:
            self.model.put(name, value, ttl)
        assert self.counter.set(self.prefix + name, value, ttl, if_equal=guess) is equal

    @rule()
    def scan(self) -> None:
        found = {entry.key: entry.value for entry in self.counter.scan(self.prefix)}
        assert found == {
            self.prefix + name: value for name, (value, _) in self.model.counters.items()
        }

    @rule()
    def scan_page(self) -> None:
        entries, cursor = self.counter.scan_page(self.prefix)
        while cursor:
            found, cursor = self.counter.scan_page(self.prefix, cursor)
            entries += found
        assert {entry.key: entry.value for entry in entries} == {
            self.prefix + name: value for name, (value, _) in self.model.counters.items()
        }

    @rule()
    def close(self) -> None:
        self.counter.close()

    @precondition(lambda self: isinstance(self.store, MemoryStore))
    @rule(seconds=st.sampled_from([0.001, 999.999, 1000, 5000.5]))
    def wait(self, seconds: float) -> None:
        assert isinstance(self.store, MemoryStore)
        self.store.now += seconds
        self.model.wait(seconds)

    @invariant()
    def values_and_ttls_are_equal(self) -> None:
        for name in "abc":
            entry = self.counter.entry(self.prefix + name)
            if name not in self.model.counters:
                assert entry is None
                continue
            value, end = self.model.counters[name]
            assert entry is not None
            assert entry.value == value
            assert (entry.ttl is None) == (end is None)
            if entry.ttl is not None and end is not None:
                assert end - self.model.now - self._slack <= entry.ttl
                assert entry.ttl <= end - self.model.now + 0.0011

    @property
    def _slack(self) -> float:
        return 0.0011 if isinstance(self.store, MemoryStore) else SLACK


@pytest.mark.figure("int64")
@pytest.mark.parametrize(
    "variant", [v for v in VARIANTS if v.wrapped == v.asynchronous], indirect=True, ids=str
)
def test_a_backend_answers_like_the_model(counter: Counter, store: Store, key: str) -> None:
    bound = type("Machine", (Machine,), {"counter": counter, "store": store, "key": key})
    run_state_machine_as_test(bound, settings=SETTINGS)
