"""Table 7: what a counter takes on the server, and what many counters and many calls change."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeAlias

from django_counter import counter
from django_counter.ratelimit import RateLimit
from tests.benchmarks.results import Bench, Cell, Section, Table
from tests.benchmarks.rounds import Rounds, calling, interleave
from tests.benchmarks.server import Wire, pack

MEASURED = 100_000  # counters, for the memory of one
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
MILLION = SIZES[-2]
FEW, MANY = 10, 1000  # keys that a raw SCAN is told to look through at once
SAMPLE = 5000  # keys that the calls go round
TASKS = 256
FLOOR, OURS = "raw socket, INCRBY", "counter.increment"
# Ten thousand a script: the server answers others in between.
FILL = """
for number = ARGV[1], ARGV[2] do redis.call('SET', 'counter:many:' .. number, number) end
"""
STEP = 10_000


class Took(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


Walks: TypeAlias = dict[tuple[int, int], Took]  # by counters on the server, and COUNT


def measure(bench: Bench) -> Section:
    sizes = SIZES[:-1] if bench.quick else SIZES
    section = Section("Growth", notes=[*NOTES])
    client = client_memory(bench, section)
    wire = Wire(bench.port)
    memory = server_memory(wire)
    costs, scans, walks = growing(bench, wire, sizes)
    section.tables = [memory, growth(costs, scans, walks), walking(scans, walks), client]
    million, most = MILLION, SIZES[-1]
    if most in costs:
        at_most, at_million = (costs[size].times(OURS, FLOOR).median for size in (most, million))
        section.figures["cost 10M / 1M"] = at_most / at_million
        section.figures["scan 10M / 1M"] = scans[most].cpu / scans[million].cpu
        section.figures["raw scan 10M / 1M"] = walks[most, MANY].cpu / walks[million, MANY].cpu
    return section


def server_memory(wire: Wire) -> Table:
    """Return the table of the bytes that one counter takes, of each kind."""
    fixed, sliding, bucket = (
        RateLimit("100/h", name="api", algorithm=algorithm)
        for algorithm in ("fixed", "sliding", "token_bucket")
    )
    kinds: dict[str, Callable[[int], Awaitable[object]]] = {
        "counter.increment": lambda number: counter.aincrement(f"page:{number:08}"),
        "counter.increment, ttl": lambda number: counter.aincrement(f"page:{number:08}", ttl=3600),
        "RateLimit, fixed": lambda number: fixed.ahit(f"client {number}"),
        "RateLimit, sliding": lambda number: sliding.ahit(f"client {number}"),
        "RateLimit, token bucket": lambda number: bucket.ahit(f"client {number}"),
    }
    made = Table("Memory on the server, bytes", ["", "one counter, or client"], chart=1)
    for name, create in kinds.items():
        wire.ask("FLUSHALL")
        asyncio.run(spread(create, MEASURED // 50))  # connections and scripts are there
        wire.ask("FLUSHDB")
        before = int(wire.info("memory")["used_memory"])
        asyncio.run(spread(create, MEASURED))
        after = int(wire.info("memory")["used_memory"])
        made.rows.append([name, round((after - before) / MEASURED)])
    wire.ask("FLUSHALL")
    return made


async def spread(call: Callable[[int], Awaitable[object]], calls: int, tasks: int = TASKS) -> None:
    """Make calls, numbered, from many tasks at once."""
    numbers = iter(range(calls))

    async def work() -> None:
        for number in numbers:
            await call(number)

    await asyncio.gather(*(work() for _ in range(tasks)))
    await counter.aclose()


def growing(
    bench: Bench, wire: Wire, sizes: tuple[int, ...]
) -> tuple[dict[int, Rounds], dict[int, Took], Walks]:
    """Return what a call costs, and how long scans take, with that many counters."""
    costs: dict[int, Rounds] = {}
    scans: dict[int, Took] = {}
    walks: Walks = {}
    present = 0
    for size in sizes:
        for first in range(present, size, STEP):
            wire.ask("EVAL", FILL, 0, first, min(first + STEP, size) - 1)
        present = size
        random = Random(size)
        key = cycle([f"many:{random.randrange(size)}" for _ in range(SAMPLE)]).__next__
        contenders = [
            calling(FLOOR, wire.asking(pack("INCRBY", "counter:many:0", 1))),
            calling(OURS, _incrementing(key)),
        ]
        costs[size] = interleave(contenders, bench.rounds(60))
        scans[size] = timed(wire, partial(scan, size))
        for count in (FEW, MANY) if size == MILLION else (MANY,):
            walks[size, count] = timed(wire, partial(walk, wire, count))
    return costs, scans, walks


def timed(wire: Wire, work: Callable[[], object]) -> Took:
    """Return how long work takes, and the CPU time of client and server, which share a core."""
    began, cpu = time.perf_counter(), _cpu_seconds(wire)
    work()
    return Took(time.perf_counter() - began, _cpu_seconds(wire) - cpu)


def _cpu_seconds(wire: Wire) -> float:
    info = wire.info("cpu")
    return time.process_time() + float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def scan(size: int) -> None:
    found = sum(1 for _ in counter.scan("many:"))
    if found < size:
        raise RuntimeError(f"scan() found {found} of {size} counters")


def walk(wire: Wire, count: int) -> None:
    cursor = None
    while cursor != b"0":
        cursor, _ = wire.ask("SCAN", cursor or b"0", "COUNT", count)


def walking(scans: dict[int, Took], walks: Walks) -> Table:
    made = Table(f"All keys of {MILLION:,}", ["", "s", "of it CPU, s"])
    for count in (FEW, MANY):
        made.rows.append([f"raw socket, SCAN COUNT {count:,}", *walks[MILLION, count]])
    made.rows.append(["counter.scan(), with values and ttls", *scans[MILLION]])
    return made


def _incrementing(key: Callable[[], str]) -> Callable[[], object]:
    return lambda: counter.increment(key())


def growth(costs: dict[int, Rounds], scans: dict[int, Took], walks: Walks) -> Table:
    columns = ["counters on the server", "increment, us", "x floor", "scan(), s", "of it CPU, s"]
    made = Table("With more counters", [*columns, "a raw socket's SCANs, CPU, s"])
    for size, rounds in costs.items():
        cells: list[Cell] = [rounds.microseconds(OURS), rounds.times(OURS, FLOOR)]
        made.rows.append([f"{size:,}", *cells, *scans[size], walks[size, MANY].cpu])
    return made


def client_memory(bench: Bench, section: Section) -> Table:
    """Return the table of this process's memory over many calls, on different keys."""
    scale = 20 if bench.quick else 1
    awaited, direct = 10_000_000 // scale, 1_000_000 // scale
    columns = ["", "calls", "after a tenth, MiB", "at the end, MiB", "more, MiB", "peak, MiB"]
    made = Table("Memory of the client", columns)

    def increments(calls: int) -> None:
        for number in range(calls):
            counter.increment(f"page:{number % MEASURED}")

    def tasks(calls: int) -> None:
        asyncio.run(spread(lambda number: counter.aincrement(f"page:{number % MEASURED}"), calls))

    kinds = [
        ("counter.increment", increments, direct),
        (f"counter.aincrement, {TASKS} tasks", tasks, awaited),
    ]
    grown = 0.0
    for name, make, calls in kinds:
        make(calls // 10)
        warm, _ = resident()
        make(calls - calls // 10)
        end, peak = resident()
        made.rows.append([name, calls, warm, end, end - warm, peak])
        grown = max(grown, end - warm)
    section.figures["client growth, MiB"] = grown
    return made


def resident() -> tuple[float, float]:
    """Return the memory of this process, now and at most, in MiB."""
    status = Path("/proc/self/status").read_text()
    now, peak = (
        int(kib) / 1024
        for name in ("VmRSS", "VmHWM")
        for kib in re.findall(rf"{name}:\s+(\d+) kB", status)
    )
    return now, peak


NOTES = [
    f"Memory: INFO's `used_memory`, before and after {MEASURED:,} of them; the key of a counter is "
    "`counter:page:` and eight digits.",
    f"An increment is of one of {SAMPLE:,} keys, spread over all; the floor of one key. `scan()` "
    "reads every counter with its value and ttl, a raw socket's SCANs, of COUNT "
    f"{MANY:,}, the keys alone. Each is run once, so the goal is held against the CPU time of "
    "client and server together.",
    "The client's memory is VmRSS, and VmHWM at its peak, over one call after another, and over "
    f"ten million calls of {TASKS} tasks at once.",
]
