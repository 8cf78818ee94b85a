"""How many calls a second, and how long each takes."""

import asyncio
import threading
from array import array
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import NamedTuple

TICK = 0.1  # seconds between two steps of the bar


class Result(NamedTuple):
    """What was measured. Latencies are in microseconds."""

    calls_per_second: float
    p50: float
    p90: float
    p99: float


def measure(
    call: Callable[[], object], seconds: float, threads: int, tick: Callable[[float], object]
) -> Result:
    """Call from that many threads at once, for that many seconds."""
    times = [array("d") for _ in range(threads)]
    errors: list[Exception] = []
    ended = threading.Event()

    def work(mine: "array[float]") -> None:
        try:
            while not (mine and ended.is_set()):
                began = perf_counter()
                call()
                mine.append(perf_counter() - began)
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            errors.append(error)
            ended.set()

    workers = [threading.Thread(target=work, args=(mine,)) for mine in times]
    began = perf_counter()
    try:
        for worker in workers:
            worker.start()
        while perf_counter() - began < seconds and not ended.wait(min(TICK, seconds)):
            tick(TICK)
    finally:
        ended.set()
        for worker in workers:
            worker.join()
    if errors:
        raise errors[0]
    return _result(times, perf_counter() - began)


async def ameasure(
    call: Callable[[], Awaitable[object]],
    seconds: float,
    tasks: int,
    tick: Callable[[float], object],
) -> Result:
    """See measure(): tasks of this event loop, in place of threads."""
    times: array[float] = array("d")
    began = perf_counter()
    until = began + seconds

    async def work() -> None:
        now = began
        while now < until or not times:
            before = perf_counter()
            await call()
            now = perf_counter()
            times.append(now - before)

    async def show() -> None:
        while True:
            await asyncio.sleep(TICK)
            tick(TICK)

    shown = asyncio.create_task(show())
    try:
        await asyncio.gather(*(work() for _ in range(tasks)))
    finally:
        shown.cancel()
    return _result([times], perf_counter() - began)


def _result(times: "list[array[float]]", elapsed: float) -> Result:
    each = sorted(seconds * 1_000_000 for some in times for seconds in some)
    p50, p90, p99 = (each[len(each) * part // 100] for part in (50, 90, 99))
    return Result(len(each) / elapsed, p50, p90, p99)
