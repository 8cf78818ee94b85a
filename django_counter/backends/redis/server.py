"""The server of a CACHES alias, and how to connect to it."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from copy import copy
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio.connection as driver_async
import redis.connection as driver
import redis.sentinel as sentinel
from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.exceptions import ImproperlyConfigured
from django_redis import get_redis_connection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool
from redis.exceptions import RedisError, ResponseError

from django_counter.backends.redis.cluster import ClusterConnectionFactory
from django_counter.backends.redis.connection import (
    Connection,
    DriverConnection,
    SocketConnection,
)
from django_counter.backends.redis.deadline import connection_by
from django_counter.backends.redis.options import connection_options
from django_counter.backends.redis.replication import (
    WAIT_FOR_NONE,
    Confirmation,
    ConfirmedConnection,
    has_no_wait,
)
from django_counter.backends.redis.sentinels import Discovery, Sentinels
from django_counter.backends.redis.topology import Address
from django_counter.exceptions import CounterConfigError

DEFAULT_TIMEOUT = 1.0  # seconds
MIN_TIMEOUT = 0.001  # seconds
MAX_TIMEOUT = 3600  # seconds

# The classes whose sockets the lanes use directly, each with what is made in its place: Sentinels
# are asked before, and event loops have their own.
TCP = driver.Connection, driver_async.Connection
TLS = driver.SSLConnection, driver_async.SSLConnection
UNIX = driver.UnixDomainSocketConnection, driver_async.UnixDomainSocketConnection
KNOWN_CLASSES: dict[Any, tuple[Any, Any]] = {
    driver.Connection: TCP,
    driver.SSLConnection: TLS,
    driver.UnixDomainSocketConnection: UNIX,
    sentinel.SentinelManagedConnection: TCP,
    sentinel.SentinelManagedSSLConnection: TLS,
}

_SYNC_ONLY = {"command_packer", "parser_class"}
_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}


class Server:
    """What a pool of django-redis knows of a server. Each lane keeps its own connections."""

    def __init__(self, cache: str, pool: Any, timeout: float | None, replicas: int = 0) -> None:
        self._cache = cache
        options = pool.connection_kwargs
        self.known = pool.connection_class in KNOWN_CLASSES
        self._class, self._async_class = KNOWN_CLASSES.get(
            pool.connection_class, (pool.connection_class, None)
        )
        own = _seconds(timeout, "option 'timeout'")
        self.timeout = own or self._option(options, "socket_timeout") or DEFAULT_TIMEOUT
        self.confirmation = Confirmation(replicas, self.timeout) if replicas else None
        connect_timeout = self._option(options, "socket_connect_timeout") or self.timeout
        self._options = connection_options(pool) | {
            "socket_timeout": self.timeout,
            "socket_connect_timeout": min(connect_timeout, self.timeout),
        }
        self._sentinels: Sentinels | None = None
        if isinstance(pool, sentinel.SentinelConnectionPool):
            self._sentinels = Sentinels(pool)
            del self._options["connection_pool"]
            if not self.known:
                self._options["connection_pool"] = Discovery(self._sentinels, self.timeout)
        for name in _FILES & self._options.keys():
            if self._options[name] and not Path(self._options[name]).exists():
                raise CounterConfigError(f"CACHES[{cache!r}]: {name} names a file that is missing")

    def _option(self, options: dict[str, Any], name: str) -> float | None:
        """Return seconds that the cache has: 0 is none there, as for django-redis."""
        return _seconds(options.get(name) or None, f"CACHES[{self._cache!r}]: {name}")

    def at(self, node: Address) -> "Server":
        """Return another node of the same cluster."""
        other = copy(self)
        other._options = {**self._options, "host": node.host, "port": node.port}
        return other

    def connect(self, deadline: float) -> Connection:
        """Return a new connection; raise one of DRIVER_ERRORS, or CounterConfigError.

        `deadline` is by time.monotonic(). The name of a host, each of several addresses, a TLS
        handshake after a slow connect, and connections of unknown classes may take longer.
        """
        if monotonic() >= deadline:
            raise TimeoutError("no time is left to connect")
        with self._host_in_error():
            if not self.known:
                connection = self._make(self._class, self._options)
            else:
                options = {**self._options, **self._address(deadline)}
                connection = self._make(partial(connection_by, deadline, self._class), options)
            connection.connect()
        if monotonic() >= deadline:
            connection.disconnect()
            raise TimeoutError("no time is left to send")
        if self.confirmation:
            self._try_wait(connection)
            return ConfirmedConnection(self._ours(connection), self.confirmation)
        return self._ours(connection)

    async def aconnect(self) -> AbstractConnection:
        """Return a new connection of a known class to the running event loop; see connect()."""
        options = self._async_options()
        async with asyncio.timeout(self.timeout), AsyncExitStack() as on_failure:
            if self._sentinels:
                with self._host_in_error():
                    deadline = monotonic() + self.timeout
                    options |= await asyncio.to_thread(self._address, deadline)
            connection: AbstractConnection = self._make(self._async_class, options)
            on_failure.push_async_callback(connection.disconnect, nowait=True)
            with self._host_in_error():
                await connection.connect()  # type: ignore[no-untyped-call]
            if self.confirmation:
                with self._wait_in_error():
                    await connection.send_command(*WAIT_FOR_NONE)
                    await connection.read_response()
            on_failure.pop_all()
        return connection

    def driver_pool(self) -> AsyncConnectionPool:
        """Return redis-py's own pool of such connections of a known class, to compare with."""
        options = self._async_options() | self._address(monotonic() + self.timeout)
        return AsyncConnectionPool(self._async_class, **options)

    def _address(self, deadline: float) -> dict[str, Any]:
        """Return the options that Sentinels tell, if there are Sentinels."""
        if self._sentinels is None:
            return {}
        host, port = self._sentinels.master(deadline)
        return {"host": host, "port": port}

    def _async_options(self) -> dict[str, Any]:
        return {name: self._options[name] for name in self._options.keys() - _SYNC_ONLY}

    def _ours(self, connection: Any) -> Connection:
        if self.known:
            return SocketConnection(connection, self.timeout)
        return DriverConnection(connection)

    def _try_wait(self, connection: Any) -> None:
        with ExitStack() as on_failure:
            on_failure.callback(connection.disconnect)
            with self._wait_in_error():
                connection.send_command(*WAIT_FOR_NONE)
                connection.read_response()
            on_failure.pop_all()

    @contextmanager
    def _wait_in_error(self) -> Iterator[None]:
        try:
            yield
        except ResponseError as error:
            if has_no_wait(error):
                raise CounterConfigError(
                    f"CACHES[{self._cache!r}]: option 'replicas' needs the command WAIT, "
                    "which the server does not let this user run"
                ) from error

    @contextmanager
    def _host_in_error(self) -> Iterator[None]:
        try:
            yield
        except UnicodeError as error:
            raise CounterConfigError(f"CACHES[{self._cache!r}]: the host is no name") from error

    def _make(self, connection_class: Any, options: dict[str, Any]) -> Any:
        try:
            return connection_class(**options)
        except (TypeError, ValueError, RedisError) as error:
            raise CounterConfigError(f"CACHES[{self._cache!r}]: {error}") from error


