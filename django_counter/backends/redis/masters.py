"""The masters of a cluster, for who looks at each of them by itself."""

from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from typing import Any, NamedTuple

from redis import ConnectionPool, Redis
from redis.crc import key_slot

from django_counter.backends.redis.cluster_lane import ClusterLane
from django_counter.backends.redis.lanes import lanes
from django_counter.backends.redis.server import seeds_of
from django_counter.backends.redis.topology import Address

TRIED = 110_000  # hash tags, among which each slot has one


class Master(NamedTuple):
    """One of them; without an address, the slots that no node has."""

    address: Address | None
    slots: list[int]

    def __str__(self) -> str:
        ranges = ", ".join(_ranges(self.slots))
        return f"{self.address or 'no node'} with the slots {ranges}"

    def key(self, key_prefix: str) -> str | None:
        """Return a key in its slots, None where a hash tag in the prefix keeps all from them."""
        slots = {*self.slots}
        keys = (f"doctor:{{{number}}}" for number in range(TRIED))
        return next(
            (key for key in keys if key_slot(f"{key_prefix}:{key}".encode()) in slots), None
        )


def masters(cache: str, timeout: float | None) -> list[Master]:
    """Return the masters of a cluster, none for one server; raise a CounterError."""
    lane, _ = lanes(cache, timeout)
    with closing(lane):
        slots = lane.slots() if isinstance(lane, ClusterLane) else {}
    return [Master(*each) for each in slots.items()]


def client_of(cache: str, node: Address) -> Redis:
    """Return a plain client of one node."""
    pool: Any = seeds_of(cache)[0]
    options = {**pool.connection_kwargs, "host": node.host, "port": node.port}
    return Redis.from_pool(ConnectionPool(pool.connection_class, **options))


def _ranges(slots: list[int]) -> Iterator[str]:
    for _, group in groupby(enumerate(slots), lambda pair: pair[1] - pair[0]):
        run = [slot for _, slot in group]
        yield f"{run[0]}-{run[-1]}"
