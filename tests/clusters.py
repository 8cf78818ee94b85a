"""A real cluster for the tests: three masters, a replica for each, on loopback."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from tests.servers import ServerProcess, free_port

FACTORY = "django_counter.backends.redis.cluster.ClusterConnectionFactory"
MASTERS = 3
START_SECONDS = 30.0


class Cluster:
    """Six servers that live as long as its `with` block.

    Slots are dealt to the masters in equal ranges. `node_timeout` is after how many milliseconds
    the others take a silent node for gone; a busy machine must not look like that.
    """

    def __init__(self, binary: str, node_timeout: int = 5000) -> None:
        self.nodes = [
            ServerProcess(
                binary,
                cluster_enabled="yes",
                cluster_port=str(free_port()),
                cluster_node_timeout=str(node_timeout),
                repl_diskless_sync_delay="0",
            )
            for _ in range(2 * MASTERS)
        ]

    @property
    def location(self) -> list[str]:
        """What LOCATION in CACHES is."""
        return [node.url for node in self.nodes]

    def client_of(self, node: ServerProcess) -> redis.Redis:
        """Return a client of one node alone."""
        return redis.Redis(unix_socket_path=str(node.unix_socket), decode_responses=True)

    def masters(self) -> list[ServerProcess]:
        """Return the nodes that have slots, in the order of these."""
        found = [(self._ask(node, "ROLE")[0], node) for node in self.nodes if node.process]
        return [node for role, node in found if role == "master" and self._slots(node)]

    def owner(self, key: str) -> ServerProcess:
        """Return the node that has a key, named as on the server."""
        slot = key_slot(key.encode())
        return next(
            node
            for node in self.masters()
            if any(first <= slot <= last for first, last in self._slots(node))
        )

    def replica_of(self, master: ServerProcess) -> ServerProcess:
        """Return the node that follows another one."""
        told = [(self._ask(node, "ROLE"), node) for node in self.nodes if node.process]
        return next(node for role, node in told if role[0] == "slave" and role[2] == master.port)

    def move(self, slot: int, source: ServerProcess, target: ServerProcess) -> None:
        """Move a slot with its keys, as a resharding does."""
        with self.moving(slot, source, target):
            pass

    @contextmanager
    def moving(self, slot: int, source: ServerProcess, target: ServerProcess) -> Iterator[None]:
        """Let a slot be on its way for a block, its keys still at the source; then move them."""
        self._ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        self._ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        try:
            yield
        finally:
            while keys := self._ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1):
                self.move_key(keys[0], source, target)
            for node in (target, source, *self.masters()):
                self._ask(node, "CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    def move_key(self, key: str, source: ServerProcess, target: ServerProcess) -> None:
        """Move a key, named as on the server, whose slot is on its way."""
        self._ask(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)

    def is_well(self, node: ServerProcess) -> bool:
        """Say whether a node knows an owner of every slot that is not gone."""
        return "cluster_state:ok" in self._ask(node, "CLUSTER", "INFO")

    def id_of(self, node: ServerProcess) -> str:
        return str(self._ask(node, "CLUSTER", "MYID"))

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _join(self) -> None:
        masters, replicas = self.nodes[:MASTERS], self.nodes[MASTERS:]
        bounds = [REDIS_CLUSTER_HASH_SLOTS * n // MASTERS for n in range(MASTERS + 1)]
        for node, first, after in zip(masters, bounds, bounds[1:], strict=False):
            self._ask(node, "CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        for number, node in enumerate(self.nodes):
            self._ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            port = node.options["cluster_port"]
            self._ask(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, port)
        for master, replica in zip(masters, replicas, strict=True):
            self._follow(replica, self.id_of(master))
        wait_for(lambda: all(map(self._ready, self.nodes)))

    def _follow(self, replica: ServerProcess, master: str) -> None:
        def told() -> bool:
            try:
                self._ask(replica, "CLUSTER", "REPLICATE", master)
            except redis.ResponseError:  # it has not heard of that node yet
                return False
            return True

        wait_for(told)

    def _ready(self, node: ServerProcess) -> bool:
        information = self._ask(node, "CLUSTER", "INFO")
        known = f"cluster_known_nodes:{len(self.nodes)}" in information
        role, *details = self._ask(node, "ROLE")
        linked = role == "master" or details[2] == "connected"
        slots = self._ask(node, "CLUSTER", "SLOTS")
        whole = len(slots) == MASTERS and all(len(each) == 4 for each in slots)
        return known and linked and whole and self.is_well(node)

    def _slots(self, node: ServerProcess) -> list[tuple[int, int]]:
        mine = self.id_of(node)
        slots = self._ask(node, "CLUSTER", "SLOTS")
        return [(first, last) for first, last, master, *_ in slots if master[2] == mine]

    def _ask(self, node: ServerProcess, *words: str | int) -> Any:
        with self.client_of(node) as client:
            client.response_callbacks.clear()  # what they make of replies differs by version
            return client.execute_command(*words)


def wait_for(holds: Any) -> None:
    """Poll what a starting cluster comes to."""
    until = time.monotonic() + START_SECONDS
    while not holds():
        assert time.monotonic() < until, "the cluster did not come up"
        time.sleep(0.02)
