"""Table 1: one operation after another, on one connection."""

from collections.abc import Callable
from typing import Any

import redis
from django.core.cache import caches
from limits.storage import RedisStorage

from django_counter import counter
from tests.benchmarks.results import Bench, Section, Table
from tests.benchmarks.rounds import Contender, Rounds, calling, interleave
from tests.benchmarks.server import Wire, pack, sent

FLOOR = "floor: raw socket, INCRBY"
OURS = "counter.increment"
OURS_TTL = "counter.increment, ttl"
INCRBY = "redis-py incrby, pool"
TTL = 3600  # seconds
INCREMENT_WITH_TTL = """
local value = redis.call('INCRBY', KEYS[1], ARGV[1])
if value == tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return value
"""


def measure(bench: Bench) -> Section:
    rounds = interleave(contenders(bench), bench.rounds(100))
    section = Section("Sync operations", notes=NOTES)
    table = Table("One call", ["", "x floor", "us", "client CPU, us"], chart=1)
    for name in rounds.seconds:
        wall, cpu = rounds.microseconds(name), rounds.cpu_microseconds(name)
        table.rows.append([name, rounds.times(name, FLOOR), wall, cpu])
    section.tables.append(table)
    section.figures = figures(rounds)
    return section


def figures(rounds: Rounds) -> dict[str, Any]:
    return {
        "increment / floor": rounds.times(OURS, FLOOR),
        "redis-py / increment": rounds.times(INCRBY, OURS),
        "redis-py / raw": rounds.times(INCRBY, FLOOR),
        "increment, CPU us": rounds.cpu_microseconds(OURS),
    }


def contenders(bench: Bench) -> list[Contender]:
    return [*floors(bench), *ours(), *peers(bench)]


def floors(bench: Bench) -> list[Contender]:
    wire = Wire(bench.port)
    counter.increment("script", ttl=TTL)
    script = sent(bench.port, lambda: counter.increment("script", ttl=TTL))
    transaction = [
        pack("MULTI"),
        pack("SET", "multi", 0, "NX", "PX", TTL * 1000),
        pack("INCRBY", "multi", 1),
        pack("EXEC"),
    ]
    return [
        calling(FLOOR, wire.asking(pack("INCRBY", "counter:floor", 1))),
        calling("raw socket, what increment with a ttl sends", wire.asking(*script)),
        calling(
            "raw socket, MULTI [SET NX PX, INCRBY]",
            wire.asking(b"".join(transaction), replies=len(transaction)),
        ),
    ]


def ours() -> list[Contender]:
    counter.increment("drawn", 10**15)
    counter.set_if_not_exists("there", 1)
    return [
        calling(OURS, lambda: counter.increment("page:home")),
        calling(OURS_TTL, lambda: counter.increment("page:ttl", ttl=TTL)),
        calling("counter.get", lambda: counter.get("page:home")),
        calling("counter.decrement", lambda: counter.decrement("page:down")),
        calling("counter.decrement_if_exists", lambda: counter.decrement_if_exists("drawn")),
        calling("counter.set_if_not_exists", lambda: counter.set_if_not_exists("there", 1)),
    ]


def peers(bench: Bench) -> list[Contender]:
    pool = redis.Redis.from_url(bench.url)
    single = redis.Redis.from_url(bench.url, single_connection_client=True)
    script = pool.register_script(INCREMENT_WITH_TTL)
    digest = pool.script_load(INCREMENT_WITH_TTL)
    limits = RedisStorage(bench.url)
    calls: dict[str, Callable[[], object]] = {
        "redis-py incrby, single connection": lambda: single.incrby("redis-py:single", 1),
        INCRBY: lambda: pool.incrby("redis-py:pool", 1),
        "redis-py evalsha, ttl": lambda: pool.evalsha(digest, 1, "redis-py:sha", 1, TTL * 1000),
        "redis-py register_script, ttl": lambda: script(["redis-py:script"], [1, TTL * 1000]),
        "django-redis cache.incr": _cache_incr("default"),
        "limits incr, ttl": lambda: limits.incr("limits", TTL),
        "Django's RedisCache.incr": _cache_incr("django"),
    }
    return [calling(name, call) for name, call in calls.items()]


def _cache_incr(alias: str) -> Callable[[], object]:
    cache = caches[alias]
    cache.set("hits", 0, None)
    return lambda: cache.incr("hits")


NOTES = [
    "The floor is a blocking socket with a prepacked command and a hiredis reader.",
    "redis-py: `Redis.from_url(url)`, whose pool is the default, and the same with "
    "`single_connection_client=True`; hiredis is installed. The script is INCRBY, then PEXPIRE "
    "where it made the key.",
    "django-redis and Django's own cache: the backend and its LOCATION, the cache object kept, not "
    "looked up for each call; the value is an integer, which django-redis does not serialize.",
    "limits: `RedisStorage(url).incr`, which is one script.",
]
