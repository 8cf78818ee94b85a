"""A whole cluster: keys that move, masters that die, nodes that hang."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import caches
from django_redis import get_redis_connection
from redis.crc import key_slot

from django_counter import (
    Budget,
    CounterConfigError,
    CounterOutcomeUnknown,
    CounterUnavailable,
    counters,
)
from django_counter.backends.redis import RedisCounter
from django_counter.batch import Operation as Recorded
from django_counter.ratelimit import RateLimit
from tests.clusters import FACTORY, Cluster
from tests.faults.load import THREADS, Load
from tests.faults.operations import ALL, CHANGING, Caller, Operation, make
from tests.faults.watch import LIMIT_SECONDS, apatiently, eventually, patiently
from tests.figures import sized
from tests.servers import ServerProcess, free_port, valkey_binary

pytest_plugins = ["tests.faults.fixtures"]
pytestmark = pytest.mark.heavy

MakeCounter = Callable[..., RedisCounter]
KEYS = [f"key-{number}" for number in range(500)]
PAIR = ["a:{tag}", "b:{tag}"]
AND_ONE = [*PAIR, "new:{tag}"]  # which is not there
BUDGETS = [Budget(key, 20, 60) for key in AND_ONE]

# Calls of several keys of one slot. PAIR holds 10 each before it, and its first one `left` after.
OF_SEVERAL_KEYS = {
    "take": Operation("take", (BUDGETS, 3), [(7, True, True)] * 2 + [(17, True, True)], 7),
    "increment": Operation("increment", (PAIR[0], 3), 13, 13, {"idempotency_key": "once"}),
    "multi_get": Operation("multi_get", (AND_ONE,), dict(zip(AND_ONE, [10, 10, 0], strict=True))),
    "batch": Operation("run_all", ([Recorded("refund", (BUDGETS, 3), {})] * 2,), [None] * 2, 16),
}


@pytest.fixture
def counter(make_counter: MakeCounter, cluster: Cluster) -> RedisCounter:
    return make_counter(cluster.location)


@pytest.fixture
def mortal() -> Iterator[Cluster]:
    """A cluster of the test's own, which soon takes a silent node for gone."""
    with Cluster(valkey_binary(), node_timeout=1000) as cluster:
        yield cluster


def place(counter: RedisCounter, key: str = "key") -> str:
    return f"{counter.alias}:{key}"


def ends(counter: RedisCounter, cluster: Cluster, key: str) -> tuple[ServerProcess, ServerProcess]:
    """Return the node that has a key, and one that has it not."""
    owner = cluster.owner(place(counter, key))
    return owner, next(node for node in cluster.masters() if node is not owner)


def one_of_each(counter: RedisCounter, cluster: Cluster) -> dict[int, str]:
    """Return a key for each master, by its port."""
    return {cluster.owner(place(counter, key)).port: key for key in KEYS[:50]}


class TestSlots:
    def test_many_keys_are_read_from_all_nodes(self, call: Caller, counter: RedisCounter) -> None:
        for number, key in enumerate(KEYS):
            call(counter, "set", key, number)
        wanted = [*reversed(KEYS), "missing", *KEYS]
        found = call(counter, "multi_get", wanted)
        assert list(found) == [*reversed(KEYS), "missing"]
        assert found == {key: number for number, key in enumerate(KEYS)} | {"missing": 0}

    def test_scan_finds_the_keys_of_all_nodes(self, call: Caller, counter: RedisCounter) -> None:
        for key in KEYS[:60]:
            call(counter, "increment", key)
        assert sorted(entry.key for entry in call(counter, "scan")) == sorted(KEYS[:60])

    @pytest.mark.fault("budgets of several slots")
    @pytest.mark.parametrize("operation", ["take", "refund"])
    def test_budgets_of_several_slots_are_refused(
        self, call: Caller, counter: RedisCounter, operation: str
    ) -> None:
        budgets = [Budget(key, 10, 60) for key in KEYS[:2]]
        with pytest.raises(CounterConfigError, match=r"'key-0, key-1'.* share a hash tag"):
            call(counter, operation, budgets)
        assert call(counter, "multi_get", KEYS[:2]) == {"key-0": 0, "key-1": 0}

    def test_budgets_that_share_a_tag_are_drawn_together(
        self, call: Caller, counter: RedisCounter
    ) -> None:
        budgets = [Budget(f"{letter}:{{tag}}", 10, 60) for letter in "ab"]
        assert call(counter, "take", budgets, 3) == [(7, True, True)] * 2


