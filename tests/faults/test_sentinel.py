"""A master that is found through Sentinel."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
import redis
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
)

from django_counter import CounterConfigError, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from django_counter.backends.redis import sentinels as own
from django_counter.backends.redis.deadline import connection_by
from django_counter.backends.redis.sentinels import Sentinels
from tests import sentinels
from tests.faults.load import THREADS, Load
from tests.faults.operations import ALL, CHANGING, SAFE, Caller, Operation, make
from tests.faults.proxy import Proxy
from tests.faults.watch import LIMIT_SECONDS, admin_of, eventually
from tests.sentinels import Watched
from tests.servers import ServerProcess, free_port, valkey_binary

pytest_plugins = ["tests.faults.fixtures"]


@pytest.fixture
def counter(make_counter: Callable[..., RedisCounter], watched: Watched) -> RedisCounter:
    watched.promote(watched.first)
    return make_counter(sentinels.URL, **sentinels.options_of(watched.sentinel))


@pytest.mark.parametrize("operation", ALL.values(), ids=ALL.keys())
def test_calls_reach_the_master(
    call: Caller, counter: RedisCounter, watched: Watched, operation: Operation
) -> None:
    with admin_of(watched.first) as master:
        master.set(f"{counter.alias}:key", 10)
        assert make(call, counter, operation) == operation.result
        assert int(master.get(f"{counter.alias}:{operation.key}") or 0) == operation.left


@pytest.mark.fault("demoted master behind Sentinel")
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


@pytest.fixture
def left(watched: Watched) -> Iterator[redis.Redis]:
    """A master that wants the replica which it has not: that is another master, not named yet."""
    with admin_of(watched.first) as first, admin_of(watched.second) as second:
        second.replicaof("NO", "ONE")
        assert eventually(lambda: first.role()[2] == [])
        yield first
        first.config_set("min-replicas-to-write", 0)


@pytest.mark.fault("too few replicas")
@pytest.mark.parametrize("change", CHANGING.values(), ids=CHANGING.keys())
def test_a_change_that_a_master_without_its_replica_refuses_goes_to_its_successor(
    call: Caller, counter: RedisCounter, watched: Watched, left: redis.Redis, change: Operation
) -> None:
    call(counter, "set", "key", 10)
    left.config_set("min-replicas-to-write", 1)
    with pytest.raises(CounterUnavailable, match="too few replicas"):
        make(call, counter, change)
    watched.name(watched.second)
    with admin_of(watched.second) as second:
        second.set(f"{counter.alias}:key", 10)
        assert make(call, counter, change) == change.result
        assert int(second.get(f"{counter.alias}:{change.key}") or 0) == change.left


@pytest.fixture
def unsynced(watched: Watched) -> Iterator[redis.Redis]:
    """The first of two servers, to be demoted by `unsynced.replicaof()` and never to sync."""
    with admin_of(watched.first) as first:
        yield first
        first.config_set("replica-serve-stale-data", "yes")


def test_a_demoted_master_answers_reads_from_what_it_has_until_a_change_finds_its_successor(
    call: Caller, counter: RedisCounter, watched: Watched, unsynced: redis.Redis
) -> None:
    call(counter, "set", "key", 3)
    watched.promote(watched.second)
    unsynced.replicaof("127.0.0.1", free_port())
    with admin_of(watched.second) as second:
        second.set(f"{counter.alias}:key", 10)
    assert call(counter, "get", "key") == 3
    assert call(counter, "increment", "key") == 11
    assert call(counter, "get", "key") == 11


@pytest.mark.parametrize("safe", SAFE.values(), ids=SAFE.keys())
def test_a_read_that_a_demoted_master_refuses_goes_to_its_successor(
    call: Caller, counter: RedisCounter, watched: Watched, unsynced: redis.Redis, safe: Operation
) -> None:
    call(counter, "set", "key", 3)
    watched.promote(watched.second)
    unsynced.config_set("replica-serve-stale-data", "no")
    unsynced.replicaof("127.0.0.1", free_port())
    with admin_of(watched.second) as second:
        second.set(f"{counter.alias}:key", 10)
    assert make(call, counter, safe) == safe.result


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


class OtherConnection(SentinelManagedConnection):
    """One of a class that the lanes do not know."""


def test_connections_of_another_class_reach_the_master(
    call: Caller, make_counter: Callable[..., RedisCounter], watched: Watched
) -> None:
    watched.promote(watched.first)
    options = sentinels.options_of(watched.sentinel)
    options["CONNECTION_POOL_KWARGS"] = {"connection_class": OtherConnection}
    counter = make_counter(sentinels.URL, **options)
    assert call(counter, "increment", "key") == 1
    with admin_of(watched.first) as master:
        assert master.get(f"{counter.alias}:key") == "1"


@pytest.mark.parametrize("protocol", [2, 3])
def test_sentinels_are_asked_in_either_protocol(
    call: Caller, make_counter: Callable[..., RedisCounter], watched: Watched, protocol: int
) -> None:
    watched.promote(watched.first)
    options = sentinels.options_of(watched.sentinel)
    options["SENTINEL_KWARGS"] = {"protocol": protocol}
    assert call(make_counter(sentinels.URL, **options), "increment", "key") == 1


def test_a_master_that_its_sentinel_takes_for_gone_is_not_asked(
    call: Caller, make_counter: Callable[..., RedisCounter], watched: Watched
) -> None:
    with Proxy(free_port()) as gone:
        gone.refusing = True
        sentinel = watched.sentinel
        sentinel.command("SENTINEL", "MONITOR", "gone", "127.0.0.1", gone.port, 1)
        sentinel.command("SENTINEL", "SET", "gone", "down-after-milliseconds", 1)
        assert eventually(lambda: b"s_down" in sentinel.command("SENTINEL", "MASTER", "gone"))
        counter = make_counter("redis://gone/0", **sentinels.options_of(sentinel))
        with pytest.raises(CounterUnavailable) as caught:
            call(counter, "increment", "key")
        sentinel.command("SENTINEL", "REMOVE", "gone")
    assert isinstance(caught.value.__cause__, MasterNotFoundError)


def test_a_sentinel_with_too_few_others_is_not_believed(watched: Watched) -> None:
    watched.promote(watched.first)
    known = [("127.0.0.1", watched.sentinel.port)]
    for least, believed in [(0, True), (1, False)]:
        manager = Sentinel(known, min_other_sentinels=least)
        pool = SentinelConnectionPool(sentinels.NAME, manager)
        with contextlib.nullcontext() if believed else pytest.raises(MasterNotFoundError):
            address = Sentinels(pool).master(monotonic() + LIMIT_SECONDS)
            assert address == ("127.0.0.1", watched.first.port)


def test_what_is_no_sentinel_is_a_wrong_setting(
    call: Caller, make_counter: Callable[..., RedisCounter], watched: Watched
) -> None:
    counter = make_counter(sentinels.URL, **sentinels.options_of(watched.first))
    with pytest.raises(CounterConfigError, match="lacks the command"):
        call(counter, "increment", "key")


@pytest.mark.fault("no Sentinel")
def test_no_sentinel_is_unavailable(
    call: Caller, make_counter: Callable[..., RedisCounter]
) -> None:
    nowhere = {"SENTINELS": [("127.0.0.1", free_port())]}
    counter = make_counter(sentinels.URL, **sentinels.options_of() | nowhere)
    with pytest.raises(CounterUnavailable):
        call(counter, "increment", "key")


@pytest.fixture
def guarded() -> Iterator[ServerProcess]:
    """A Sentinel that wants a password."""
    with ServerProcess(valkey_binary(), arguments=["--sentinel"], requirepass="right") as sentinel:
        yield sentinel


@pytest.mark.fault("Sentinel's password")
@pytest.mark.parametrize("given", [{}, {"password": "wrong"}], ids=["none", "wrong"])
def test_a_sentinel_that_refuses_the_password_is_a_configuration_error(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    guarded: ServerProcess,
    given: dict[str, str],
) -> None:
    counter = make_counter(sentinels.URL, **sentinels.options_of(guarded), SENTINEL_KWARGS=given)
    with pytest.raises(CounterConfigError, match="SENTINEL_KWARGS") as caught:
        call(counter, "increment", "key")
    assert "wrong" not in str(caught.value)


def test_a_master_that_no_sentinel_knows_is_said_to_be_unknown(
    call: Caller, make_counter: Callable[..., RedisCounter], watched: Watched
) -> None:
    counter = make_counter("redis://nobody/0", **sentinels.options_of(watched.sentinel))
    with pytest.raises(CounterUnavailable, match="no Sentinel that answers knows a master"):
        call(counter, "increment", "key")


def test_a_sentinel_whose_host_is_no_name_is_a_counter_error(
    call: Caller, make_counter: Callable[..., RedisCounter]
) -> None:
    misspelt = {"SENTINELS": [("sentinel..invalid", 26379)]}
    counter = make_counter(sentinels.URL, **sentinels.options_of() | misspelt)
    with pytest.raises((CounterConfigError, CounterUnavailable)):
        call(counter, "increment", "key")


@pytest.fixture
def hung() -> Iterator[ServerProcess]:
    """A Sentinel that takes connections and answers nothing."""
    with ServerProcess(valkey_binary(), arguments=["--sentinel"]) as sentinel:
        sentinel.pause()
        yield sentinel


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that each Sentinel has been given."""
    given = []

    def note(deadline: float, *args: Any, **options: Any) -> Any:
        given.append(deadline - monotonic())
        return connection_by(deadline, *args, **options)

    monkeypatch.setattr(own, "connection_by", note)
    return given


