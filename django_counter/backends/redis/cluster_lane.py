"""The ways of calls to a cluster: a lane to each of its nodes."""

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic, sleep
from typing import Any

from redis.exceptions import ClusterDownError

from django_counter.backends.redis.async_lane import AsyncLane
from django_counter.backends.redis.bulk import Bulk
from django_counter.backends.redis.call import Answer, Call, Reply, pack, packed_together
from django_counter.backends.redis.errors import FAILURES, fail, fail_late
from django_counter.backends.redis.lane import Lane
from django_counter.backends.redis.route import Route
from django_counter.backends.redis.server import Server
from django_counter.backends.redis.topology import (
    CLUSTER_SLOTS,
    Address,
    Topology,
    by_slot,
    names_of,
)
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
        known = self._topology.known  # else some of the time goes by before
        route = route_of(call, self._topology, self._learn(deadline))
        packed = call.packed or pack(call.command)
        try:
            reply = self._lane(route.node).exchange(packed, deadline, wait=not known)
        except FAILURES as error:
            self._learn_after({route: error}, deadline)
            reply = self._go_on(route, error, deadline)
        return call.parse(reply, call.key)

    def call_all(self, calls: Sequence[Call[Answer]]) -> list[Answer | CounterError]:
        """See Lane.call_all(). Each node gets its calls in one write."""
        deadline = self._deadline()
        failure = self._learn(deadline)
        routes = [route_or_error(call, self._topology, failure) for call in calls]
        replies: dict[Route, Reply | Exception] = {}
        for node, group in by_node(routes).items():
            found = self._exchange_all(node, group, deadline)
            replies.update(zip(group, found, strict=True))
        self._learn_after(replies, deadline)
        answers: dict[Any, Any] = {
            route: self._settle(route, replies[route], deadline) for route in in_turn(replies)
        }
        return [answers.get(route, route) for route in routes]

    def send_all(self, bulk: Bulk[Answer]) -> list[Answer | CounterError]:
        """See Lane.send_all(). Their calls know where they go."""
        return self.call_all([bulk.call(number) for number in range(len(bulk))])

    def together(self, prefix: str, keys: list[str]) -> list[list[str]]:
        """See Lane.together()."""
        return by_slot(prefix, keys)

    def call_node(self, number: int, call: Call[Answer]) -> tuple[Answer, int]:
        """See Lane.call_node()."""
        refuse_after(call, self._learn(self._deadline()))
        master, masters = self._topology.numbered(number)
        try:
            return self._lane(master).call(call), masters
        except CounterUnavailable:
            self._topology.doubt(master)
            raise

    def slots(self) -> dict[Address | None, list[int]]:
        """See Topology.slots(): as a node tells; raise a CounterError where none does."""
        refuse_after(CLUSTER_SLOTS, self._learn(self._deadline()))
        return self._topology.slots()

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
            route.go_on(error)
            sleep(route.tries.pause)
            if monotonic() + route.tries.spare >= deadline:
                fail_late(route.call, route.tries)
            try:
                return self._exchange(route, deadline)
            except FAILURES as failure:
                error = failure
                self._learn_after({route: error}, deadline)

    def _settle(
        self, route: Route, reply: Reply | Exception, deadline: float
    ) -> Any | CounterError:
        try:
            if isinstance(reply, FAILURES):
                reply = self._go_on(route, reply, deadline)
            return route.call.parse(reply, route.call.key)
        except CounterError as error:
            return error

    def _learn_after(self, replies: Mapping[Route, Reply | Exception], deadline: float) -> None:
        """Learn once where slots are now, if one of these errors calls for it."""
        if call_for_learning(replies):
            self._learn(deadline)  # why that fails tells less than the errors themselves

    def _learn(self, deadline: float) -> Exception | None:
        """Ask the nodes in turn who has which slots, if that is in doubt; return why none told."""
        if self._topology.known:
            return None
        failure: Exception = TimeoutError("no time is left")
        for node in self._topology.nodes:
            if monotonic() >= deadline:
                break
            try:
                reply = self._lane(node).exchange(pack(CLUSTER_SLOTS.command), deadline, wait=True)
            except FAILURES as error:
                self._topology.doubt(node)
                failure = error
            else:
                self._topology.learn(reply, node)
                return None
        return failure