class TestMoves:
    @pytest.mark.fault("slot moved")
    @pytest.mark.parametrize("operation", ALL.values(), ids=ALL.keys())
    def test_a_call_follows_a_slot_that_has_moved(
        self, call: Caller, counter: RedisCounter, cluster: Cluster, operation: Operation
    ) -> None:
        call(counter, "set", "key", 10)
        call(counter, "get", "other")
        for key in ("key", "other"):
            source = cluster.owner(place(counter, key))
            target = next(node for node in cluster.masters() if node is not source)
            cluster.move(key_slot(place(counter, key).encode()), source, target)
        assert make(call, counter, operation) == operation.result
        assert call(counter, "get", operation.key) == operation.left

    @pytest.mark.fault("slot on its way")
    @pytest.mark.parametrize("change", CHANGING.values(), ids=CHANGING.keys())
    def test_a_call_follows_a_key_whose_slot_is_on_its_way(
        self, call: Caller, counter: RedisCounter, cluster: Cluster, change: Operation
    ) -> None:
        call(counter, "set", "key", 10)
        call(counter, "get", "other")
        source = cluster.owner(place(counter, change.key))
        target = next(node for node in cluster.masters() if node is not source)
        with cluster.moving(key_slot(place(counter, change.key).encode()), source, target):
            assert make(call, counter, change) == change.result
            assert call(counter, "get", change.key) == change.left
        assert call(counter, "get", change.key) == change.left

    @pytest.mark.fault("slot on its way")
    @pytest.mark.parametrize("operation", OF_SEVERAL_KEYS.values(), ids=OF_SEVERAL_KEYS.keys())
    @pytest.mark.parametrize("moved", [PAIR[:1], PAIR], ids=["half moved", "moved"])
    def test_a_call_of_several_keys_waits_until_a_move_ends(
        self,
        call: Caller,
        counter: RedisCounter,
        cluster: Cluster,
        operation: Operation,
        moved: list[str],
    ) -> None:
        for key in PAIR:
            call(counter, "set", key, 10)
        source, target = ends(counter, cluster, PAIR[0])
        slot = key_slot(place(counter, PAIR[0]).encode())
        with ThreadPoolExecutor(1) as threads:
            with cluster.moving(slot, source, target):
                for key in moved:
                    cluster.move_key(place(counter, key), source, target)
                waiting = threads.submit(make, call, counter, operation)
                with pytest.raises(TimeoutError):
                    waiting.result(0.05)
            assert waiting.result() == operation.result
        assert call(counter, "get", PAIR[0]) == operation.left

    @pytest.mark.fault("slot on its way")
    def test_a_limit_of_two_rates_decides_once_a_move_has_ended(
        self, make_counter: MakeCounter, cluster: Cluster, settings: Any
    ) -> None:
        cache = make_counter(cluster.location).alias
        options = {"cache": cache, "timeout": LIMIT_SECONDS}
        settings.COUNTERS = {"default": {"OPTIONS": options, "KEY_PREFIX": cache}}
        limit = RateLimit("10/h", "100/d", name="moving")
        assert limit.hit("ann").remaining == 9
        budgets = [f"{cache}:{entry.key}" for entry in counters["default"].scan()]
        source = cluster.owner(budgets[0])
        target = next(node for node in cluster.masters() if node is not source)
        with ThreadPoolExecutor(1) as threads:
            with cluster.moving(key_slot(budgets[0].encode()), source, target):
                cluster.move_key(budgets[0], source, target)
                waiting = threads.submit(limit.hit, "ann")
                with pytest.raises(TimeoutError):
                    waiting.result(0.05)
            assert waiting.result().remaining == 8
        assert sorted(entry.value for entry in counters["default"].scan()) == [8, 98]
        counters["default"].close()

    @pytest.mark.fault("slot on its way")
    def test_budgets_that_stay_torn_apart_are_unavailable_at_the_deadline(
        self, call: Caller, make_counter: MakeCounter, cluster: Cluster
    ) -> None:
        counter = make_counter(cluster.location, timeout=0.5)
        for key in PAIR:
            patiently(lambda key=key: call(counter, "set", key, 10))
        source, target = ends(counter, cluster, PAIR[0])
        slot = key_slot(place(counter, PAIR[0]).encode())
        take = Recorded("take", (BUDGETS[:2], 3), {})
        with cluster.moving(slot, source, target):
            cluster.move_key(place(counter, PAIR[0]), source, target)
            began = time.monotonic()
            with pytest.raises(CounterUnavailable, match="moving the key"):
                call(counter, "take", *take.arguments)
            assert time.monotonic() - began > 0.4  # it was asked again until then
            increments = [Recorded("increment", (key, 1, None), {}) for key in PAIR]
            *torn, one, two = call(counter, "run_all", [take, take, *increments])
            assert {*map(type, torn)} == {CounterUnavailable}
            assert (one, two) == (11, 11)
        assert patiently(lambda: call(counter, "multi_get", PAIR)) == dict.fromkeys(PAIR, 11)

    @pytest.mark.figure("resharding")
    def test_calls_go_on_while_slots_move_to_and_fro(
        self, counter: RedisCounter, cluster: Cluster
    ) -> None:
        keys = KEYS[:12]
        stop = threading.Event()
        sums: list[int] = []

        def count() -> None:
            mine = 0
            for key in itertools.cycle(keys):
                if stop.is_set():
                    break
                counter.increment(key)
                mine += 1
            sums.append(mine)

        async def acount() -> int:
            mine = 0
            while not stop.is_set():
                await asyncio.gather(*(counter.aincrement(key) for key in keys))
                mine += len(keys)
            await counter.aclose()
            return mine

        threads = [threading.Thread(target=count) for _ in range(2)]
        threads.append(threading.Thread(target=lambda: sums.append(asyncio.run(acount()))))
        for thread in threads:
            thread.start()
        try:
            for key in keys[:5]:
                name = place(counter, key)
                source = cluster.owner(name)
                target = next(node for node in cluster.masters() if node is not source)
                for ends in ((source, target), (target, source)):
                    cluster.move(key_slot(name.encode()), *ends)
                    assert len(counter.multi_get(keys)) == len(keys)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert len(sums) == 3
        assert sum(counter.multi_get(keys).values()) == sum(sums) > 0

    @pytest.mark.figure("resharding")
    def test_many_keys_are_read_right_while_slots_move(
        self,
        counter: RedisCounter,
        cluster: Cluster,
        record_property: Callable[[str, object], None],
    ) -> None:
        wanted = {key: number for number, key in enumerate(KEYS)}
        for key, number in wanted.items():
            counter.set(key, number)
        stop, reads, slots = threading.Event(), [], sized(8, 100)

        def read() -> None:
            while not stop.is_set():
                reads.append(counter.multi_get(KEYS) == wanted)

        async def aread() -> None:
            while not stop.is_set():
                reads.append(await counter.amulti_get(KEYS) == wanted)
            await counter.aclose()

        with ThreadPoolExecutor(2) as threads:
            reading = [threads.submit(each) for each in (read, lambda: asyncio.run(aread()))]
            try:
                for key in KEYS[:slots]:
                    source = cluster.owner(place(counter, key))
                    target = next(node for node in cluster.masters() if node is not source)
                    cluster.move(key_slot(place(counter, key).encode()), source, target)
            finally:
                stop.set()
            for each in reading:
                each.result()
        assert reads
        assert all(reads)
        told = f"{len(reads):,} reads of {len(KEYS)} keys while {slots} slots moved, all right"
        record_property("figure", told)


