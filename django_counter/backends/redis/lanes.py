"""The ways to the server, or to the cluster, of a CACHES alias."""

from typing import Any

from django_counter.backends.redis.async_lane import AsyncLane
from django_counter.backends.redis.cluster_lane import AsyncClusterLane, ClusterLane
from django_counter.backends.redis.lane import Lane
from django_counter.backends.redis.server import Server, pool_of, seeds_of
from django_counter.backends.redis.thread_lane import ThreadLane
from django_counter.backends.redis.topology import Address
from django_counter.exceptions import CounterConfigError

SyncLane = Lane | ClusterLane
AnyAsyncLane = AsyncLane | AsyncClusterLane | ThreadLane


def lanes(cache: str, timeout: float | None, replicas: int = 0) -> tuple[SyncLane, AnyAsyncLane]:
    """Return the lanes of synchronous and of asynchronous calls that `replicas` confirm."""
    pools = seeds_of(cache)
    server = Server(cache, pools[0] if pools else pool_of(cache), timeout, replicas)
    addresses = [_address(cache, pool) for pool in pools]
    lane = ClusterLane(server, addresses) if pools else Lane(server)
    if not server.known:
        return lane, ThreadLane(lane)
    return lane, AsyncClusterLane(server, addresses) if pools else AsyncLane(server)


def _address(cache: str, pool: Any) -> Address:
    options = pool.connection_kwargs
    if "path" in options:
        raise CounterConfigError(f"CACHES[{cache!r}]: LOCATION of a cluster needs hosts and ports")
    return Address(options.get("host", "localhost"), int(options.get("port", 6379)))
