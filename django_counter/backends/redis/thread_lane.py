"""The way of asynchronous calls for connections that only synchronous code can use."""

import asyncio
from collections.abc import Sequence

from django_counter.backends.redis.bulk import Bulk
from django_counter.backends.redis.call import Answer, Call
from django_counter.backends.redis.cluster_lane import ClusterLane
from django_counter.backends.redis.lane import Lane
from django_counter.exceptions import CounterError


class ThreadLane:
    """The synchronous lane with a thread for each call: for connections of unknown classes."""

    def __init__(self, lane: Lane | ClusterLane) -> None:
        self._lane = lane

    async def call(self, call: Call[Answer]) -> Answer:
        """See Lane.call()."""
        return await asyncio.to_thread(self._lane.call, call)

    async def call_all(self, calls: Sequence[Call[Answer]]) -> list[Answer | CounterError]:
        """See Lane.call_all()."""
        return await asyncio.to_thread(self._lane.call_all, calls)

    async def send_all(self, bulk: Bulk[Answer]) -> list[Answer | CounterError]:
        """See Lane.send_all()."""
        return await asyncio.to_thread(self._lane.send_all, bulk)

    async def call_node(self, number: int, call: Call[Answer]) -> tuple[Answer, int]:
        """See Lane.call_node()."""
        return await asyncio.to_thread(self._lane.call_node, number, call)

    async def close(self) -> None:
        """The idle connections are the synchronous lane's."""
