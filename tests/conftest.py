"""Fixtures for all tests: the servers, and counters on them."""

import os
from collections.abc import Iterator

import pytest

from django_counter.ratelimit.settings import DEFAULTS, forget
from tests.clusters import Cluster
from tests.servers import ServerProcess, redis_binary, valkey_binary


@pytest.fixture(autouse=True)
def _no_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread sends anything while tests look at servers, unless a test turns it on."""
    monkeypatch.setitem(DEFAULTS, "STATISTICS", False)
    forget()  # what was read before, in the set-up of a class for instance


@pytest.fixture(scope="session")
def valkey() -> Iterator[ServerProcess]:
    """The embedded Valkey, one for all tests: use unique keys."""
    with ServerProcess(valkey_binary()) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[ServerProcess]:
    """A redis-server from PATH, one for all tests: use unique keys."""
    binary = redis_binary()
    if binary is None:
        message = "redis-server is not installed"
        if os.environ.get("REQUIRE_REDIS_SERVER"):
            pytest.fail(message)
        pytest.skip(message)
    with ServerProcess(binary) as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of the embedded Valkey, one for all tests: use unique keys."""
    with Cluster(valkey_binary()) as cluster:
        yield cluster
