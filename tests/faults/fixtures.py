"""Fixtures for tests that look at the servers and connections behind a counter.

A test module takes them with `pytest_plugins = ["tests.faults.fixtures"]`.
"""

import asyncio
import itertools
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from django_counter.backends.redis import RedisCounter
from tests import sentinels
from tests.certificates import Authority
from tests.clusters import FACTORY
from tests.faults.operations import Caller
from tests.faults.proxy import Proxy
from tests.faults.watch import LIMIT_SECONDS, admin_of
from tests.sentinels import Watched
from tests.servers import ServerProcess, free_port, redis_binary, valkey_binary

_numbers = itertools.count(1)


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Iterator[Caller]:
    """`call(counter, "increment", key)`, through one event loop where it is async."""
    if request.param == "sync":
        yield Caller(None)
        return
    with asyncio.Runner() as runner:
        yield Caller(runner)


@pytest.fixture
def make_counter(settings: Any) -> Iterator[Callable[..., RedisCounter]]:
    """`make_counter(url)` gives a counter whose keys and whose connections are its own.

    Several URLs are those of a cluster.

    Further arguments are the timeout of its calls, how many replicas must confirm a change, and
    OPTIONS of its cache. Without a timeout it has one that a busy machine does not reach. Its
    connections have the name `counter.alias`.
    """
    made: list[RedisCounter] = []

    def make(
        url: str | list[str], timeout: float | None = None, replicas: int = 0, **options: Any
    ) -> RedisCounter:
        if timeout is None and "SOCKET_TIMEOUT" not in options:
            timeout = LIMIT_SECONDS
        alias = f"counter-{next(_numbers)}"
        # django-redis keeps its pools by URL: a name makes this one our own.
        if isinstance(url, str):
            url += f"{'&' if '?' in url else '?'}client_name={alias}"
        else:
            options["CONNECTION_FACTORY"] = FACTORY
        cache = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": url,
            "OPTIONS": options,
        }
        settings.CACHES = {alias: cache}
        counter = RedisCounter(cache=alias, key_prefix=alias, timeout=timeout, replicas=replicas)
        counter.alias = alias
        made.append(counter)
        return counter

    yield make
    for each in made:
        each.close()


@pytest.fixture
def counter(make_counter: Callable[..., RedisCounter], valkey: ServerProcess) -> RedisCounter:
    """A counter on the embedded Valkey."""
    return make_counter(valkey.url)


@pytest.fixture
def proxy(valkey: ServerProcess) -> Iterator[Proxy]:
    """A proxy before the embedded Valkey."""
    with Proxy(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def admin(valkey: ServerProcess) -> Iterator[redis.Redis]:
    """A client of the embedded Valkey with a connection of its own."""
    with admin_of(valkey) as client:
        yield client


@pytest.fixture(params=["valkey", "redis-server"])
def server_binary(request: pytest.FixtureRequest) -> str:
    """Each of the servers, for tests that start their own."""
    binary = valkey_binary() if request.param == "valkey" else redis_binary()
    return binary or pytest.skip("redis-server is not installed")


@pytest.fixture(scope="module")
def stopped_at_times() -> Iterator[ServerProcess]:
    """A server of a module's own, that its tests stop and pause."""
    with ServerProcess(valkey_binary()) as server:
        yield server


@pytest.fixture
def running(stopped_at_times: ServerProcess) -> Iterator[ServerProcess]:
    """The same, as it runs again after each test."""
    yield stopped_at_times
    if stopped_at_times.process is None:
        stopped_at_times.start()
    stopped_at_times.resume()


@pytest.fixture
def own_server(server_binary: str) -> Iterator[ServerProcess]:
    """A server of the test's own, to be stopped or spoilt."""
    with ServerProcess(server_binary) as server:
        yield server


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with sentinels.watched(valkey_binary()) as watched:
        yield watched


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_server(authority: Authority) -> Iterator[ServerProcess]:
    """A server that speaks TLS only. The embedded Valkey is built without it."""
    binary = redis_binary()
    if binary is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    options = {
        "tls_port": str(port),
        "tls_cert_file": str(authority.certificate),
        "tls_key_file": str(authority.key),
        "tls_ca_cert_file": str(authority.root),
        "tls_auth_clients": "no",
    }
    with ServerProcess(binary, port=0, **options) as server:
        yield server


@pytest.fixture(scope="module")
def tls_port(tls_server: ServerProcess) -> int:
    return int(tls_server.options["tls_port"])