class TestNodes:
    def test_one_node_of_location_is_enough(
        self, call: Caller, make_counter: MakeCounter, cluster: Cluster
    ) -> None:
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        counter = make_counter([nowhere, cluster.location[-1]])
        assert [call(counter, "increment", key) for key in KEYS[:20]] == [1] * 20

    @pytest.mark.fault("no node of the cluster")
    def test_no_node_is_unavailable(self, call: Caller, make_counter: MakeCounter) -> None:
        counter = make_counter([f"redis://127.0.0.1:{free_port()}/0"] * 2)
        for operation in ("increment", "get"):
            with pytest.raises(CounterUnavailable, match=f"{operation} of 'key'"):
                call(counter, operation, "key")
        with pytest.raises(CounterUnavailable):
            call(counter, "scan", "key")

    def test_a_node_that_hangs_holds_up_its_own_keys_only(
        self, call: Caller, make_counter: MakeCounter, cluster: Cluster
    ) -> None:
        counter = make_counter(cluster.location, timeout=0.3)
        keys = one_of_each(counter, cluster)
        for key in keys.values():
            call(counter, "increment", key)
        hanging = cluster.masters()[0]
        hanging.pause()
        try:
            for port, key in keys.items():
                if port == hanging.port:
                    with pytest.raises((CounterOutcomeUnknown, CounterUnavailable)):
                        call(counter, "increment", key)
                else:
                    assert patiently(lambda key=key: call(counter, "increment", key)) > 1
        finally:
            hanging.resume()
        assert patiently(lambda: call(counter, "get", keys[hanging.port])) in (1, 2)

    @pytest.mark.fault("master killed, cluster")
    def test_a_killed_master_is_replaced_under_load(
        self, make_counter: MakeCounter, mortal: Cluster
    ) -> None:
        counter = make_counter(mortal.location, timeout=2)
        victim = mortal.owner(place(counter))
        with Load(counter) as load:
            assert load.goes_on()
            victim.kill()
            assert eventually(lambda: load.tally["unavailable"])
            assert load.goes_on()
        stored = counter.get("key")
        assert stored <= load.tally["counted"] + load.tally["unknown"]
        # What it answered while it died may not have reached its replica.
        assert stored >= load.tally["counted"] - THREADS
        assert load.tally["unknown"] <= THREADS

    def test_async_calls_find_the_successor_of_a_killed_master(
        self, make_counter: MakeCounter, mortal: Cluster
    ) -> None:
        counter = make_counter(mortal.location, timeout=2)
        victim = mortal.owner(place(counter))

        async def main() -> int:
            await asyncio.gather(*(counter.aincrement("key") for _ in range(100)))
            victim.kill()
            with pytest.raises((CounterUnavailable, CounterOutcomeUnknown)):
                await counter.aincrement("key")
            await apatiently(lambda: counter.aget("key"))
            sums = await asyncio.gather(*(counter.aincrement("key") for _ in range(100)))
            await counter.aclose()
            return max(sums)

        assert asyncio.run(main()) == 200

    def test_a_scan_finds_the_successor_of_a_killed_master(
        self, call: Caller, make_counter: MakeCounter, mortal: Cluster
    ) -> None:
        counter = make_counter(mortal.location, timeout=2)
        for key in KEYS[:30]:
            call(counter, "set", key, 5)
        mortal.owner(place(counter)).kill()
        with pytest.raises(CounterUnavailable):
            call(counter, "scan", "key")
        assert len(patiently(lambda: call(counter, "scan", "key"))) == 30

    def test_a_node_that_hangs_leaves_a_call_with_an_idempotency_key_unknown(
        self, call: Caller, make_counter: MakeCounter
    ) -> None:
        with ServerProcess(
            valkey_binary(), cluster_enabled="yes", cluster_port=str(free_port())
        ) as alone:
            counter = make_counter([alone.url], timeout=0.3)
            alone.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            assert patiently(lambda: call(counter, "increment", "key")) == 1
            alone.pause()
            with pytest.raises(CounterOutcomeUnknown):
                call(counter, "increment", "key", idempotency_key="once")
            alone.resume()
            assert patiently(lambda: call(counter, "increment", "key", idempotency_key="once")) == 2
            assert call(counter, "get", "key") == 2

    @pytest.mark.fault("cluster down")
    def test_a_slot_that_no_node_has_is_unavailable(
        self, call: Caller, make_counter: MakeCounter
    ) -> None:
        with ServerProcess(
            valkey_binary(),
            cluster_enabled="yes",
            cluster_port=str(free_port()),
            cluster_require_full_coverage="no",
        ) as alone:
            counter = make_counter([alone.url])
            slot = key_slot(place(counter).encode())
            other = next(key for key in KEYS if key_slot(place(counter, key).encode()) > slot)
            alone.command("CLUSTER", "ADDSLOTSRANGE", slot + 1, 16383)
            assert patiently(lambda: call(counter, "increment", other)) == 1
            for operation, argument in (("increment", "key"), ("multi_get", ["key", other])):
                with pytest.raises(CounterUnavailable, match="the cluster is down"):
                    call(counter, operation, argument)


