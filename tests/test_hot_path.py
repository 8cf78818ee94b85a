"""What a call costs, in what no clock has to tell: trips, bytes, function calls, writes, memory."""

import asyncio
import gc
import math
import sys
import tracemalloc
from asyncio.selector_events import _SelectorSocketTransport
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import pytest
import redis
from django.conf import LazySettings
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django_redis.pool import ConnectionFactory

from django_counter import counter as default
from django_counter import counters
from django_counter.backends.redis import RedisCounter
from django_counter.batch import Operation as Recorded
from django_counter.ratelimit import RateLimit, rate_limit
from django_counter.ratelimit.identity import parse_identity
from django_counter.ratelimit.limit import ALGORITHMS
from django_counter.ratelimit.statistics import Statistics
from django_counter.regulars import Regulars
from tests.faults.operations import ALL, Caller, Operation, make
from tests.faults.watch import LIMIT_SECONDS, admin_of, eventually
from tests.ratelimit.clocks import Clock
from tests.servers import ServerProcess, valkey_binary

pytest_plugins = ["tests.faults.fixtures"]

MEMORY = "django_counter.backends.memory.MemoryCounter"

every_operation = pytest.mark.parametrize("operation", ALL.values(), ids=ALL.keys())
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
every_rate = pytest.mark.parametrize("rates", [("5/h",), ("5/h", "7/d", "8/w")], ids=len)

MakeLimit = Callable[..., RateLimit]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server that nobody else asks: what it counts is ours."""
    with ServerProcess(valkey_binary()) as server:
        yield server


@pytest.fixture
def admin(server: ServerProcess) -> Iterator[redis.Redis]:
    with admin_of(server) as admin:
        assert eventually(lambda: len(admin.client_list()) == 1)  # an end, too, is read
        admin.flushall()  # what others left would be pages more of a scan
        yield admin


@pytest.fixture
def counter(
    admin: redis.Redis, make_counter: Callable[..., RedisCounter], server: ServerProcess
) -> RedisCounter:
    return make_counter(server.url)


@pytest.fixture
def statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics are on, as they are by default; nothing sends them."""
    statistics = Statistics()
    statistics._sender.running = True
    monkeypatch.setattr("django_counter.ratelimit.limit.statistics", statistics)


