"""Exceptions out of signal handlers, as task queues raise them at a time limit."""

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
import redis

from django_counter import Budget
from django_counter.backends.redis import RedisCounter
from tests.faults.watch import connections_of, eventually
from tests.servers import ServerProcess

pytest_plugins = ["tests.faults.fixtures"]

# Interrupted while it connects, redis-py leaves its socket to Python, which closes and tells.
pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]

INTERRUPTED = {"django_counter", "redis", "socket"}  # whose code handlers raise in
KEYS = {f"key-{number}": number for number in range(1, 11)}


class Interrupted(Exception):
    """What the signal's handler raises."""


class Storm:
    """Alarms at short and random intervals."""

    def __init__(self) -> None:
        self.hits = 0
        self._random = random.Random(1)

    def strike(self, number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._random.uniform(0.0001, 0.002))
        if within_a_call(frame):
            self.hits += 1
            raise Interrupted


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
def storm() -> Iterator[Storm]:
    storm = Storm()
    before = signal.signal(signal.SIGALRM, storm.strike)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        yield storm
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


def weather(counter: RedisCounter, hits: int) -> None:
    """Ask until so many calls were interrupted; no answer may be another's."""
    with storm() as alarms:
        calls = 0
        while alarms.hits < hits:
            calls += 1
            try:
                ask(counter, calls % 10 + 1)
            except Interrupted:
                continue


@pytest.fixture(params=["tcp", "unix"])
def stormy(
    request: pytest.FixtureRequest,
    make_counter: Callable[..., RedisCounter],
    valkey: ServerProcess,
) -> RedisCounter:
    """A counter, over either kind of socket, with a value of its own in each key."""
    url = valkey.url if request.param == "tcp" else f"unix://{valkey.unix_socket}?db=0"
    counter = make_counter(url, timeout=10)
    for key, value in KEYS.items():
        counter.set(key, value)
    return counter


def test_interrupted_calls_never_give_another_call_their_reply(stormy: RedisCounter) -> None:
    weather(stormy, 300)


def test_thousands_of_interrupted_calls_never_give_another_call_their_reply(
    stormy: RedisCounter,
) -> None:
    weather(stormy, 3000)


def test_interrupted_calls_leak_no_connections(stormy: RedisCounter, admin: redis.Redis) -> None:
    weather(stormy, 100)
    assert eventually(lambda: len(connections_of(stormy, admin)) <= 1)


def test_interrupted_changes_are_made_at_most_once(stormy: RedisCounter) -> None:
    counted = called = 0
    with storm() as alarms:
        while alarms.hits < 300:
            called += 1
            try:
                stormy.increment("changed")
                counted += 1
            except Interrupted:
                continue
    assert counted <= stormy.get("changed") <= called
