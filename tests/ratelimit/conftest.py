"""Fixtures of rate limits: a clock that tests move, counters by it, both kinds of operations."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from django.test import override_settings

from django_counter import counters
from django_counter.ratelimit import RateLimit
from tests.contract.stores import Blocking, RedisStore, fake_cache, server_cache
from tests.ratelimit.clocks import Clock
from tests.servers import ServerProcess

MEMORY = "django_counter.backends.memory.MemoryCounter"
_NUMBERS = itertools.count()

Operated = Callable[[RateLimit], RateLimit]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("django_counter.ratelimit.clock.now", clock)
    return clock


@pytest.fixture
def memory(clock: Clock) -> Iterator[None]:
    """Counters in memory, by the clock."""
    with override_settings(COUNTERS={"default": {"BACKEND": MEMORY, "OPTIONS": {"clock": clock}}}):
        yield


@pytest.fixture
def on_valkey(valkey: ServerProcess, runner: asyncio.Runner) -> Iterator[RedisStore]:
    """Counters on a real server, whose ttl no test can move."""
    store = RedisStore(server_cache(valkey.url), short=0.005)
    with override_settings(CACHES={"default": store.cache}, COUNTERS={"default": {}}):
        yield store
        runner.run(counters["default"].aclose())
    runner.run(store.counter.aclose())
    store.close()


@pytest.fixture
def on_fakeredis(runner: asyncio.Runner) -> Iterator[None]:
    with override_settings(CACHES={"default": fake_cache()}, COUNTERS={"default": {}}):
        yield
        runner.run(counters["default"].aclose())


@pytest.fixture(params=["memory", "on_fakeredis", "on_valkey"])
def anywhere(request: pytest.FixtureRequest, clock: Clock) -> str:
    """Counters on each backend, by turns."""
    request.getfixturevalue(request.param)
    return str(request.param)


@pytest.fixture(params=["sync", "async"])
def operated(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Operated:
    """What makes the operations of a limit run as the one kind or the other."""
    if request.param == "sync":
        return lambda limit: limit
    return lambda limit: cast(RateLimit, Blocking(limit, runner))  # type: ignore[arg-type]


@pytest.fixture
def name() -> str:
    """A name that no other limit has."""
    return f"limit {next(_NUMBERS)}"


@pytest.fixture
def no_deny_cache() -> Iterator[None]:
    with override_settings(RATE_LIMIT={"DENY_CACHE": 0}):
        yield


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner
