"""What the contract runs on: every backend, bare and behind a middleware, sync and async."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis
from django.test import override_settings
from django_redis import get_redis_connection
from fakeredis import FakeRedisConnection

from django_counter.backends.memory import MemoryCounter
from django_counter.backends.redis import RedisCounter
from django_counter.base import Counter
from django_counter.batch import Batch
from django_counter.values import Entry
from tests.clusters import FACTORY, Cluster

PATIENCE = 10.0  # seconds
POLL = 0.002  # seconds


class Variant(NamedTuple):
    """One way to run a test of the contract."""

    backend: str
    wrapped: bool
    asynchronous: bool

    def __str__(self) -> str:
        chain = "middleware" if self.wrapped else "bare"
        return f"{self.backend}-{chain}-{'async' if self.asynchronous else 'sync'}"


VARIANTS = [
    Variant(backend, wrapped, asynchronous)
    for backend in ("memory", "fakeredis", "valkey", "redis", "cluster")
    for wrapped in (False, True)
    for asynchronous in (False, True)
    if not (backend == "cluster" and wrapped)  # to a middleware it is no other than one server
]
ON_SERVERS = [variant for variant in VARIANTS if variant.backend != "memory"]
ON_REAL_SERVERS = [variant for variant in ON_SERVERS if variant.backend != "fakeredis"]
ON_ONE_SERVER = [variant for variant in ON_REAL_SERVERS if variant.backend != "cluster"]
IN_THE_MATRIX = [v for v in VARIANTS if not v.wrapped and v.backend in ("memory", "valkey")]
# Enough where what is tested is the backend's own.
BARE_AND_SYNC = [v for v in VARIANTS if not v.wrapped and not v.asynchronous]


class MemoryStore:
    """Memory, and a clock that only tests move."""

    short = 1.0  # seconds: a ttl to outlive

    def __init__(self) -> None:
        self.now = 1000.0
        self.counter = MemoryCounter(clock=lambda: self.now)

    def outlive(self, key: str) -> None:
        """Let the ttl of a key end."""
        entry = self.counter.entry(key)
        if entry:
            assert entry.ttl is not None
            self.now += entry.ttl


class RedisStore:
    """A server, real or not, and a plain client that goes round the counters."""

    def __init__(self, cache: dict[str, Any], short: float) -> None:
        self.cache = cache
        self.short = short  # seconds: a ttl to outlive
        with override_settings(CACHES={"default": cache}):
            self.counter = RedisCounter()
            self.client: redis.Redis = get_redis_connection("default")

    def outlive(self, key: str) -> None:
        """Let the ttl of a key end."""
        assert self.client.pttl(self.place(key)) != -1
        wait_until(lambda: not self.client.exists(self.place(key)))

    def place(self, key: str) -> str:
        """Return the name that a key has on the server."""
        return f"counter:{key}"

    def write(self, key: str, stored: bytes | list[bytes] | dict[bytes, bytes]) -> None:
        """Store what a counter would not."""
        place = self.place(key)
        if isinstance(stored, bytes):
            self.client.set(place, stored)
        elif isinstance(stored, list):
            self.client.rpush(place, *stored)
        else:
            self.client.hset(place, mapping=stored)

    def dump(self, key: str) -> Any:
        """Return all that is stored under a key."""
        return self.client.dump(self.place(key))

    def close(self) -> None:
        self.counter.close()
        self.client.close()


Store = MemoryStore | RedisStore


class Blocking:
    """The async twins of a counter, under the names of its sync operations."""

    def __init__(self, counter: Counter, runner: asyncio.Runner) -> None:
        self._counter = counter
        self._runner = runner

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        twin = getattr(self._counter, f"a{operation}")

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._runner.run(twin(*args, **kwargs))

        return call

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        batch = self._counter.batch()
        self._runner.run(batch.__aenter__())
        try:
            yield batch
        except BaseException as error:
            self._runner.run(batch.__aexit__(type(error), error, None))
            raise
        self._runner.run(batch.__aexit__(None, None, None))

    def scan(self, *args: Any, **kwargs: Any) -> Iterator[Entry]:
        entries: Any = self._counter.ascan(*args, **kwargs)

        async def step() -> Entry | None:
            return await anext(entries, None)

        try:
            while entry := self._runner.run(step()):
                yield entry
        finally:
            self._runner.run(entries.aclose())


def fake_cache() -> dict[str, Any]:
    """Return an entry of CACHES for a server inside this process, shared by its URL."""
    cache = server_cache("redis://contract.invalid:6379/0")
    cache["OPTIONS"]["CONNECTION_POOL_KWARGS"] = {"connection_class": FakeRedisConnection}
    return cache


def server_cache(url: str) -> dict[str, Any]:
    """Return an entry of CACHES for a server."""
    # A busy machine must not look like an outage.
    options = {"SOCKET_TIMEOUT": PATIENCE, "SOCKET_CONNECT_TIMEOUT": PATIENCE}
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": options}


def cluster_cache(cluster: Cluster) -> dict[str, Any]:
    """Return an entry of CACHES for a cluster."""
    cache = server_cache("")
    cache["LOCATION"] = cluster.location
    cache["OPTIONS"]["CONNECTION_FACTORY"] = FACTORY
    return cache


def wait_until(condition: Callable[[], object]) -> None:
    """Poll a condition that is about to hold."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL)