def pool_of(cache: str) -> Any:
    """Return the connection pool of a cache, which holds how to connect to its server."""
    with _without_secrets(cache):
        client = get_redis_connection(cache, write=True)  # a replica's answers are old
        _urls(cache)
    try:
        return client.connection_pool
    except AttributeError as error:
        raise CounterConfigError(
            f"CACHES[{cache!r}]: {type(client).__name__} has no connection pool; "
            "for a cluster set CONNECTION_FACTORY to that of this package"
        ) from error


def seeds_of(cache: str) -> list[Any]:
    """Return a pool for each node in the LOCATION of a cluster, and nothing for one server."""
    with _without_secrets(cache):
        factory = getattr(getattr(caches[cache], "client", None), "connection_factory", None)
        if not isinstance(factory, ClusterConnectionFactory):
            return []
        parameters = map(factory.make_connection_params, _urls(cache))
        return [factory.get_connection_pool(each) for each in parameters]


def _urls(cache: str) -> list[str]:
    """Return the URLs of a cache; raise ValueError for one whose password has a bare /, ? or #.

    What stands before that would be taken for a host and a port, and be shown as such.
    """
    location = settings.CACHES[cache]["LOCATION"]
    urls = [url.strip() for url in location.split(",")] if isinstance(location, str) else location
    for url in urls:
        parts = urlsplit(url)
        behind = parts.path + parts.fragment
        if "@" not in parts.netloc:
            behind += parts.query
        if "@" in behind and parts.scheme != "unix":
            raise ValueError("a part of the password stands for the host")
    return list(urls)


@contextmanager
def _without_secrets(cache: str) -> Iterator[None]:
    if not isinstance(cache, str):
        raise CounterConfigError(f"CACHES has no cache {cache!r}")
    try:
        yield
    except InvalidCacheBackendError as error:
        raise CounterConfigError(f"CACHES has no cache {cache!r}: {error}") from error
    except NotImplementedError as error:
        raise CounterConfigError(f"CACHES[{cache!r}] is not a cache of django-redis") from error
    except (ImportError, ImproperlyConfigured) as error:
        raise CounterConfigError(f"CACHES[{cache!r}]: {error}") from error
    except ValueError:  # its text may hold parts of a password
        raise CounterConfigError(f"CACHES[{cache!r}]: LOCATION is not a Redis URL") from None


def _seconds(timeout: float | None, name: str) -> float | None:
    if timeout is None:
        return None
    if type(timeout) in (int, float) and MIN_TIMEOUT <= timeout <= MAX_TIMEOUT:
        return timeout
    bounds = f"from {MIN_TIMEOUT} to {MAX_TIMEOUT}"
    raise CounterConfigError(f"{name} must be a number {bounds}, not {timeout!r}")
