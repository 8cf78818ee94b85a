"""The synchronous lane: its stack of idle connections, and what goes over them."""

import errno
import math
import mmap
import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import fakeredis
import hiredis
import pytest
import redis
from redis.connection import Connection as RedisConnection

from django_counter import CounterOutcomeUnknown
from django_counter.backends.redis import RedisCounter
from django_counter.backends.redis.call import pack
from django_counter.backends.redis.connection import DriverConnection, SocketConnection
from django_counter.middleware import CounterMiddleware
from django_counter.values import Budget, Budgets
from tests.faults.operations import ALL, Caller, Operation, make
from tests.faults.proxy import Fault, Proxy
from tests.faults.watch import connections_of, eventually
from tests.servers import ServerProcess

pytest_plugins = ["tests.faults.fixtures"]

every_operation = pytest.mark.parametrize("operation", ALL.values(), ids=ALL.keys())


NEVER_PROBED = math.inf  # of a connection that was used this moment


class OtherConnection(RedisConnection):
    """A connection of a class that the lanes do not know."""


@pytest.fixture
def other(make_counter: Callable[..., RedisCounter], valkey: ServerProcess) -> RedisCounter:
    """A counter whose connections are of such a class."""
    pool = "tests.test_redis_lane.OtherPool"
    return make_counter(valkey.url, CONNECTION_POOL_CLASS=pool)


class OtherPool(redis.ConnectionPool):
    @classmethod
    def from_url(cls, url: str, **options: Any) -> redis.ConnectionPool:
        return super().from_url(url, **options, connection_class=OtherConnection)


def test_calls_in_turn_use_one_connection(counter: RedisCounter, admin: redis.Redis) -> None:
    for _ in range(20):
        counter.increment("key")
    assert len(connections_of(counter, admin)) == 1


def test_calls_at_once_use_a_connection_each(
    make_counter: Callable[..., RedisCounter], proxy: Proxy, admin: redis.Redis
) -> None:
    counter = make_counter(proxy.url, timeout=10)
    proxy.faults.extend([Fault.HANG] * 3)
    with ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(counter.get, "key") for _ in range(3)]
        assert eventually(lambda: len(proxy.commands) == 3)
        assert len(counter._lane._idle) == 0
        assert proxy.accepted == 3
        proxy.cut_all()
        assert [call.result() for call in calls] == [0, 0, 0]


def test_a_connection_comes_back_after_its_reply(counter: RedisCounter) -> None:
    counter.get("key")
    [connection] = counter._lane._idle
    counter.get("key")
    assert list(counter._lane._idle) == [connection]


def test_a_connection_comes_back_after_an_error_reply(
    counter: RedisCounter, admin: redis.Redis
) -> None:
    admin.rpush(f"{counter.alias}:key", "list")
    with pytest.raises(Exception, match="not a counter"):
        counter.increment("key")
    before = connections_of(counter, admin)
    assert counter.get("other") == 0
    assert connections_of(counter, admin) == before


@pytest.mark.parametrize("kind", ["known", "other"])
def test_a_connection_that_the_server_closed_is_noticed(
    counter: RedisCounter, other: RedisCounter, admin: redis.Redis, kind: str
) -> None:
    asked = counter if kind == "known" else other
    asked.increment("key")
    [connection] = asked._lane._idle
    connection.used -= 1
    for each in connections_of(asked, admin):
        admin.client_kill_filter(_id=each)
    assert eventually(connection.stale)
    assert asked.increment("key") == 2


def test_a_call_that_could_not_be_sent_is_sent_on_a_new_connection(counter: RedisCounter) -> None:
    counter.increment("key")
    [connection] = counter._lane._idle
    connection._socket.shutdown(socket.SHUT_WR)
    connection.used = NEVER_PROBED
    assert counter.increment("key") == 2
    assert connection not in counter._lane._idle