class AsyncClusterLane:
    """See ClusterLane, and AsyncLane."""

    def __init__(self, server: Server, seeds: Sequence[Address]) -> None:
        self._server = server
        self._topology = Topology(seeds)
        self._lanes: dict[Address, AsyncLane] = {}

    async def call(self, call: Call[Answer]) -> Answer:
        """See AsyncLane.call()."""
        deadline = self._deadline()
        route = route_of(call, self._topology, await self._learn(deadline))
        try:
            reply = await self._lane(route.node).exchange(
                call.packed or pack(call.command), deadline
            )
        except FAILURES as error:
            await self._learn_after({route: error}, deadline)
            reply = await self._go_on(route, error, deadline)
        return call.parse(reply, call.key)

    async def call_all(self, calls: Sequence[Call[Answer]]) -> list[Answer | CounterError]:
        """See ClusterLane.call_all(). All nodes are asked at the same time."""
        deadline = self._deadline()
        failure = await self._learn(deadline)
        routes = [route_or_error(call, self._topology, failure) for call in calls]
        groups = by_node(routes)
        found = await asyncio.gather(
            *(self._exchange_all(node, group, deadline) for node, group in groups.items())
        )
        replies: dict[Route, Reply | BaseException] = {}
        for group, each in zip(groups.values(), found, strict=True):
            replies.update(zip(group, each, strict=True))
        await self._learn_after(replies, deadline)
        answers: dict[Any, Any] = {
            route: await self._settle(route, replies[route], deadline) for route in in_turn(replies)
        }
        return [answers.get(route, route) for route in routes]

    async def send_all(self, bulk: Bulk[Answer]) -> list[Answer | CounterError]:
        """See ClusterLane.send_all()."""
        return await self.call_all([bulk.call(number) for number in range(len(bulk))])

    async def call_node(self, number: int, call: Call[Answer]) -> tuple[Answer, int]:
        """See Lane.call_node()."""
        refuse_after(call, await self._learn(self._deadline()))
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
            route.go_on(error)
            await asyncio.sleep(route.tries.pause)
            if asyncio.get_running_loop().time() + route.tries.spare >= deadline:
                fail_late(route.call, route.tries)
            try:
                return await self._exchange(route, deadline)
            except FAILURES as failure:
                error = failure
                await self._learn_after({route: error}, deadline)

    async def _settle(
        self, route: Route, reply: Reply | BaseException, deadline: float
    ) -> Any | CounterError:
        try:
            if isinstance(reply, FAILURES):
                reply = await self._go_on(route, reply, deadline)
            return route.call.parse(reply, route.call.key)
        except CounterError as error:
            return error

    async def _learn_after(
        self, replies: Mapping[Route, Reply | BaseException], deadline: float
    ) -> None:
        """See ClusterLane._learn_after()."""
        if call_for_learning(replies):
            await self._learn(deadline)

    async def _learn(self, deadline: float) -> Exception | None:
        """See ClusterLane._learn()."""
        if self._topology.known:
            return None
        failure: Exception = TimeoutError("no time is left")
        for node in self._topology.nodes:
            if asyncio.get_running_loop().time() >= deadline:
                break
            try:
                reply = await self._lane(node).exchange(pack(CLUSTER_SLOTS.command), deadline)
            except FAILURES as error:
                self._topology.doubt(node)
                failure = error
            else:
                self._topology.learn(reply, node)
                return None
        return failure


def route_of(call: Call[Any], topology: Topology, failure: Exception | None) -> Route:
    """Return the route of a call; fail where learning the topology has failed."""
    refuse_after(call, failure)
    return Route(call, topology)


def route_or_error(
    call: Call[Any], topology: Topology, failure: Exception | None
) -> Route | CounterError:
    """See route_of()."""
    try:
        return route_of(call, topology, failure)
    except CounterError as error:
        return error


def refuse_after(call: Call[Any], failure: Exception | None) -> None:
    """Fail where learning the topology has failed: a lost reply is not that of the call."""
    if failure:
        fail(call._replace(safe=True), failure)


def call_for_learning(replies: Mapping[Route, Reply | BaseException]) -> bool:
    """Say whether one of the replies is an error after which to look for other nodes."""
    found = False
    for route, reply in replies.items():
        if isinstance(reply, Exception) and route.doubt_node(reply):
            found = True  # and go on: others may doubt other nodes
    return found


def in_turn(replies: Mapping[Route, Reply | BaseException]) -> list[Route]:
    """Return the routes as they are settled: who waits for a slot that moves holds up few others.

    Only a call of several keys may have to wait.
    """

    def may_wait(route: Route) -> bool:
        return isinstance(replies[route], Exception) and len(names_of(route.call.command)) > 1

    return sorted(replies, key=may_wait)


def by_node(routes: Sequence[Route | CounterError]) -> dict[Address | None, list[Route]]:
    """Return the routes that are known, in groups of one node each."""
    groups: dict[Address | None, list[Route]] = {}
    for route in routes:
        if isinstance(route, Route):
            groups.setdefault(route.node, []).append(route)
    return groups
