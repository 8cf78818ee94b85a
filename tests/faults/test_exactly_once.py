"""Calls with an idempotency key: lost replies are asked for again, and nothing counts twice."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from django_counter import (
    Budget,
    CounterOutcomeUnknown,
    CounterUnavailable,
    DecrementResult,
    Timer,
    TimerResult,
)
from django_counter.backends.redis import RedisCounter
from tests.faults.operations import Caller, Operation, make
from tests.faults.proxy import Fault, Proxy
from tests.faults.watch import apatiently, eventually, patiently
from tests.figures import sized

pytest_plugins = ["tests.faults.fixtures"]

Record = Callable[[str, object], None]

CALLERS = 8
CALLS = sized(250, 12_500)  # of each
TOKEN = {"idempotency_key": "order 17"}

ONCE = {
    "increment": Operation("increment", ("key", 3), 13, 13, TOKEN),
    "increment with a ttl": Operation("increment", ("key", 3, 60), 13, 13, TOKEN),
    "decrement": Operation("decrement", ("key", 3), 7, 7, TOKEN),
    "decrement_if_exists": Operation(
        "decrement_if_exists", ("key", 3), DecrementResult(7, True, True), 7, TOKEN
    ),
    "take": Operation(
        "take", ([Budget("key", 10, 60)], 3), [DecrementResult(7, True, True)], 7, TOKEN
    ),
    "advance": Operation(
        "advance", ([Timer("key", 0, 2, 99, None)], 3), [TimerResult(16, True)], 16, TOKEN
    ),
}
every_call = pytest.mark.parametrize("once", ONCE.values(), ids=ONCE.keys())
LOSSES = [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.RESET_AFTER, Fault.CUT_INSIDE]


@pytest.fixture
def stored(admin: redis.Redis) -> Callable[[RedisCounter], int]:
    """`stored(counter)` is what the server holds under "key"."""
    return lambda counter: int(admin.get(f"{counter.alias}:key") or 0)


@pytest.fixture
def connected(
    make_counter: Callable[..., RedisCounter], proxy: Proxy, call: Caller
) -> Callable[[float], RedisCounter]:
    """`connected(timeout)` is a counter behind the proxy, with "key" at 10, its scripts known."""

    def connect(timeout: float) -> RedisCounter:
        counter = make_counter(proxy.url, timeout=timeout)
        for number, operation in enumerate(ONCE.values()):
            known = operation._replace(options={"idempotency_key": f"before {number}"})
            patiently(lambda known=known: make(call, counter, known))
        patiently(lambda: call(counter, "set", "key", 10))
        proxy.commands.clear()
        return counter

    return connect


@pytest.mark.figure("lost replies")
@every_call
@pytest.mark.parametrize("loss", LOSSES, ids=lambda fault: fault.name)
def test_a_call_whose_reply_is_lost_is_asked_again_and_made_once(
    call: Caller, connected: Any, proxy: Proxy, stored: Any, once: Operation, loss: Fault
) -> None:
    counter = connected(10)
    proxy.faults.append(loss)
    assert make(call, counter, once) == once.result
    assert stored(counter) == once.left
    assert len(proxy.commands) == 2
    assert make(call, counter, once) == once.result
    assert stored(counter) == once.left


def test_a_reply_is_asked_for_as_often_as_it_is_lost(
    call: Caller, connected: Any, proxy: Proxy, stored: Any
) -> None:
    counter = connected(10)
    proxy.faults.extend(LOSSES * 2)
    assert call(counter, "increment", "key", 3, **TOKEN) == 13
    assert stored(counter) == 13
    assert len(proxy.commands) == 9


@pytest.mark.figure("lost replies")
@every_call
def test_a_reply_that_does_not_come_by_the_deadline_is_unknown(
    call: Caller, connected: Any, proxy: Proxy, stored: Any, once: Operation
) -> None:
    counter = connected(0.3)
    proxy.faults.append(Fault.LOSE)
    with pytest.raises(CounterOutcomeUnknown):
        make(call, counter, once)
    assert eventually(lambda: stored(counter) == once.left)
    assert patiently(lambda: make(call, counter, once)) == once.result
    assert stored(counter) == once.left


@pytest.mark.figure("lost replies")
@pytest.mark.parametrize("loss", LOSSES, ids=lambda fault: fault.name)
def test_a_server_that_is_away_after_a_lost_reply_leaves_the_outcome_unknown(
    call: Caller, connected: Any, proxy: Proxy, stored: Any, loss: Fault
) -> None:
    counter = connected(0.3)
    proxy.faults.append(loss)
    proxy.refusing = True
    before = proxy.accepted
    with pytest.raises(CounterOutcomeUnknown) as caught:
        call(counter, "increment", "key", 3, **TOKEN)
    assert (caught.value.operation, caught.value.key, caught.value.value) == ("increment", "key", 3)
    assert caught.value.__cause__ is not None
    assert proxy.accepted - before <= 31  # it pauses between its tries
    proxy.refusing = False
    assert patiently(lambda: call(counter, "increment", "key", 3, **TOKEN)) == 13
    assert stored(counter) == 13


def test_a_server_that_comes_back_before_the_deadline_answers(
    call: Caller, connected: Any, proxy: Proxy, stored: Any
) -> None:
    counter = connected(10)
    proxy.faults.append(Fault.CUT_AFTER)
    proxy.refusing = True
    before = proxy.accepted
    with ThreadPoolExecutor(1) as threads:
        counting = threads.submit(call, counter, "increment", "key", 3, **TOKEN)
        assert eventually(lambda: proxy.accepted > before + 1)
        proxy.refusing = False
        assert counting.result() == 13
    assert stored(counter) == 13


def test_a_call_that_was_never_sent_is_unavailable_at_once(
    call: Caller, make_counter: Callable[..., RedisCounter], proxy: Proxy
) -> None:
    counter = make_counter(proxy.url, timeout=10)
    proxy.refusing = True
    with pytest.raises(CounterUnavailable):
        call(counter, "increment", "key", 3, **TOKEN)
    assert proxy.commands == []
    assert proxy.accepted == 1


def test_scripts_that_a_server_forgot_meanwhile_are_sent_again(
    call: Caller, connected: Any, proxy: Proxy, stored: Any, admin: redis.Redis
) -> None:
    counter = connected(10)
    admin.script_flush()
    proxy.faults.extend([Fault.CUT_AFTER, Fault.CUT_AFTER])
    assert call(counter, "increment", "key", 3, **TOKEN) == 13
    assert stored(counter) == 13


# Many calls.


@pytest.fixture
def lossy(make_counter: Callable[..., RedisCounter], proxy: Proxy) -> RedisCounter:
    """A counter that loses 3 replies in 100."""
    proxy.chance = 0.03
    return make_counter(proxy.url, timeout=10)


@pytest.mark.figure("chaos, exactly once")
@pytest.mark.heavy
def test_threads_that_lose_replies_count_each_call_exactly_once(
    lossy: RedisCounter, proxy: Proxy, stored: Any, record_property: Record
) -> None:
    def work(worker: int) -> list[int]:
        tokens = [f"{worker}-{number}" for number in range(CALLS)]
        return [
            patiently(lambda token=token: lossy.increment("key", idempotency_key=token))
            for token in tokens
        ]

    with ThreadPoolExecutor(CALLERS) as threads:
        sums = [each for sums in threads.map(work, range(CALLERS)) for each in sums]
    record_property("figure", check(sums, stored(lossy), proxy))


@pytest.mark.figure("chaos, exactly once")
@pytest.mark.heavy
def test_tasks_that_lose_replies_count_each_call_exactly_once(
    lossy: RedisCounter, proxy: Proxy, stored: Any, record_property: Record
) -> None:
    async def work(worker: int) -> list[int]:
        tokens = [f"{worker}-{number}" for number in range(CALLS)]
        return [
            await apatiently(lambda token=token: lossy.aincrement("key", idempotency_key=token))
            for token in tokens
        ]

    async def main() -> list[list[int]]:
        return await asyncio.gather(*(work(worker) for worker in range(CALLERS)))

    sums = [each for several in asyncio.run(main()) for each in several]
    record_property("figure", check(sums, stored(lossy), proxy))


def check(sums: list[int], stored: int, proxy: Proxy) -> str:
    assert stored == CALLERS * CALLS
    assert sorted(sums) == list(range(1, stored + 1))
    assert len(proxy.commands) > stored  # replies were lost
    again = len(proxy.commands) - stored
    return f"{stored:,} asked and stored, {again:,} sent again"
