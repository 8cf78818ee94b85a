"""Which node of a cluster has which slot, and which keys share one."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from django_counter.backends.redis.call import Call, Command, Reply, raw
from django_counter.exceptions import CounterConfigError, CounterUnavailable

CLUSTER_SLOTS = Call(("CLUSTER", "SLOTS"), "slots", "the cluster", raw, safe=True)


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Topology:
    """The nodes of a cluster as they were last told. All threads share one."""

    def __init__(self, seeds: Sequence[Address]) -> None:
        self.nodes = list(seeds)  # all that can be asked, the most promising one first
        self.known = False  # and not doubted since
        self._seeds = seeds
        self._masters: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS

    def master(self, slot: int) -> Address | None:
        """Return the node that has a slot, as far as we know."""
        return self._masters[slot]

    def masters(self) -> list[Address]:
        """Return all nodes that have slots."""
        return sorted({each for each in self._masters if each})

    def slots(self) -> dict[Address | None, list[int]]:
        """Return the slots of each master, and those that none has."""
        slots: dict[Address | None, list[int]] = {}
        for slot, master in enumerate(self._masters):
            slots.setdefault(master, []).append(slot)
        return slots

    def numbered(self, number: int) -> tuple[Address, int]:
        """Return one of the masters, and how many they are; raise CounterUnavailable without it."""
        masters = self.masters()
        if number >= len(masters):
            raise CounterUnavailable(
                f"the cluster has {len(masters)} masters now: begin the scan anew"
            )
        return masters[number], len(masters)

    def learn(self, reply: Reply, asked: Address) -> None:
        """Take in an answer to CLUSTER SLOTS."""
        masters: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        replicas = []
        for first, last, *nodes in reply:
            master, *others = (_address(node, asked) for node in nodes)
            masters[first : last + 1] = [master] * (last + 1 - first)
            replicas += others
        self._masters = masters
        self.nodes = list(dict.fromkeys([asked, *self.masters(), *replicas, *self._seeds]))
        self.known = True

    def doubt(self, node: Address | None) -> None:
        """Note that a node does not answer, or that a slot has none: it may be elsewhere by now."""
        if node:
            self.nodes = [*(each for each in self.nodes if each != node), node]
        self.known = False

    def move(self, slot: int, address: Address) -> None:
        """Note that another node has a slot now."""
        self._masters[slot] = address


def _address(node: Sequence[Reply], asked: Address) -> Address:
    host, port = node[:2]
    return Address(host.decode() if host else asked.host, port)  # one that does not know its own


def slot_of(call: Call[Any]) -> int:
    """Return the slot of all keys of a call; raise CounterConfigError where they have several."""
    slots = {key_slot(name.encode()) for name in names_of(call.command)}
    if len(slots) > 1:
        raise CounterConfigError(
            f"{call.operation} of {call.key!r}: in a cluster these keys must share a hash tag, "
            "such as 'a:{tag}' and 'b:{tag}'"
        )
    return slots.pop()


def by_slot(prefix: str, keys: Iterable[str]) -> list[list[str]]:
    """Return the keys in groups, one for each slot of their names."""
    groups: dict[int, list[str]] = {}
    for key in keys:
        groups.setdefault(key_slot((prefix + key).encode()), []).append(key)
    return list(groups.values())


def names_of(command: Command) -> Sequence[str]:
    """Return the names of the keys in a command."""
    words = [str(word) for word in command]
    if words[0] in {"EVAL", "EVALSHA"}:
        return words[3 : 3 + int(words[2])]
    return words[1:] if words[0] == "MGET" else words[1:2]
