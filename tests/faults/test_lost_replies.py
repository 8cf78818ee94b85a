"""What a lost command or a lost reply does: nothing twice, and an honest answer."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_counter import CounterOutcomeUnknown, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from tests.faults.operations import ALL, CHANGING, SAFE, Caller, Operation, make
from tests.faults.proxy import Fault, Proxy
from tests.faults.watch import eventually, patiently

pytest_plugins = ["tests.faults.fixtures"]

CUTS = [Fault.CUT_AFTER, Fault.RESET_AFTER, Fault.CUT_INSIDE]
every_change = pytest.mark.parametrize("change", CHANGING.values(), ids=CHANGING.keys())
every_safe = pytest.mark.parametrize("safe", SAFE.values(), ids=SAFE.keys())
every_cut = pytest.mark.parametrize("cut", CUTS, ids=lambda fault: fault.name)


@pytest.fixture
def stored(admin: redis.Redis) -> Callable[[RedisCounter, str], int]:
    """`stored(counter, key)` is what the server holds."""
    return lambda counter, key: int(admin.get(f"{counter.alias}:{key}") or 0)


@pytest.fixture
def lossy(
    make_counter: Callable[..., RedisCounter], proxy: Proxy, call: Caller, admin: redis.Redis
) -> RedisCounter:
    """A counter behind the proxy, connected, with "key" at 10."""
    return prepared(make_counter(proxy.url, timeout=10), proxy, call, admin)


@pytest.fixture
def impatient(
    make_counter: Callable[..., RedisCounter], proxy: Proxy, call: Caller, admin: redis.Redis
) -> RedisCounter:
    """The same, for faults that are only noticed by a timeout."""
    return prepared(make_counter(proxy.url, timeout=0.3), proxy, call, admin)


def prepared(counter: RedisCounter, proxy: Proxy, call: Caller, admin: redis.Redis) -> RedisCounter:
    for operation in ALL.values():  # the server knows all scripts after that
        patiently(lambda each=operation: make(call, counter, each))
    proxy.commands.clear()
    admin.delete(f"{counter.alias}:other")
    admin.set(f"{counter.alias}:key", 10)
    return counter


@pytest.mark.figure("lost replies")
@pytest.mark.fault("reply lost")
@every_change
@every_cut
def test_a_change_whose_reply_is_lost_is_unknown_and_made_once(
    call: Caller, lossy: RedisCounter, proxy: Proxy, stored: Any, change: Operation, cut: Fault
) -> None:
    proxy.faults.append(cut)
    with pytest.raises(CounterOutcomeUnknown):
        make(call, lossy, change)
    assert stored(lossy, change.key) == change.left
    assert len(proxy.commands) == 1


@pytest.mark.figure("lost replies")
@pytest.mark.fault("command lost")
@every_change
def test_a_change_that_was_sent_and_not_delivered_is_unknown(
    call: Caller, lossy: RedisCounter, proxy: Proxy, stored: Any, change: Operation
) -> None:
    before = stored(lossy, change.key)
    proxy.faults.append(Fault.CUT_BEFORE)
    with pytest.raises(CounterOutcomeUnknown):
        make(call, lossy, change)
    assert stored(lossy, change.key) == before
    assert len(proxy.commands) == 1


@every_change
def test_an_unknown_outcome_names_operation_key_and_value(
    call: Caller, lossy: RedisCounter, proxy: Proxy, change: Operation
) -> None:
    proxy.faults.append(Fault.CUT_AFTER)
    with pytest.raises(CounterOutcomeUnknown) as caught:
        make(call, lossy, change)
    error = caught.value
    assert (error.operation, error.key, error.value) == (change.name, change.key, change.value)
    assert isinstance(error.__cause__, OSError | redis.RedisError)


@pytest.mark.figure("lost replies")
@every_change
def test_a_change_after_a_lost_reply_goes_well(
    call: Caller, lossy: RedisCounter, proxy: Proxy, change: Operation
) -> None:
    proxy.faults.append(Fault.CUT_BEFORE)
    with pytest.raises(CounterOutcomeUnknown):
        make(call, lossy, change)
    assert make(call, lossy, change) == change.result


@pytest.mark.figure("lost replies")
@pytest.mark.fault("reply lost")
@pytest.mark.parametrize(
    "change", [CHANGING["increment"], CHANGING["take"]], ids=["plain", "script"]
)
def test_a_reply_that_never_comes_is_unknown(
    call: Caller, impatient: RedisCounter, proxy: Proxy, stored: Any, change: Operation
) -> None:
    proxy.faults.append(Fault.LOSE)
    with pytest.raises(CounterOutcomeUnknown):
        make(call, impatient, change)
    assert eventually(lambda: stored(impatient, change.key) == change.left)
    assert len(proxy.commands) == 1


@pytest.mark.figure("lost replies")
@pytest.mark.fault("command lost")
def test_a_command_that_is_never_delivered_is_unknown(
    call: Caller, impatient: RedisCounter, proxy: Proxy, stored: Any
) -> None:
    proxy.faults.append(Fault.HANG)
    with pytest.raises(CounterOutcomeUnknown):
        call(impatient, "increment", "key")
    assert stored(impatient, "key") == 10


def test_a_call_after_a_timeout_gets_its_own_reply(
    call: Caller, impatient: RedisCounter, proxy: Proxy
) -> None:
    proxy.faults.append(Fault.LOSE)
    with pytest.raises(CounterOutcomeUnknown):
        call(impatient, "increment", "key", 1000)
    assert patiently(lambda: call(impatient, "get", "other")) == 0


@pytest.mark.figure("lost replies")
@pytest.mark.fault("reply lost")
def test_a_reply_that_drips_past_the_deadline_is_unknown(
    call: Caller, impatient: RedisCounter, proxy: Proxy, stored: Any
) -> None:
    proxy.pause = 0.05
    proxy.faults.append(Fault.DRIP)
    with pytest.raises(CounterOutcomeUnknown):
        call(impatient, "increment", "key", 10**18)
    assert eventually(lambda: stored(impatient, "key") == 10**18 + 10)


@pytest.mark.parametrize("fault", [Fault.DRIP, Fault.DELAY], ids=lambda fault: fault.name)
@pytest.mark.parametrize("operation", ALL.values(), ids=ALL.keys())
def test_a_slow_reply_is_a_reply(
    call: Caller, lossy: RedisCounter, proxy: Proxy, operation: Operation, fault: Fault
) -> None:
    proxy.pause = 0.001 if fault is Fault.DRIP else 0.02
    proxy.faults.append(fault)
    assert make(call, lossy, operation) == operation.result


@pytest.mark.figure("lost replies")
@every_safe
@every_cut
def test_a_safe_call_whose_reply_is_lost_goes_on_by_itself(
    call: Caller, lossy: RedisCounter, proxy: Proxy, safe: Operation, cut: Fault
) -> None:
    proxy.faults.append(cut)
    assert make(call, lossy, safe) == safe.result


@every_safe
def test_a_safe_call_that_was_not_delivered_goes_on_by_itself(
    call: Caller, lossy: RedisCounter, proxy: Proxy, safe: Operation
) -> None:
    proxy.faults.append(Fault.CUT_BEFORE)
    assert make(call, lossy, safe) == safe.result


@pytest.mark.parametrize("safe", [SAFE["entry"], SAFE["scan"]], ids=["entry", "scan"])
def test_a_safe_call_goes_on_where_the_server_has_lost_its_scripts_too(
    call: Caller, lossy: RedisCounter, proxy: Proxy, admin: redis.Redis, safe: Operation
) -> None:
    admin.script_flush()
    if safe.name == "scan":  # its first page is no script
        proxy.faults.append(Fault.DELAY)
    proxy.faults.append(Fault.CUT_AFTER)
    assert make(call, lossy, safe) == safe.result


@every_safe
def test_a_safe_call_whose_reply_is_lost_twice_is_unavailable(
    call: Caller, lossy: RedisCounter, proxy: Proxy, safe: Operation
) -> None:
    proxy.faults.extend([Fault.CUT_AFTER, Fault.CUT_AFTER])
    with pytest.raises(CounterUnavailable):
        make(call, lossy, safe)
    assert len(proxy.commands) == 2


def test_the_second_page_of_a_scan_survives_a_lost_reply(
    call: Caller, lossy: RedisCounter, proxy: Proxy
) -> None:
    make(call, lossy, SAFE["scan"])
    proxy.faults.append(Fault.CUT_AFTER)
    assert make(call, lossy, SAFE["scan"]) == SAFE["scan"].result


@pytest.mark.figure("lost replies")
@every_change
def test_a_change_that_could_not_be_sent_is_unavailable(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    proxy: Proxy,
    stored: Any,
    change: Operation,
) -> None:
    counter = make_counter(proxy.url, timeout=10)
    proxy.refusing = True
    with pytest.raises(CounterUnavailable):
        make(call, counter, change)
    assert proxy.commands == []
    proxy.refusing = False
    make(call, counter, change)


@pytest.mark.figure("lost replies")
@pytest.mark.parametrize(
    "retries",
    [
        {"retry": Retry(NoBackoff(), 10)},
        {"retry": Retry(NoBackoff(), 10), "retry_on_timeout": True},
        {"retry_on_error": [redis.ConnectionError, redis.TimeoutError]},
    ],
    ids=["retry", "retry_on_timeout", "retry_on_error"],
)
@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.LOSE], ids=lambda fault: fault.name)
def test_retries_of_the_alias_do_not_count_twice(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    proxy: Proxy,
    stored: Any,
    retries: dict[str, Any],
    fault: Fault,
) -> None:
    counter = make_counter(proxy.url, timeout=0.3, CONNECTION_POOL_KWARGS=retries)
    patiently(lambda: call(counter, "set", "key", 1))
    proxy.commands.clear()
    proxy.faults.append(fault)
    with pytest.raises(CounterOutcomeUnknown):
        call(counter, "increment", "key")
    assert eventually(lambda: stored(counter, "key") == 2)
    assert len(proxy.commands) == 1
