"""How soon counters are back after the master was killed, and what is missing then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

import pytest

from django_counter.backends.redis import RedisCounter
from tests import sentinels
from tests.clusters import Cluster, wait_for
from tests.faults.load import THREADS, Load
from tests.figures import sized
from tests.servers import ServerProcess, valkey_binary

pytest_plugins = ["tests.faults.fixtures"]

ROUNDS = sized(2, 10)
GRACE = 1.0  # seconds after the servers are back


class Servers(NamedTuple):
    """Servers that are about to lose their master."""

    counter: RedisCounter
    master: ServerProcess
    wait_for_failover: Callable[[], float]
    restart: Callable[[], None]  # the old master, as a replica of its successor


@contextmanager
def sentinel(make_counter: Callable[..., RedisCounter], replicas: int = 0) -> Iterator[Servers]:
    with sentinels.quorum(valkey_binary()) as quorum:
        options = sentinels.options_of(*quorum.sentinels)
        counter = make_counter(sentinels.URL, timeout=2, replicas=replicas, **options)

        def restart() -> None:
            quorum.master.options["replicaof"] = f"127.0.0.1 {quorum.replica.port}"
            quorum.master.start()

        yield Servers(counter, quorum.master, quorum.wait_for_failover, restart)


@contextmanager
def cluster(make_counter: Callable[..., RedisCounter], replicas: int = 0) -> Iterator[Servers]:
    with Cluster(valkey_binary(), node_timeout=1000) as cluster:
        counter = make_counter(cluster.location, timeout=2, replicas=replicas)
        victim = cluster.owner(f"{counter.alias}:key")

        def wait_for_failover() -> float:
            wait_for(lambda: all(map(cluster.is_well, cluster.masters())))
            wait_for(lambda: len(cluster.masters()) == 3)
            return monotonic()

        yield Servers(counter, victim, wait_for_failover, victim.start)


@pytest.mark.figure("failover")
@pytest.mark.parametrize("once", [False, True], ids=["at most once", "exactly once"])
@pytest.mark.parametrize("servers", [sentinel, cluster], ids=["Sentinel", "cluster"])
def test_a_killed_master_costs_what_its_servers_take_and_what_was_in_flight(
    servers: Callable[..., Iterator[Servers]],
    make_counter: Callable[..., RedisCounter],
    record_property: Callable[[str, object], None],
    once: bool,
) -> None:
    for _ in range(ROUNDS):
        with servers(make_counter) as (counter, master, wait_for_failover, _):
            with Load(counter, once) as load:
                assert load.goes_on()
                killed = monotonic()
                master.kill()
                failed_over = wait_for_failover()
                assert load.goes_on()
            stored = counter.get("key")
        _, back = load.outage()
        counted, unknown = load.tally["counted"], load.tally["unknown"]
        record_property(
            "figure",
            f"servers {failed_over - killed:.2f} s, counters {back - killed:.2f} s; "
            f"{counted:,} acknowledged, {unknown} unknown, {stored:,} stored",
        )
        assert back - failed_over <= GRACE
        assert counted - THREADS <= stored <= counted + unknown


@pytest.mark.figure("failover")
@pytest.mark.parametrize("servers", [sentinel, cluster], ids=["Sentinel", "cluster"])
def test_what_a_killed_master_acknowledged_with_its_replica_is_stored_exactly(
    servers: Callable[..., Iterator[Servers]],
    make_counter: Callable[..., RedisCounter],
    record_property: Callable[[str, object], None],
) -> None:
    acknowledged = 0
    for _ in range(ROUNDS):
        with servers(make_counter, replicas=1) as (counter, master, wait_for_failover, restart):
            with Load(counter, once=True) as load:
                assert load.goes_on()
                master.kill()
                wait_for_failover()
                restart()
                assert load.goes_on()
            assert counter.get("key") == load.tally["counted"]
        acknowledged += load.tally["counted"]
    record_property(
        "figure",
        f"with replicas=1 and idempotency keys, {ROUNDS} rounds: {acknowledged:,} acknowledged "
        "and stored",
    )


@pytest.mark.figure("failover")
def test_a_master_that_must_have_a_replica_counts_nothing_once_that_is_promoted(
    make_counter: Callable[..., RedisCounter], record_property: Callable[[str, object], None]
) -> None:
    with sentinels.quorum(valkey_binary()) as quorum:
        quorum.master.command("CONFIG", "SET", "min-replicas-to-write", "1")
        options = sentinels.options_of(*quorum.sentinels)
        counter = make_counter(sentinels.URL, timeout=2, **options)
        with Load(counter) as load:
            assert load.goes_on()
            quorum.sentinels[0].command("SENTINEL", "FAILOVER", sentinels.NAME)
            quorum.wait_for_failover()
            quorum.master.command("PING")  # in the turn after that its replica is known to be gone
            # Asked by itself: what the counter gets acknowledged now may be by the successor.
            refusal = quorum.master.command("INCRBY", "other", 1)
            assert load.goes_on()
        stored = counter.get("key")
    counted, unknown = load.tally["counted"], load.tally["unknown"]
    record_property(
        "figure",
        f"replaced on request: {counted:,} acknowledged, {unknown} unknown, {stored:,} stored; "
        f"the old master answers {refusal.split()[0].decode()}",
    )
    assert refusal.startswith((b"-NOREPLICAS", b"-READONLY")), refusal
    assert stored <= counted + unknown
