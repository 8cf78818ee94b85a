"""What the tests see of a server and of a counter's connections, past the counter."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis

from django_counter import CounterError
from django_counter.backends.redis import RedisCounter
from tests.servers import ServerProcess

LIMIT_SECONDS = 10.0  # for what is to happen soon


def admin_of(server: ServerProcess, **options: Any) -> redis.Redis:
    """Return a client that holds one connection to a server."""
    path = str(server.unix_socket)
    return redis.Redis(
        unix_socket_path=path, decode_responses=True, single_connection_client=True, **options
    )


def connections_of(counter: RedisCounter, admin: redis.Redis) -> list[int]:
    """Return the ids that the server gave to a counter's connections."""
    return [int(each["id"]) for each in admin.client_list() if each["name"] == counter.alias]


def patiently(call: Callable[[], Any]) -> Any:
    """Return what a call gives that may be made again, however slow the machine is."""
    until = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            return call()
        except CounterError:
            assert time.monotonic() < until


async def apatiently(call: Callable[[], Awaitable[Any]]) -> Any:
    """See patiently()."""
    until = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            return await call()
        except CounterError:
            assert time.monotonic() < until


def eventually(holds: Callable[[], object], seconds: float = LIMIT_SECONDS) -> bool:
    """Say whether something comes true soon."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.01)
    return bool(holds())