@pytest.fixture
def make_limit(statistics: None, counter: RedisCounter, settings: Any) -> MakeLimit:
    """`make_limit("5/h")` gives a limit on the server."""
    settings.RATE_LIMIT = {"STATISTICS": True}
    options = {"cache": counter.alias, "timeout": LIMIT_SECONDS}
    settings.COUNTERS = {"default": {"KEY_PREFIX": counter.alias, "OPTIONS": options}}
    return lambda *rates, **options: RateLimit(*rates, name=counter.alias, **options)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of limits: no window ends by itself."""
    clock = Clock()
    monkeypatch.setattr("django_counter.ratelimit.clock.now", clock)
    return clock


class Traffic(NamedTuple):
    trips: int
    sent: int  # bytes


class Meter:
    """What a server has read of its clients."""

    def __init__(self, admin: redis.Redis) -> None:
        self._admin = admin

    def of(self, call: Callable[[], object]) -> Traffic:
        """Return what a call costs, without what it costs to ask for this."""
        first, before, _, after = self._read(), self._read(), call(), self._read()
        trips, sent = (c - b - (b - a) for a, b, c in zip(first, before, after, strict=True))
        return Traffic(trips, sent)

    def trips(self, call: Callable[..., Any], *arguments: Any) -> int:
        return self.of(lambda: call(*arguments)).trips

    def _read(self) -> tuple[int, int]:
        told: Any = self._admin.info("stats")
        return told["total_reads_processed"], told["total_net_input_bytes"]


@pytest.fixture
def meter(admin: redis.Redis) -> Meter:
    return Meter(admin)


# Round trips.


@every_operation
def test_a_call_is_one_round_trip(
    call: Caller, counter: RedisCounter, meter: Meter, operation: Operation
) -> None:
    call(counter, "set", "key", 10)
    make(call, counter, operation)  # the server knows the script after that
    call(counter, "set", "key", 10)
    call(counter, "delete", "other")
    trips = meter.trips(make, call, counter, operation)
    assert trips == (2 if operation.name == "scan" else 1)  # the keys, and what they hold


@every_rate
@pytest.mark.parametrize("algorithm", ["fixed", "token_bucket"])
def test_a_decision_is_one_round_trip(
    call: Caller,
    make_limit: MakeLimit,
    clock: Clock,
    meter: Meter,
    algorithm: str,
    rates: tuple[str, ...],
) -> None:
    limit = make_limit(*rates, algorithm=algorithm)
    call(limit, "hit", "warm")
    assert meter.trips(call, limit, "hit", "a") == 1  # the first of its window
    assert meter.trips(call, limit, "hit", "a") == 1
    assert meter.trips(call, limit, "hit", "a", 4) == 1  # denied


@every_rate
def test_a_sliding_decision_is_one_round_trip_after_the_first_of_a_window(
    call: Caller, make_limit: MakeLimit, clock: Clock, meter: Meter, rates: tuple[str, ...]
) -> None:
    limit = make_limit(*rates, algorithm="sliding")
    call(limit, "hit", "warm")
    assert meter.trips(call, limit, "hit", "a") == 2
    assert meter.trips(call, limit, "hit", "a") == 1
    assert meter.trips(call, limit, "hit", "a", 5) == 1  # denied
    clock.move(3600)
    call(limit, "hit", "a")
    assert meter.trips(call, limit, "hit", "a") == 1


@every_algorithm
def test_a_repeated_denial_is_no_round_trip(
    call: Caller, make_limit: MakeLimit, clock: Clock, meter: Meter, algorithm: str
) -> None:
    limit = make_limit("1/h", "2/d", algorithm=algorithm)
    call(limit, "hit", "a")
    assert not call(limit, "hit", "a").allowed
    assert meter.of(lambda: [call(limit, "hit", "a") for _ in range(10)]) == (0, 0)


@every_rate
@every_algorithm
def test_a_refund_a_peek_and_a_reset_are_one_round_trip(
    call: Caller,
    make_limit: MakeLimit,
    clock: Clock,
    meter: Meter,
    algorithm: str,
    rates: tuple[str, ...],
) -> None:
    limit = make_limit(*rates, algorithm=algorithm)
    for operation in ("hit", "refund", "peek", "reset"):
        call(limit, operation, "a")  # the server knows the scripts after that
    for operation in ("refund", "peek", "reset"):
        call(limit, "hit", "a")
        assert meter.trips(call, limit, operation, "a") == 1
    assert meter.trips(call, limit, "hit", "a", 0) == 1


# Bytes.


@pytest.mark.parametrize("length", [1, 50])
@pytest.mark.parametrize(
    ("operation", "arguments", "ceiling"),
    [("increment", (), 33), ("get", (), 22), ("increment", (1, 60), 105)],
    ids=["increment", "get", "increment with a ttl"],
)
def test_a_call_sends_its_key_and_little_more(
    call: Caller,
    counter: RedisCounter,
    meter: Meter,
    operation: str,
    arguments: tuple[int, ...],
    ceiling: int,
    length: int,
) -> None:
    key = "k" * length
    call(counter, operation, key, *arguments)
    sent = meter.of(lambda: call(counter, operation, key, *arguments)).sent
    assert sent - len(f"{counter.alias}:{key}") <= ceiling


@every_rate
@pytest.mark.parametrize(
    ("algorithm", "ceiling", "ceiling_of_a_rate"),
    [("fixed", 80, 40), ("sliding", 80, 40), ("token_bucket", 70, 95)],
)
def test_a_decision_sends_its_keys_and_little_more(
    call: Caller,
    make_limit: MakeLimit,
    admin: redis.Redis,
    clock: Clock,
    meter: Meter,
    algorithm: str,
    ceiling: int,
    ceiling_of_a_rate: int,
    rates: tuple[str, ...],
) -> None:
    limit = make_limit(*rates, algorithm=algorithm)
    call(limit, "hit", "a")
    keys = admin.keys(f"*:{limit.prefix}*")
    assert len(keys) == len(rates)
    sent = meter.of(lambda: call(limit, "hit", "a")).sent
    assert sent - sum(map(len, keys)) <= ceiling + ceiling_of_a_rate * len(rates)


# Function calls.


class Calls(NamedTuple):
    python: int
    c: int


def calls_of(function: Callable[..., object], *arguments: Any) -> Calls:
    """Return how many functions a call calls, itself included."""
    seen = {"call": 0, "c_call": 0}

    def note(frame: object, event: str, argument: object) -> None:
        if event in seen:
            seen[event] += 1

    def count() -> Calls:
        seen.update(call=0, c_call=0)
        sys.setprofile(note)
        try:
            function(*arguments)
        finally:
            sys.setprofile(None)
        return Calls(seen["call"], seen["c_call"] - 1)  # the end of the profile is one

    function(*arguments)
    return min(count() for _ in range(5))  # some with what comes now and then: a window, garbage


@pytest.fixture
def never_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is looked at for having been idle, which on a slow machine many are."""
    monkeypatch.setattr("django_counter.backends.redis.lane.UNPROBED_SECONDS", math.inf)


