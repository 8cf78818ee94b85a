"""The server of a CACHES alias, and how to connect to it."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import redis.asyncio.connection as driver_async
import redis.connection as driver
import redis.sentinel as sentinel
from django.core.cache import InvalidCacheBackendError
from django_redis import get_redis_connection
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool
from redis.exceptions import RedisError

from django_counter.backends.redis.call import pack
from django_counter.backends.redis.connection import (
    Connection,
    DriverConnection,
    SocketConnection,
)
from django_counter.exceptions import CounterConfigError

DEFAULT_TIMEOUT = 1.0  # seconds

# The classes whose sockets the lanes use directly, each with its asynchronous one.
KNOWN_CLASSES = {
    driver.Connection: driver_async.Connection,
    driver.SSLConnection: driver_async.SSLConnection,
    driver.UnixDomainSocketConnection: driver_async.UnixDomainSocketConnection,
    sentinel.SentinelManagedConnection: driver_async.Connection,
    sentinel.SentinelManagedSSLConnection: driver_async.SSLConnection,
}

# What a pool hands to its connections for its own ends, and what our lanes decide themselves.
_NOT_OURS = {
    "decode_responses",
    "event_dispatcher",
    "health_check_interval",
    "himport_registry",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "orig_host_address",
    "orig_socket_connect_timeout",
    "orig_socket_timeout",
    "retry",
    "retry_on_error",
    "retry_on_timeout",
}

_SYNC_ONLY = {"command_packer", "parser_class"}
_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}


class Packer:
    """What redis-py's synchronous connections pack their handshake with; see Command."""

    def pack(self, *words: str | bytes | int) -> list[bytes]:
        """Return the bytes of a command."""
        return [pack(tuple(word if isinstance(word, bytes) else str(word) for word in words))]


class Server:
    """What django-redis knows of a CACHES alias, without its pool: each lane keeps its own."""

    def __init__(self, cache: str, timeout: float | None) -> None:
        self._cache = cache
        self._pool = _pool(cache)
        options = self._pool.connection_kwargs
        self._class = self._pool.connection_class
        self.timeout = _seconds(timeout) or options.get("socket_timeout") or DEFAULT_TIMEOUT
        connect_timeout = options.get("socket_connect_timeout") or self.timeout
        self._options = {name: options[name] for name in options.keys() - _NOT_OURS} | {
            "socket_timeout": self.timeout,
            "socket_connect_timeout": min(connect_timeout, self.timeout),
        }
        self.known = self._class in KNOWN_CLASSES
        if self.known:
            self._options["command_packer"] = Packer()
        for name in _FILES & self._options.keys():
            if self._options[name] and not Path(self._options[name]).exists():
                raise CounterConfigError(f"CACHES[{cache!r}]: {name} names a file that is missing")

    def connect(self, deadline: float) -> Connection:
        """Return a new connection; raise one of DRIVER_ERRORS, or CounterConfigError.

        `deadline` is by time.monotonic(). Each step of the handshake may take the timeout.
        """
        if monotonic() >= deadline:
            raise TimeoutError("no time is left to connect")
        connection = self._make(self._class, self._options)
        with self._host_in_error():
            connection.connect()
        if self.known:
            return SocketConnection(connection, self.timeout)
        return DriverConnection(connection)

    async def aconnect(self) -> AsyncConnection:
        """Return a new connection of a known class to the running event loop; see connect()."""
        options = self._async_options()
        async with asyncio.timeout(self.timeout), AsyncExitStack() as on_failure:
            if options.pop("connection_pool", None):  # Sentinel's
                address = await asyncio.to_thread(self._pool.get_master_address)
                options["host"], options["port"] = address
            connection: AsyncConnection = self._make(KNOWN_CLASSES[self._class], options)
            on_failure.push_async_callback(connection.disconnect, nowait=True)
            with self._host_in_error():
                await connection.connect()  # type: ignore[no-untyped-call]
            on_failure.pop_all()
        return connection

    def driver_pool(self) -> AsyncConnectionPool:
        """Return redis-py's own pool of such connections of a known class, to compare with."""
        options = self._async_options()
        if options.pop("connection_pool", None):
            options["host"], options["port"] = self._pool.get_master_address()
        return AsyncConnectionPool(KNOWN_CLASSES[self._class], **options)

    def _async_options(self) -> dict[str, Any]:
        return {name: self._options[name] for name in self._options.keys() - _SYNC_ONLY}

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


def _pool(cache: str) -> Any:
    try:
        client = get_redis_connection(cache, write=True)  # a replica's answers are old
    except InvalidCacheBackendError as error:
        raise CounterConfigError(f"CACHES has no cache {cache!r}: {error}") from error
    except NotImplementedError as error:
        raise CounterConfigError(f"CACHES[{cache!r}] is not a cache of django-redis") from error
    except ValueError:  # its text may hold parts of a password
        raise CounterConfigError(f"CACHES[{cache!r}]: LOCATION is not a Redis URL") from None
    try:
        return client.connection_pool
    except AttributeError as error:
        raise CounterConfigError(
            f"CACHES[{cache!r}]: {type(client).__name__} has no connection pool; "
            "a cluster is not supported"
        ) from error


def _seconds(timeout: float | None) -> float | None:
    if timeout is None or (isinstance(timeout, int | float) and 0.001 <= timeout < math.inf):
        return timeout
    raise CounterConfigError(f"option 'timeout' must be at least 0.001 seconds, not {timeout!r}")
