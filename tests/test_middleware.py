"""Counters that wrap a counter."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any
from unittest.mock import create_autospec

import pytest

from django_counter.backends.memory import MemoryCounter
from django_counter.base import Counter
from django_counter.batch import Operation
from django_counter.exceptions import CounterOverflow, CounterUnavailable
from django_counter.middleware import CounterMiddleware, LoggingMiddleware
from django_counter.values import INT64_MAX, Budget, Entry, Page, Timer, Ttl

BUDGETS = [Budget("a", 10, None), Budget("b", 20, 60.0)]
TIMERS = [Timer("c", 0, 1, 10, None), Timer("d", 5, 2, 20, 60.0)]
OPERATIONS = [Operation("get", ("key",), {}), Operation("take", (BUDGETS, 3), {})]

# How each operation is called here: its arguments, and the keys that around() is told.
CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[str, ...]]] = {
    "increment": (("key", 5, 60), {}, ("key",)),
    "multi_increment": (({"b": 5, "a": 2}, 60), {}, ("b", "a")),
    "get": (("key",), {}, ("key",)),
    "multi_get": ((["b", "a"],), {}, ("b", "a")),
    "decrement": (("key", 5, 60), {}, ("key",)),
    "decrement_if_exists": (("key", 5), {}, ("key",)),
    "set_if_not_exists": (("key", 5, 60), {}, ("key",)),
    "delete": (("key",), {}, ("key",)),
    "take": ((BUDGETS, 3), {}, ("a", "b")),
    "refund": ((BUDGETS, 3), {}, ("a", "b")),
    "advance": ((TIMERS, 3), {}, ("c", "d")),
    "set": (("key", 5, 60), {"if_equal": 4}, ("key",)),
    "entry": (("key",), {}, ("key",)),
    "scan": (("prefix",), {}, ()),
    "scan_page": (("prefix", "5"), {}, ()),
    "run_all": ((OPERATIONS,), {}, ("key", "a", "b")),
    "close": ((), {}, ()),
}
IDEMPOTENT = ["increment", "decrement", "decrement_if_exists", "take", "advance"]
each_operation = pytest.mark.parametrize("operation", CALLS)
# A batch has its errors in its answer.
each_raising = pytest.mark.parametrize("operation", [name for name in CALLS if name != "run_all"])
both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])

Call = Callable[..., Any]


@pytest.fixture
def call(asynchronous: bool) -> Call:
    """Return what calls an operation, or its twin, and returns its answer."""

    def call(counter: Counter, operation: str, *args: Any, **kwargs: Any) -> Any:
        if not asynchronous:
            answer = getattr(counter, operation)(*args, **kwargs)
            return list(answer) if operation == "scan" else answer

        async def wait() -> Any:
            answer = getattr(counter, f"a{operation}")(*args, **kwargs)
            return [entry async for entry in answer] if operation == "scan" else await answer

        return asyncio.run(wait())

    return call


def test_every_operation_is_tested_here() -> None:
    assert {*CALLS, *(f"a{operation}" for operation in CALLS)} == Counter.__abstractmethods__


# Forwarding.


def answering(answer: object) -> Any:
    """Return a counter that gives one answer to everything and knows what it was asked."""
    counter = create_autospec(Counter, instance=True)
    for operation in CALLS:
        getattr(counter, operation).return_value = answer
        getattr(counter, f"a{operation}").return_value = answer
    counter.run_all.return_value = counter.arun_all.return_value = [answer]
    counter.scan.side_effect = lambda prefix: iter([answer])
    counter.ascan.side_effect = lambda prefix: entries(answer)
    return counter


async def entries(answer: object) -> AsyncIterator[object]:
    yield answer


@both
@each_operation
def test_an_operation_and_its_arguments_are_forwarded(
    call: Call, operation: str, asynchronous: bool
) -> None:
    args, kwargs, _ = CALLS[operation]
    inner = answering("answer")
    answer = call(CounterMiddleware(inner), operation, *args, **kwargs)
    if operation not in ("delete", "refund", "close"):
        assert answer == (["answer"] if operation in ("scan", "run_all") else "answer")
    name = f"a{operation}" if asynchronous else operation
    assert [each[0] for each in inner.method_calls] == [name]
    getattr(inner, name).assert_called_once_with(*args, **kwargs)


@both
@each_raising
def test_an_error_comes_through(call: Call, operation: str, asynchronous: bool) -> None:
    args, kwargs, _ = CALLS[operation]
    inner = answering(None)
    error = CounterUnavailable("no server")
    getattr(inner, f"a{operation}" if asynchronous else operation).side_effect = error
    with pytest.raises(CounterUnavailable) as caught:
        call(CounterMiddleware(inner), operation, *args, **kwargs)
    assert caught.value is error


@both
def test_the_defaults_are_those_of_the_contract(call: Call) -> None:
    counter = CounterMiddleware(MemoryCounter())
    assert call(counter, "increment", "key") == 1
    assert call(counter, "decrement", "key") == 0
    assert call(counter, "set", "key", 3) is True
    assert call(counter, "decrement_if_exists", "key").value == 2
    assert call(counter, "take", [Budget("key", 9, None)])[0].value == 1
    assert call(counter, "scan") == [Entry("key", 1, None)]
    assert call(counter, "scan_page") == Page([Entry("key", 1, None)], "")


@both
def test_keys_and_budgets_may_be_generators(call: Call) -> None:
    counter = CounterMiddleware(MemoryCounter())
    assert call(counter, "take", (budget for budget in BUDGETS))[1].value == 19
    assert call(counter, "multi_get", (key for key in "ab")) == {"a": 9, "b": 19}


@both
@pytest.mark.parametrize("operation", IDEMPOTENT)
def test_an_idempotency_key_is_forwarded(call: Call, operation: str, asynchronous: bool) -> None:
    args, kwargs, _ = CALLS[operation]
    inner = answering("answer")
    chain = CounterMiddleware(CounterMiddleware(inner))
    assert call(chain, operation, *args, **kwargs, idempotency_key="order 17") == "answer"
    asked = getattr(inner, f"a{operation}" if asynchronous else operation)
    asked.assert_called_once_with(*args, **kwargs, idempotency_key="order 17")


@both
@pytest.mark.parametrize("operation", IDEMPOTENT)
def test_without_an_idempotency_key_overrides_need_know_none(
    call: Call, operation: str, asynchronous: bool
) -> None:
    class Older(MemoryCounter):
        pass

    def older(self: Counter, first: Any, second: int = 1, *rest: Any) -> tuple[Any, ...]:
        return first, second

    async def aolder(self: Counter, first: Any, second: int = 1, *rest: Any) -> tuple[Any, ...]:
        return first, second

    setattr(
        Older, f"a{operation}" if asynchronous else operation, aolder if asynchronous else older
    )
    first = CALLS[operation][0][0]
    counter = CounterMiddleware(Older())
    assert call(counter, operation, first) == (first, 1)
    with pytest.raises(TypeError, match="idempotency_key"):
        call(counter, operation, first, idempotency_key="order 17")


# around().


class Recorder(CounterMiddleware):
    """Tells what it surrounds."""

    def __init__(self, next: Counter, name: str, told: list[str]) -> None:
        super().__init__(next)
        self.name = name
        self.told = told

    @contextmanager
    def around(self, operation: str, keys: tuple[str, ...]) -> Iterator[None]:
        self.told.append(f"{self.name} enters {operation} {keys}")
        try:
            yield
        except CounterUnavailable:
            self.told.append(f"{self.name} sees an error")
            raise
        finally:
            self.told.append(f"{self.name} leaves {operation}")


def telling(told: list[str]) -> Any:
    """Return a counter that tells when it is asked, and when a twin has waited."""
    inner = answering(None)

    async def atold(*args: Any, **kwargs: Any) -> list[Any]:
        await asyncio.sleep(0)
        told.append("the operation")
        return []

    for operation in CALLS:
        method = getattr(inner, operation)
        method.side_effect = lambda *args, **kwargs: told.append("the operation") or []
        getattr(inner, f"a{operation}").side_effect = atold
    inner.scan.side_effect = lambda prefix: iter([told.append("the operation")])
    inner.ascan.side_effect = lambda prefix: atold_entries(told)
    return inner


async def atold_entries(told: list[str]) -> AsyncIterator[None]:
    await asyncio.sleep(0)
    told.append("the operation")
    yield None


@both
@each_operation
def test_around_surrounds_every_operation(call: Call, operation: str) -> None:
    args, kwargs, keys = CALLS[operation]
    told: list[str] = []
    call(Recorder(telling(told), "one", told), operation, *args, **kwargs)
    assert told == [f"one enters {operation} {keys}", "the operation", f"one leaves {operation}"]


@both
@each_operation
def test_middleware_surrounds_middleware(call: Call, operation: str) -> None:
    args, kwargs, keys = CALLS[operation]
    told: list[str] = []
    chain = Recorder(Recorder(telling(told), "inner", told), "outer", told)
    call(chain, operation, *args, **kwargs)
    assert told == [
        f"outer enters {operation} {keys}",
        f"inner enters {operation} {keys}",
        "the operation",
        f"inner leaves {operation}",
        f"outer leaves {operation}",
    ]


@both
@each_raising
def test_around_sees_an_error(call: Call, operation: str, asynchronous: bool) -> None:
    args, kwargs, _ = CALLS[operation]
    told: list[str] = []
    inner = answering(None)
    name = f"a{operation}" if asynchronous else operation
    getattr(inner, name).side_effect = CounterUnavailable("no server")
    with pytest.raises(CounterUnavailable):
        call(Recorder(inner, "one", told), operation, *args, **kwargs)
    assert told[1:] == ["one sees an error", f"one leaves {operation}"]


@both
def test_around_may_refuse_an_operation(call: Call) -> None:
    class ReadOnly(CounterMiddleware):
        def around(self, operation: str, keys: tuple[str, ...]) -> AbstractContextManager[object]:
            if operation not in ("get", "multi_get", "entry", "scan"):
                raise CounterUnavailable(f"no {operation} of {keys} today")
            return super().around(operation, keys)

    memory = MemoryCounter()
    memory.set("key", 5)
    counter = ReadOnly(memory)
    assert call(counter, "get", "key") == 5
    with pytest.raises(CounterUnavailable, match=r"no increment of \('key',\) today"):
        call(counter, "increment", "key")
    assert memory.get("key") == 5


@both
def test_around_has_the_keys_of_multi_get_once(call: Call) -> None:
    told: list[str] = []
    call(Recorder(MemoryCounter(), "one", told), "multi_get", iter("abab"))
    assert told[0] == "one enters multi_get ('a', 'b')"


@both
def test_around_surrounds_a_scan_that_is_left(call: Call, asynchronous: bool) -> None:
    told: list[str] = []
    memory = MemoryCounter()
    for key in "abc":
        memory.set(key, 1)
    counter = Recorder(memory, "one", told)

    async def leave() -> None:
        entries = counter.ascan()
        await anext(entries)
        await entries.aclose()  # type: ignore[attr-defined]

    if asynchronous:
        asyncio.run(leave())
    else:
        entries = counter.scan()
        next(entries)
        assert told == ["one enters scan ()"]
        entries.close()  # type: ignore[attr-defined]
    assert told == ["one enters scan ()", "one leaves scan"]


@pytest.mark.parametrize("calls", [1, 100])
def test_around_surrounds_tasks_each_by_itself(calls: int) -> None:
    told: list[str] = []
    counter = Recorder(telling(told), "one", told)

    async def count() -> None:
        await asyncio.gather(*(counter.aincrement("key") for _ in range(calls)))

    asyncio.run(count())
    assert told == [
        *["one enters increment ('key',)"] * calls,
        *[each for _ in range(calls) for each in ("the operation", "one leaves increment")],
    ]


# A batch.


@both
def test_the_errors_of_a_batch_come_through_where_they_belong(call: Call) -> None:
    memory = MemoryCounter()
    memory.set("full", INT64_MAX)
    operations = [Operation("increment", (key, 1, None), {}) for key in ("a", "full", "b")]
    outcomes = call(CounterMiddleware(CounterMiddleware(memory)), "run_all", operations)
    assert [type(each) for each in outcomes] == [int, CounterOverflow, int]


@both
def test_around_sees_one_of_the_gravest_errors_of_a_batch(call: Call) -> None:
    told: list[str] = []
    inner = answering(None)
    errors = [5, CounterOverflow("full"), CounterUnavailable("down")]
    inner.run_all.return_value = inner.arun_all.return_value = errors
    assert call(Recorder(inner, "one", told), "run_all", OPERATIONS) == errors
    assert told[1:] == ["one sees an error", "one leaves run_all"]


@both
def test_what_around_raises_is_the_error_of_each_operation(call: Call) -> None:
    class Closed(CounterMiddleware):
        def around(self, operation: str, keys: tuple[str, ...]) -> AbstractContextManager[object]:
            raise CounterUnavailable(f"no {operation} today")

    outcomes = call(Closed(MemoryCounter()), "run_all", OPERATIONS)
    assert [str(each) for each in outcomes] == ["no run_all today"] * 2


@both
def test_a_refused_argument_of_a_batch_is_raised(call: Call) -> None:
    with pytest.raises(TypeError, match="key must be a str"):
        call(CounterMiddleware(MemoryCounter()), "run_all", [Operation("get", (5,), {})])


# One operation.


class Doubling(CounterMiddleware):
    """Overrides one operation, and its twin."""

    def increment(self, key: str, value: int = 1, ttl: Ttl = None) -> int:
        return super().increment(key, 2 * value, ttl)

    async def aincrement(self, key: str, value: int = 1, ttl: Ttl = None) -> int:
        return await super().aincrement(key, 2 * value, ttl)


@both
def test_a_middleware_may_override_one_operation_only(call: Call) -> None:
    counter = Doubling(MemoryCounter())
    assert call(counter, "increment", "key", 5) == 10
    assert call(counter, "decrement", "key", 5) == 5
    assert call(counter, "get", "key") == 5


@both
def test_an_overridden_operation_is_surrounded_by_around(call: Call) -> None:
    class Both(Doubling, Recorder):
        pass

    told: list[str] = []
    assert call(Both(MemoryCounter(), "one", told), "increment", "key", 5) == 10
    assert told == ["one enters increment ('key',)", "one leaves increment"]


# LoggingMiddleware.


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="django_counter")
    return caplog


def logged(counter: Counter) -> LoggingMiddleware:
    return LoggingMiddleware(counter)


@both
@each_operation
def test_every_operation_is_logged_at_debug(
    call: Call, operation: str, logs: pytest.LogCaptureFixture
) -> None:
    args, kwargs, keys = CALLS[operation]
    call(logged(answering(None)), operation, *args, **kwargs)
    [record] = logs.records
    extra = vars(record)
    assert record.name == "django_counter"
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == f"{operation} of {keys!r}"
    assert extra["operation"] == operation
    assert extra["keys"] == keys
    assert extra["error"] is None
    assert type(extra["seconds"]) is float
    assert 0 <= extra["seconds"] < 60


@both
def test_a_counter_error_is_logged_at_error_and_debug(
    call: Call, logs: pytest.LogCaptureFixture
) -> None:
    memory = MemoryCounter()
    memory.set("personal", INT64_MAX)
    with pytest.raises(CounterOverflow):
        call(logged(memory), "increment", "personal", 5)
    first, second = logs.records
    assert first.name == second.name == "django_counter"
    assert first.levelno == logging.ERROR
    assert first.getMessage() == "increment failed: CounterOverflow"
    assert vars(first)["operation"] == "increment"
    assert vars(first)["error"] == "CounterOverflow"
    assert type(vars(first)["seconds"]) is float
    assert second.levelno == logging.DEBUG
    assert vars(second)["error"] == "CounterOverflow"
    assert vars(second)["keys"] == ("personal",)


@both
@each_operation
def test_no_key_is_logged_above_debug(
    call: Call, operation: str, asynchronous: bool, logs: pytest.LogCaptureFixture
) -> None:
    personal = {
        "multi_increment": ([{"personal": 1}], {}),
        "multi_get": ([["personal", "other personal"]], {}),
        "take": ([[Budget("personal", 5, None)]], {}),
        "refund": ([[Budget("personal", 5, None)]], {}),
        "advance": ([[Timer("personal", 0, 1, 5, None)]], {}),
        "scan": (["personal"], {}),
        "scan_page": (["personal", "personal"], {}),
        "run_all": ([[Operation("get", ("personal",), {})]], {}),
        "close": ([], {}),
    }
    args, kwargs, _ = CALLS[operation]
    args, kwargs = personal.get(operation, (["personal", *args[1:]], kwargs))
    inner = answering(None)
    name = f"a{operation}" if asynchronous else operation
    getattr(inner, name).side_effect = CounterUnavailable("get of 'personal' failed")
    with suppress(CounterUnavailable):  # a batch has it in its answer
        call(logged(inner), operation, *args, **kwargs)
    above = [record for record in logs.records if record.levelno > logging.DEBUG]
    assert [record.levelno for record in above] == [logging.ERROR]
    assert "personal" not in repr(vars(above[0]))
    assert "personal" not in logging.Formatter().format(above[0])


def test_a_refused_argument_is_no_counter_error(logs: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TypeError):
        logged(MemoryCounter()).increment("key", 1.5)  # type: ignore[arg-type]
    assert [record.levelno for record in logs.records] == [logging.DEBUG]


def test_without_debug_only_errors_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="django_counter")
    counter = logged(MemoryCounter())
    counter.set("key", INT64_MAX)
    assert caplog.records == []
    with pytest.raises(CounterOverflow):
        counter.increment("key")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_scan_is_logged_when_it_ends(logs: pytest.LogCaptureFixture) -> None:
    memory = MemoryCounter()
    memory.set("a", 1)
    memory.set("b", 1)
    entries = logged(memory).scan()
    next(entries)
    assert logs.records == []
    entries.close()  # type: ignore[attr-defined]
    assert [record.getMessage() for record in logs.records] == ["scan of ()"]