@pytest.mark.usefixtures("never_probed")
class TestFunctionCalls:
    """A tenth more than there are, in Python 3.11."""

    @pytest.mark.parametrize(
        ("operation", "most"), [("increment", Calls(7, 11)), ("get", Calls(10, 14))]
    )
    def test_an_operation_calls_few(
        self, counter: RedisCounter, operation: str, most: Calls
    ) -> None:
        python, c = calls_of(getattr(counter, operation), "key")
        assert python <= most.python  # of 6 and 9
        assert c <= most.c  # of 10 and 13

    def test_the_default_counter_is_found_without_a_function_of_python(self) -> None:
        with override_settings(COUNTERS={"default": {"BACKEND": MEMORY}}):
            itself = counters["default"]
            found = calls_of(lambda: default.get("key"))
            assert found.python == calls_of(lambda: itself.get("key")).python

    def test_many_keys_call_no_more_functions_of_python_than_few(
        self, counter: RedisCounter
    ) -> None:
        for number in (10, 1000):
            keys = [f"key {each}" for each in range(number)]
            assert calls_of(counter.multi_increment, dict.fromkeys(keys, 1)).python <= 60
            assert calls_of(counter.multi_get, keys).python <= 60
            operations = [Recorded("increment", (key, 1, None), {}) for key in keys]
            assert calls_of(counter.run_all, operations).python <= 60

    def test_an_allowed_hit_calls_few(self, make_limit: MakeLimit) -> None:
        python, c = calls_of(make_limit("1000000/d").hit, "a")
        assert python <= 18  # of 17
        assert c <= 21  # of 19

    def test_a_remembered_denial_calls_few(self, make_limit: MakeLimit, settings: Any) -> None:
        settings.RATE_LIMIT |= {"DENY_CACHE": 3600}
        limit = make_limit("1/d")
        limit.hit("a")
        assert not limit.hit("a").allowed
        python, c = calls_of(limit.hit, "a")
        assert python <= 8  # of 7
        assert c <= 9  # of 8

    @pytest.mark.parametrize(
        ("rates", "most"),
        [(("1000000/d",), Calls(19, 21)), (("1000000/d", "100000/h"), Calls(27, 26))],
    )
    def test_a_limited_view_calls_few_but_for_its_hit(
        self, make_limit: MakeLimit, rates: tuple[str, ...], most: Calls
    ) -> None:
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse()

        limit = make_limit(*rates)
        limited = rate_limit(limit, key="ip")(view)
        parts = [
            calls_of(lambda: limited(RequestFactory().get("/"))),
            calls_of(lambda: view(RequestFactory().get("/"))),
            calls_of(limit.hit, "ip:127.0.0.1"),
        ]
        python, c = (whole - bare - hit for whole, bare, hit in zip(*parts, strict=True))
        assert python <= most.python  # of 18 and 25
        assert c <= most.c  # of 19 and 24

    def test_a_header_is_found_without_a_look_at_all_of_them(self) -> None:
        identify = parse_identity("header:X-Api-Key")
        headers = {f"x-{each}": "a" for each in ("api-key", "b", "c", "d", "e")}
        requests = RequestFactory(headers=headers)
        found, made = calls_of(lambda: identify(requests.get("/"))), calls_of(requests.get, "/")
        assert found.python - made.python <= 8  # of 7


