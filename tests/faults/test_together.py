"""Operations that leave together: what a fault in their midst lets each of them conclude."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from django_counter import (
    Budget,
    CounterConfigError,
    CounterOutcomeUnknown,
    CounterPartlyApplied,
    CounterUnavailable,
    Operation,
)
from django_counter.backends.redis import RedisCounter, lane
from django_counter.backends.redis import call as call_module
from django_counter.backends.redis.async_connection import AsyncConnection
from django_counter.backends.redis.call import pack
from django_counter.backends.redis.connection import SocketConnection
from django_counter.backends.redis.pipeline import Pipeline
from tests.certificates import trusting
from tests.clusters import Cluster
from tests.faults.operations import Caller
from tests.faults.proxy import Fault, Proxy
from tests.faults.watch import eventually, patiently
from tests.servers import ServerProcess, free_port

pytest_plugins = ["tests.faults.fixtures"]

MANY = 500
EACH_ONCE = [Operation("increment", (f"key {number}", 1, None), {}) for number in range(MANY)]
VALUES = {f"key {number}": 1 for number in range(MANY)}


@pytest.fixture
def lossy(make_counter: Callable[..., RedisCounter], proxy: Proxy, call: Caller) -> RedisCounter:
    """A counter behind the proxy, connected."""
    counter = make_counter(proxy.url)
    patiently(lambda: call(counter, "set", "key", 10))
    proxy.commands.clear()
    return counter


def sums(counter: RedisCounter, admin: redis.Redis) -> list[str | None]:
    """Return what the server holds."""
    return admin.mget([f"{counter.alias}:{key}" for key in VALUES])


@pytest.mark.figure("lost replies")
@pytest.mark.fault("reply lost")
def test_where_a_reply_is_lost_those_before_it_are_answered(
    call: Caller, lossy: RedisCounter, proxy: Proxy, admin: redis.Redis
) -> None:
    proxy.faults.append(Fault.CUT_INSIDE)
    outcomes = call(lossy, "run_all", EACH_ONCE)
    answered = outcomes.index(next(each for each in outcomes if each != 1))
    assert 0 < answered < MANY
    assert {type(each) for each in outcomes[answered:]} == {CounterOutcomeUnknown}
    assert [each.key for each in outcomes[answered:]] == [*VALUES][answered:]
    assert eventually(lambda: sums(lossy, admin) == ["1"] * MANY)
    assert len(proxy.commands) == MANY


@pytest.mark.figure("lost replies")
@pytest.mark.fault("reply lost")
def test_multi_increment_tells_what_was_counted_and_what_may_have_been(
    call: Caller, lossy: RedisCounter, proxy: Proxy, admin: redis.Redis
) -> None:
    proxy.faults.append(Fault.CUT_INSIDE)
    with pytest.raises(CounterPartlyApplied) as caught:
        call(lossy, "multi_increment", VALUES)
    counted, errors = caught.value.values, caught.value.errors
    assert counted
    assert {*counted.values()} == {1}
    assert {type(each) for each in errors.values()} == {CounterOutcomeUnknown}
    assert [*counted, *errors] == [*VALUES]
    assert eventually(lambda: sums(lossy, admin) == ["1"] * MANY)


@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.CUT_BEFORE], ids=lambda f: f.name)
def test_where_all_replies_are_lost_multi_increment_is_unknown(
    call: Caller, lossy: RedisCounter, proxy: Proxy, fault: Fault
) -> None:
    proxy.faults.append(fault)
    with pytest.raises(CounterOutcomeUnknown) as caught:
        call(lossy, "multi_increment", {"a": 1, "b": 2})
    assert (caught.value.operation, caught.value.key) == ("multi_increment", "a, b")
    assert caught.value.__cause__
    assert len(proxy.commands) == 2


@pytest.mark.figure("lost replies")
def test_what_is_safe_is_asked_again_and_what_has_a_token_is_sent_again(
    call: Caller, lossy: RedisCounter, proxy: Proxy
) -> None:
    token = {"idempotency_key": "order 17"}
    operations = [
        Operation("increment", ("key", 1, None), {}),
        Operation("get", ("key",), {}),
        Operation("increment", ("token", 1, None), token),
        Operation("entry", ("token",), {}),
    ]
    patiently(lambda: call(lossy, "run_all", operations[1:]))
    proxy.faults.append(Fault.CUT_AFTER)
    unknown, *answers = call(lossy, "run_all", operations)
    assert type(unknown) is CounterOutcomeUnknown
    assert answers == [11, 1, ("token", 1, None)]


@pytest.mark.figure("lost replies")
def test_what_could_not_be_sent_is_unavailable(
    call: Caller, make_counter: Callable[..., RedisCounter], proxy: Proxy, admin: redis.Redis
) -> None:
    counter = make_counter(proxy.url)
    proxy.refusing = True
    outcomes = call(counter, "run_all", EACH_ONCE)
    assert {type(each) for each in outcomes} == {CounterUnavailable}
    with pytest.raises(CounterUnavailable):
        call(counter, "multi_increment", VALUES)
    assert proxy.commands == []
    assert sums(counter, admin) == [None] * MANY


def test_what_a_connection_refuses_for_good_is_the_error_of_each(
    call: Caller, make_counter: Callable[..., RedisCounter], valkey: ServerProcess
) -> None:
    counter = make_counter(valkey.url, PASSWORD="wrong", USERNAME="nobody")
    outcomes = call(counter, "run_all", EACH_ONCE[:2])
    assert {type(each) for each in outcomes} == {CounterConfigError}
    counter = make_counter(valkey.url, CONNECTION_POOL_KWARGS={"unknown": 1})
    outcomes = call(counter, "run_all", EACH_ONCE[:2])
    assert {type(each) for each in outcomes} == {CounterConfigError}
    with pytest.raises(CounterConfigError):
        call(counter, "multi_increment", {"a": 1})


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten commands at most leave in one write."""
    monkeypatch.setattr(call_module, "MAX_TOGETHER", 10)


