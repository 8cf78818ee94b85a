"""Table 5: many keys in one go, and one hot key with its increments added up in the process."""

from collections.abc import Callable
from typing import Any

import redis
from django.core.cache import caches

from django_counter import counter, counters
from tests.benchmarks.results import Bench, Section, Table
from tests.benchmarks.rounds import Rounds, calling, interleave
from tests.benchmarks.server import Wire, pack

SIZES = (100, 1000, 10_000)
INCREMENTS = 1000
MGET, INCRBYS = "raw socket, MGET", "raw socket, INCRBY pipelined"
MULTI_GET = "counter.multi_get"
MULTI_INCREMENT, BATCH = "counter.multi_increment", "counter.batch()"
PIPELINE = "redis-py pipeline"
DIRECT, BUFFERED = "counter.increment", "BufferedMiddleware"
BUFFERED_SECONDS = 0.25  # of a block: it sends every 0.1 s


def measure(bench: Bench) -> Section:
    reads = {size: multi_gets(bench, size) for size in SIZES}
    increments, hot = increments_at_once(bench), hot_key(bench)
    section = Section("Many at once", notes=NOTES)
    section.tables = [reading(reads), writing(increments), buffering(hot)]
    section.figures = {
        **{f"multi_get {n:,} / floor": each.times(MULTI_GET, MGET) for n, each in reads.items()},
        "pipeline / multi_increment": increments.times(PIPELINE, MULTI_INCREMENT),
        "pipeline / batch": increments.times(PIPELINE, BATCH),
        "pipeline / raw": increments.times(PIPELINE, INCRBYS),
        "direct / buffered": hot.times(DIRECT, BUFFERED),
    }
    return section


def multi_gets(bench: Bench, size: int) -> Rounds:
    keys = [f"many:{number}" for number in range(size)]
    raw = redis.Redis.from_url(bench.url)
    names = [f"counter:{key}" for key in keys]
    raw.mset({name: number for number, name in enumerate(names)})
    cache = caches["default"]
    cache.set_many({key: number for number, key in enumerate(keys)}, None)
    calls: dict[str, Callable[[], Any]] = {
        MGET: Wire(bench.port).asking(pack("MGET", *names)),
        MULTI_GET: lambda: counter.multi_get(keys),
        "redis-py mget, a dict of it": lambda: _found(keys, raw.mget(names)),
        "django-redis cache.get_many": lambda: cache.get_many(keys),
    }
    contenders = [calling(name, call) for name, call in calls.items()]
    return interleave(contenders, bench.rounds(40))


def _found(keys: list[str], values: list[Any]) -> dict[str, int]:
    return {key: int(value or 0) for key, value in zip(keys, values, strict=True)}


def increments_at_once(bench: Bench) -> Rounds:
    keys = [f"page:{number}" for number in range(INCREMENTS)]
    amounts = dict.fromkeys(keys, 1)
    packed = b"".join(pack("INCRBY", f"counter:{key}", 1) for key in keys)
    raw = redis.Redis.from_url(bench.url)

    def batch() -> list[int]:
        with counter.batch() as b:
            answers = [b.increment(key) for key in keys]
        return [answer.result() for answer in answers]

    def pipeline() -> Any:
        pipe = raw.pipeline(transaction=False)
        for key in keys:
            pipe.incrby(key, 1)
        return pipe.execute()

    calls: dict[str, Callable[[], Any]] = {
        INCRBYS: Wire(bench.port).asking(packed, replies=len(keys)),
        MULTI_INCREMENT: lambda: counter.multi_increment(amounts),
        BATCH: batch,
        PIPELINE: pipeline,
    }
    contenders = [calling(name, call) for name, call in calls.items()]
    return interleave(contenders, bench.rounds(60))


def hot_key(bench: Bench) -> Rounds:
    buffered = counters["buffered"]
    contenders = [
        calling(DIRECT, lambda: counter.increment("hot")),
        calling(BUFFERED, lambda: buffered.increment("hot")),
    ]
    try:
        return interleave(contenders, bench.rounds(20), BUFFERED_SECONDS)
    finally:
        buffered.close()


def reading(measured: dict[int, Rounds]) -> Table:
    headings = [f"{size:,} keys, {of}" for size in measured for of in ("x floor", "us")]
    table = Table("Reading", ["", *headings], chart=len(headings) - 1)
    for name in measured[SIZES[0]].seconds:
        cells = [
            cell
            for each in measured.values()
            for cell in (each.times(name, MGET), each.microseconds(name))
        ]
        table.rows.append([name, *cells])
    return table


def writing(rounds: Rounds) -> Table:
    title = f"{INCREMENTS:,} increments, of as many keys, with their answers"
    table = Table(title, ["", "x floor", "us", "x as fast as redis-py's pipeline"], chart=1)
    for name in rounds.seconds:
        cells = rounds.times(name, INCRBYS), rounds.microseconds(name)
        table.rows.append([name, *cells, rounds.times(PIPELINE, name)])
    return table


def buffering(rounds: Rounds) -> Table:
    table = Table("One hot key, one increment after another", ["", "x direct", "us"])
    for name in rounds.seconds:
        table.rows.append([name, rounds.times(DIRECT, name), rounds.microseconds(name)])
    return table


NOTES = [
    "redis-py: `mget` and `pipeline(transaction=False)` on a default pool. django-redis: "
    "`cache.get_many` of integers, which it does not serialize.",
    "`batch()` and the pipeline are filled anew for each call, and every answer is read.",
    "`BufferedMiddleware` as it is by default; what it sends meanwhile is in its time.",
]
