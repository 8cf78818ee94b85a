"""Servers that are gone, hang, or are not what they should be."""

import asyncio
import contextlib
import itertools
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer

import hiredis
import pytest

from django_counter import CounterConfigError, CounterOutcomeUnknown, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from django_counter.backends.redis.connection import UNPROBED_SECONDS
from tests.faults.operations import ALL, CHANGING, SAFE, Caller, Operation, make
from tests.faults.watch import apatiently, patiently
from tests.servers import ServerProcess, free_port

pytest_plugins = ["tests.faults.fixtures"]

TIMEOUT = 0.2  # seconds that a call may take where it has to run out
every_operation = pytest.mark.parametrize("operation", ALL.values(), ids=ALL.keys())
every_change = pytest.mark.parametrize("change", CHANGING.values(), ids=CHANGING.keys())


@contextmanager
def hang_guard(seconds: float = 30 * TIMEOUT) -> Iterator[None]:
    """Fail what does not end."""

    def give_up(*_: object) -> None:
        raise AssertionError("the call did not end")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def forget_the_last_call() -> None:
    """Let a connection become one that is looked at before it is used."""
    time.sleep(2 * UNPROBED_SECONDS)


@pytest.mark.fault("server killed")
@every_operation
def test_a_stopped_server_is_unavailable_and_works_after_its_return(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    running: ServerProcess,
    operation: Operation,
) -> None:
    counter = make_counter(running.url)
    call(counter, "increment", "key")
    running.stop()
    forget_the_last_call()
    with pytest.raises(CounterUnavailable):
        make(call, counter, operation)
    running.start()
    call(counter, "set", "key", 10)
    assert make(call, counter, operation) == operation.result


@pytest.mark.fault("server killed")
def test_a_killed_server_is_unavailable(
    call: Caller, make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url)
    call(counter, "increment", "key")
    running.kill()
    forget_the_last_call()
    for _ in range(3):
        with pytest.raises(CounterUnavailable):
            call(counter, "increment", "key")


@pytest.mark.figure("close, fork, restart")
def test_a_restarted_server_costs_no_call(
    call: Caller, make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url)
    call(counter, "increment", "key", ttl=60)
    running.stop()
    forget_the_last_call()
    running.start()
    assert call(counter, "increment", "key", ttl=60) == 1


@pytest.mark.fault("hanging server")
@every_change
def test_a_paused_server_leaves_a_change_unknown_within_the_timeout(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    running: ServerProcess,
    change: Operation,
) -> None:
    counter = make_counter(running.url, timeout=TIMEOUT)
    patiently(lambda: call(counter, "get", "key"))
    running.pause()
    with hang_guard(), pytest.raises(CounterOutcomeUnknown):
        make(call, counter, change)


@pytest.mark.fault("hanging server")
@pytest.mark.parametrize("safe", SAFE.values(), ids=SAFE.keys())
def test_a_paused_server_is_unavailable_to_a_safe_call_within_the_timeout(
    call: Caller, make_counter: Callable[..., RedisCounter], running: ServerProcess, safe: Operation
) -> None:
    counter = make_counter(running.url, timeout=TIMEOUT)
    patiently(lambda: call(counter, "get", "key"))
    running.pause()
    with hang_guard(), pytest.raises(CounterUnavailable):
        make(call, counter, safe)


def test_a_paused_server_is_unavailable_to_a_new_connection_within_the_timeout(
    call: Caller, make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=TIMEOUT)
    running.pause()
    with hang_guard(), pytest.raises(CounterUnavailable):
        call(counter, "increment", "key")


def test_the_timeout_of_the_cache_holds_for_its_counters(
    call: Caller, make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, SOCKET_TIMEOUT=TIMEOUT)
    running.pause()
    with hang_guard(), pytest.raises(CounterUnavailable):
        call(counter, "increment", "key")


