"""The ways of calls to a cluster: a lane to each of its nodes."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

from redis.exceptions import ClusterDownError

from django_counter.backends.redis.async_lane import AsyncLane
from django_counter.backends.redis.bulk import Bulk
from django_counter.backends.redis.call import Answer, Call, Reply, pack, packed_together
from django_counter.backends.redis.errors import FAILURES, fail
from django_counter.backends.redis.lane import Lane
from django_counter.backends.redis.route import Route
from django_counter.backends.redis.server import Server
from django_counter.backends.redis.topology import CLUSTER_SLOTS, Address, Topology, by_slot
from django_counter.exceptions import CounterError, CounterUnavailable

ASKING = pack(("ASKING",))


class ClusterLane:
    """See Lane. A call goes to the node that has its slot, and on to where that one sends it."""

    def __init__(self, server: Server, seeds: Sequence[Address]) -> None:
        self._server = server  # any node: all are connected to alike
        self._topology = Topology(seeds)
        self._lanes: dict[Address, Lane] = {}

    def call(self, call: Call[Answer]) -> Answer:
        """See Lane.call()."""
        deadline = self._deadline()
        route = self._route(call, deadline)
        try:
            reply = self._lane(route.node).exchange(call.packed or pack(call.command), deadline)
        except FAILURES as error:
            reply = self._go_on(route, error, deadline)
        return call.parse(reply, call.key)

    def call_all(self, calls: Sequence[Call[Answer]]) -> list[Answer | CounterError]:
        """See Lane.call_all(). Each node gets its calls in one write."""
        deadline = self._deadline()
        routes = [self._route_or_error(call, deadline) for call in calls]
        replies: dict[Route, Reply | Exception] = {}
        for node, group in by_node(routes).items():
            found = self._exchange_all(node, group, deadline)
            replies.update(zip(group, found, strict=True))
        return [
            self._settle(route, replies[route], deadline) if isinstance(route, Route) else route
            for route in routes
        ]

    def send_all(self, bulk: Bulk[Answer]) -> list[Answer | CounterError]:
        """See Lane.send_all(). Their calls know where they go."""
        return self.call_all([bulk.call(number) for number in range(len(bulk))])

    def together(self, prefix: str, keys: list[str]) -> list[list[str]]:
        """See Lane.together()."""
        return by_slot(prefix, keys)

    def call_node(self, number: int, call: Call[Answer]) -> tuple[Answer, int]:
        """See Lane.call_node()."""
        if not self._topology.known:
            self._learn(call, self._deadline())
        master, masters = self._topology.numbered(number)
        try:
            return self._lane(master).call(call), masters
        except CounterUnavailable:
            self._topology.doubt(master)
            raise

    def close(self) -> None:
        """See Lane.close()."""
        for lane in list(self._lanes.values()):
            lane.close()

    def _deadline(self) -> float:
        return monotonic() + self._server.timeout

    def _lane(self, node: Address | None) -> Lane:
        if node is None:
            raise ClusterDownError("no node has the slot")
        return self._lanes.get(node) or self._lanes.setdefault(node, Lane(self._server.at(node)))

    def _route(self, call: Call[Any], deadline: float) -> Route:
        if not self._topology.known:
            self._learn(call, deadline)
        return Route(call, self._topology)

    def _route_or_error(self, call: Call[Any], deadline: float) -> Route | CounterError:
        try:
            return self._route(call, deadline)
        except CounterError as error:
            return error

    def _exchange(self, route: Route, deadline: float) -> Reply:
        lane = self._lane(route.node)
        if not route.asking:
            return lane.exchange(pack(route.call.command), deadline, wait=True)
        _, reply = lane.exchange_all([ASKING, pack(route.call.command)], deadline)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _exchange_all(
        self, node: Address | None, routes: Sequence[Route], deadline: float
    ) -> list[Reply | Exception]:
        packed = packed_together([route.call for route in routes])
        try:
            return self._lane(node).exchange_all(packed, deadline)
        except ClusterDownError as error:
            return [error] * len(routes)

    def _go_on(self, route: Route, error: Exception, deadline: float) -> Reply:
        while True:
            if route.doubt_node(error) and not self._topology.known:
                with suppress(CounterUnavailable):  # the error itself tells more
                    self._learn(route.call, deadline)
            route.go_on(error)
            sleep(route.tries.pause)
            if monotonic() >= deadline:
                fail(route.call, route.tries.lost or TimeoutError("no time is left"))
            try:
                return self._exchange(route, deadline)
            except FAILURES as failure:
                error = failure

    def _settle(
        self, route: Route, reply: Reply | Exception, deadline: float
    ) -> Any | CounterError:
        if isinstance(reply, CounterError):
            return reply
        try:
            if isinstance(reply, FAILURES):
                reply = self._go_on(route, reply, deadline)
            return route.call.parse(reply, route.call.key)
        except CounterError as error:
            return error

    def _learn(self, call: Call[Any], deadline: float) -> None:
        """Ask one node after the other who has which slots, until one tells."""
        failure: Exception = TimeoutError("no time is left")
        for node in self._topology.nodes:
            try:
                reply = self._lane(node).exchange(pack(CLUSTER_SLOTS.command), deadline, wait=True)
            except FAILURES as error:
                self._topology.doubt(node)
                failure = error
            else:
                self._topology.learn(reply, node)
                return
        fail(call._replace(safe=True), failure)


class AsyncClusterLane:
    """See ClusterLane, and AsyncLane."""

    def __init__(self, server: Server, seeds: Sequence[Address]) -> None:
        self._server = server
        self._topology = Topology(seeds)
        self._lanes: dict[Address, AsyncLane] = {}

    async def call(self, call: Call[Answer]) -> Answer:
        """See AsyncLane.call()."""
        deadline = self._deadline()
        route = await self._route(call, deadline)
        try:
            reply = await self._lane(route.node).exchange(
                call.packed or pack(call.command), deadline
            )
        except FAILURES as error:
            reply = await self._go_on(route, error, deadline)
        return call.parse(reply, call.key)

    async def call_all(self, calls: Sequence[Call[Answer]]) -> list[Answer | CounterError]:
        """See ClusterLane.call_all(). All nodes are asked at the same time."""
        deadline = self._deadline()
        routes = [await self._route_or_error(call, deadline) for call in calls]
        groups = by_node(routes)
        found = await asyncio.gather(
            *(self._exchange_all(node, group, deadline) for node, group in groups.items())
        )
        replies: dict[Route, Reply | BaseException] = {}
        for group, each in zip(groups.values(), found, strict=True):
            replies.update(zip(group, each, strict=True))
        return [
            await self._settle(route, replies[route], deadline)
            if isinstance(route, Route)
            else route
            for route in routes
        ]

    async def send_all(self, bulk: Bulk[Answer]) -> list[Answer | CounterError]:
        """See ClusterLane.send_all()."""
        return await self.call_all([bulk.call(number) for number in range(len(bulk))])

    async def call_node(self, number: int, call: Call[Answer]) -> tuple[Answer, int]:
        """See Lane.call_node()."""
        if not self._topology.known:
            await self._learn(call, self._deadline())
        master, masters = self._topology.numbered(number)
        try:
            return await self._lane(master).call(call), masters
        except CounterUnavailable:
            self._topology.doubt(master)
            raise

    async def close(self) -> None:
        """See AsyncLane.close()."""
        for lane in list(self._lanes.values()):
            await lane.close()

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._server.timeout

    def _lane(self, node: Address | None) -> AsyncLane:
        if node is None:
            raise ClusterDownError("no node has the slot")
        return self._lanes.get(node) or self._lanes.setdefault(
            node, AsyncLane(self._server.at(node))
        )

    async def _route(self, call: Call[Any], deadline: float) -> Route:
        if not self._topology.known:
            await self._learn(call, deadline)
        return Route(call, self._topology)

    async def _route_or_error(self, call: Call[Any], deadline: float) -> Route | CounterError:
        try:
            return await self._route(call, deadline)
        except CounterError as error:
            return error

    async def _exchange(self, route: Route, deadline: float) -> Reply:
        lane = self._lane(route.node)
        if not route.asking:
            return await lane.exchange(pack(route.call.command), deadline)
        _, reply = await lane.exchange_all([ASKING, pack(route.call.command)], deadline)
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def _exchange_all(
        self, node: Address | None, routes: Sequence[Route], deadline: float
    ) -> list[Reply | BaseException]:
        packed = packed_together([route.call for route in routes])
        try:
            return await self._lane(node).exchange_all(packed, deadline)
        except ClusterDownError as error:
            return [error] * len(routes)

    async def _go_on(self, route: Route, error: Exception, deadline: float) -> Reply:
        while True:
            if route.doubt_node(error) and not self._topology.known:
                with suppress(CounterUnavailable):
                    await self._learn(route.call, deadline)
            route.go_on(error)
            await asyncio.sleep(route.tries.pause)
            if route.tries.lost and asyncio.get_running_loop().time() >= deadline:
                fail(route.call, route.tries.lost)
            try:
                return await self._exchange(route, deadline)
            except FAILURES as failure:
                error = failure

    async def _settle(
        self, route: Route, reply: Reply | BaseException, deadline: float
    ) -> Any | CounterError:
        if isinstance(reply, CounterError):
            return reply
        try:
            if isinstance(reply, FAILURES):
                reply = await self._go_on(route, reply, deadline)
            return route.call.parse(reply, route.call.key)
        except CounterError as error:
            return error

    async def _learn(self, call: Call[Any], deadline: float) -> None:
        """See ClusterLane._learn()."""
        failure: Exception = TimeoutError("no time is left")
        for node in self._topology.nodes:
            try:
                reply = await self._lane(node).exchange(pack(CLUSTER_SLOTS.command), deadline)
            except FAILURES as error:
                self._topology.doubt(node)
                failure = error
            else:
                self._topology.learn(reply, node)
                return
        fail(call._replace(safe=True), failure)


def by_node(routes: Sequence[Route | CounterError]) -> dict[Address | None, list[Route]]:
    """Return the routes that are known, in groups of one node each."""
    groups: dict[Address | None, list[Route]] = {}
    for route in routes:
        if isinstance(route, Route):
            groups.setdefault(route.node, []).append(route)
    return groups