@pytest.mark.fault("no Sentinel")
def test_sentinels_that_hang_are_unavailable_by_the_deadline(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    hung: ServerProcess,
    given: list[float],
) -> None:
    counter = make_counter(sentinels.URL, timeout=0.2, **sentinels.options_of(hung, hung))
    with pytest.raises(CounterUnavailable):
        call(counter, "increment", "key")
    assert given
    assert max(given) <= 0.2


def test_a_sentinel_that_hangs_leaves_time_to_the_next(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    watched: Watched,
    hung: ServerProcess,
) -> None:
    watched.promote(watched.first)
    options = sentinels.options_of(hung, watched.sentinel)
    assert call(make_counter(sentinels.URL, timeout=4, **options), "increment", "key") == 1


def test_each_sentinel_has_its_share_of_the_time_that_is_left(given: list[float]) -> None:
    nowhere = [("127.0.0.1", free_port()) for _ in range(3)]
    pool = SentinelConnectionPool(sentinels.NAME, Sentinel(nowhere))
    with pytest.raises(MasterNotFoundError):
        Sentinels(pool).master(monotonic() + 3000)
    assert given == [pytest.approx(share, rel=0.05) for share in (1000, 1500, 3000)]


def test_a_sentinel_is_left_when_it_has_answered(
    call: Caller, counter: RedisCounter, watched: Watched
) -> None:
    call(counter, "increment", "key")
    with admin_of(watched.sentinel) as admin:
        assert eventually(lambda: len(admin.client_list()) == 1)  # the admin's


