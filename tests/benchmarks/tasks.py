"""Table 3: many tasks at once, in one event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import coredis
from glide import GlideClient, GlideClientConfiguration, Logger, LogLevel, NodeAddress
from limits.aio.storage import RedisStorage
from redis.asyncio import BlockingConnectionPool, Redis

from django_counter import counter
from tests.benchmarks.results import Bench, Section, Table
from tests.benchmarks.rounds import Contender, Rounds, interleave

REDIS = "redis.asyncio"
PIPELINES = "redis.asyncio, pipelines by hand"
DEFAULT_POOL = "redis.asyncio, default pool"
OURS = "counter.aincrement"
LEVELS = (1, 16, 256, 2000)
# Up to here redis.asyncio is fastest with its default pool; beyond, of 1 to 256 connections, with
# about these many.
DEFAULT_POOL_TASKS = 100
CONNECTIONS = 50
SECONDS = 0.06  # of a block: with many tasks, starting them takes a while
TTL = 3600
GLIDE_TIMEOUT = 5000  # milliseconds

Increment = Callable[[], Awaitable[object]]


class Clients:
    """The contenders, each with its connections, in one event loop."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.stop = asyncio.Event()

    async def open(self) -> None:
        url = self.bench.url
        self.redis = Redis.from_url(url)
        self.limits = RedisStorage(f"async+{url}", implementation="redispy")
        self.redis_waiting = Redis(connection_pool=waiting_pool(url))
        self.limits_waiting = RedisStorage(
            f"async+{url}", implementation="redispy", connection_pool=waiting_pool(url)
        )
        place = NodeAddress("127.0.0.1", self.bench.port)
        Logger.set_logger_config(LogLevel.ERROR)
        limit = 2 * LEVELS[-1]  # its default is 1,000 requests at once, each within 250 ms
        configuration = GlideClientConfiguration(
            [place], inflight_requests_limit=limit, request_timeout=GLIDE_TIMEOUT
        )
        self.glide = await GlideClient.create(configuration)
        self.coredis = coredis.Redis.from_url(self.bench.url)
        opened = asyncio.Event()
        # Its tasks end where they began: in one task.
        self.task = asyncio.create_task(self._hold_coredis(opened))
        await opened.wait()

    async def _hold_coredis(self, opened: asyncio.Event) -> None:
        async with self.coredis:
            opened.set()
            await self.stop.wait()

    async def close(self) -> None:
        self.stop.set()
        await self.task
        await self.glide.close()
        await counter.aclose()

    def increments(self, tasks: int) -> dict[str, Increment]:
        client, limits = self.redis, self.limits
        if tasks > DEFAULT_POOL_TASKS:
            client, limits = self.redis_waiting, self.limits_waiting
        return {
            REDIS: lambda: client.incrby("redis", 1),
            OURS: lambda: counter.aincrement("page:home"),
            "valkey-glide": lambda: self.glide.incrby("glide", 1),
            "coredis": lambda: self.coredis.incrby("coredis", 1),
            "limits.aio incr, ttl": lambda: limits.incr("limits", TTL),
        }

    async def pipeline(self, commands: int) -> None:
        async with self.redis.pipeline(transaction=False) as pipe:
            for _ in range(commands):
                pipe.incrby("pipeline", 1)
            await pipe.execute()


def waiting_pool(url: str) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS, timeout=None)


def measure(bench: Bench) -> Section:
    section = Section("Async", notes=NOTES)
    with asyncio.Runner() as runner:
        clients = Clients(bench)
        runner.run(clients.open())
        measured = {level: at(runner, clients, level) for level in LEVELS}
        errors = {level: failed(runner, clients, level) for level in LEVELS}
        runner.run(clients.close())
    section.tables = [throughput(measured), failures(errors)]
    section.figures = {str(level): each.times(REDIS, OURS) for level, each in measured.items()}
    section.figures["errors at 2,000"] = errors[LEVELS[-1]][OURS]
    return section


def at(runner: asyncio.Runner, clients: Clients, level: int) -> Rounds:
    contenders = [
        Contender(name, _block(runner, increment, level))
        for name, increment in clients.increments(level).items()
    ]
    if level > 1:
        contenders.append(Contender(PIPELINES, _pipelined(runner, clients, level)))
    return interleave(contenders, clients.bench.rounds(30), SECONDS)


def _block(runner: asyncio.Runner, increment: Increment, tasks: int) -> Callable[[int], None]:
    async def work(calls: int) -> None:
        for _ in range(calls):
            await increment()

    async def block(calls: int) -> None:
        await asyncio.gather(*(work(calls) for _ in range(tasks)))

    return lambda calls: runner.run(block(calls))


def _pipelined(runner: asyncio.Runner, clients: Clients, level: int) -> Callable[[int], None]:
    async def block(calls: int) -> None:
        for _ in range(calls):
            await clients.pipeline(level)

    return lambda calls: runner.run(block(calls))


def failed(runner: asyncio.Runner, clients: Clients, level: int) -> dict[str, int]:
    """Return how many fail of one increment in each of that many tasks."""
    increments = clients.increments(level)
    increments[DEFAULT_POOL] = lambda: clients.redis.incrby("redis", 1)

    async def together(increment: Increment) -> int:
        answers: list[Any] = await asyncio.gather(
            *(increment() for _ in range(level)), return_exceptions=True
        )
        return sum(isinstance(answer, Exception) for answer in answers)

    return {name: runner.run(together(increment)) for name, increment in increments.items()}


def throughput(measured: dict[int, Rounds]) -> Table:
    table = Table("x the throughput of redis.asyncio", ["", *_headings()], chart=len(LEVELS) - 1)
    for name in measured[LEVELS[-1]].seconds:
        cells = [
            each.times(REDIS, name) if name in each.seconds else None for each in measured.values()
        ]
        table.rows.append([name, *cells])
    return table


def failures(errors: dict[int, dict[str, int]]) -> Table:
    table = Table("Errors, of one call in each of so many tasks", ["", *_headings()])
    for name in errors[LEVELS[0]]:
        table.rows.append([name, *(each[name] for each in errors.values())])
    return table


def _headings() -> list[str]:
    return [f"{level:,} tasks" if level > 1 else "1 task" for level in LEVELS]


NOTES = [
    "Each task awaits one increment after another.",
    f"redis.asyncio and limits.aio (`implementation='redispy'`): up to {DEFAULT_POOL_TASKS} tasks "
    "with the default pool; as that refuses the 101st connection, beyond them with "
    f"`BlockingConnectionPool(max_connections={CONNECTIONS}, timeout=None)`. By hand: one "
    "`pipeline(transaction=False)` of as many increments as there are tasks, by one task.",
    f"valkey-glide: one client, `inflight_requests_limit={2 * LEVELS[-1]}, "
    f"request_timeout={GLIDE_TIMEOUT}`, for by default it refuses the 1,001st request. coredis: "
    "`Redis.from_url(url)`, which multiplexes. The increment of limits.aio is a script.",
]
