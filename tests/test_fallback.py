"""The fallback: another alias while a counter is unavailable, and back."""

import asyncio
import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.test import override_settings

from django_counter import (
    Budget,
    Counter,
    CounterConfigError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterTypeError,
    CounterUnavailable,
    Operation,
    Timer,
    counters,
)
from django_counter.middleware import CounterMiddleware, FallbackMiddleware
from django_counter.values import INT64_MAX
from tests.contract.stores import Blocking

MEMORY = "django_counter.backends.memory.MemoryCounter"

# Each on a counter that holds 5 there and 50 on the other alias: what they answer, what is left.
CALLS: dict[str, tuple[tuple[Any, ...], Any, int | None, Any, int | None]] = {
    "increment": (("key", 2), 7, 7, 52, 52),
    "multi_increment": (({"key": 2},), {"key": 7}, 7, {"key": 52}, 52),
    "get": (("key",), 5, 5, 50, 50),
    "multi_get": ((["key"],), {"key": 5}, 5, {"key": 50}, 50),
    "decrement": (("key", 2), 3, 3, 48, 48),
    "decrement_if_exists": (("key", 2), (3, True, True), 3, (48, True, True), 48),
    "set_if_not_exists": (("key", 9), False, 5, False, 50),
    "delete": (("key",), None, None, None, None),
    "take": (([Budget("key", 9, None)], 2), [(3, True, True)], 3, [(48, True, True)], 48),
    "refund": (([Budget("key", 100, None)], 2), None, 7, None, 52),
    "advance": (([Timer("key", 0, 1, 99, None)], 2), [(7, True)], 7, [(52, True)], 52),
    "set": (("key", 9), True, 9, True, 9),
    "run_all": (([Operation("increment", ("key", 2), {})],), [7], 7, [52], 52),
    "entry": (("key",), ("key", 5, None), 5, ("key", 50, None), 50),
}
each_operation = pytest.mark.parametrize("operation", CALLS)
# A batch has its errors in its answer.
each_raising = pytest.mark.parametrize("operation", [name for name in CALLS if name != "run_all"])


class Server(CounterMiddleware):
    """Raises `error`, where there is one."""

    error: Exception | None = None

    def around(self, operation: str, keys: tuple[str, ...]) -> Any:
        if self.error and operation != "close":
            raise self.error
        return super().around(operation, keys)


fallback = partial(FallbackMiddleware, alias="other")


def entry(*middleware: str) -> dict[str, Any]:
    return {"BACKEND": MEMORY, "MIDDLEWARE": [f"{__name__}.{name}" for name in middleware]}


@pytest.fixture
def composed() -> Iterator[FallbackMiddleware]:
    """The counter of an alias with a fallback; both hold a "key"."""
    with override_settings(COUNTERS={"default": entry("fallback", "Server"), "other": entry()}):
        counters["default"].set("key", 5)
        counters["other"].set("key", 50)
        made: Any = counters["default"]
        yield made


@pytest.fixture
def server(composed: FallbackMiddleware) -> Any:
    return composed.next


@pytest.fixture(params=["sync", "async"])
def counter(
    request: pytest.FixtureRequest, composed: FallbackMiddleware
) -> Iterator[Counter | Blocking]:
    """Its operations, of the one kind or the other."""
    if request.param == "sync":
        yield composed
        return
    with asyncio.Runner() as runner:
        yield Blocking(composed, runner)


def left(counter: Counter) -> int | None:
    found = counter.entry("key")
    return found and found.value


def test_every_operation_but_scans_and_close_is_tested_here() -> None:
    operations = {name for name in Counter.__abstractmethods__ if name in vars(FallbackMiddleware)}
    assert operations == {*CALLS, *(f"a{operation}" for operation in CALLS)}
    missing = Counter.__abstractmethods__ - operations
    assert missing == {"scan", "ascan", "scan_page", "ascan_page", "close", "aclose"}


@each_operation
def test_a_call_is_made_on_this_counter(counter: Any, server: Any, operation: str) -> None:
    args, answer, held, *_ = CALLS[operation]
    assert getattr(counter, operation)(*args) == answer
    assert (left(server), left(counters["other"])) == (held, 50)


@each_operation
def test_a_call_is_made_on_the_other_alias_while_this_one_is_unavailable(
    counter: Any, server: Any, operation: str
) -> None:
    args, _, _, answer, held = CALLS[operation]
    server.error = CounterUnavailable("down")
    assert getattr(counter, operation)(*args) == answer
    assert left(counters["other"]) == held
    server.error = None
    assert left(server) == 5


def test_it_goes_back_by_itself(counter: Any, server: Any) -> None:
    assert counter.increment("key") == 6
    server.error = CounterUnavailable("down")
    assert counter.increment("key") == 51
    server.error = None
    assert counter.increment("key") == 7
    assert counters["other"].get("key") == 51


