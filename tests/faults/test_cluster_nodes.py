"""Nodes of a cluster, which a plain alias cannot serve."""

from collections.abc import Callable, Iterator

import pytest
import redis

from django_counter import CounterConfigError, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from tests.faults.operations import ALL, Caller, Operation, make
from tests.faults.watch import admin_of, eventually
from tests.servers import ServerProcess, free_port, valkey_binary

pytest_plugins = ["tests.faults.fixtures"]

SLOTS = 16384
HALF = SLOTS // 2


@pytest.fixture(scope="module")
def node() -> Iterator[ServerProcess]:
    """The first of two nodes; it has the lower half of the slots."""
    with clustered(valkey_binary()) as first, clustered(valkey_binary()) as second:
        with admin_of(first) as one, admin_of(second) as two:
            one.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, HALF - 1)
            two.execute_command("CLUSTER", "ADDSLOTSRANGE", HALF, SLOTS - 1)
            one.execute_command("CLUSTER", "MEET", "127.0.0.1", second.port, bus_port(second))
            assert eventually(lambda: "cluster_state:ok" in state(one))
        yield first


def clustered(binary: str) -> ServerProcess:
    return ServerProcess(binary, cluster_enabled="yes", cluster_port=str(free_port()))


def bus_port(server: ServerProcess) -> str:
    return server.options["cluster_port"]


def state(client: redis.Redis) -> str:
    return str(client.execute_command("CLUSTER", "INFO"))


@pytest.fixture
def counter(make_counter: Callable[..., RedisCounter], node: ServerProcess) -> RedisCounter:
    """A counter on the first node whose prefix is in a slot of the second."""
    counter = make_counter(node.url)
    with admin_of(node) as client:
        counter._prefix = next(
            prefix
            for number in range(100)
            for prefix in [f"{{{number}}}:"]
            if client.execute_command("CLUSTER", "KEYSLOT", prefix) >= HALF
        )
    return counter


@pytest.mark.fault("cluster met by a plain alias")
@pytest.mark.parametrize(
    "operation",
    [each for each in ALL.values() if each.name != "scan"],
    ids=lambda each: each.name,
)
def test_a_node_of_a_cluster_is_a_configuration_error(
    call: Caller, counter: RedisCounter, operation: Operation
) -> None:
    with pytest.raises(CounterConfigError, match="cluster") as caught:
        make(call, counter, operation)
    assert isinstance(caught.value.__cause__, redis.exceptions.ResponseError)


@pytest.mark.fault("cluster met by a plain alias")
def test_keys_of_several_slots_are_a_configuration_error(
    call: Caller, make_counter: Callable[..., RedisCounter], node: ServerProcess
) -> None:
    with pytest.raises(CounterConfigError, match="cluster"):
        call(make_counter(node.url), "multi_get", ["a", "b"])


@pytest.mark.fault("cluster down")
def test_a_cluster_that_is_down_is_unavailable(
    call: Caller, make_counter: Callable[..., RedisCounter], server_binary: str
) -> None:
    with (
        clustered(server_binary) as alone,
        pytest.raises(CounterUnavailable, match="cluster") as caught,
    ):
        call(make_counter(alone.url), "increment", "key")
    assert isinstance(caught.value.__cause__, redis.exceptions.ResponseError)
