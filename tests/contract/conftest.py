"""Fixtures of the contract: a counter in every variant."""

import asyncio
import itertools
import secrets
from collections.abc import Iterator

import pytest

from django_counter.base import Counter
from django_counter.middleware import CounterMiddleware
from tests.clusters import Cluster
from tests.contract.stores import (
    IN_THE_MATRIX,
    VARIANTS,
    Blocking,
    MemoryStore,
    RedisStore,
    Store,
    Variant,
    cluster_cache,
    fake_cache,
    server_cache,
)
from tests.servers import ServerProcess

_SESSION = secrets.token_hex(4)
_NUMBERS = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most variants to the full run: the matrix has as many versions as there are of them."""
    for item in items:
        variant = getattr(item, "callspec", None) and item.callspec.params.get("variant")
        if isinstance(variant, Variant) and variant not in IN_THE_MATRIX:
            item.add_marker("heavy")


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    """All of them; a test that needs fewer has them as its indirect parameters."""
    variant: Variant = request.param
    return variant


@pytest.fixture
def store(variant: Variant, request: pytest.FixtureRequest) -> Store:
    if variant.backend == "memory":
        return MemoryStore()
    store: RedisStore = request.getfixturevalue(f"{variant.backend}_store")
    # The first to connect to fakeredis: threads that do at once each get a server of their own.
    store.client.flushdb()
    return store


@pytest.fixture
def composed(variant: Variant, store: Store) -> Counter:
    """The counter itself, with both kinds of operations."""
    return CounterMiddleware(store.counter) if variant.wrapped else store.counter


@pytest.fixture
def counter(variant: Variant, composed: Counter, runner: asyncio.Runner) -> Counter | Blocking:
    """The counter with the sync names of its operations, whichever kind runs."""
    return Blocking(composed, runner) if variant.asynchronous else composed


@pytest.fixture
def key() -> str:
    """A key that no other test has. All that begins with it lies in one slot of a cluster."""
    return f"{{{_SESSION}.{next(_NUMBERS)}}}."


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def fakeredis_store(runner: asyncio.Runner) -> Iterator[RedisStore]:
    # Its time passes during a script: a budget must not end before it is drawn.
    yield from opened(RedisStore(fake_cache(), short=0.1), runner)


@pytest.fixture(scope="session")
def valkey_store(valkey: ServerProcess, runner: asyncio.Runner) -> Iterator[RedisStore]:
    yield from opened(RedisStore(server_cache(own_database(valkey)), short=0.005), runner)


@pytest.fixture(scope="session")
def redis_store(redis_server: ServerProcess, runner: asyncio.Runner) -> Iterator[RedisStore]:
    yield from opened(RedisStore(server_cache(own_database(redis_server)), short=0.005), runner)


@pytest.fixture(scope="session")
def cluster_store(cluster: Cluster, runner: asyncio.Runner) -> Iterator[RedisStore]:
    yield from opened(RedisStore(cluster_cache(cluster), short=0.005), runner)


def opened(store: RedisStore, runner: asyncio.Runner) -> Iterator[RedisStore]:
    yield store
    runner.run(store.counter.aclose())
    store.close()


def own_database(server: ServerProcess) -> str:
    """Return the URL of a database that the contract may empty."""
    return f"redis://127.0.0.1:{server.port}/1"