def test_a_push_is_not_taken_for_a_reply(
    make_counter: Callable[..., RedisCounter], valkey: ServerProcess
) -> None:
    counter = make_counter(valkey.url, CONNECTION_POOL_KWARGS={"protocol": 3})
    counter.set("key", 5)
    [connection] = counter._lane._idle
    for read in (lambda: counter.get("key"), lambda: counter.multi_get(["key"])["key"]):
        connection.send(pack(("SUBSCRIBE", "channel")), math.inf)
        connection.used = NEVER_PROBED
        assert read() == 5
    assert list(counter._lane._idle) == [connection]


def test_what_a_server_names_beyond_the_prefix_is_left_out(counter: RedisCounter) -> None:
    named = [f"{counter.alias}:{key}".encode() for key in ("key", "other", "")]
    assert counter._keys([*named, b"\xff"], "key") == ["key"]


def test_a_connection_of_another_class_is_not_waited_for_past_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        DriverConnection(None).receive_all([], 1, monotonic() - 1)


def test_a_connection_with_something_to_read_is_not_used(counter: RedisCounter) -> None:
    counter.get("key")
    [connection] = counter._lane._idle
    connection.send(pack(("INCRBY", "elsewhere", "41")), math.inf)
    connection.used -= 1
    assert eventually(connection.stale)
    assert counter.increment("key") == 1


@pytest.mark.parametrize("kind", ["known", "other"])
def test_a_large_reply_is_read_whole(counter: RedisCounter, other: RedisCounter, kind: str) -> None:
    asked = counter if kind == "known" else other
    keys = [f"key-{number}" for number in range(10_000)]
    for key in keys[::1000]:
        asked.set(key, -(2**63))
    answer = asked.multi_get(keys)
    assert list(answer) == keys
    assert sum(answer.values()) == -(2**63) * 10


def test_close_drops_the_idle_connections(counter: RedisCounter, admin: redis.Redis) -> None:
    counter.increment("key")
    counter.close()
    assert eventually(lambda: connections_of(counter, admin) == [])
    assert counter.increment("key") == 2


@pytest.mark.figure("close, fork, restart")
@pytest.mark.fault("close while in use")
def test_close_breaks_no_call_of_another_thread(counter: RedisCounter) -> None:
    done = threading.Event()

    def close() -> None:
        while not done.is_set():
            counter.close()

    closing = threading.Thread(target=close)
    closing.start()
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: counter.increment("key"), range(1000)))
    finally:
        done.set()
        closing.join()
    assert counter.get("key") == 1000


def in_a_child(work: Callable[[], object]) -> int:
    """Fork, let the child work, and return its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def ended_well(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


class CannotWipe(mmap.mmap):
    """Memory of a kernel that is older than what the mark asks of it."""

    def madvise(self, *arguments: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")


@pytest.fixture(params=["wiped", "old kernel", "no Linux"])
def marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way in which a fork may be noticed."""
    if request.param == "old kernel":
        monkeypatch.setattr("django_counter.backends.redis.fork.mmap.mmap", CannotWipe)
    elif request.param == "no Linux":
        monkeypatch.setattr("django_counter.backends.redis.fork.sys.platform", "darwin")


@pytest.mark.figure("close, fork, restart")
@pytest.mark.usefixtures("marked")
def test_a_child_counts_beside_its_parent(
    make_counter: Callable[..., RedisCounter], valkey: ServerProcess
) -> None:
    counter = make_counter(valkey.url)
    counter.increment("key")
    child = in_a_child(lambda: [counter.increment("key") for _ in range(500)])
    for _ in range(500):
        counter.increment("key")
    assert ended_well(child)
    assert counter.get("key") == 1001


@pytest.mark.figure("close, fork, restart")
def test_a_child_uses_connections_of_its_own(counter: RedisCounter, admin: redis.Redis) -> None:
    counter.get("key")
    ours = connections_of(counter, admin)
    ready, go = os.pipe(), os.pipe()

    def work() -> None:
        counter.get("key")
        os.write(ready[1], b"x")
        os.read(go[0], 1)

    child = in_a_child(work)
    os.read(ready[0], 1)
    both = connections_of(counter, admin)
    os.write(go[1], b"x")
    for end in ready + go:
        os.close(end)
    assert ended_well(child)
    assert set(ours) < set(both)
    assert len(both) == 2