@pytest.mark.parametrize(
    "error",
    [
        CounterOutcomeUnknown("increment", "key", 1),
        CounterTypeError("no counter"),
        CounterOverflow("too much"),
        CounterConfigError("wrong password"),
        ValueError("bad"),
    ],
    ids=lambda error: type(error).__name__,
)
@each_raising
def test_after_another_error_nothing_is_asked_of_the_other_alias(
    counter: Any, server: Any, operation: str, error: Exception
) -> None:
    server.error = error
    with pytest.raises(type(error)) as caught:
        getattr(counter, operation)(*CALLS[operation][0])
    assert caught.value is error
    assert left(counters["other"]) == 50


def run(*keys: str) -> list[Operation]:
    return [Operation("increment", (key, 1, None), {}) for key in keys]


class Half(CounterMiddleware):
    """Cannot reach what has the key "away"."""

    def _reached(self, outcomes: list[Any], operations: Any) -> list[Any]:
        return [
            CounterUnavailable("down") if operation.keys == ("away",) else outcome
            for operation, outcome in zip(operations, outcomes, strict=True)
        ]

    def run_all(self, operations: Any) -> list[Any]:
        return self._reached(super().run_all(operations), operations)

    async def arun_all(self, operations: Any) -> list[Any]:
        return self._reached(await super().arun_all(operations), operations)


def test_what_is_unavailable_of_a_batch_is_made_on_the_other_alias(
    counter: Any, composed: FallbackMiddleware
) -> None:
    composed.next = Half(composed.next)
    assert counter.run_all(run("key", "away", "key")) == [6, 1, 7]
    assert counters["other"].get("away") == 1
    assert counter.multi_increment({"away": 1, "key": 1}) == {"away": 2, "key": 8}
    assert counters["other"].get("key") == 50


def test_what_may_have_been_applied_of_a_batch_is_not_repeated(counter: Any, server: Any) -> None:
    server.error = CounterOutcomeUnknown("increment", "key", 1)
    assert counter.run_all(run("key")) == [server.error]
    with pytest.raises(CounterOutcomeUnknown):
        counter.multi_increment({"key": 1})
    assert left(counters["other"]) == 50


def test_a_bad_ttl_is_refused_without_values_too(counter: Any) -> None:
    with pytest.raises(ValueError, match="ttl must"):
        counter.multi_increment({}, 0)


def test_an_error_of_the_other_alias_has_both_causes(counter: Any, server: Any) -> None:
    server.error = CounterUnavailable("down")
    counters["other"].set("key", INT64_MAX)
    with pytest.raises(CounterOverflow) as caught:
        counter.increment("key")
    assert caught.value.__context__ is server.error


def test_a_scan_is_of_this_counter_only(counter: Any, server: Any) -> None:
    assert [each.value for each in counter.scan()] == [5]
    server.error = CounterUnavailable("down")
    with pytest.raises(CounterUnavailable):
        list(counter.scan())


def test_generators_are_read_once_for_both(counter: Any, server: Any) -> None:
    server.error = CounterUnavailable("down")
    assert counter.multi_get(key for key in ["key"]) == {"key": 50}
    assert counter.multi_get(keys=(key for key in ["key"])) == {"key": 50}
    assert counter.take(each for each in [Budget("key", 9, None)]) == [(49, True, True)]


def test_keywords_are_passed_on(counter: Any, server: Any) -> None:
    for error in (None, CounterUnavailable("down")):
        server.error = error
        for _ in range(2):
            held = counter.increment(key="key", value=2, ttl=60, idempotency_key="order 17")
            assert held == (52 if error else 7)
        assert counter.set("key", 1, if_equal=held) is True


@each_operation
def test_the_signatures_are_those_of_the_contract(operation: str) -> None:
    for name in (operation, f"a{operation}"):
        ours, contract = (getattr(each, name) for each in (FallbackMiddleware, Counter))
        assert inspect.signature(ours) == inspect.signature(contract)


def test_close_leaves_the_other_alias(counter: Any, server: Any) -> None:
    counter.close()
    assert counters["other"].get("key") == 50


# Settings.


def test_an_unknown_alias_is_a_configuration_error() -> None:
    with (
        override_settings(COUNTERS={"default": entry("fallback")}),
        pytest.raises(CounterConfigError, match="COUNTERS has no alias 'other'"),
    ):
        counters["default"]


def test_aliases_that_fall_back_on_each_other_are_a_configuration_error() -> None:
    circle = {"other": entry("fallback")}
    with override_settings(COUNTERS=circle):
        for _ in range(2):
            with pytest.raises(CounterConfigError, match="of 'other' asks for 'other'"):
                counters["other"]
    circle = {"other": entry("back"), "default": entry("fallback")}
    with (
        override_settings(COUNTERS=circle),
        pytest.raises(CounterConfigError, match="of 'other' asks for 'default' asks for 'other'"),
    ):
        counters["other"]


back = partial(FallbackMiddleware, alias="default")
