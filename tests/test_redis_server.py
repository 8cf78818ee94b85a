"""What a counter takes over of its CACHES alias, and what it refuses."""

import asyncio
import itertools
import math
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from django_redis.client import DefaultClient
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_counter import CounterConfigError
from django_counter.backends.redis import server as server_module
from django_counter.backends.redis.server import Server, pool_of
from tests.faults.watch import LIMIT_SECONDS, admin_of, eventually
from tests.servers import ServerProcess

SECRET = "planted-secret"
NOWHERE = "redis://nowhere.invalid:6379/0"
SENTINEL = {
    "CLIENT_CLASS": "django_redis.client.SentinelClient",
    "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
    "SENTINELS": [("sentinel.invalid", 26379)],
}

_numbers = itertools.count(1)

MakeServer = Callable[..., Server]


@pytest.fixture
def make_server(settings: Any) -> MakeServer:
    """`make_server(url, timeout, **OPTIONS)` is the server of an alias of its own."""

    def make(url: str = NOWHERE, timeout: float | None = None, **options: Any) -> Server:
        # django-redis keeps its pools by URL: a name makes this one our own.
        url += f"{'&' if '?' in url else '?'}client_name=server-{next(_numbers)}"
        cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": options}
        settings.CACHES = {"alias": cache}
        return Server("alias", pool_of("alias"), timeout)

    return make


def test_redis_py_s_own_pool_connects_to_the_master_too(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server("redis://counters/0", **SENTINEL)
    monkeypatch.setattr(server._sentinels, "master", lambda deadline: ("192.0.2.1", 6380))
    options = server.driver_pool().connection_kwargs
    assert (options["host"], options["port"]) == ("192.0.2.1", 6380)


@pytest.mark.parametrize(
    ("query", "options", "timeout", "seconds"),
    [
        ("", {}, None, 1),
        ("", {"SOCKET_TIMEOUT": 2}, None, 2),
        ("?socket_timeout=3", {}, None, 3),
        ("?socket_timeout=3", {"SOCKET_TIMEOUT": 2}, None, 3),
        ("", {"SOCKET_TIMEOUT": None}, None, 1),
        ("?socket_timeout=3", {"SOCKET_TIMEOUT": 2}, 0.25, 0.25),
        ("", {}, 0.001, 0.001),
    ],
)
def test_the_timeout_is_the_option_or_that_of_the_cache_or_one_second(
    make_server: MakeServer,
    query: str,
    options: dict[str, Any],
    timeout: float | None,
    seconds: float,
) -> None:
    server = make_server(NOWHERE + query, timeout, **options)
    assert server.timeout == seconds
    assert server._options["socket_timeout"] == seconds


@pytest.mark.parametrize(
    ("options", "timeout", "seconds"),
    [
        ({}, None, 1),
        ({"SOCKET_CONNECT_TIMEOUT": 0.5}, None, 0.5),
        ({"SOCKET_CONNECT_TIMEOUT": 5}, None, 1),
        ({"SOCKET_CONNECT_TIMEOUT": 5, "SOCKET_TIMEOUT": 9}, 2, 2),
    ],
)
def test_connecting_has_its_own_timeout_within_that_of_a_call(
    make_server: MakeServer, options: dict[str, Any], timeout: float | None, seconds: float
) -> None:
    server = make_server(NOWHERE, timeout, **options)
    assert server._options["socket_connect_timeout"] == seconds


@pytest.mark.parametrize("timeout", [0, 0.0009, -1, 3600.1, math.inf, math.nan, "1", True])
def test_a_timeout_out_of_range_is_refused(make_server: MakeServer, timeout: Any) -> None:
    with pytest.raises(CounterConfigError, match=re.escape(f"not {timeout!r}")):
        make_server(NOWHERE, timeout)


def test_retries_of_the_alias_are_left_out(make_server: MakeServer) -> None:
    retries = {
        "retry": Retry(NoBackoff(), 9),
        "retry_on_timeout": True,
        "retry_on_error": [OSError],
    }
    server = make_server(CONNECTION_POOL_KWARGS=retries)
    assert not retries.keys() & server._options.keys()


def test_an_unknown_alias_is_a_configuration_error() -> None:
    with pytest.raises(CounterConfigError, match="no cache 'missing'"):
        pool_of("missing")


def test_a_cache_that_is_not_of_django_redis_is_a_configuration_error(settings: Any) -> None:
    memory = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"alias": {"BACKEND": memory}}
    with pytest.raises(CounterConfigError, match="not a cache of django-redis"):
        pool_of("alias")