@pytest.mark.figure("close, fork, restart")
@pytest.mark.parametrize("kind", ["known", "other"])
def test_a_child_that_closes_leaves_its_parent_connected(
    counter: RedisCounter, other: RedisCounter, admin: redis.Redis, kind: str
) -> None:
    asked = counter if kind == "known" else other
    asked.increment("key")
    before = connections_of(asked, admin)
    assert ended_well(in_a_child(asked.close))
    assert asked.increment("key") == 2
    assert connections_of(asked, admin) == before


def test_what_is_packed_holds_no_int(
    call: Caller, counter: RedisCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hiredis does not survive a signal's exception out of the repr of an int."""
    packed = []

    def note(command: tuple[object, ...]) -> bytes:
        packed.append(command)
        return pack(command)

    # Wherever it was imported by its own name.
    pack = hiredis.pack_command
    for name, module in list(sys.modules.items()):
        if name.startswith(("django_counter", "redis", "hiredis")):
            for attribute, value in list(vars(module).items()):
                if value is pack:
                    monkeypatch.setattr(module, attribute, note)
    for operation in ALL.values():
        make(call, counter, operation)
    assert packed
    assert [command for command in packed if any(type(part) is int for part in command)] == []


def test_a_known_connection_has_its_socket_used(counter: RedisCounter) -> None:
    counter.get("key")
    assert isinstance(counter._lane._idle[0], SocketConnection)


@every_operation
def test_a_connection_of_another_class_works(
    call: Caller, other: RedisCounter, operation: Operation
) -> None:
    call(other, "set", "key", 10)
    assert make(call, other, operation) == operation.result
    assert isinstance(other._lane._idle[0], DriverConnection)


@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.CUT_INSIDE, Fault.LOSE])
def test_a_connection_of_another_class_that_loses_a_reply_is_not_used_again(
    make_counter: Callable[..., RedisCounter], proxy: Proxy, fault: Fault
) -> None:
    pool = "tests.test_redis_lane.OtherPool"
    counter = make_counter(proxy.url, timeout=0.5, CONNECTION_POOL_CLASS=pool)
    counter.set("key", 10)
    [connection] = counter._lane._idle
    assert isinstance(connection, DriverConnection)
    proxy.commands.clear()
    proxy.faults.append(fault)
    with pytest.raises(CounterOutcomeUnknown):
        counter.increment("key")
    assert len(proxy.commands) == 1
    assert counter.get("key") == 11
    assert connection not in counter._lane._idle


def test_a_blocking_pool_is_no_matter(
    call: Caller, make_counter: Callable[..., RedisCounter], valkey: ServerProcess
) -> None:
    counter = make_counter(
        valkey.url,
        CONNECTION_POOL_CLASS="redis.connection.BlockingConnectionPool",
        CONNECTION_POOL_KWARGS={"max_connections": 1, "timeout": 1},
    )
    assert call(counter, "increment", "key") == 1
    assert len(counter._lane._idle) in (0, 1)


@every_operation
def test_fakeredis_set_up_as_a_connection_class_works(
    call: Caller, make_counter: Callable[..., RedisCounter], operation: Operation
) -> None:
    pool = {"connection_class": fakeredis.FakeRedisConnection, "server": fakeredis.FakeServer()}
    counter = make_counter("redis://nowhere:6379/0", CONNECTION_POOL_KWARGS=pool)
    call(counter, "set", "key", 10)
    assert make(call, counter, operation) == operation.result


def test_the_call_of_budgets_is_made_once(counter: RedisCounter) -> None:
    budgets = Budgets([Budget("key", 10, 60)])
    assert counter.take(budgets)[0].value == 9
    made = budgets.prepared
    assert made is not None
    assert [counter.take(budgets)[0].value for _ in range(3)] == [8, 7, 6]
    assert budgets.prepared is made