def test_a_resumed_server_answers_the_next_call(
    call: Caller, make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=TIMEOUT)
    patiently(lambda: call(counter, "set", "key", 7))
    running.pause()
    with hang_guard(), pytest.raises(CounterOutcomeUnknown):
        call(counter, "increment", "other", 100)
    running.resume()
    assert patiently(lambda: call(counter, "get", "key")) == 7


def test_signals_do_not_prolong_the_timeout_of_an_async_call(
    make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=TIMEOUT)
    ticks = itertools.count()

    def tick(*_: object) -> None:
        assert next(ticks) < 100, "the call did not end"

    async def main() -> None:
        await apatiently(lambda: counter.aget("key"))
        running.pause()
        with pytest.raises(CounterOutcomeUnknown):
            await counter.aincrement("key")

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT / 4, TIMEOUT / 4)
    try:
        asyncio.run(main())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.fault("refused port")
def test_a_refused_port_is_unavailable(
    call: Caller, make_counter: Callable[..., RedisCounter]
) -> None:
    with pytest.raises(CounterUnavailable):
        call(make_counter(f"redis://127.0.0.1:{free_port()}/0"), "increment", "key")


def test_a_missing_unix_socket_is_unavailable(
    call: Caller, make_counter: Callable[..., RedisCounter]
) -> None:
    with pytest.raises(CounterUnavailable):
        call(make_counter("unix:///nowhere/server.sock?db=0"), "increment", "key")


@pytest.mark.fault("unresolvable host")
def test_an_unresolvable_host_is_unavailable(
    call: Caller, make_counter: Callable[..., RedisCounter], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unresolved(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    with pytest.raises(CounterUnavailable):
        call(make_counter("redis://counters.invalid:6379/0"), "increment", "key")


def test_a_host_that_is_no_name_is_a_counter_error(
    call: Caller, make_counter: Callable[..., RedisCounter]
) -> None:
    host = "a" * 64 + ".invalid"  # longer than DNS lets a label be
    with pytest.raises((CounterConfigError, CounterUnavailable)):
        call(make_counter(f"redis://{host}:6379/0"), "increment", "key")


class Sluggish(StreamRequestHandler):
    """Answers what a client says of itself after one time, all else after another."""

    handshake = reply = 0.0  # seconds

    def handle(self) -> None:
        commands = hiredis.Reader()
        while data := self.request.recv(4096):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                introduces_itself = command[0] == b"CLIENT"
                time.sleep(self.handshake if introduces_itself else self.reply)
                with contextlib.suppress(OSError):
                    self.request.sendall(b"+OK\r\n" if introduces_itself else b":1\r\n")


@pytest.mark.parametrize(
    ("handshake", "reply", "error"),
    [(0.6, 0, CounterUnavailable), (0.1, 0.8, CounterOutcomeUnknown)],
    ids=["the handshake", "the handshake and the reply"],
)
def test_all_that_a_call_waits_for_has_one_timeout(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    monkeypatch: pytest.MonkeyPatch,
    handshake: float,
    reply: float,
    error: type[Exception],
) -> None:
    timeout = 2 * TIMEOUT
    monkeypatch.setattr(Sluggish, "handshake", handshake * timeout)
    monkeypatch.setattr(Sluggish, "reply", reply * timeout)
    with ThreadingTCPServer(("127.0.0.1", 0), Sluggish) as server:
        server.daemon_threads = True  # they end with the connections
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            url = f"redis://127.0.0.1:{server.server_address[1]}/0"
            options = {"CONNECTION_POOL_KWARGS": {"protocol": 2}}
            with pytest.raises(error):
                call(make_counter(url, timeout=timeout, **options), "increment", "key")
        finally:
            server.shutdown()
            thread.join()


class Web(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.mark.fault("not Redis")
def test_a_web_server_is_a_configuration_error(
    call: Caller, make_counter: Callable[..., RedisCounter]
) -> None:
    with HTTPServer(("127.0.0.1", 0), Web) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            counter = make_counter(f"redis://127.0.0.1:{web.server_port}/0")
            with pytest.raises(CounterConfigError, match="not Redis"):
                call(counter, "increment", "key")
        finally:
            web.shutdown()
            thread.join()
