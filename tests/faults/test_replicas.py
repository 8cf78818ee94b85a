"""Changes that count as made only once replicas have them."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import fakeredis
import pytest
import redis

from django_counter import (
    CounterConfigError,
    CounterOutcomeUnknown,
    CounterTypeError,
    CounterUnavailable,
    Operation,
)
from django_counter.backends.redis import RedisCounter
from django_counter.backends.redis.call import pack
from tests import sentinels
from tests.clusters import Cluster
from tests.faults import operations
from tests.faults.load import Load
from tests.faults.operations import ALL, CHANGING, SAFE, Caller, make
from tests.faults.proxy import Fault, Proxy
from tests.faults.test_exactly_once import ONCE
from tests.faults.watch import admin_of, connections_of, eventually, patiently
from tests.figures import sized
from tests.sentinels import Watched
from tests.servers import ServerProcess, free_port, redis_binary, valkey_binary

pytest_plugins = ["tests.faults.fixtures"]

MakeCounter = Callable[..., RedisCounter]
SHORT = 0.5  # seconds: of calls that are to fail
ROUNDS = sized(2, 10)
TOKEN = {"idempotency_key": "order 17"}
EACH_ONCE = [Operation("increment", (f"key {number}", 1, None), {}) for number in range(50)]
VALUES = {f"key {number}": 1 for number in range(50)}

every_operation = pytest.mark.parametrize("operation", ALL.values(), ids=ALL.keys())
CHANGES = CHANGING | {f"{name}, once": operation for name, operation in ONCE.items()}
every_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())


class Pair(NamedTuple):
    """A master and its replica."""

    master: ServerProcess
    replica: ServerProcess


@pytest.fixture(scope="module", params=["valkey", "redis-server"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    binary = valkey_binary() if request.param == "valkey" else redis_binary()
    if binary is None:
        pytest.skip("redis-server is not installed")
    with (
        ServerProcess(binary, repl_diskless_sync_delay="0") as master,
        ServerProcess(binary, replicaof=f"127.0.0.1 {master.port}") as replica,
        admin_of(master) as admin,
    ):
        assert eventually(lambda: admin.wait(1, 100))
        yield Pair(master, replica)


@pytest.fixture
def replicated(make_counter: MakeCounter, pair: Pair) -> RedisCounter:
    """A counter whose changes a replica confirms."""
    return make_counter(pair.master.url, replicas=1)


@pytest.fixture
def unconfirmed(make_counter: MakeCounter, valkey: ServerProcess) -> RedisCounter:
    """A counter whose changes no replica confirms: there is none."""
    return make_counter(valkey.url, timeout=SHORT, replicas=1)


@pytest.fixture
def stored(admin: redis.Redis) -> Callable[..., int]:
    """`stored(counter)` is what a server without replicas holds."""
    return lambda counter, key="key": int(admin.get(f"{counter.alias}:{key}") or 0)


@pytest.mark.parametrize("replicas", [-1, 1.0, "1", True, None], ids=repr)
def test_the_option_is_a_number_of_replicas(replicas: Any) -> None:
    with pytest.raises(CounterConfigError, match=f"^option 'replicas' .* not {replicas!r}$"):
        RedisCounter(cache="unknown", replicas=replicas)


# With a replica.


@every_operation
def test_what_was_answered_is_on_the_replica(
    call: Caller, replicated: RedisCounter, pair: Pair, operation: operations.Operation
) -> None:
    call(replicated, "set", "key", 10)
    assert make(call, replicated, operation) == operation.result
    with admin_of(pair.replica) as replica:
        assert int(replica.get(f"{replicated.alias}:{operation.key}") or 0) == operation.left


def test_what_was_sent_together_is_on_the_replica(
    call: Caller, replicated: RedisCounter, pair: Pair
) -> None:
    assert call(replicated, "run_all", EACH_ONCE) == [1] * 50
    assert call(replicated, "multi_increment", VALUES) == dict.fromkeys(VALUES, 2)
    with admin_of(pair.replica) as replica:
        assert replica.mget(f"{replicated.alias}:{key}" for key in VALUES) == ["2"] * 50
    assert call(replicated, "multi_increment", VALUES, 60) == dict.fromkeys(VALUES, 3)


@every_operation
def test_nodes_of_a_cluster_have_their_replicas_confirm(
    call: Caller, make_counter: MakeCounter, cluster: Cluster, operation: operations.Operation
) -> None:
    counter = make_counter(cluster.location, replicas=1)
    call(counter, "set", "key", 10)
    assert make(call, counter, operation) == operation.result
    assert call(counter, "increment", "once", **TOKEN) == 1
    assert call(counter, "increment", "once", **TOKEN) == 1


def test_what_leaves_for_several_nodes_is_confirmed_by_each(
    call: Caller, make_counter: MakeCounter, cluster: Cluster
) -> None:
    counter = make_counter(cluster.location, replicas=1)
    assert call(counter, "run_all", EACH_ONCE) == [1] * 50
    assert call(counter, "multi_increment", VALUES) == dict.fromkeys(VALUES, 2)


def test_a_change_is_one_write(
    call: Caller, make_counter: MakeCounter, pair: Pair, proxied: Proxy
) -> None:
    counter = make_counter(proxied.url, replicas=1)
    call(counter, "increment", "key")
    call(counter, "get", "key")
    words = [command[0] for command in proxied.commands]
    assert words == [b"WAIT", b"INCRBY", b"WAIT", b"GET"]


@pytest.fixture
def proxied(pair: Pair) -> Iterator[Proxy]:
    """A proxy before the master."""
    with Proxy(pair.master.port) as proxy:
        yield proxy


def test_a_call_with_an_idempotency_key_is_asked_again_until_it_is_confirmed(
    call: Caller, make_counter: MakeCounter, proxied: Proxy
) -> None:
    counter = make_counter(proxied.url, replicas=1)
    call(counter, "increment", "key", idempotency_key="before")
    proxied.faults.extend([Fault.CUT_AFTER, Fault.CUT_INSIDE])
    assert call(counter, "increment", "key", **TOKEN) == 2
    assert call(counter, "get", "key") == 2


def test_connections_of_another_class_wait_too(
    call: Caller, make_counter: MakeCounter, pair: Pair
) -> None:
    pool = "tests.test_redis_lane.OtherPool"
    counter = make_counter(pair.master.url, replicas=1, CONNECTION_POOL_CLASS=pool)
    call(counter, "set", "key", 10)
    for number in range(3):
        assert call(counter, "increment", "key", 1, 60) == 11 + number
    assert call(counter, "run_all", EACH_ONCE) == [1] * 50


def test_a_task_cancelled_before_it_is_confirmed_harms_no_other(
    replicated: RedisCounter,
) -> None:
    async def main() -> None:
        for turns in range(40):
            calls = [
                asyncio.create_task(replicated.aset_if_not_exists(f"{turns} {number}", number))
                if number % 2
                else asyncio.create_task(replicated.aincrement(f"{turns} {number}", number))
                for number in range(10)
            ]
            for _ in range(turns % 8):
                await asyncio.sleep(0)
            for each in calls[::3]:
                each.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            for number, answer in enumerate(answers):
                expected = True if number % 2 else number
                assert answer is expected or isinstance(answer, asyncio.CancelledError)
        await replicated.aclose()

    asyncio.run(main())


# Without enough of them.


@every_change
def test_without_a_replica_a_change_is_made_once_and_unknown(
    call: Caller,
    unconfirmed: RedisCounter,
    counter: RedisCounter,
    admin: redis.Redis,
    stored: Callable[..., int],
    change: operations.Operation,
) -> None:
    make(call, counter, change)  # its script is known from now on
    admin.set(f"{unconfirmed.alias}:key", 10)
    with pytest.raises(CounterOutcomeUnknown) as caught:
        make(call, unconfirmed, change)
    assert str(caught.value.__cause__) == "fewer than 1 replicas have confirmed it"
    assert stored(unconfirmed, change.key) == change.left


@pytest.mark.parametrize("safe", SAFE.values(), ids=SAFE.keys())
def test_without_a_replica_reads_are_answered(
    call: Caller, unconfirmed: RedisCounter, admin: redis.Redis, safe: operations.Operation
) -> None:
    admin.set(f"{unconfirmed.alias}:key", 10)
    assert make(call, unconfirmed, safe) == safe.result


def test_without_a_replica_each_of_several_changes_is_unknown(
    call: Caller, unconfirmed: RedisCounter, admin: redis.Redis, stored: Callable[..., int]
) -> None:
    admin.rpush(f"{unconfirmed.alias}:list", "1")
    refused = Operation("increment", ("list", 1, None), {})
    *outcomes, error = call(unconfirmed, "run_all", [*EACH_ONCE, refused])
    assert {type(each) for each in outcomes} == {CounterOutcomeUnknown}
    assert type(error) is CounterTypeError
    assert stored(unconfirmed, "key 49") == 1
    with pytest.raises(CounterOutcomeUnknown):
        call(unconfirmed, "multi_increment", VALUES)


def test_without_a_replica_a_refusal_is_told_at_once(
    call: Caller, make_counter: MakeCounter, valkey: ServerProcess, admin: redis.Redis
) -> None:
    counter = make_counter(valkey.url, timeout=1000, replicas=1)
    admin.rpush(f"{counter.alias}:key", "1")
    with pytest.raises(CounterTypeError):
        call(counter, "increment", "key")


def test_a_connection_that_owes_a_confirmation_is_not_used_again(
    make_counter: MakeCounter, valkey: ServerProcess, admin: redis.Redis
) -> None:
    counter = make_counter(valkey.url, timeout=1, replicas=1)
    admin.rpush(f"{counter.alias}:key", "1")
    with pytest.raises(CounterTypeError):
        counter.increment("key")
    [before] = connections_of(counter, admin)
    with pytest.raises(CounterTypeError):
        counter.increment("key")
    assert eventually(lambda: len(connections_of(counter, admin)) == 1)
    assert connections_of(counter, admin) != [before]


@pytest.fixture
def impatient(make_counter: MakeCounter, valkey: ServerProcess) -> RedisCounter:
    """A counter whose changes wait for a replica for a hundredth of a second."""
    counter = make_counter(valkey.url, replicas=1)
    for lane in (counter._lane, counter._async_lane):
        lane._server.confirmation.wait = pack(("WAIT", "1", "10"))
    return counter


def test_a_reply_of_too_few_replicas_leaves_the_connection_in_use(
    call: Caller, impatient: RedisCounter, admin: redis.Redis
) -> None:
    admin.rpush(f"{impatient.alias}:list", "1")
    refused = Operation("increment", ("list", 1, None), {})
    for number in range(3):
        with pytest.raises(CounterOutcomeUnknown):
            call(impatient, "increment", "key")
        unknown, error = call(impatient, "run_all", [EACH_ONCE[0], refused])
        assert type(unknown) is CounterOutcomeUnknown
        assert type(error) is CounterTypeError
        if not number:
            before = connections_of(impatient, admin)
    assert connections_of(impatient, admin) == before


def test_a_replica_that_comes_in_time_confirms(
    call: Caller, make_counter: MakeCounter, server_binary: str
) -> None:
    with (
        ServerProcess(server_binary, repl_diskless_sync_delay="0") as master,
        ServerProcess(server_binary) as replica,
        ThreadPoolExecutor(1) as threads,
        admin_of(master) as admin,
    ):
        counter = make_counter(master.url, timeout=30, replicas=1)
        counting = threads.submit(call, counter, "increment", "key")
        assert eventually(lambda: admin.get(f"{counter.alias}:key"))
        replica.command("REPLICAOF", "127.0.0.1", master.port)
        assert counting.result() == 1


def test_a_repeat_is_not_answered_before_a_replica_has_the_first_call(
    call: Caller, make_counter: MakeCounter, pair: Pair
) -> None:
    counter = make_counter(pair.master.url, timeout=SHORT, replicas=1)
    pair.replica.pause()
    try:
        for _ in range(2):  # the second on a connection that has written nothing itself
            with pytest.raises(CounterOutcomeUnknown):
                call(counter, "increment", "key", **TOKEN)
            call(counter, "close")
    finally:
        pair.replica.resume()
    assert patiently(lambda: call(counter, "increment", "key", **TOKEN)) == 1
    assert call(counter, "get", "key") == 1


def test_a_node_without_replicas_still_says_who_has_which_slots(
    call: Caller, make_counter: MakeCounter
) -> None:
    node = ServerProcess(valkey_binary(), cluster_enabled="yes", cluster_port=str(free_port()))
    with node as alone:
        counter = make_counter([alone.url], timeout=SHORT, replicas=1)
        alone.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        assert patiently(lambda: call(counter, "get", "key")) == 0
        with pytest.raises(CounterOutcomeUnknown):
            call(counter, "increment", "key")
        assert call(counter, "get", "key") == 1


def test_a_connection_lost_while_a_change_waits_leaves_it_unknown(
    call: Caller, make_counter: MakeCounter, valkey: ServerProcess, admin: redis.Redis
) -> None:
    counter = make_counter(valkey.url, replicas=1)
    with ThreadPoolExecutor(1) as threads:
        counting = threads.submit(call, counter, "increment", "key")
        assert eventually(lambda: admin.get(f"{counter.alias}:key"))
        for each in connections_of(counter, admin):
            admin.client_kill_filter(_id=each)
        with pytest.raises(CounterOutcomeUnknown):
            counting.result()


# Where WAIT is refused.


@pytest.fixture
def without_right(make_counter: MakeCounter, pair: Pair) -> Iterator[RedisCounter]:
    """A counter of a user who may do all but WAIT."""
    with admin_of(pair.master) as master:
        user = ("ACL", "SETUSER", "counters", "reset", "on", ">secret", "~*", "+@all")
        master.execute_command(*user, "-wait")
        yield make_counter(pair.master.url, replicas=1, USERNAME="counters", PASSWORD="secret")


def test_a_user_who_may_not_wait_is_told_so_before_anything_is_changed(
    call: Caller, without_right: RedisCounter
) -> None:
    for operation, arguments in (("increment", ["key"]), ("multi_increment", [{"key": 1}])):
        with pytest.raises(CounterConfigError, match="'replicas' needs the command WAIT"):
            call(without_right, operation, *arguments)
    assert call(without_right, "get", "key") == 0


def test_a_right_that_is_taken_from_a_connection_leaves_changes_unknown(
    call: Caller, without_right: RedisCounter, pair: Pair
) -> None:
    with admin_of(pair.master) as master:
        master.execute_command("ACL", "SETUSER", "counters", "+wait")
        assert call(without_right, "increment", "key") == 1
        master.execute_command("ACL", "SETUSER", "counters", "-wait")
    with pytest.raises(CounterOutcomeUnknown) as caught:
        call(without_right, "increment", "key")
    assert isinstance(caught.value.__cause__.__cause__, redis.exceptions.NoPermissionError)


def test_a_right_that_is_gone_after_a_lost_reply_leaves_the_change_unknown(
    call: Caller, make_counter: MakeCounter, without_right: RedisCounter, pair: Pair
) -> None:
    with Proxy(pair.master.port) as proxy, admin_of(pair.master) as master:
        counter = make_counter(proxy.url, replicas=1, USERNAME="counters", PASSWORD="secret")
        master.execute_command("ACL", "SETUSER", "counters", "+wait")
        assert call(counter, "increment", "key", **TOKEN) == 1
        master.execute_command("ACL", "SETUSER", "counters", "-wait")
        proxy.faults.append(Fault.CUT_AFTER)
        with pytest.raises(CounterOutcomeUnknown):
            call(counter, "increment", "key", idempotency_key="another")


def test_a_server_that_knows_no_wait_is_a_wrong_setting(
    call: Caller, make_counter: MakeCounter
) -> None:
    pool = {"connection_class": fakeredis.FakeRedisConnection, "server": fakeredis.FakeServer()}
    counter = make_counter("redis://nowhere:6379/0", replicas=1, CONNECTION_POOL_KWARGS=pool)
    with pytest.raises(CounterConfigError, match="'replicas' needs the command WAIT"):
        call(counter, "increment", "key")


def test_a_replica_is_unavailable_to_changes_as_ever(
    call: Caller, make_counter: MakeCounter, pair: Pair
) -> None:
    counter = make_counter(pair.replica.url, replicas=1)
    with pytest.raises(CounterUnavailable, match="read-only replica"):
        call(counter, "increment", "key")
    assert call(counter, "get", "key") == 0


# Masters that are replaced.


@pytest.mark.figure("partition")
@pytest.mark.fault("partition and promotion")
@pytest.mark.parametrize("once", [False, True], ids=["at most once", "exactly once"])
def test_what_a_cut_off_master_acknowledged_its_successor_has(
    make_counter: MakeCounter,
    watched: Watched,
    record_property: Callable[[str, object], None],
    once: bool,
) -> None:
    acknowledged = unknown = lost = 0
    with (
        Proxy(watched.first.port) as link,
        admin_of(watched.first) as first,
        admin_of(watched.second) as second,
    ):
        for each in (first, second):
            each.config_set("repl-diskless-sync-delay", 0)
        for _ in range(ROUNDS):
            link.refusing = False
            watched.promote(watched.first)
            second.replicaof("127.0.0.1", link.port)
            assert eventually(lambda: first.wait(1, 100))
            options = sentinels.options_of(watched.sentinel)
            counter = make_counter(sentinels.URL, timeout=SHORT, replicas=1, **options)
            with Load(counter, once) as load:
                assert load.goes_on()
                link.refusing = True
                link.cut_all()
                assert eventually(lambda: second.role()[3] != "connected")
                assert once or eventually(lambda load=load: load.tally["unknown"])
                watched.promote(watched.second)
                assert load.goes_on()
            stored, counted = counter.get("key"), load.tally["counted"]
            assert counted <= stored <= counted + load.tally["unknown"]
            acknowledged += counted
            unknown += load.tally["unknown"]
            lost += max(0, counted - stored)
    record_property(
        "figure",
        f"with replicas=1, {ROUNDS} rounds: {acknowledged:,} acknowledged, {unknown} unknown, "
        f"{lost} lost",
    )