class TestSettings:
    def test_the_project_has_a_client_too(
        self, make_counter: MakeCounter, cluster: Cluster
    ) -> None:
        counter = make_counter(cluster.location)
        client = get_redis_connection(counter.alias)
        counter.increment("key")
        assert client.get(place(counter)) == b"1"
        caches[counter.alias].client.connection_factory.disconnect(client)

    def test_a_server_by_itself_is_no_cluster(
        self, call: Caller, make_counter: MakeCounter, valkey: ServerProcess
    ) -> None:
        with pytest.raises(CounterConfigError, match="no part of a cluster"):
            call(make_counter([valkey.url]), "increment", "key")

    def test_a_database_of_another_number_is_a_configuration_error(
        self, call: Caller, make_counter: MakeCounter, cluster: Cluster
    ) -> None:
        location = [url.removesuffix("/0") + "/1" for url in cluster.location]
        with pytest.raises(CounterConfigError, match="no database of this number"):
            call(make_counter(location), "increment", "key")

    def test_a_socket_is_no_place_of_a_cluster(
        self, make_counter: MakeCounter, cluster: Cluster
    ) -> None:
        with pytest.raises(CounterConfigError, match="needs hosts and ports"):
            make_counter([f"unix://{cluster.nodes[0].unix_socket}"])

    def test_nodes_may_be_one_text(
        self, call: Caller, make_counter: MakeCounter, cluster: Cluster
    ) -> None:
        location = ", ".join(cluster.location)
        counter = make_counter(f"{location}", CONNECTION_FACTORY=FACTORY)
        assert [call(counter, "increment", key) for key in KEYS[:20]] == [1] * 20
