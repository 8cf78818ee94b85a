"""The circuit breaker: when it opens, what it does while it is open, how it closes."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event
from typing import Any

import pytest
from django.test import override_settings

from django_counter import (
    Counter,
    CounterConfigError,
    CounterError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterPartlyApplied,
    CounterUnavailable,
    Operation,
    counters,
)
from django_counter.backends.memory import MemoryCounter
from django_counter.middleware import CircuitBreakerMiddleware, CounterMiddleware
from django_counter.signals import circuit_closed, circuit_opened
from django_counter.values import INT64_MAX, Budget, Ttl
from tests.contract.stores import Blocking

DOWN = CounterUnavailable("down")
UNKNOWN = CounterOutcomeUnknown("increment", "key", 1)


class Nothing(BaseException):
    """What tells nothing of a server."""


class Clock:
    """Seconds that only a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server(CounterMiddleware):
    """Raises `error`, where there is one, and notes how often it was asked."""

    def __init__(self, next: Counter) -> None:
        super().__init__(next)
        self.error: BaseException | None = None
        self.asked = 0

    def around(self, operation: str, keys: tuple[str, ...]) -> Any:
        self.asked += 1
        if self.error:
            raise self.error
        return super().around(operation, keys)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Server:
    return Server(MemoryCounter())


@pytest.fixture
def breaker(server: Server, clock: Clock) -> CircuitBreakerMiddleware:
    return CircuitBreakerMiddleware(server, clock=clock)


@pytest.fixture(params=["sync", "async"])
def counter(
    request: pytest.FixtureRequest, breaker: CircuitBreakerMiddleware
) -> Iterator[Counter | Blocking]:
    """The breaker's operations, of the one kind or the other."""
    if request.param == "sync":
        yield breaker
        return
    with asyncio.Runner() as runner:
        yield Blocking(breaker, runner)


@pytest.fixture
def changes() -> Iterator[list[str]]:
    """What the signals told."""
    told: list[str] = []

    def opened(breaker: CircuitBreakerMiddleware, error: Exception, **_: Any) -> None:
        told.append(f"{breaker.name} opened: {error}")

    def closed(breaker: CircuitBreakerMiddleware, **_: Any) -> None:
        told.append(f"{breaker.name} closed")

    circuit_opened.connect(opened)
    circuit_closed.connect(closed)
    yield told
    circuit_opened.disconnect(opened)
    circuit_closed.disconnect(closed)


def succeed(counter: Any, server: Server, times: int) -> None:
    server.error = None
    for _ in range(times):
        counter.get("key")


def fail(counter: Any, server: Server, times: int, error: Exception = DOWN) -> None:
    server.error = error
    for _ in range(times):
        with pytest.raises(type(error)) as caught:
            counter.increment("key")
        assert caught.value is error


def is_open(counter: Any, server: Server) -> bool:
    """Say whether a call is refused, without its being one that goes through."""
    asked, server.error = server.asked, Nothing()
    with pytest.raises((CounterUnavailable, Nothing)) as caught:
        counter.get("key")
    assert (caught.type is Nothing) == (server.asked > asked)
    return caught.type is CounterUnavailable


def opened(counter: Any, server: Server) -> None:
    fail(counter, server, 20)
    assert is_open(counter, server)


# Opening.


class Answering(CounterMiddleware):
    """Answers a batch, and several increments, with errors."""

    def __init__(self, error: CounterError) -> None:
        super().__init__(MemoryCounter())
        self.error = error

    def run_all(self, operations: Any) -> Any:
        return [5, self.error]

    async def arun_all(self, operations: Any) -> Any:
        return self.run_all(operations)

    def multi_increment(self, values: Any, ttl: Ttl = None) -> Any:
        raise CounterPartlyApplied({"a": 5}, {"b": self.error})

    async def amulti_increment(self, values: Any, ttl: Ttl = None) -> Any:
        self.multi_increment(values)


