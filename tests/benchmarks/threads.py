"""Table 4: many threads at once, in one process."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import local

import redis

from django_counter import counter
from tests.benchmarks.results import Bench, Section, Table
from tests.benchmarks.rounds import Contender, Rounds, interleave
from tests.benchmarks.server import Wire, pack

REDIS = "redis-py incrby, pool"
OURS = "counter.increment"
FLOOR = "raw socket for each thread"
LEVELS = (1, 4, 16)
SECONDS = 0.08  # of a block

Increment = Callable[[], object]


def measure(bench: Bench) -> Section:
    measured = {threads: at(bench, threads) for threads in LEVELS}
    section = Section("Threads", notes=NOTES)
    columns = ["", *(f"{threads} threads" if threads > 1 else "1 thread" for threads in LEVELS)]
    table = Table("x the throughput of redis-py's pool", columns, chart=len(LEVELS))
    for name in (REDIS, OURS, FLOOR):
        table.rows.append([name, *(each.times(REDIS, name) for each in measured.values())])
    section.tables.append(table)
    for threads, each in measured.items():
        section.figures[f"{threads}"] = each.times(REDIS, OURS)
        section.figures[f"{threads}, raw"] = each.times(REDIS, FLOOR)
    return section


def at(bench: Bench, threads: int) -> Rounds:
    pool = redis.Redis.from_url(bench.url)
    increments: dict[str, Increment] = {
        REDIS: lambda: pool.incrby("redis-py", 1),
        OURS: lambda: counter.increment("page:home"),
        FLOOR: floor(bench),
    }
    with ThreadPoolExecutor(threads) as executor:
        contenders = [
            Contender(name, _block(executor, increment, threads))
            for name, increment in increments.items()
        ]
        return interleave(contenders, bench.rounds(50), SECONDS)


def floor(bench: Bench) -> Increment:
    own = local()
    packed = pack("INCRBY", "floor", 1)

    def ask() -> object:
        if not hasattr(own, "ask"):
            own.ask = Wire(bench.port).asking(packed)
        return own.ask()

    return ask


def _block(
    executor: ThreadPoolExecutor, increment: Increment, threads: int
) -> Callable[[int], None]:
    def work(calls: int) -> None:
        for _ in range(calls):
            increment()

    def block(calls: int) -> None:
        for future in [executor.submit(work, calls) for _ in range(threads)]:
            future.result()

    return block


NOTES = [
    "The threads are there before, and each makes as many increments as the others.",
    "redis-py: `Redis.from_url(url)`, shared by all threads, whose pool is the default.",
]
