"""The buffer: increments added up in the process, and sent together."""

import asyncio
import gc
import inspect
import os
import random
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any

import pytest
import redis

from django_counter import (
    Budget,
    Counter,
    CounterConfigError,
    CounterError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterTypeError,
    CounterUnavailable,
    Entry,
    Operation,
    Timer,
)
from django_counter.backends.memory import MemoryCounter
from django_counter.middleware import BufferedMiddleware, CounterMiddleware, buffered
from django_counter.sender import Sender
from django_counter.signals import increments_dropped
from django_counter.values import INT64_MAX, INT64_MIN
from tests.contract.stores import PATIENCE, Blocking, wait_until
from tests.servers import ServerProcess

DOWN = CounterUnavailable("down")


class Nothing(BaseException):
    """What is raised across everything, as signal handlers do."""


class Server(CounterMiddleware):
    """Notes what it is asked, and fails with `error`: for batches, or also for the rest."""

    def __init__(self) -> None:
        super().__init__(MemoryCounter())
        self.asked: list[str] = []
        self.error: BaseException | None = None
        self.during: Callable[[], object] = int

    def around(self, operation: str, keys: tuple[str, ...]) -> Any:
        self.asked.append(operation)
        during, self.during = self.during, int
        during()
        if self.error and operation != "close":
            raise self.error
        return super().around(operation, keys)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def buffer(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[BufferedMiddleware]:
    """A buffer that is sent when a test says so: nothing starts a thread."""
    monkeypatch.setattr(Sender, "start", lambda self: None)
    monkeypatch.setattr(buffered.atexit, "register", lambda function: None)
    monkeypatch.setattr(buffered.os, "register_at_fork", lambda **functions: None)
    return BufferedMiddleware(server, max_keys=10)


@pytest.fixture(params=["sync", "async"])
def counter(request: Any, buffer: BufferedMiddleware) -> Iterator[Any]:
    """The buffer's operations, of the one kind or the other."""
    if request.param == "sync":
        yield buffer
        return
    with asyncio.Runner() as runner:
        yield Blocking(buffer, runner)


@pytest.fixture
def dropped() -> Iterator[list[tuple[dict[str, int], dict[str, CounterError]]]]:
    told = []

    def note(amounts: dict[str, int], errors: dict[str, CounterError], **_: Any) -> None:
        told.append((amounts, errors))

    increments_dropped.connect(note)
    yield told
    increments_dropped.disconnect(note)


# Adding up.


def test_increments_and_decrements_are_sent_as_one_batch(
    counter: Any, buffer: BufferedMiddleware, server: Server
) -> None:
    for _ in range(5):
        counter.increment("a", 2)
    counter.decrement("a", 3)
    counter.increment("b")
    assert server.asked == []
    buffer.flush()
    assert server.asked == ["run_all"]
    assert server.next.multi_get(["a", "b"]) == {"a": 7, "b": 1}
    buffer.flush()
    assert server.asked == ["run_all"]


def test_an_increment_answers_what_this_process_knows(
    counter: Any, buffer: BufferedMiddleware, server: Server
) -> None:
    server.next.set("a", 100)
    assert [counter.increment("a"), counter.increment("a", 5), counter.decrement("a")] == [1, 6, 5]
    buffer.flush()
    assert counter.increment("a") == 106
    server.next.increment("a", 1000)
    assert counter.increment("a") == 107
    buffer.flush()
    assert counter.increment("a") == 1108


def test_what_is_known_is_bounded(buffer: BufferedMiddleware) -> None:
    for number in range(30):
        buffer.increment(f"key {number}")
        buffer.flush()
    assert len(buffer._pending._known) <= 10
    for number in range(30):
        buffer.set(f"key {number}", 1)
    assert len(buffer._pending._known) <= 10


def test_reads_see_what_waits(counter: Any, buffer: BufferedMiddleware, server: Server) -> None:
    server.next.set("a", 10)
    counter.increment("a", 5)
    counter.increment("b")
    assert counter.get("a") == 15
    assert counter.multi_get(key for key in "cab") == {"c": 0, "a": 15, "b": 1}
    assert server.next.multi_get(["a", "b"]) == {"a": 10, "b": 0}
    assert set(server.asked) == {"get", "multi_get"}


@pytest.mark.parametrize("read", ["get", "multi_get"])
def test_a_read_counts_nothing_twice_that_is_sent_meanwhile(
    counter: Any, buffer: BufferedMiddleware, server: Server, read: str
) -> None:
    counter.increment("a", 5)
    server.during = buffer.flush
    answer = counter.get("a") if read == "get" else counter.multi_get(["a"])["a"]
    assert answer == 5
    assert server.asked.count(read) == 2


def test_a_read_waits_for_what_is_under_way(
    counter: Any, buffer: BufferedMiddleware, server: Server
) -> None:
    under_way, go_on = Event(), Event()
    server.during = lambda: (under_way.set(), go_on.wait())
    counter.increment("a", 5)
    sending = Thread(target=buffer.flush)
    sending.start()
    under_way.wait()
    server.during = go_on.set  # by the first read, which may come too early
    assert counter.get("a") == 5
    sending.join()


def test_one_who_is_interrupted_while_sending_gets_no_room_by_sending(server: Server) -> None:
    buffer = BufferedMiddleware(server, max_keys=1)
    refused = []

    def handler() -> None:
        with pytest.raises(CounterUnavailable, match="no room for another") as caught:
            buffer.increment("b")
        refused.append(caught.value)

    server.during = handler
    buffer.increment("a")
    buffer.flush()
    assert len(refused) == 1
    assert server.next.get("a") == 1
    buffer.increment("b")
    buffer.close()
    assert server.next.get("b") == 1


def test_the_ttl_is_that_of_the_first_increment(
    counter: Any, buffer: BufferedMiddleware, server: Server
) -> None:
    counter.increment("a", 1, 60)
    counter.increment("a", 1, 5)
    counter.increment("b")
    counter.increment("b", 1, 60)
    buffer.flush()
    first, second = server.next.entry("a"), server.next.entry("b")
    assert first is not None
    assert first.ttl is not None
    assert first.ttl > 30
    assert second == Entry("b", 2, None)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, (5,)),
        (TypeError, (["a"],)),
        (ValueError, ("",)),
        (TypeError, ("a", "1")),
        (TypeError, ("a", True)),
        (ValueError, ("a", 2**63)),
        (ValueError, ("a", 1, 0)),
        (TypeError, ("a", 1, "1")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("operation", ["increment", "decrement"])
def test_a_bad_argument_is_refused_at_once(
    counter: Any, server: Server, operation: str, error: type[Exception], arguments: Any
) -> None:
    with pytest.raises(error) as caught:
        getattr(counter, operation)(*arguments)
    assert type(caught.value) is error
    assert counter.get("a") == 0


def test_a_decrement_is_of_a_positive_value(counter: Any) -> None:
    with pytest.raises(ValueError, match="value must be from 1"):
        counter.decrement("a", 0)


@pytest.mark.parametrize("options", [{"interval": 0}, {"interval": -1}, {"max_keys": 0}], ids=str)
def test_a_bad_parameter_is_a_configuration_error(options: Any) -> None:
    with pytest.raises(CounterConfigError, match="a buffer needs"):
        BufferedMiddleware(MemoryCounter(), **options)


# Other operations.

OTHERS: dict[str, Callable[[Any], Any]] = {
    "increment": lambda counter: counter.increment("a", 3, idempotency_key="order 17"),
    "decrement": lambda counter: counter.decrement("a", 3, idempotency_key="order 17"),
    "multi_increment": lambda counter: counter.multi_increment({"b": 1, "a": 3}),
    "decrement_if_exists": lambda counter: counter.decrement_if_exists("a", 3),
    "set_if_not_exists": lambda counter: counter.set_if_not_exists(key="a", value=3),
    "delete": lambda counter: counter.delete("a"),
    "take": lambda counter: counter.take([Budget("b", 9, None), Budget("a", 9, None)], 3),
    "take of a generator": lambda counter: counter.take(Budget(key, 9, None) for key in "ba"),
    "refund": lambda counter: counter.refund([Budget("a", 90, None)], 3),
    "advance": lambda counter: counter.advance([Timer("a", 0, 1, 99, None)], 3),
    "set": lambda counter: counter.set("a", 3, if_equal=7),
    "entry": lambda counter: counter.entry("a"),
    "scan": lambda counter: sorted(counter.scan()),
    "scan_page": lambda counter: sorted(counter.scan_page().entries),
    "run_all": lambda counter: counter.run_all([Operation("get", ("a",), {})]),
}
each_other = pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)