@pytest.mark.parametrize(
    ("error", "opens"),
    [(DOWN, True), (UNKNOWN, True), (CounterOverflow("full"), False)],
    ids=["down", "unknown", "full"],
)
@pytest.mark.parametrize("several", ["run_all", "multi_increment"])
def test_several_operations_fail_with_one_of_them(
    counter: Any,
    server: Server,
    breaker: CircuitBreakerMiddleware,
    several: str,
    error: CounterError,
    opens: bool,
) -> None:
    breaker.next = Answering(error)
    for _ in range(20):
        if several == "run_all":
            assert counter.run_all([Operation("get", ("a",), {})] * 2) == [5, error]
        else:
            with pytest.raises(CounterPartlyApplied):
                counter.multi_increment({"a": 1, "b": 1})
    breaker.next = server
    assert is_open(counter, server) == opens


def test_an_open_circuit_refuses_each_operation_of_a_batch(counter: Any, server: Server) -> None:
    opened(counter, server)
    outcomes = counter.run_all([Operation("get", ("a",), {})] * 2)
    assert [type(each) for each in outcomes] == [CounterUnavailable] * 2


@pytest.mark.parametrize("error", [DOWN, UNKNOWN], ids=lambda error: type(error).__name__)
def test_it_opens_when_20_calls_fail(counter: Any, server: Server, error: Exception) -> None:
    fail(counter, server, 19, error)
    assert not is_open(counter, server)
    fail(counter, server, 1, error)
    assert is_open(counter, server)


@pytest.mark.parametrize("good", [10, 11, 50, 200])
def test_it_opens_when_half_of_the_calls_failed(counter: Any, server: Server, good: int) -> None:
    succeed(counter, server, good)
    fail(counter, server, good - 1)
    assert not is_open(counter, server)
    fail(counter, server, 1)
    assert is_open(counter, server)


def test_it_does_not_count_failures_but_their_share(counter: Any, server: Server) -> None:
    for _ in range(200):
        succeed(counter, server, 2)
        fail(counter, server, 1)
    assert not is_open(counter, server)


def test_a_success_does_not_open_it(counter: Any, server: Server) -> None:
    fail(counter, server, 19)
    succeed(counter, server, 1)
    assert not is_open(counter, server)
    fail(counter, server, 1)
    assert is_open(counter, server)


def test_it_looks_back_10_seconds(counter: Any, server: Server, clock: Clock) -> None:
    fail(counter, server, 19)
    clock.now += 10
    fail(counter, server, 19)
    assert not is_open(counter, server)
    clock.now += 8.9
    fail(counter, server, 1)
    assert is_open(counter, server)


def test_successes_of_long_ago_do_not_keep_it_closed(
    counter: Any, server: Server, clock: Clock
) -> None:
    succeed(counter, server, 200)
    clock.now += 10
    opened(counter, server)


def test_it_keeps_nothing_but_sums(
    breaker: CircuitBreakerMiddleware, server: Server, clock: Clock
) -> None:
    for _ in range(1000):
        clock.now += 0.03
        succeed(breaker, server, 1)
    assert len(breaker._recent._slices) == 10


def test_what_the_server_answered_is_no_failure(counter: Any, server: Server) -> None:
    counter.set("full", INT64_MAX)
    for _ in range(30):
        with pytest.raises(CounterOverflow):
            counter.increment("full")
    fail(counter, server, 30)
    assert not is_open(counter, server)
    fail(counter, server, 1)
    assert is_open(counter, server)


@pytest.mark.parametrize("error", [CounterConfigError("no"), ValueError("no"), Nothing()], ids=repr)
def test_what_tells_nothing_of_the_server_is_not_counted(
    counter: Any, server: Server, error: BaseException
) -> None:
    server.error = error
    for _ in range(100):
        with pytest.raises(type(error)):
            counter.increment("key")
    opened(counter, server)


# While it is open.


