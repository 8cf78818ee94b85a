"""Many calls while replies are lost: what was counted lies within what was answered."""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from django_counter import CounterOutcomeUnknown, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from tests.faults.proxy import Proxy
from tests.figures import sized

pytest_plugins = ["tests.faults.fixtures"]

Record = Callable[[str, object], None]

CALLERS = 8
CALLS = sized(400, 12_500)  # of each

# What the lost replies are lost from: one command, and one script.
ttls = pytest.mark.parametrize("ttl", [None, 60], ids=["plain", "script"])


@pytest.fixture
def lossy(make_counter: Callable[..., RedisCounter], proxy: Proxy) -> RedisCounter:
    """A counter that loses 3 replies in 100."""
    proxy.chance = 0.03
    return make_counter(proxy.url, timeout=10)


@pytest.mark.figure("chaos, at most once")
@ttls
def test_threads_that_lose_replies_count_each_call_at_most_once(
    lossy: RedisCounter, admin: redis.Redis, ttl: int | None, record_property: Record
) -> None:
    def work(_: int) -> Tally[str]:
        outcomes: Tally[str] = Tally()
        for _ in range(CALLS):
            try:
                lossy.increment("key", ttl=ttl)
                outcomes["counted"] += 1
            except CounterOutcomeUnknown:
                outcomes["unknown"] += 1
            except CounterUnavailable:  # lost while it connected
                outcomes["refused"] += 1
        return outcomes

    with ThreadPoolExecutor(CALLERS) as threads:
        outcomes = sum(threads.map(work, range(CALLERS)), Tally())
    record_property("figure", check(outcomes, int(admin.get(f"{lossy.alias}:key"))))


@pytest.mark.figure("chaos, at most once")
@ttls
def test_tasks_that_lose_replies_count_each_call_at_most_once(
    lossy: RedisCounter, admin: redis.Redis, ttl: int | None, record_property: Record
) -> None:
    async def work() -> Tally[str]:
        outcomes: Tally[str] = Tally()
        for _ in range(CALLS):
            try:
                await lossy.aincrement("key", ttl=ttl)
                outcomes["counted"] += 1
            except CounterOutcomeUnknown:
                outcomes["unknown"] += 1
            except CounterUnavailable:
                outcomes["refused"] += 1
        return outcomes

    async def main() -> list[Tally[str]]:
        return await asyncio.gather(*(work() for _ in range(CALLERS)))

    outcomes = sum(asyncio.run(main()), Tally())
    record_property("figure", check(outcomes, int(admin.get(f"{lossy.alias}:key"))))


def check(outcomes: Tally[str], stored: int) -> str:
    assert outcomes.total() == CALLERS * CALLS
    assert outcomes["unknown"] > 0
    assert outcomes["counted"] <= stored <= outcomes["counted"] + outcomes["unknown"]
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items()))
    return f"{outcomes.total():,} asked: {told}, {stored:,} stored"