def test_every_operation_is_buffered_or_comes_after_what_waits() -> None:
    operations = {n for n in Counter.__abstractmethods__ if f"a{n}" in Counter.__abstractmethods__}
    assert operations == {*OTHERS, "get", "multi_get", "close"} - {"take of a generator"}
    overridden = {name for name in Counter.__abstractmethods__ if name in vars(BufferedMiddleware)}
    assert overridden == Counter.__abstractmethods__
    for name in overridden:
        ours, contract = (getattr(each, name) for each in (BufferedMiddleware, Counter))
        assert inspect.signature(ours) == inspect.signature(contract)


@each_other
def test_another_operation_comes_after_what_waits(
    counter: Any, server: Server, other: Callable[[Any], Any]
) -> None:
    plain = MemoryCounter()
    for each in (counter, plain):
        each.increment("a", 7)
    assert other(counter) == other(plain)
    assert counter.get("a") == plain.get("a")
    assert server.asked[0] == "run_all"


@each_other
def test_another_operation_is_not_made_before_what_waits(
    counter: Any, buffer: BufferedMiddleware, server: Server, other: Callable[[Any], Any]
) -> None:
    counter.increment("a", 7)
    server.error = DOWN
    try:
        answer = other(counter)
    except CounterUnavailable:
        pass
    else:
        pytest.fail(f"answered {answer}")
    server.error = None
    buffer.flush()
    assert server.next.get("a") == 7


