"""The way of one call through a cluster."""

from typing import Any

from redis.exceptions import TryAgainError

from django_counter.backends.redis.call import Call
from django_counter.backends.redis.errors import (
    PAUSE,
    ReplyLost,
    Tries,
    fail,
    next_try,
    raise_if_of_handler,
    redirection,
    unreachable,
)
from django_counter.backends.redis.topology import Address, Topology, slot_of

MAX_REDIRECTIONS = 8  # of one call: two nodes may each believe that the other one has its slot


class Route:
    """The node that a call goes to, and the next one after each error."""

    def __init__(self, call: Call[Any], topology: Topology) -> None:
        self.call = call
        self.slot = slot_of(call)
        self.node = topology.master(self.slot)
        self.asking = False  # the node has the slot for this call only
        self.tries = Tries()
        self._topology = topology
        self._redirections = 0

    def doubt_node(self, error: Exception) -> bool:
        """Doubt that the node has the slot where it is not there; say whether to look for another.

        A node that is known to have it no more, as another call has found out, is in no doubt.
        """
        if not unreachable(error):
            return False
        if self.node == self._topology.master(self.slot):
            self._topology.doubt(self.node)
        return self.call.safe or self.call.once or not isinstance(error, ReplyLost)

    def go_on(self, error: Exception) -> None:
        """Choose the node for the next attempt, or fail()."""
        raise_if_of_handler(error)
        if self._follow(error):
            return
        node = self._topology.master(self.slot)
        if isinstance(error, ReplyLost) or not unreachable(error) or node in (None, self.node):
            self.call = next_try(self.call, error, self.tries)
            self._redirections = 0
        self.node, self.asking = node, False

    def _follow(self, error: Exception) -> bool:
        found = redirection(error)
        if found is None or self.node is None:
            return False
        self._redirections += 1
        if self._redirections > MAX_REDIRECTIONS:
            fail(self.call, self.tries.lost or TryAgainError("redirected too often"))
        self.tries.pause = PAUSE if self._redirections > 2 else 0.0  # two nodes do not agree yet
        self.node = Address(found.host or self.node.host, found.port)
        self.asking = found.asking
        if not self.asking:
            self._topology.move(self.slot, self.node)
        return True