def test_several_servers_are_a_configuration_error(make_server: MakeServer) -> None:
    with pytest.raises(CounterConfigError, match="'alias'"):
        make_server(CLIENT_CLASS="django_redis.client.ShardClient")


class ClusterClient(DefaultClient):
    """What clients for clusters are to django-redis."""

    def get_client(self, *_: Any, **__: Any) -> object:
        return object()


def test_a_client_without_a_pool_is_a_configuration_error(make_server: MakeServer) -> None:
    with pytest.raises(CounterConfigError, match="for a cluster set CONNECTION_FACTORY"):
        make_server(CLIENT_CLASS="tests.test_redis_server.ClusterClient")


@pytest.mark.parametrize(
    "location",
    [
        f"http://:{SECRET}@h:6379/0",
        f"redis://:{SECRET}/1@h:6379/0",
        SECRET,
        *[f"redis://:12{mark}{SECRET}@h:6379/0" for mark in "/?#"],  # not localhost:12
    ],
)
def test_a_location_that_is_no_url_is_not_shown(make_server: MakeServer, location: str) -> None:
    with pytest.raises(CounterConfigError, match="not a Redis URL") as caught:
        make_server(location)
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown


def test_an_unknown_option_of_the_url_is_a_configuration_error(make_server: MakeServer) -> None:
    server = make_server(f"{NOWHERE}?unheard_of=1")
    with pytest.raises(CounterConfigError, match=r"CACHES\['alias'\].*unheard_of"):
        server.connect(monotonic() + 1)
    with pytest.raises(CounterConfigError, match=r"CACHES\['alias'\].*unheard_of"):
        asyncio.run(server.aconnect())


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_missing_file_of_tls_is_a_configuration_error(
    make_server: MakeServer, tmp_path: Path, name: str
) -> None:
    files = {name: str(tmp_path / "missing.pem")}
    with pytest.raises(CounterConfigError, match=f"{name} names a file that is missing"):
        make_server("rediss://nowhere.invalid:6379/0", CONNECTION_POOL_KWARGS=files)


def test_a_file_of_tls_that_is_there_is_taken(make_server: MakeServer, tmp_path: Path) -> None:
    files = {"ssl_ca_certs": str(tmp_path), "ssl_keyfile": None}
    server = make_server("rediss://nowhere.invalid:6379/0", CONNECTION_POOL_KWARGS=files)
    assert server._options["ssl_ca_certs"] == str(tmp_path)


def test_a_call_without_time_left_does_not_connect(make_server: MakeServer) -> None:
    with pytest.raises(TimeoutError, match="no time is left"):
        make_server().connect(monotonic() - 1)


def test_what_has_connected_too_late_is_closed(
    make_server: MakeServer, valkey: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(valkey.url)
    deadline = monotonic() + LIMIT_SECONDS
    times = iter([deadline - 1, deadline])
    monkeypatch.setattr(server_module, "monotonic", lambda: next(times))
    with pytest.raises(TimeoutError, match="no time is left to send"):
        server.connect(deadline)
    name = server._options["client_name"]
    with admin_of(valkey) as admin:
        assert eventually(lambda: name not in [each["name"] for each in admin.client_list()])


@pytest.fixture
def found(
    make_server: MakeServer, valkey: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> Server:
    """The server of an alias whose Sentinel names the embedded Valkey."""
    server = make_server("redis://counters/0", **SENTINEL)
    address = ("127.0.0.1", valkey.port)
    monkeypatch.setattr(server._sentinels, "master", lambda deadline: address)
    return server


def test_sentinel_is_asked_where_the_master_is(found: Server, valkey: ServerProcess) -> None:
    connection = found.connect(monotonic() + LIMIT_SECONDS)
    try:
        assert connection._connection.port == valkey.port
    finally:
        connection.close()


def test_the_time_that_sentinels_took_is_not_there_to_connect(
    found: Server, valkey: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(deadline: float) -> tuple[str, int]:
        sleep(0.05)
        return "127.0.0.1", valkey.port

    monkeypatch.setattr(found._sentinels, "master", slow)
    connection = found.connect(monotonic() + LIMIT_SECONDS)
    try:
        assert connection._connection.socket_timeout <= LIMIT_SECONDS - 0.05
    finally:
        connection.close()


def test_sentinel_is_asked_before_an_async_connection(found: Server, valkey: ServerProcess) -> None:
    async def main() -> int:
        connection = await found.aconnect()
        try:
            return int(connection.port)
        finally:
            await connection.disconnect()

    assert asyncio.run(main()) == valkey.port