def test_no_operation_reaches_the_server(counter: Any, server: Server) -> None:
    opened(counter, server)
    asked, server.error = server.asked, None
    for call in (
        lambda: counter.increment("key"),
        lambda: counter.multi_get(["key"]),
        lambda: counter.take([Budget("key", 1, None)]),
        lambda: list(counter.scan()),
    ):
        with pytest.raises(CounterUnavailable, match="the circuit 'default' is open"):
            call()
    assert server.asked == asked


def test_it_closes_its_connections_in_any_state(counter: Any, server: Server) -> None:
    opened(counter, server)
    asked, server.error = server.asked, None
    counter.close()
    assert server.asked == asked + 1
    assert is_open(counter, server)


def test_it_stays_open_for_5_seconds(counter: Any, server: Server, clock: Clock) -> None:
    opened(counter, server)
    clock.now += 4.999
    assert is_open(counter, server)
    clock.now += 0.001
    assert not is_open(counter, server)


def test_calls_that_began_before_it_opened_change_nothing(
    breaker: CircuitBreakerMiddleware, server: Server, clock: Clock
) -> None:
    good, bad = (breaker.around("get", ("key",)) for _ in range(2))
    good.__enter__()
    bad.__enter__()
    opened(breaker, server)
    clock.now += 2
    good.__exit__(None, None, None)
    bad.__exit__(CounterUnavailable, DOWN, None)
    clock.now += 2.999
    assert is_open(breaker, server)
    clock.now += 0.001
    assert not is_open(breaker, server)


# The probe.


def test_a_probe_that_goes_well_closes_it(counter: Any, server: Server, clock: Clock) -> None:
    opened(counter, server)
    clock.now += 5
    succeed(counter, server, 1)
    fail(counter, server, 19)  # what was before is forgotten
    assert not is_open(counter, server)
    fail(counter, server, 1)
    assert is_open(counter, server)


@pytest.mark.parametrize("error", [DOWN, UNKNOWN], ids=lambda error: type(error).__name__)
def test_a_probe_that_fails_opens_it_for_5_seconds_more(
    counter: Any, server: Server, clock: Clock, error: Exception
) -> None:
    opened(counter, server)
    for _ in range(3):
        clock.now += 5
        fail(counter, server, 1, error)
        assert is_open(counter, server)
        clock.now += 4.999
        assert is_open(counter, server)
        clock.now += 0.001


def test_an_answer_of_the_server_closes_it(counter: Any, server: Server, clock: Clock) -> None:
    server.next.set("full", INT64_MAX)
    opened(counter, server)
    clock.now += 5
    server.error = None
    with pytest.raises(CounterOverflow):
        counter.increment("full")
    succeed(counter, server, 1)


@pytest.mark.parametrize("error", [CounterConfigError("no"), ValueError("no"), Nothing()], ids=repr)
def test_a_probe_that_tells_nothing_leaves_it_to_the_next_call(
    counter: Any, server: Server, clock: Clock, error: BaseException
) -> None:
    opened(counter, server)
    clock.now += 5
    server.error = error
    for _ in range(3):
        with pytest.raises(type(error)):
            counter.increment("key")
    fail(counter, server, 1)
    assert is_open(counter, server)