class TestFunctionCallsOfTasks:
    """A tenth more than there are: 8 and 19, in Python 3.11."""

    TASKS = 100

    def calls_of_each(self, function: Callable[..., Awaitable[object]]) -> float:
        """Return how many functions of ours a call of one of many tasks calls.

        A coroutine counts twice: it begins, and goes on when its reply has come.
        """
        seen = 0

        def note(frame: FrameType, event: str, argument: object) -> None:
            nonlocal seen
            seen += event == "call" and frame.f_globals["__name__"].startswith("django_counter.")

        async def main() -> None:
            await function("key")
            for profile in (None, note):  # the first round is for what comes once
                sys.setprofile(profile)
                await asyncio.gather(*(function("key") for _ in range(self.TASKS)))
            sys.setprofile(None)

        asyncio.run(main())
        return seen / self.TASKS

    @pytest.mark.parametrize(("operation", "most"), [("aincrement", 7), ("aget", 9)])
    def test_an_operation_calls_few(self, counter: RedisCounter, operation: str, most: int) -> None:
        assert self.calls_of_each(getattr(counter, operation)) <= most

    def test_an_allowed_hit_calls_few(self, make_limit: MakeLimit) -> None:
        assert self.calls_of_each(make_limit("1000000/d").ahit) <= 21


