"""How often a cluster is asked where its slots are, seen by a proxy before its one node."""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from django_counter import CounterOutcomeUnknown, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from django_counter.backends.redis.cluster_lane import AsyncClusterLane, ClusterLane
from django_counter.backends.redis.topology import Address, Topology
from django_counter.batch import Operation
from tests.faults.operations import Caller
from tests.faults.proxy import Fault, Proxy
from tests.faults.watch import apatiently, patiently
from tests.servers import ServerProcess, free_port, valkey_binary

pytest_plugins = ["tests.faults.fixtures"]

INCREMENTS = [Operation("increment", (f"key-{number}", 1, None), {}) for number in range(50)]


@pytest.fixture(scope="module")
def node() -> Iterator[ServerProcess]:
    """A node that has all slots."""
    binary = valkey_binary()
    with ServerProcess(binary, cluster_enabled="yes", cluster_port=str(free_port())) as node:
        node.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        yield node


@pytest.fixture
def gate(node: ServerProcess) -> Iterator[Proxy]:
    """What LOCATION names: it tells of the node, which is then called without it."""
    with Proxy(node.port) as gate:
        yield gate


@pytest.fixture
def only_gate(node: ServerProcess, gate: Proxy) -> Iterator[None]:
    """The node is called through the proxy, too."""
    node.command("CONFIG", "SET", "cluster-announce-port", gate.port)
    yield
    node.command("CONFIG", "SET", "cluster-announce-port", 0)


@pytest.fixture
def counter(call: Caller, make_counter: Callable[..., RedisCounter], gate: Proxy) -> RedisCounter:
    """A counter that knows the node."""
    counter = make_counter([gate.url])
    assert patiently(lambda: call(counter, "increment", "first")) == 1
    return counter


def topologies(counter: RedisCounter) -> list[Topology]:
    """Return what both lanes know."""
    lanes = counter._lane, counter._async_lane
    return [each._topology for each in lanes if isinstance(each, ClusterLane | AsyncClusterLane)]


def let_master_be(address: Address, counter: RedisCounter) -> None:
    """Let the lanes believe that an address has all slots, as it had before a failover."""
    for topology in topologies(counter):
        for slot in range(16384):
            topology.move(slot, address)


def test_a_batch_after_a_failover_asks_once_where_the_slots_are(
    call: Caller, counter: RedisCounter, gate: Proxy
) -> None:
    let_master_be(Address("127.0.0.1", free_port()), counter)
    gate.commands.clear()
    assert call(counter, "run_all", INCREMENTS) == [1] * len(INCREMENTS)
    assert gate.commands == [[b"CLUSTER", b"SLOTS"]]


def test_a_batch_asks_a_cluster_that_is_down_no_more_than_a_call_does(
    call: Caller, make_counter: Callable[..., RedisCounter], gate: Proxy
) -> None:
    counter = make_counter([gate.url])
    gate.refusing = True
    asked = []
    for count in (1, len(INCREMENTS)):
        before = gate.accepted
        answers = call(counter, "run_all", INCREMENTS[:count])
        assert {type(each) for each in answers} == {CounterUnavailable}
        assert [str(each).split(":")[0] for each in answers][
            -1
        ] == f"increment of 'key-{count - 1}'"
        asked.append(gate.accepted - before)
    assert asked[0] == asked[1] > 0


def test_a_batch_whose_nodes_are_all_gone_looks_once_for_others(
    call: Caller, counter: RedisCounter, gate: Proxy
) -> None:
    let_master_be(Address("127.0.0.1", free_port()), counter)
    for topology in topologies(counter):
        topology.nodes = topology.nodes[:1]
    gate.refusing = True
    gate.cut_all()
    before = gate.accepted
    answers = call(counter, "run_all", INCREMENTS)
    assert {type(each) for each in answers} == {CounterUnavailable}
    assert gate.accepted - before <= 2  # the second in place of a connection that was cut


def test_a_slot_that_had_no_node_is_asked_for_again(
    call: Caller, counter: RedisCounter, gate: Proxy
) -> None:
    for topology in topologies(counter):
        topology.learn([], topology.nodes[0])
    gate.commands.clear()
    assert call(counter, "increment", "key") == 1
    assert gate.commands == [[b"CLUSTER", b"SLOTS"]]


def test_a_page_of_a_master_that_is_no_more_says_to_begin_anew(
    call: Caller, counter: RedisCounter
) -> None:
    with pytest.raises(CounterUnavailable, match="begin the scan anew"):
        call(counter, "scan_page", "", "1:0")


@pytest.mark.usefixtures("only_gate")
def test_to_learn_the_slots_and_to_call_take_one_timeout_together(
    call: Caller, make_counter: Callable[..., RedisCounter], gate: Proxy
) -> None:
    counter = make_counter([gate.url], timeout=0.5)
    assert patiently(lambda: call(counter, "set", "key", 5))
    for topology in topologies(counter):
        topology.known = False
    gate.pause = 0.35
    gate.faults.extend([Fault.DELAY] * 2)
    with pytest.raises((CounterOutcomeUnknown, CounterUnavailable)):
        call(counter, "set", "key", 6)


@pytest.mark.usefixtures("only_gate")
def test_nothing_is_sent_again_after_a_loop_stood_still_past_the_deadline(
    make_counter: Callable[..., RedisCounter], gate: Proxy, node: ServerProcess
) -> None:
    counter = make_counter([gate.url], timeout=0.2)

    async def main() -> None:
        await apatiently(lambda: counter.aget("key"))
        node.command("SCRIPT", "FLUSH")
        gate.commands.clear()
        gate.pause = 0.1
        gate.faults.append(Fault.DELAY)  # the refusal of the script comes meanwhile
        call = asyncio.create_task(counter.aincrement("key", ttl=60))
        for _ in range(5):
            await asyncio.sleep(0)  # it is sent
        time.sleep(0.4)  # noqa: ASYNC251 - as other code of the loop may
        with pytest.raises((CounterUnavailable, CounterOutcomeUnknown)):
            await call
        await apatiently(lambda: counter.aget("key"))
        await counter.aclose()

    asyncio.run(main())
    assert b"EVAL" not in [command[0] for command in gate.commands]