def test_a_call_of_budgets_is_that_of_its_counter_and_cost(
    call: Caller, make_counter: Callable[..., RedisCounter], valkey: ServerProcess
) -> None:
    ours, other = make_counter(valkey.url), make_counter(valkey.url)
    budgets = Budgets([Budget("key", 10, 60)])
    for counter, cost, left in [(ours, 1, 9), (other, 1, 9), (ours, 2, 7), (ours, 1, 6)]:
        assert call(counter, "take", budgets, cost) == [(left, True, True)]
    assert call(ours, "take", budgets, 1, idempotency_key="once") == [(5, True, True)]
    assert call(ours, "take", budgets, 1, idempotency_key="once") == [(5, True, True)]
    assert call(ours, "take", budgets, 1) == [(4, True, True)]


def test_a_take_behind_a_middleware_is_remembered_as_well(counter: RedisCounter) -> None:
    budgets = Budgets([Budget("key", 10, 60)])
    behind = CounterMiddleware(counter)
    assert [behind.take(budgets)[0].value for _ in range(3)] == [9, 8, 7]
    assert budgets.prepared is not None
    assert budgets.prepared[0] is counter


class Raising:
    """A socket whose reads run Python of a module, which raises."""

    def __init__(self, module: str, error: Exception) -> None:
        names: dict[str, Any] = {"__name__": module, "error": error}
        exec("def recv(size):\n    raise error", names)
        self.recv = names["recv"]

    def sendall(self, packed: bytes) -> None:
        """Take all."""


@pytest.mark.parametrize(
    ("module", "error", "kind"),
    [
        ("project.tasks", TimeoutError("too late"), TimeoutError),
        ("project.tasks", ConnectionResetError(errno.ECONNRESET, "reset"), CounterOutcomeUnknown),
        ("gevent._socket3", TimeoutError("timed out"), CounterOutcomeUnknown),
        ("ssl", TimeoutError("timed out"), CounterOutcomeUnknown),
    ],
    ids=["a handler", "the system", "gevent", "TLS"],
)
def test_an_error_is_a_handler_s_or_the_socket_s(
    counter: RedisCounter, module: str, error: Exception, kind: type[Exception]
) -> None:
    counter.get("key")
    [connection] = counter._lane._idle
    connection.used = NEVER_PROBED
    connection._socket = Raising(module, error)
    with pytest.raises(kind) as caught:
        counter.increment("key")
    assert error in {caught.value, caught.value.__cause__}


def test_a_key_that_says_to_equal_another_is_counted_by_itself(
    call: Caller, counter: RedisCounter
) -> None:
    for _ in range(3):
        call(counter, "increment", Posing("other"))
    assert call(counter, "increment", "key") == 1
    assert call(counter, "increment", "other") == 4


def test_a_remembered_increment_is_only_that_of_its_key_and_value(
    call: Caller, counter: RedisCounter
) -> None:
    assert call(counter, "increment", "key") == 1
    assert call(counter, "increment", "key") == 2
    assert call(counter, "increment", "key", 40) == 42
    assert call(counter, "increment", "key") == 43
    assert call(counter, "increment", Key("key")) == 44
    assert call(counter, "increment", "other") == 1
    assert call(counter, "increment", "key", 1, 60) == 45
    assert call(counter, "increment", "key", 1, idempotency_key="once") == 46
    assert call(counter, "increment", "key", 1, idempotency_key="once") == 46
    for refused in (True, 1.0, "1"):
        with pytest.raises(TypeError, match="value must be an int"):
            call(counter, "increment", "key", refused)
    for refused in (b"key", ["key"], None):
        with pytest.raises(TypeError, match="key must be a str"):
            call(counter, "increment", refused)
    assert call(counter, "increment", "key") == 47


class Posing(str):
    """A text that says to be the text "key"."""

    def __eq__(self, other: object) -> bool:
        return other == "key"

    def __hash__(self) -> int:
        return hash("key")


class Key(str):
    """A text of a type of one's own, as SafeString is."""