def test_the_sentinel_that_answered_is_asked_first_the_next_time(
    call: Caller, make_counter: Callable[..., RedisCounter], watched: Watched
) -> None:
    watched.promote(watched.first)
    with Proxy(free_port()) as gone:
        addresses = [("127.0.0.1", port) for port in (gone.port, watched.sentinel.port)]
        options = sentinels.options_of() | {"SENTINELS": addresses}
        counter = make_counter(sentinels.URL, **options)
        gone.refusing = True
        call(counter, "increment", "key")
        asked = gone.accepted
        call(counter, "close")
        call(counter, "increment", "key")
        assert gone.accepted == asked > 0


def test_a_call_cancelled_while_sentinels_are_asked_harms_no_other(
    counter: RedisCounter, watched: Watched
) -> None:
    async def main(pause: float) -> None:
        calls = [asyncio.create_task(counter.aget(f"key-{number}")) for number in range(9)]
        await asyncio.sleep(pause)
        for each in calls[::3]:
            each.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for number, answer in enumerate(answers):
            assert answer == number or isinstance(answer, asyncio.CancelledError)

    for number in range(9):
        counter.set(f"key-{number}", number)
    for step in range(40):
        asyncio.run(main(step / 10_000))
    with admin_of(watched.sentinel) as admin:
        assert eventually(lambda: len(admin.client_list()) == 1)


@pytest.mark.heavy
@pytest.mark.fault("master killed, Sentinel")
@pytest.mark.parametrize("once", [False, True], ids=["at most once", "exactly once"])
def test_a_killed_master_is_replaced_under_load(
    make_counter: Callable[..., RedisCounter], once: bool
) -> None:
    with sentinels.quorum(valkey_binary()) as quorum:
        counter = make_counter(sentinels.URL, timeout=2, **sentinels.options_of(*quorum.sentinels))
        with Load(counter, once) as load:
            assert load.goes_on()
            quorum.master.kill()
            quorum.wait_for_failover()
            assert load.goes_on()
        stored = counter.get("key")
        assert stored <= load.tally["counted"] + load.tally["unknown"]
        # What it answered while it died may not have reached its replica.
        assert stored >= load.tally["counted"] - THREADS


@pytest.mark.figure("partition")
@pytest.mark.fault("partition and promotion")
def test_what_a_cut_off_master_counted_is_lost_and_may_be_counted_again(
    make_counter: Callable[..., RedisCounter],
    watched: Watched,
    record_property: Callable[[str, object], None],
) -> None:
    watched.promote(watched.first)
    counter = make_counter(sentinels.URL, **sentinels.options_of(watched.sentinel))
    tokens = [f"call {number}" for number in range(300)]

    def count(tokens: list[str]) -> None:
        for token in tokens:
            counter.increment("key", idempotency_key=token)

    with (
        Proxy(watched.first.port) as link,
        admin_of(watched.first) as first,
        admin_of(watched.second) as second,
    ):
        second.replicaof("127.0.0.1", link.port)
        assert eventually(lambda: second.role()[3] == "connected")
        count(tokens[:200])
        assert eventually(lambda: first.wait(1, 100))
        link.refusing = True
        link.cut_all()
        assert eventually(lambda: second.role()[3] != "connected")
        count(tokens[200:])
        assert counter.get("key") == 300
        watched.promote(watched.second)
        assert eventually(lambda: first.role()[3:4] == ["connected"])  # it has forgotten
        stored = counter.get("key")
    assert stored == 200
    count(tokens)
    assert counter.get("key") == 300
    record_property(
        "figure",
        f"300 acknowledged, 100 of them by a master cut off; {stored} stored, {300 - stored} lost; "
        "300 stored after all were repeated with their idempotency keys",
    )
