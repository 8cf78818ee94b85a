"""redis-py's own increments over the connection settings of a cache, to compare ours with."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from django_redis import get_redis_connection
from redis.asyncio import Redis as AsyncRedis

from django_counter.backends.redis.server import Server, pool_of, seeds_of
from django_counter.exceptions import CounterConfigError


def driver_increment(cache: str, name: str) -> Callable[[], object]:
    """Return redis-py's INCRBY of a raw name. It raises redis-py's errors."""
    return partial(get_redis_connection(cache, write=True).incrby, name, 1)


@asynccontextmanager
async def adriver_increment(
    cache: str, name: str
) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """See driver_increment(): the same of redis-py's asynchronous client."""
    if seeds_of(cache):
        raise CounterConfigError(f"CACHES[{cache!r}] is a cluster: measure it without --async")
    client = AsyncRedis.from_pool(Server(cache, pool_of(cache), None).driver_pool())
    async with client:
        yield partial(client.incrby, name, 1)