def test_what_waits_for_other_keys_waits_on(counter: Any, server: Server) -> None:
    counter.increment("b", 7)
    counter.set("a", 3)
    counter.take([Budget("c", 9, None)])
    counter.multi_increment({"d": 1})
    counter.run_all([Operation("get", ("a",), {})])
    assert server.asked == ["set", "take", "multi_increment", "run_all"]
    assert server.next.get("b") == 0


def test_an_operation_on_a_key_that_is_under_way_waits(
    counter: Any, buffer: BufferedMiddleware, server: Server
) -> None:
    under_way, go_on = Event(), Event()
    server.during = lambda: (under_way.set(), go_on.wait())
    counter.increment("a", 5)
    with ThreadPoolExecutor(2) as threads:
        sending = threads.submit(buffer.flush)
        under_way.wait()
        setting = threads.submit(counter.set, "a", 3)
        go_on.set()
        sending.result()
        assert setting.result() is True
    assert server.next.get("a") == 3


def test_a_process_sees_its_own_order() -> None:
    random_ = random.Random(1)
    plain, counter = MemoryCounter(), BufferedMiddleware(MemoryCounter(), interval=0.001)
    for _ in range(2000):
        key, value = random_.choice("abc"), random_.randint(1, 9)
        name = random_.choice(["increment", "decrement", "increment", "get", "set", "delete", "if"])
        arguments = (key,) if name in ("get", "delete") else (key, value)
        name = "decrement_if_exists" if name == "if" else name
        answers = [getattr(each, name)(*arguments) for each in (plain, counter)]
        assert answers[0] == answers[1]
    counter.close()


@each_other
def test_an_increment_knows_what_another_operation_told(
    request: pytest.FixtureRequest,
    counter: Any,
    buffer: BufferedMiddleware,
    server: Server,
    other: Callable[[Any], Any],
) -> None:
    counter.increment("a", 7)
    buffer.flush()
    other(counter)
    forgotten = any(name in request.node.name for name in ("take", "refund", "advance"))
    assert counter.increment("a") == (1 if forgotten else server.next.get("a") + 1)


def test_an_increment_knows_what_was_set_or_was_not(
    counter: Any, buffer: BufferedMiddleware
) -> None:
    counter.set("a", value=100)
    assert counter.increment("a") == 101
    assert not counter.set("a", 5, if_equal=6)
    assert not counter.set_if_not_exists("a", 5)
    assert counter.increment("a") == 102
    counter.run_all([Operation("set", ("a", 7, None), {}), Operation("delete", ("b",), {})])
    assert [counter.increment("a"), counter.increment("b")] == [8, 1]
    assert counter.entry("c") is None
    assert counter.increment("c") == 1


