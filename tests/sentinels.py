"""Masters that Sentinels watch, on loopback."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis

from tests.clusters import wait_for
from tests.servers import ServerProcess

NAME = "counters"
URL = f"redis://{NAME}/0"
# Milliseconds of silence after which a Sentinel takes a master for gone. It first pings one that
# it has just promoted after the lesser of these and 1000, and by then must not take it for gone.
DOWN_AFTER = 1500
FAILOVER_TIMEOUT = 2000  # milliseconds


def options_of(*sentinels: ServerProcess) -> dict[str, Any]:
    """Return OPTIONS of a cache whose master these Sentinels know, as documented."""
    return {
        "CLIENT_CLASS": "django_redis.client.SentinelClient",
        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        "SENTINELS": [("127.0.0.1", each.port) for each in sentinels],
    }


class Watched(NamedTuple):
    """Two servers, and the Sentinel that says which is the master."""

    first: ServerProcess
    second: ServerProcess
    sentinel: ServerProcess

    def promote(self, server: ServerProcess) -> None:
        """Let Sentinel name this one, and the other follow it."""
        other = self.second if server is self.first else self.first
        with client_of(server) as master, client_of(other) as replica:
            master.replicaof("NO", "ONE")
            replica.replicaof("127.0.0.1", server.port)
        self.name(server)

    def name(self, server: ServerProcess) -> None:
        """Let Sentinel name this one as the master."""
        self.sentinel.command("SENTINEL", "REMOVE", NAME)
        self.sentinel.command("SENTINEL", "MONITOR", NAME, "127.0.0.1", server.port, 1)


class Quorum(NamedTuple):
    """A master, its replica, and three Sentinels that promote it when the master is gone."""

    master: ServerProcess
    replica: ServerProcess
    sentinels: list[ServerProcess]

    def wait_for_failover(self) -> float:
        """Return when, by time.monotonic(), the replica is the master and all Sentinels say so."""
        wait_for(lambda: all(self._names_replica(each) for each in self.sentinels))
        with client_of(self.replica) as client:
            wait_for(lambda: client.role()[0] == b"master")
        return time.monotonic()

    def _names_replica(self, sentinel: ServerProcess) -> bool:
        with client_of(sentinel) as client:
            return int(client.sentinel_get_master_addr_by_name(NAME)[1]) == self.replica.port

    def _ready(self, sentinel: ServerProcess) -> bool:
        answer = sentinel.command("SENTINEL", "CKQUORUM", NAME)
        with client_of(sentinel) as client:
            master = client.sentinel_master(NAME)
        whole = master["num-other-sentinels"] == 2 and master["num-slaves"] == 1
        return whole and answer.startswith(b"+OK 3")


@contextmanager
def watched(binary: str) -> Iterator[Watched]:
    with (
        ServerProcess(binary) as first,
        ServerProcess(binary) as second,
        ServerProcess(binary, arguments=["--sentinel"]) as sentinel,
    ):
        yield Watched(first, second, sentinel)


@contextmanager
def quorum(binary: str) -> Iterator[Quorum]:
    sentinel = {"arguments": ["--sentinel"]}
    with (
        ServerProcess(binary, repl_diskless_sync_delay="0") as master,
        ServerProcess(
            binary, replicaof=f"127.0.0.1 {master.port}", repl_diskless_sync_delay="0"
        ) as replica,
        ServerProcess(binary, **sentinel) as one,
        ServerProcess(binary, **sentinel) as two,
        ServerProcess(binary, **sentinel) as three,
    ):
        made = Quorum(master, replica, [one, two, three])
        with client_of(replica) as client:
            wait_for(lambda: client.role()[3] == b"connected")
        for each in made.sentinels:
            each.command("SENTINEL", "MONITOR", NAME, "127.0.0.1", master.port, 2)
            each.command("SENTINEL", "SET", NAME, "down-after-milliseconds", DOWN_AFTER)
            each.command("SENTINEL", "SET", NAME, "failover-timeout", FAILOVER_TIMEOUT)
        wait_for(lambda: all(map(made._ready, made.sentinels)))
        yield made


def client_of(server: ServerProcess) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(server.unix_socket))