class Slow(CounterMiddleware):
    """Answers get() when it is let, and is a server that is down for all else."""

    def __init__(self) -> None:
        super().__init__(MemoryCounter())
        self.asked = Event()
        self.go_on = Event()
        self.go_on_async = asyncio.Event()

    def get(self, key: str) -> int:
        self.asked.set()
        assert self.go_on.wait(10)
        return super().get(key)

    async def aget(self, key: str) -> int:
        self.asked.set()
        await self.go_on_async.wait()
        return await super().aget(key)

    def increment(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        raise DOWN


def opened_slow(clock: Clock) -> CircuitBreakerMiddleware:
    """Return a breaker whose next call is the probe."""
    breaker = CircuitBreakerMiddleware(Slow(), clock=clock)
    for _ in range(20):
        with pytest.raises(CounterUnavailable):
            breaker.increment("key")
    clock.now += 5
    return breaker


def refused(breaker: CircuitBreakerMiddleware) -> bool:
    try:
        breaker.increment("key")
    except CounterUnavailable as error:
        return error is not DOWN
    raise AssertionError("it went through")


def test_others_are_refused_while_a_thread_probes(clock: Clock) -> None:
    breaker = opened_slow(clock)
    slow: Any = breaker.next
    with ThreadPoolExecutor(1) as threads:
        probe = threads.submit(breaker.get, "key")
        assert slow.asked.wait(10)
        assert refused(breaker)
        slow.go_on.set()
        assert probe.result() == 0
    assert breaker.get("key") == 0


def test_a_cancelled_probe_leaves_it_to_the_next_call(clock: Clock) -> None:
    async def main() -> None:
        breaker = opened_slow(clock)
        slow: Any = breaker.next
        probe = asyncio.create_task(breaker.aget("key"))
        await asyncio.sleep(0)
        assert slow.asked.is_set()
        assert refused(breaker)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        slow.go_on_async.set()
        assert await breaker.aget("key") == 0
        assert await breaker.aget("key") == 0

    asyncio.run(main())


def test_a_probe_that_hangs_keeps_others_waiting_for_5_seconds_only(clock: Clock) -> None:
    async def main() -> None:
        breaker = opened_slow(clock)
        slow: Any = breaker.next
        hanging = asyncio.create_task(breaker.aget("key"))
        await asyncio.sleep(0)
        clock.now += 4.999
        assert refused(breaker)
        clock.now += 0.001
        second = asyncio.create_task(breaker.aget("key"))
        await asyncio.sleep(0)
        assert refused(breaker)
        slow.go_on_async.set()
        assert await asyncio.gather(hanging, second) == [0, 0]
        assert await breaker.aget("key") == 0

    asyncio.run(main())


def test_a_probe_that_is_cancelled_when_another_has_closed_it_changes_nothing(
    breaker: CircuitBreakerMiddleware, server: Server, clock: Clock
) -> None:
    opened(breaker, server)
    probes = []
    for _ in range(3):
        clock.now += 5
        probes.append(breaker.around("get", ("key",)))
        probes[-1].__enter__()
    probes[0].__exit__(None, None, None)
    probes[1].__exit__(asyncio.CancelledError, asyncio.CancelledError(), None)
    with breaker.around("get", ("key",)):
        succeed(breaker, server, 1)
    probes[2].__exit__(None, None, None)
    succeed(breaker, server, 1)


def test_a_probe_that_fails_when_another_has_closed_it_is_a_call_like_others(
    breaker: CircuitBreakerMiddleware, server: Server, clock: Clock, changes: list[str]
) -> None:
    opened(breaker, server)
    clock.now += 5
    late = breaker.around("get", ("key",))
    late.__enter__()
    clock.now += 5
    succeed(breaker, server, 1)
    late.__exit__(CounterUnavailable, DOWN, None)
    assert not is_open(breaker, server)
    assert changes == ["default opened: down", "default closed"]
    fail(breaker, server, 19)
    assert is_open(breaker, server)
    assert len(changes) == 3


@pytest.mark.parametrize("ended", [True, False], ids=["read", "left"])
def test_a_scan_may_be_the_probe(
    breaker: CircuitBreakerMiddleware, server: Server, clock: Clock, ended: bool
) -> None:
    for key in "ab":
        server.next.set(key, 1)
    opened(breaker, server)
    clock.now += 5
    server.error = None
    entries: Any = breaker.scan()
    next(entries)
    with pytest.raises(CounterUnavailable):
        breaker.get("key")
    if ended:
        assert len(list(entries)) == 1
    else:
        entries.close()
    succeed(breaker, server, 1)


# All of a process.


def test_threads_and_event_loops_share_it(
    breaker: CircuitBreakerMiddleware, server: Server
) -> None:
    server.error = DOWN

    async def fail_in_a_loop() -> None:
        for _ in range(2):
            with pytest.raises(CounterUnavailable):
                await breaker.aincrement("key")

    def work(number: int) -> None:
        if number % 2:
            asyncio.run(fail_in_a_loop())
        else:
            fail(breaker, server, 2)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(10)))
    assert is_open(breaker, server)