@pytest.mark.parametrize(
    ("error", "sum_"),
    [(DOWN, 8), (CounterOutcomeUnknown("set", "a", 5), 1), (Nothing(), 1)],
    ids=["down", "unknown", "interrupted"],
)
def test_an_operation_that_fails_is_forgotten_where_it_may_have_been_made(
    counter: Any, buffer: BufferedMiddleware, server: Server, error: BaseException, sum_: int
) -> None:
    counter.increment("a", 7)
    buffer.flush()
    server.error = error
    with pytest.raises(type(error)):
        counter.set("a", 5)
    assert counter.increment("a") == sum_


@pytest.mark.parametrize(
    ("error", "sum_"),
    [(DOWN, 8), (CounterOutcomeUnknown("set", "a", 5), 1)],
    ids=["down", "unknown"],
)
def test_an_operation_of_a_batch_that_fails_is_forgotten_where_it_may_have_been_made(
    counter: Any, buffer: BufferedMiddleware, server: Server, error: CounterError, sum_: int
) -> None:
    counter.increment("a", 7)
    buffer.flush()
    server.error = error
    assert counter.run_all([Operation("set", ("a", 5, None), {})]) == [error]
    assert counter.increment("a") == sum_


def test_what_is_told_while_more_is_under_way_is_known_without_that(
    buffer: BufferedMiddleware, server: Server
) -> None:
    buffer.increment("a", 7)
    server.during = lambda: buffer._pending.learn({"a": 100})
    server.error = DOWN
    buffer.flush()
    assert buffer.increment("a") == 108  # the 7 wait on


# Bounds.


def test_a_key_too_many_sends_the_others(counter: Any, server: Server) -> None:
    for number in range(11):
        counter.increment(f"key {number}")
    assert server.asked == ["run_all"]
    assert sum(server.next.multi_get(f"key {n}" for n in range(11)).values()) == 10


def test_while_nothing_can_be_sent_no_more_keys_are_taken(
    counter: Any, buffer: BufferedMiddleware, server: Server
) -> None:
    server.error = DOWN
    for number in range(10):
        counter.increment(f"key {number}")
    with pytest.raises(CounterUnavailable, match="10 increments wait") as caught:
        counter.increment("one more")
    assert caught.value.__cause__ is DOWN
    counter.increment("key 0", 5)
    server.error = None
    buffer.flush()
    assert server.next.multi_get(["key 0", "one more"]) == {"key 0": 6, "one more": 0}


def test_what_leaves_int64_is_sent_in_two(
    counter: Any, buffer: BufferedMiddleware, server: Server
) -> None:
    server.next.set("a", INT64_MIN)
    counter.increment("a", INT64_MAX)
    counter.increment("a", INT64_MAX)
    assert server.asked == ["run_all"]
    assert counter.get("a") == INT64_MAX - 1


def test_what_waits_and_would_leave_int64_is_dropped(
    counter: Any, buffer: BufferedMiddleware, server: Server, dropped: list[Any]
) -> None:
    counter.increment("a", INT64_MAX)
    server.error = DOWN
    server.during = lambda: buffer.increment("a", 5)
    buffer.flush()
    [(amounts, errors)] = dropped
    assert amounts == {"a": INT64_MAX}
    assert type(errors["a"]) is CounterOverflow
    server.error = None
    assert counter.get("a") == 5


# Failures.


@pytest.mark.parametrize("error", [DOWN, CounterConfigError("no rights")], ids=repr)
def test_what_was_surely_not_counted_waits_on(
    counter: Any, buffer: BufferedMiddleware, server: Server, error: Exception, dropped: list[Any]
) -> None:
    server.error = error
    counter.increment("a", 5, 60)
    buffer.flush()
    assert counter.increment("a", 2) == 7
    buffer.flush()
    server.error = None
    assert counter.get("a") == 7
    buffer.flush()
    entry = server.next.entry("a")
    assert entry is not None
    assert (entry.value, entry.ttl is not None) == (7, True)
    assert dropped == []


@pytest.mark.parametrize(
    "error",
    [CounterOutcomeUnknown("increment", "a", 5), CounterTypeError("a list")],
    ids=lambda error: type(error).__name__,
)
def test_what_may_have_been_counted_or_never_can_be_is_dropped_and_told(
    counter: Any, buffer: BufferedMiddleware, server: Server, error: Exception, dropped: list[Any]
) -> None:
    server.error = error
    counter.increment("a", 5)
    buffer.flush()
    server.error = None
    buffer.flush()
    assert dropped == [({"a": 5}, {"a": error})]
    assert counter.get("a") == 0
    assert counter.increment("a") == 1


