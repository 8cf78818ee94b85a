"""A master that is found through Sentinel."""

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import redis

from django_counter import CounterUnavailable
from django_counter.backends.redis import RedisCounter
from tests.faults.operations import ALL, CHANGING, Caller, Operation, make
from tests.faults.watch import admin_of
from tests.servers import ServerProcess, free_port, valkey_binary

pytest_plugins = ["tests.faults.fixtures"]


class Watched(NamedTuple):
    """Two servers, and the Sentinel that says which is the master."""

    first: ServerProcess
    second: ServerProcess
    sentinel: ServerProcess

    def promote(self, server: ServerProcess) -> None:
        """Let Sentinel name this one, and the other follow it."""
        other = self.second if server is self.first else self.first
        with admin_of(server) as master, admin_of(other) as replica:
            master.replicaof("NO", "ONE")
            replica.replicaof("127.0.0.1", server.port)
        self.sentinel.command("SENTINEL", "REMOVE", "counters")
        self.sentinel.command("SENTINEL", "MONITOR", "counters", "127.0.0.1", server.port, 1)


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    binary = valkey_binary()
    with (
        ServerProcess(binary) as first,
        ServerProcess(binary) as second,
        ServerProcess(binary, arguments=["--sentinel"]) as sentinel,
    ):
        yield Watched(first, second, sentinel)


@pytest.fixture
def counter(make_counter: Callable[..., RedisCounter], watched: Watched) -> RedisCounter:
    watched.promote(watched.first)
    return make_counter(
        "redis://counters/0",
        CLIENT_CLASS="django_redis.client.SentinelClient",
        CONNECTION_FACTORY="django_redis.pool.SentinelConnectionFactory",
        SENTINELS=[("127.0.0.1", watched.sentinel.port)],
    )


@pytest.mark.parametrize("operation", ALL.values(), ids=ALL.keys())
def test_calls_reach_the_master(
    call: Caller, counter: RedisCounter, watched: Watched, operation: Operation
) -> None:
    with admin_of(watched.first) as master:
        master.set(f"{counter.alias}:key", 10)
        assert make(call, counter, operation) == operation.result
        assert int(master.get(f"{counter.alias}:{operation.key}") or 0) == operation.left


@pytest.mark.parametrize("change", CHANGING.values(), ids=CHANGING.keys())
def test_a_call_to_a_demoted_master_goes_to_its_successor(
    call: Caller, counter: RedisCounter, watched: Watched, change: Operation
) -> None:
    call(counter, "set", "key", 10)
    with admin_of(watched.second) as second:
        second.config_set("replica-serve-stale-data", "yes")
        watched.promote(watched.second)
        second.set(f"{counter.alias}:key", 10)
        assert make(call, counter, change) == change.result
        assert int(second.get(f"{counter.alias}:{change.key}") or 0) == change.left


def test_calls_at_once_to_a_demoted_master_all_go_to_its_successor(
    counter: RedisCounter, watched: Watched
) -> None:
    async def main() -> list[int]:
        await counter.aget("key")
        watched.promote(watched.second)
        return await asyncio.gather(*(counter.aincrement("key") for _ in range(50)))

    assert sorted(asyncio.run(main())) == list(range(1, 51))


def test_a_master_that_sentinel_does_not_know_is_unavailable(
    call: Caller, counter: RedisCounter, watched: Watched
) -> None:
    watched.sentinel.command("SENTINEL", "REMOVE", "counters")
    with pytest.raises(CounterUnavailable):
        call(counter, "increment", "key")


def test_no_sentinel_is_unavailable(
    call: Caller, make_counter: Callable[..., RedisCounter]
) -> None:
    counter = make_counter(
        "redis://counters/0",
        CLIENT_CLASS="django_redis.client.SentinelClient",
        CONNECTION_FACTORY="django_redis.pool.SentinelConnectionFactory",
        SENTINELS=[("127.0.0.1", free_port())],
        SENTINEL_KWARGS={"retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0)},
    )
    with pytest.raises(CounterUnavailable):
        call(counter, "increment", "key")
