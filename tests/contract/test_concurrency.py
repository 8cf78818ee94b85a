"""Many who count at once: threads, tasks, event loops, processes."""

import asyncio
import json
import subprocess
import sys
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from django_counter.base import Counter
from django_counter.values import Budget
from tests.contract.stores import (
    ON_REAL_SERVERS,
    PATIENCE,
    VARIANTS,
    RedisStore,
    Variant,
)

ROOT = Path(__file__).parents[2]
BARE = [variant for variant in VARIANTS if not variant.wrapped]
Together = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def impatient_threads() -> Iterator[None]:
    """Let threads take turns as often as they can, so that a race is lost soon."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def together(variant: Variant, composed: Counter, runner: asyncio.Runner) -> Together:
    """Return what has an operation called by many workers, each several times, at once."""

    def in_threads(workers: int, calls: int, operation: str, *arguments: Any) -> list[Any]:
        call = partial(getattr(composed, operation), *arguments)
        barrier = Barrier(workers)

        def work() -> list[Any]:
            barrier.wait()
            return [call() for _ in range(calls)]

        with ThreadPoolExecutor(workers) as pool:
            working = [pool.submit(work) for _ in range(workers)]
            return [result for each in working for result in each.result()]

    def in_tasks(workers: int, calls: int, operation: str, *arguments: Any) -> list[Any]:
        call = partial(getattr(composed, f"a{operation}"), *arguments)

        async def work() -> list[Any]:
            return [await call() for _ in range(calls)]

        async def gather() -> list[Any]:
            lists = await asyncio.gather(*(work() for _ in range(workers)))
            return [result for each in lists for result in each]

        return runner.run(gather())

    return in_tasks if variant.asynchronous else in_threads


@pytest.mark.heavy
@pytest.mark.parametrize("variant", [v for v in BARE if not v.asynchronous], indirect=True, ids=str)
def test_16_threads_count_1000_each_exactly(together: Together, counter: Counter, key: str) -> None:
    sums = together(16, 1000, "increment", key)
    assert counter.get(key) == 16_000
    assert sorted(sums) == list(range(1, 16_001))  # no two callers had the same


@pytest.mark.heavy
@pytest.mark.parametrize("variant", [v for v in BARE if v.asynchronous], indirect=True, ids=str)
def test_256_tasks_count_20_each_exactly(together: Together, counter: Counter, key: str) -> None:
    sums = together(256, 20, "increment", key)
    assert counter.get(key) == 5120
    assert sorted(sums) == list(range(1, 5121))


def test_256_at_once_count_exactly(together: Together, counter: Counter, key: str) -> None:
    sums = together(16, 16, "increment", key, 3)
    assert counter.get(key) == 256 * 3
    assert sorted(sums) == list(range(3, 256 * 3 + 1, 3))


def test_those_who_create_at_once_count_exactly(
    together: Together, counter: Counter, key: str
) -> None:
    for number in range(5):
        sums = together(10, 1, "increment", f"{key}{number}", 2, 100)
        assert sorted(sums) == list(range(2, 21, 2))
        entry = counter.entry(f"{key}{number}")
        assert entry is not None
        assert entry.ttl is not None


@pytest.mark.parametrize(("workers", "calls", "amount"), [(5, 100, 1), (20, 20, 3)])
def test_decrement_if_exists_never_sells_more_than_there_is(
    together: Together, counter: Counter, key: str, workers: int, calls: int, amount: int
) -> None:
    stock = workers * calls // 2
    counter.set(key, stock)
    results = together(workers, calls, "decrement_if_exists", key, amount)
    sold = [result.value for result in results if result.success]
    assert sorted(sold, reverse=True) == list(range(stock - amount, -1, -amount))
    assert counter.get(key) == stock % amount


@pytest.mark.parametrize(("workers", "calls", "cost"), [(5, 100, 1), (20, 20, 3)])
def test_take_never_sells_more_than_there_is(
    together: Together, counter: Counter, key: str, workers: int, calls: int, cost: int
) -> None:
    limit = workers * calls // 2
    budgets = [Budget(f"{key}a", limit, 100), Budget(f"{key}b", limit + 50, 100, floor=1)]
    results = together(workers, calls, "take", budgets, cost)
    sold = [first.value for first, second in results if first.success]
    assert sorted(sold, reverse=True) == list(range(limit - cost, -1, -cost))
    assert all(first.success == second.success for first, second in results)
    left = limit % cost
    assert counter.multi_get([f"{key}a", f"{key}b"]) == {f"{key}a": left, f"{key}b": left + 50}


def test_one_of_many_creates(together: Together, counter: Counter, key: str) -> None:
    for number in range(5):
        created = together(10, 2, "set_if_not_exists", f"{key}{number}", 5, 100)
        assert Tally(created) == {True: 1, False: 19}


def test_increments_and_decrements_meet_at_0(
    together: Together, composed: Counter, counter: Counter, key: str
) -> None:
    counter.set(key, 0)
    together(10, 10, "increment", key, 7)
    together(10, 10, "decrement", key, 7)
    assert counter.get(key) == 0


@pytest.mark.figure("close, fork, restart")
@pytest.mark.fault("close while in use")
def test_close_breaks_no_call_of_others(
    variant: Variant, composed: Counter, counter: Counter, runner: asyncio.Runner, key: str
) -> None:
    def count() -> None:
        for _ in range(50):
            composed.increment(key)

    def close() -> None:
        for _ in range(50):
            composed.close()

    async def acount() -> None:
        for _ in range(50):
            await composed.aincrement(key)

    async def aclose() -> None:
        for _ in range(50):
            await composed.aclose()

    async def gather() -> None:
        await asyncio.gather(acount(), aclose(), *(acount() for _ in range(3)))

    if variant.asynchronous:
        runner.run(gather())
    else:
        with ThreadPoolExecutor(5) as pool:
            for each in [pool.submit(work) for work in (count, close, count, count, count)]:
                each.result()
    assert counter.get(key) == 200


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.asynchronous], indirect=True, ids=str)
def test_several_event_loops_in_several_threads_count_exactly(
    composed: Counter, counter: Counter, key: str
) -> None:
    barrier = Barrier(5)

    async def count() -> list[int]:
        return await asyncio.gather(*(composed.aincrement(key) for _ in range(50)))

    def in_loop() -> list[int]:
        barrier.wait()
        return asyncio.run(count())

    def in_thread() -> list[int]:
        barrier.wait()
        return [composed.increment(key) for _ in range(50)]

    with ThreadPoolExecutor(5) as pool:
        working = [pool.submit(each) for each in (in_loop, in_loop, in_loop, in_thread, in_thread)]
        sums = [each for work in working for each in work.result()]
    assert sorted(sums) == list(range(1, 251))
    assert counter.get(key) == 250


@pytest.mark.heavy
@pytest.mark.parametrize(
    "variant", [v for v in ON_REAL_SERVERS if not v.wrapped], indirect=True, ids=str
)
def test_4_processes_count_1000_each_exactly(
    variant: Variant, store: RedisStore, counter: Counter, key: str
) -> None:
    kind = "async" if variant.asynchronous else "sync"
    cache = json.dumps(store.cache)
    command = [sys.executable, "-m", "tests.contract.count", cache, key, kind]
    counting = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    try:
        for each in counting:  # all are ready before the first starts
            assert each.stdout is not None
            assert each.stdout.readline() == b"ready\n"
        for each in counting:
            assert each.stdin is not None
            each.stdin.write(b"go\n")
            each.stdin.flush()
        outputs = [each.communicate(timeout=6 * PATIENCE)[0] for each in counting]
    finally:
        for each in counting:
            each.kill()
            each.wait()
            for pipe in (each.stdin, each.stdout):
                if pipe:
                    pipe.close()
    assert [each.returncode for each in counting] == [0] * 4
    sums = [int(line) for output in outputs for line in output.split()]
    assert sorted(sums) == list(range(1, 4001))
    assert counter.get(key) == 4000