def test_each_key_has_its_own_fate(
    counter: Any, buffer: BufferedMiddleware, server: Server, dropped: list[Any]
) -> None:
    unknown = CounterOutcomeUnknown("increment", "b", 2)
    server.next.run_all = lambda operations: [1, unknown, DOWN]  # type: ignore[method-assign]
    for value, key in enumerate("abc", 1):
        counter.increment(key, value)
    buffer.flush()
    assert dropped == [({"b": 2}, {"b": unknown})]
    assert [counter.get(key) for key in "abc"] == [0, 0, 3]


def test_what_is_interrupted_is_dropped_and_told(
    buffer: BufferedMiddleware, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.error = Nothing()
    buffer.increment("a", 5)
    with pytest.raises(Nothing):
        buffer.flush()
    server.error = None
    assert "Increments were dropped: CounterOutcomeUnknown" in caplog.text
    assert buffer.get("a") == 0
    assert server.asked == ["run_all", "get"]


def test_an_outage_is_logged_rarely_and_without_a_key(
    buffer: BufferedMiddleware, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.error = CounterUnavailable("increment of 'personal'")
    buffer.increment("personal")
    for _ in range(5):
        buffer.flush()
    [record] = caplog.records
    assert record.getMessage() == "Increments wait to be sent: CounterUnavailable"


def test_what_is_dropped_is_logged_also_after_an_outage_was(
    buffer: BufferedMiddleware, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    buffer.increment("visits")
    for error in (DOWN, CounterTypeError("no counter")):
        server.error = error
        buffer.flush()
    assert [record.getMessage() for record in caplog.records] == [
        "Increments wait to be sent: CounterUnavailable",
        "Increments were dropped: CounterTypeError",
    ]


def test_a_receiver_may_use_the_counter(buffer: BufferedMiddleware, server: Server) -> None:
    def count(amounts: dict[str, int], **_: Any) -> None:
        server.error = None
        buffer.increment("dropped", sum(amounts.values()))
        buffer.flush()

    server.error = CounterTypeError("a list")
    buffer.increment("a", 5)
    increments_dropped.connect(count)
    try:
        buffer.flush()
    finally:
        increments_dropped.disconnect(count)
    assert server.next.get("dropped") == 5


# Signal handlers, threads.


def test_a_flush_inside_a_flush_sends_what_came_since(
    buffer: BufferedMiddleware, server: Server
) -> None:
    def handler() -> None:
        buffer.increment("a", 5)
        buffer.flush()
        assert buffer.get("a") == 5

    buffer.increment("a", 2)
    server.during = handler
    buffer.flush()
    assert buffer.get("a") == server.next.get("a") == 7


def test_threads_and_loops_share_it_and_lose_nothing(server: Server) -> None:
    buffer = BufferedMiddleware(server, interval=0.001, max_keys=3)

    def in_thread() -> None:
        for number in range(1000):
            buffer.increment("abcdef"[number % 6])

    def in_loop() -> None:
        async def count() -> None:
            for number in range(1000):
                await buffer.aincrement("abcdef"[number % 6])

        asyncio.run(count())

    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(work) for work in (in_thread, in_loop, in_thread, in_loop)]:
            each.result()
    buffer.close()
    assert sum(server.next.multi_get(list("abcdef")).values()) == 4000


# The thread, and the end.


def join_threads() -> None:
    """Wait until the threads of buffers have ended."""
    for thread in threading.enumerate():
        if thread.name == "django_counter buffer":
            thread.join(PATIENCE)


def test_a_thread_sends_and_ends(server: Server) -> None:
    buffer = BufferedMiddleware(server, interval=0.001)
    for sum_ in (1, 2):
        buffer.increment("a")
        wait_until(lambda sum_=sum_: server.next.get("a") == sum_)
        wait_until(lambda: not buffer._sender.running)
    buffer.close()


def test_the_thread_tries_again_by_itself(server: Server) -> None:
    buffer = BufferedMiddleware(server, interval=0.001)
    server.error = DOWN
    buffer.increment("a")
    wait_until(lambda: len(server.asked) > 2)
    server.error = None
    wait_until(lambda: server.next.get("a") == 1)
    buffer.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_breaks_is_followed_by_another(server: Server) -> None:
    buffer = BufferedMiddleware(server, interval=0.001)
    server.error = Nothing()
    buffer.increment("a")
    join_threads()
    assert not buffer._sender.running
    server.error = None
    buffer.increment("a")
    wait_until(lambda: server.next.get("a") == 1)
    buffer.close()


def test_without_a_thread_it_is_counted_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    buffer = BufferedMiddleware(server)
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        assert buffer.increment("a") == 1
    assert "can't start new thread" in caplog.text
    buffer.close()
    assert server.next.get("a") == 1


def test_close_sends_and_more_may_come(
    counter: Any, buffer: BufferedMiddleware, server: Server
) -> None:
    for sum_ in (1, 2):
        counter.increment("a")
        counter.close()
        assert server.next.get("a") == sum_
    assert server.asked == ["run_all", "close"] * 2


def closed() -> Callable[[], BufferedMiddleware | None]:
    """Return a weak reference to a buffer that was used, and closed."""
    buffer = BufferedMiddleware(MemoryCounter(), interval=0.001)
    buffer.increment("a")
    wait_until(lambda: not buffer._sender.running)
    buffer.close()
    return weakref.ref(buffer)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_what_comes_while_it_is_closed_is_sent_at_the_end_of_the_process(
    server: Server, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(Sender, "start", lambda self: None)
    monkeypatch.setattr(buffered.atexit, "register", at_exit.append)
    monkeypatch.setattr(buffered.atexit, "unregister", at_exit.remove)
    buffer = BufferedMiddleware(server)
    buffer.increment("visits")
    server.during = lambda: buffer.increment("visits")  # while close() sends what there was
    if asynchronous:
        asyncio.run(buffer.aclose())
    else:
        buffer.close()
    for send in at_exit:
        send()
    assert server.next.get("visits") == 2


def test_a_closed_buffer_is_forgotten() -> None:
    forgotten = closed()
    join_threads()
    gc.collect()
    assert forgotten() is None
    child = os.fork()  # what it left behind does nothing
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


PROGRAM = """
import os, sys, time
from functools import partial
from django.conf import settings
import django_counter.middleware
django_counter.middleware.slow = partial(django_counter.middleware.BufferedMiddleware, interval=60)
options = {"SOCKET_TIMEOUT": 10, "SOCKET_CONNECT_TIMEOUT": 10}
cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": sys.argv[1], "OPTIONS": options}
settings.configure(
    CACHES={"default": cache},
    COUNTERS={"default": {"MIDDLEWARE": ["django_counter.middleware.slow"]}},
)
from django_counter import counter, counters
key = sys.argv[2]
"""


def counted(server: ServerProcess, code: str) -> int:
    """Return how far a program that has a buffer counts."""
    key = f"buffered {os.getpid()} {random.random()}"
    subprocess.run([sys.executable, "-c", PROGRAM + code, server.url, key], check=True, timeout=60)
    with redis.Redis(port=server.port) as client:
        return int(client.get(f"counter:{key}") or 0)


def test_the_end_of_a_process_sends_the_rest(valkey: ServerProcess) -> None:
    assert counted(valkey, "[counter.increment(key) for _ in range(7)]") == 7


def test_what_comes_after_close_is_sent_at_the_end_too(valkey: ServerProcess) -> None:
    code = "counter.increment(key); counter.close(); counter.increment(key)"
    assert counted(valkey, code) == 2


def test_a_process_sends_before_it_forks_and_its_child_has_its_own(valkey: ServerProcess) -> None:
    forking = """
[counter.increment(key) for _ in range(3)]
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    assert counters["default"].next.get(key) == 3
    assert counter.get(key) == 3
    [counter.increment(key) for _ in range(20)]
"""
    assert counted(valkey, forking) == 23


def test_a_child_of_a_process_that_could_not_send_has_nothing_of_it(valkey: ServerProcess) -> None:
    forking = """
from django_counter import CounterUnavailable
buffer = counters["default"]
def away(operations):
    raise CounterUnavailable("away")
counter.increment(key, 3)
buffer.next.run_all = away
child = os.fork()
del buffer.next.run_all
if child:
    os.waitpid(child, 0)
else:
    counter.increment(key, 20)
"""
    assert counted(valkey, forking) == 23