def test_one_of_many_threads_probes(
    breaker: CircuitBreakerMiddleware, server: Server, clock: Clock
) -> None:
    opened(breaker, server)
    clock.now += 5
    asked, server.error = server.asked, DOWN
    barrier = Barrier(8)

    def work(_: int) -> None:
        barrier.wait(10)
        for _ in range(100):
            with pytest.raises(CounterUnavailable):
                breaker.increment("key")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert server.asked == asked + 1


# Signals.


def test_signals_tell_when_it_opens_and_closes(
    counter: Any, server: Server, clock: Clock, changes: list[str]
) -> None:
    opened(counter, server)
    assert changes == ["default opened: down"]
    clock.now += 5
    fail(counter, server, 1)
    clock.now += 5
    assert changes == ["default opened: down"]
    succeed(counter, server, 5)
    assert changes == ["default opened: down", "default closed"]


def test_a_receiver_that_fails_changes_nothing(
    counter: Any, server: Server, clock: Clock, changes: list[str]
) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("a receiver")

    circuit_opened.connect(broken)
    circuit_closed.connect(broken)
    try:
        opened(counter, server)
        clock.now += 5
        succeed(counter, server, 1)
    finally:
        circuit_opened.disconnect(broken)
        circuit_closed.disconnect(broken)
    assert changes == ["default opened: down", "default closed"]


# Settings.

make = partial(
    CircuitBreakerMiddleware,
    share=1.0,
    calls=3,
    within=1.0,
    open_for=2.0,
    name="mine",
    clock=Clock(),
)


def test_its_parameters_are_those_of_a_partial(changes: list[str]) -> None:
    entry = {
        "BACKEND": "django_counter.backends.memory.MemoryCounter",
        "MIDDLEWARE": [f"{__name__}.make", f"{__name__}.Server"],
    }
    with override_settings(COUNTERS={"default": entry}):
        breaker: Any = counters["default"]
        clock, server = breaker._clock, breaker.next
        fail(breaker, server, 2)
        clock.now += 1
        fail(breaker, server, 2)
        succeed(breaker, server, 1)
        clock.now += 1
        opened_with = changes.copy()
        fail(breaker, server, 3)
        assert is_open(breaker, server)
        clock.now += 2
        succeed(breaker, server, 1)
    assert opened_with == []
    assert changes == ["mine opened: down", "mine closed"]


@pytest.mark.parametrize(
    "wrong", [{"share": 0}, {"share": 1.01}, {"calls": 0}, {"within": 0}, {"open_for": -1}], ids=str
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    [(name, value)] = wrong.items()
    with pytest.raises(CounterConfigError, match=f"{name}={value}"):
        CircuitBreakerMiddleware(MemoryCounter(), **wrong)


def test_without_a_clock_time_passes() -> None:
    server = Server(MemoryCounter())
    breaker = CircuitBreakerMiddleware(server, open_for=0.001)
    fail(breaker, server, 20)
    while is_open(breaker, server):
        pass
    succeed(breaker, server, 1)


def test_a_signal_handler_may_call_while_a_call_is_noted(server: Server) -> None:
    calls = 0

    def handler() -> float:
        """The clock, which is asked in the midst of it."""
        nonlocal calls
        calls += 1
        if calls == 1:
            assert breaker.increment("key") == 2
        return 1000.0

    breaker = CircuitBreakerMiddleware(server, clock=handler)
    assert breaker.increment("key") == 1
    assert calls == 2