@pytest.mark.usefixtures("in_parts")
def test_what_leaves_in_parts_is_answered_whole(call: Caller, counter: RedisCounter) -> None:
    assert call(counter, "run_all", EACH_ONCE[:25]) == [1] * 25
    assert call(counter, "multi_increment", VALUES) == {
        key: 2 if number < 25 else 1 for number, key in enumerate(VALUES)
    }


@pytest.mark.usefixtures("in_parts")
@pytest.mark.figure("lost replies")
def test_parts_that_were_not_sent_are_unavailable(
    make_counter: Callable[..., RedisCounter], proxy: Proxy, admin: redis.Redis
) -> None:
    counter = make_counter(proxy.url)
    counter.set("key", 10)
    proxy.faults.extend([Fault.DELAY, Fault.CUT_AFTER])
    proxy.pause = 0.0
    outcomes = counter.run_all(EACH_ONCE[:25])
    kinds = [type(each) for each in outcomes]
    assert kinds == [int] * 10 + [CounterOutcomeUnknown] * 10 + [CounterUnavailable] * 5
    assert eventually(lambda: sums(counter, admin)[:25] == ["1"] * 20 + [None] * 5)


@pytest.mark.usefixtures("in_parts")
def test_no_part_is_sent_after_the_deadline(
    make_counter: Callable[..., RedisCounter], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = make_counter(proxy.url)
    counter.set("key", 10)
    proxy.commands.clear()
    times = iter([time.monotonic()])
    with monkeypatch.context() as patched:
        patched.setattr(lane, "monotonic", lambda: next(times, time.monotonic() + 100))
        kinds = [type(each) for each in counter.run_all(EACH_ONCE[:25])]
    assert kinds == [int] * 10 + [CounterUnavailable] * 15
    assert len(proxy.commands) == 10


@pytest.mark.usefixtures("in_parts")
def test_no_part_of_a_task_is_sent_after_the_deadline(
    make_counter: Callable[..., RedisCounter], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = make_counter(proxy.url)
    ask_all = Pipeline.ask_all

    async def late(pipeline: Pipeline, several: Sequence[bytes], deadline: float) -> Any:
        replies = await ask_all(pipeline, several, deadline)
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: time.monotonic() + 100)
        return replies

    async def main() -> list[Any]:
        await counter.aget("key")
        proxy.commands.clear()
        with monkeypatch.context() as patched:
            patched.setattr(Pipeline, "ask_all", late)
            return await counter.arun_all(EACH_ONCE[:25])

    kinds = [type(each) for each in asyncio.run(main())]
    assert kinds == [int] * 10 + [CounterUnavailable] * 15
    assert len(proxy.commands) == 10


def test_a_batch_leaves_in_one_write(
    call: Caller, counter: RedisCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(counter, "get", "key")
    written = []
    for kind, method in ((SocketConnection, "send"), (AsyncConnection, "write")):
        original = getattr(kind, method)

        def note(connection: Any, sent: Any, *deadline: float, original: Any = original) -> None:
            written.append(sent)
            original(connection, sent, *deadline)

        monkeypatch.setattr(kind, method, note)
    call(counter, "run_all", EACH_ONCE)
    call(counter, "multi_increment", VALUES)
    assert len(written) == 2


@pytest.fixture(params=["tcp", "TLS"])
def ways(request: pytest.FixtureRequest) -> tuple[ServerProcess, str, dict[str, Any]]:
    """A server, its URL, and the options that it needs."""
    if request.param == "tcp":
        server = request.getfixturevalue("valkey")
        return server, server.url, {}
    server = request.getfixturevalue("tls_server")
    port = request.getfixturevalue("tls_port")
    authority = request.getfixturevalue("authority")
    return server, f"rediss://127.0.0.1:{port}/0", trusting(authority)


def test_what_takes_many_writes_takes_no_longer_than_its_time(
    make_counter: Callable[..., RedisCounter], ways: tuple[ServerProcess, str, dict[str, Any]]
) -> None:
    server, url, options = ways
    lane = make_counter(url, timeout=30, **options)._lane
    connection = lane._server.connect(time.monotonic() + 30)
    server.pause()
    try:
        with pytest.raises(TimeoutError, match=r"in time|timed out"):
            connection.send(bytes(2**26), time.monotonic() + 0.05)
    finally:
        server.resume()
        connection.close()


def test_nothing_of_what_takes_many_writes_is_sent_too_late(
    make_counter: Callable[..., RedisCounter], proxy: Proxy
) -> None:
    connection = make_counter(proxy.url)._lane._server.connect(time.monotonic() + 10)
    proxy.commands.clear()
    with pytest.raises(TimeoutError, match="could not be sent in time"):
        connection.send(pack(("GET", "key")) * 10_000, time.monotonic() - 1)
    connection.send(pack(("GET", "last")), time.monotonic() + 10)
    connection.receive_all([], 1, time.monotonic() + 10)
    assert len(proxy.commands) == 1
    connection.close()


# Clusters.


def test_operations_of_several_nodes_are_answered_in_their_places(
    call: Caller, make_counter: Callable[..., RedisCounter], cluster: Cluster
) -> None:
    counter = make_counter(cluster.location)
    assert call(counter, "run_all", EACH_ONCE) == [1] * MANY
    assert call(counter, "multi_increment", VALUES) == dict.fromkeys(VALUES, 2)
    assert call(counter, "multi_increment", dict.fromkeys("abc", 1), 60) == dict.fromkeys("abc", 1)


def test_keys_of_several_slots_are_the_error_of_one_operation(
    call: Caller, make_counter: Callable[..., RedisCounter], cluster: Cluster
) -> None:
    counter = make_counter(cluster.location)

    def recorded() -> list[Any]:
        with counter.batch() as batch:
            batch.increment("a")
            batch.take([Budget(key, 10, 60) for key in ("c", "d")])
            batch.increment("b")
        return batch._operations

    operations = recorded()
    first, refused, second = call(counter, "run_all", operations)
    assert (first, second) == (2, 2)
    assert type(refused) is CounterConfigError


def test_a_cluster_that_is_away_is_the_error_of_each(
    call: Caller, make_counter: Callable[..., RedisCounter]
) -> None:
    counter = make_counter([f"redis://127.0.0.1:{free_port()}/0"])
    outcomes = call(counter, "run_all", EACH_ONCE[:3])
    assert {type(each) for each in outcomes} == {CounterUnavailable}
    with pytest.raises(CounterUnavailable):
        call(counter, "multi_increment", {"a": 1, "b": 1})


def test_what_a_node_refuses_for_good_is_the_error_of_each(
    call: Caller, make_counter: Callable[..., RedisCounter], cluster: Cluster
) -> None:
    counter = make_counter(cluster.location)
    assert call(counter, "run_all", EACH_ONCE[:20]) == [1] * 20
    call(counter, "close")
    for lanes in (counter._lane._lanes, counter._async_lane._lanes):
        for each in lanes.values():
            each._server._options["unknown"] = 1
    outcomes = call(counter, "run_all", EACH_ONCE[:20])
    assert {type(each) for each in outcomes} == {CounterConfigError}
