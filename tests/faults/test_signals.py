"""Exceptions out of signal handlers, as task queues raise them at a time limit."""

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import FrameType
from typing import Any, NamedTuple

import pytest

from django_counter import Budget, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from tests import sentinels
from tests.certificates import trusting
from tests.faults.watch import admin_of, connections_of, eventually
from tests.figures import sized
from tests.sentinels import Watched
from tests.servers import ServerProcess

pytest_plugins = ["tests.faults.fixtures"]

# Interrupted while it connects, redis-py leaves its socket to Python, which closes and tells.
pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]

INTERRUPTED = {"django_counter", "redis", "socket", "ssl"}  # whose code handlers raise in
HITS = sized(100, 1000)  # calls to interrupt, or more
KEYS = {f"key-{number}": number for number in range(1, 11)}


class Interrupted(Exception):
    """What the signal's handler raises."""


class Storm:
    """Alarms at short and random intervals, whose handler raises something."""

    def __init__(self, longest: float, kind: type[Exception]) -> None:
        self._longest = longest
        self._kind = kind
        self._random = random.Random(1)

    def strike(self, number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._random.uniform(0.0001, self._longest))
        if within_a_call(frame):
            raise self._kind


def within_a_call(frame: FrameType | None) -> bool:
    """Say whether a frame belongs to a counter's call, and to nothing that came in between.

    What a destructor or a callback of the garbage collector raises would only be printed, and
    coverage would keep its lock for ever.
    """
    package = ""
    while frame and frame.f_globals["__name__"] != __name__:
        package = frame.f_globals["__name__"].partition(".")[0]
        if package not in INTERRUPTED or frame.f_code.co_name == "__del__":
            return False
        frame = frame.f_back
    return package == "django_counter"


@contextmanager
def storm(counter: RedisCounter, kind: type[Exception] = Interrupted) -> Iterator[None]:
    """Strike calls on a counter, at intervals of which some are long enough for it to connect."""
    counter.close()
    start = perf_counter()
    counter.get("none")
    storm = Storm(max(0.002, 1.5 * (perf_counter() - start)), kind)
    before = signal.signal(signal.SIGALRM, storm.strike)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ask(counter: RedisCounter, number: int) -> None:
    """Ask one of several things, and look whether the answer is to that."""
    key = f"key-{number}"
    choice = number % 4
    if choice == 0:
        assert counter.multi_get([key, "none"]) == {key: number, "none": 0}
    elif choice == 1:
        assert counter.take([Budget(key, 1000, None)], 500) == [(number, True, False)]
    elif choice == 2:
        assert counter.entry(key) == (key, number, None)
    else:
        assert counter.get(key) == number


def weather(counter: RedisCounter, least: int) -> tuple[int, int]:
    """Ask at least so often, until HITS are reached; return how many calls, and interrupted ones.

    No answer may be another's.
    """
    with storm(counter):
        calls = interrupted = 0
        while interrupted < HITS or calls < least:
            calls += 1
            try:
                ask(counter, calls % 10 + 1)
            except Interrupted:
                interrupted += 1
    return calls, interrupted


class Stormy(NamedTuple):
    """A counter with a value of its own in each key, and its server."""

    counter: RedisCounter
    server: ServerProcess
    sentinel: ServerProcess | None = None  # which tells where the server is


WAYS = ["tcp", "unix", "RESP2", "RESP3", "TLS", "Sentinel"]


@pytest.fixture(params=WAYS)
def stormy(request: pytest.FixtureRequest, make_counter: Callable[..., RedisCounter]) -> Stormy:
    """A counter, for each way to its server."""
    made = way_of(request.param, request.getfixturevalue, make_counter)
    for key, value in KEYS.items():
        made.counter.set(key, value)
    return made


def way_of(way: str, fixture: Callable[[str], Any], make: Callable[..., RedisCounter]) -> Stormy:
    if way == "TLS":
        server, options = fixture("tls_server"), trusting(fixture("authority"))
        url = f"rediss://127.0.0.1:{fixture('tls_port')}/0"
    elif way == "Sentinel":
        watched: Watched = fixture("watched")
        watched.promote(watched.first)
        options = sentinels.options_of(watched.sentinel)
        return Stormy(make(sentinels.URL, 10, **options), watched.first, watched.sentinel)
    else:
        server = fixture("valkey")
        url = f"unix://{server.unix_socket}?db=0" if way == "unix" else server.url
        protocol = {"RESP2": 2, "RESP3": 3}.get(way)
        options = {"CONNECTION_POOL_KWARGS": {"protocol": protocol}} if protocol else {}
    return Stormy(make(url, timeout=10, **options), server)


@pytest.mark.figure("signals")
@pytest.mark.fault("exception from a signal")
def test_interrupted_calls_neither_take_another_reply_nor_leak_a_connection(
    stormy: Stormy, record_property: Callable[[str, object], None]
) -> None:
    calls, interrupted = weather(stormy.counter, least=sized(2_000, 50_000))
    with admin_of(stormy.server) as admin:
        assert eventually(lambda: len(connections_of(stormy.counter, admin)) <= 1)
    if stormy.sentinel:
        with admin_of(stormy.sentinel) as admin:
            assert eventually(lambda: len(admin.client_list()) == 1)  # the admin's
    record_property("figure", f"{calls:,} calls, {interrupted:,} of them interrupted")


def test_interrupted_changes_are_made_at_most_once(stormy: Stormy) -> None:
    counted = called = 0
    with storm(stormy.counter):
        while called - counted < HITS:
            called += 1
            try:
                stormy.counter.increment("changed")
                counted += 1
            except Interrupted:
                continue
    assert counted <= stormy.counter.get("changed") <= called


class Late(TimeoutError):
    """What a handler raises that ends what takes too long. Sockets raise its base class."""


def test_changes_that_a_time_limit_ends_are_made_at_most_once(stormy: Stormy) -> None:
    counted = called = late = 0
    with storm(stormy.counter, Late):
        while late < HITS:
            called += 1
            try:
                stormy.counter.increment("changed")
                counted += 1
            except Late:
                late += 1
            except (CounterUnavailable, AttributeError):
                called -= 1  # it was connecting; redis-py then asks a Unix socket for its port
    assert counted <= stormy.counter.get("changed") <= called