# Settings, caches and pools.


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """After `sealed()`, none of them can be asked."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("asked")

    with monkeypatch.context() as patches:

        def seal() -> None:
            patches.setattr(LazySettings, "__getattribute__", refuse)
            patches.setattr(type(caches), "__getitem__", refuse)
            patches.setattr(ConnectionFactory, "connect", refuse)
            for pool in (redis.ConnectionPool, redis.asyncio.ConnectionPool):
                patches.setattr(pool, "get_connection", refuse)
                patches.setattr(pool, "make_connection", refuse)

        yield seal


def test_a_call_asks_no_setting_no_cache_and_no_pool(
    call: Caller, counter: RedisCounter, sealed: Callable[[], None]
) -> None:
    sealed()
    for operation in ALL.values():
        make(call, counter, operation)


@every_algorithm
def test_a_decision_asks_no_setting_no_cache_and_no_pool(
    call: Caller, make_limit: MakeLimit, sealed: Callable[[], None], algorithm: str
) -> None:
    limit = make_limit("2/h", algorithm=algorithm)
    call(limit, "hit", "warm")
    sealed()
    assert [call(limit, "hit", "a").allowed for _ in range(4)] == [True, True, False, False]
    call(limit, "refund", "a")
    assert call(limit, "peek", "a").allowed


# Writes of tasks.


class Write(NamedTuple):
    transport: object
    data: bytes


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[Write]:
    """What transports are given to write, each time."""
    written: list[Write] = []
    write = _SelectorSocketTransport.write

    def note(transport: Any, data: bytes) -> None:
        written.append(Write(transport, bytes(data)))
        write(transport, data)

    monkeypatch.setattr(_SelectorSocketTransport, "write", note)
    return written


def test_what_is_asked_in_one_turn_leaves_in_one_write(
    counter: RedisCounter, writes: list[Write]
) -> None:
    async def main() -> None:
        await counter.aget("key")
        writes.clear()
        await asyncio.gather(*(counter.aincrement("key") for _ in range(100)))

    asyncio.run(main())
    # The first found the connection idle.
    assert [write.data.count(b"INCRBY") for write in writes] == [1, 99]


def test_a_batch_leaves_with_what_was_asked_before_it(
    counter: RedisCounter, writes: list[Write]
) -> None:
    async def main() -> list[Any]:
        await counter.aget("key")
        writes.clear()
        one, other = counter.aincrement("key"), counter.aincrement("key")
        return await asyncio.gather(one, other, counter.amulti_get(["key"]))

    assert asyncio.run(main()) == [1, 2, {"key": 2}]
    assert [write.data.count(b"MGET") for write in writes] == [0, 1]


def test_what_is_asked_while_connecting_leaves_in_one_write(
    counter: RedisCounter, writes: list[Write]
) -> None:
    async def main() -> None:
        await asyncio.gather(*(counter.aincrement("key") for _ in range(100)))

    asyncio.run(main())
    assert [write.data.count(b"INCRBY") for write in writes if b"INCRBY" in write.data] == [100]


@pytest.mark.parametrize("tasks", [1, 16, 256])
def test_tasks_that_go_on_asking_share_a_write_for_each_round_of_replies(
    counter: RedisCounter, writes: list[Write], tasks: int
) -> None:
    async def several() -> None:
        for _ in range(10):
            await counter.aincrement("key")

    async def main() -> None:
        await counter.aget("key")
        writes.clear()
        await asyncio.gather(*(several() for _ in range(tasks)))

    asyncio.run(main())
    assert sum(write.data.count(b"INCRBY") for write in writes) == 10 * tasks
    assert len(writes) <= 12 + 10 * tasks / 4  # the replies of a round may come in pieces
    assert len({write.transport for write in writes}) == 1


# Memory.

LEAK = 65_536  # bytes: not even the smallest object for each call


def growth(work: Callable[[int], None]) -> int:
    """Return by how many bytes 10,000 calls grow what this process holds."""
    work(100)
    tracemalloc.start()
    try:
        work(100)  # they replace what was not traced
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        work(10_000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


@pytest.mark.heavy
def test_10000_increments_leave_nothing_behind(counter: RedisCounter) -> None:
    def work(times: int) -> None:
        for _ in range(times):
            counter.increment("key")

    assert growth(work) < LEAK


@pytest.mark.heavy
def test_10000_increments_of_tasks_leave_nothing_behind(counter: RedisCounter) -> None:
    async def main(times: int) -> None:
        for _ in range(times // 100):
            await asyncio.gather(*(counter.aincrement("key") for _ in range(100)))

    with asyncio.Runner() as runner:
        assert growth(lambda times: runner.run(main(times))) < LEAK


@pytest.mark.heavy
def test_10000_decisions_leave_nothing_behind(make_limit: MakeLimit) -> None:
    limit = make_limit("4000/d")  # most are denied

    def work(times: int) -> None:
        for number in range(times):
            limit.hit(f"{number % 2}")

    assert growth(work) < LEAK


def tracked(work: Callable[[], None]) -> int:
    """Return how many more objects the garbage collector has to look at after some work."""
    gc.collect()
    before = len(gc.get_objects())
    work()
    gc.collect()
    return len(gc.get_objects()) - before


def test_what_came_once_leaves_no_work_for_the_garbage_collector(
    counter: RedisCounter, make_limit: MakeLimit
) -> None:
    limit = make_limit("100/d")

    def work() -> None:
        for number in range(500):
            counter.increment(f"key {number}")
            limit.hit(f"client {number}")

    limit.hit("warm")
    assert tracked(work) < 50
    assert tracked(work) >= 1000  # they came again


@pytest.mark.heavy
def test_a_client_that_is_remembered_takes_little_memory(make_limit: MakeLimit) -> None:
    limit = make_limit("100/d")
    clients = [f"client {number}" for number in range(1000)]

    def come() -> None:
        for client in clients:
            limit.hit(client)

    come()
    tracemalloc.start()
    try:
        come()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(limit._places) == len(clients)
    assert grown < 2500 * len(clients)


def test_what_is_remembered_is_bounded(
    counter: RedisCounter, make_limit: MakeLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_counter.ratelimit.limit.MAX_PLACES", 5)
    monkeypatch.setattr(counter, "_increment_calls", Regulars(5))
    limit = make_limit("100/d")
    for number in range(12):
        for count in (1, 2, 3):
            assert limit.hit(f"client {number}").remaining == 100 - count
            assert counter.increment(f"key {number}") == count
        assert 0 < len(limit._places) <= 5
        assert 0 < len(counter._increment_calls) <= 5
