"""Table 2: one decision after another, each on another of a few hundred clients."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import redis
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from django_ratelimit.core import is_ratelimited
from django_smart_ratelimit.algorithms import TokenBucketAlgorithm
from django_smart_ratelimit.backends import get_backend
from limits import RateLimitItemPerDay, strategies
from limits.storage import RedisStorage
from pyrate_limiter import (
    BucketFactory,
    Duration,
    Limiter,
    Rate,
    RateItem,
    RedisBucket,
    RedisStateStore,
    StateBucket,
    TokenBucket,
)
from rest_framework.throttling import SimpleRateThrottle
from throttled import RateLimiterType, RedisStore, Throttled, per_day

from django_counter.ratelimit import RateLimit
from tests.benchmarks.results import Bench, Cell, Section, Table
from tests.benchmarks.rounds import Rounds, calling, interleave
from tests.benchmarks.server import Wire, sent, trips

FLOOR = "raw socket, what RateLimit.hit sends"
OURS = "RateLimit.hit, fixed"
OURS_OF_A_CROWD = "RateLimit.hit, fixed, 5,000 clients"
OWN = (OURS, "RateLimit.hit, sliding", "RateLimit.hit, token bucket", OURS_OF_A_CROWD)
AGAIN = "RateLimit.hit, denied a moment ago"
ALLOWED, DENIED = "allowed", "denied"
DJANGO_RATELIMIT = "django-ratelimit"
CLIENTS = [f"10.0.{number // 200}.{number % 200}" for number in range(256)]
CROWD = [f"10.1.{number // 200}.{number % 200}" for number in range(5_000)]
MANY, ONE = 1_000_000, 1  # a day: all are allowed, or none after the first
DAY = 86_400

Decide = Callable[[], object]


class Prepared(NamedTuple):
    """The contenders of one kind of decision, their floor first, and the round trips of each."""

    decides: dict[str, Decide]
    trips: dict[str, float]


def measure(bench: Bench) -> Section:
    wire = Wire(bench.port)
    # Statistics are sent once a second, by a thread of their own: not while trips are counted.
    with override_settings(RATE_LIMIT={"DENY_CACHE": 0, "STATISTICS": False}):
        allowed, denied = prepared(bench, wire, MANY), prepared(bench, wire, ONE)
        first = trips(wire, fresh(), 500)
    with override_settings(RATE_LIMIT={"STATISTICS": False}):
        again = denied_again()
        again_trips = trips(wire, again, 2000)
    # What a process remembers of denials is measured apart.
    with override_settings(RATE_LIMIT={"DENY_CACHE": 0}):
        for each in (allowed, denied):
            for _ in range(2 * len(CROWD)):  # forgotten with the settings, and soon known again
                each.decides[OURS_OF_A_CROWD]()
        rounds = {
            kind: interleaved(bench, each) for kind, each in [(ALLOWED, allowed), (DENIED, denied)]
        }
    again_rounds = interleave([calling(AGAIN, again)], bench.rounds(80))
    section = Section("Decisions", notes=NOTES)
    section.tables.append(table(rounds, {ALLOWED: allowed.trips, DENIED: denied.trips}))
    section.tables.append(
        Table(
            "Denied again, with the deny cache as it is by default",
            ["", "us", "round trips"],
            [[AGAIN, again_rounds.microseconds(AGAIN), again_trips]],
        )
    )
    section.figures = {
        **figures(rounds[ALLOWED], ALLOWED),
        **figures(rounds[DENIED], DENIED),
        "allowed, round trips": allowed.trips[OURS],
        "denied, round trips": denied.trips[OURS],
        "first hit, round trips": first,
        "denied again, us": again_rounds.microseconds(AGAIN),
        "denied again, round trips": again_trips,
    }
    return section


def prepared(bench: Bench, wire: Wire, limit: int) -> Prepared:
    decides = {**ours(limit), **peers(bench, limit)}
    for decide in decides.values():
        for _ in CLIENTS:  # the first hit of each is allowed anyway
            decide()
    counted = {name: trips(wire, decide, 200) for name, decide in decides.items()}
    commands = [sent(bench.port, decides[OURS]) for _ in CLIENTS]
    floor = wire.asking(*(command for each in commands for command in each))
    return Prepared({FLOOR: floor, **decides}, {FLOOR: 1.0, **counted})


def interleaved(bench: Bench, each: Prepared) -> Rounds:
    contenders = [calling(name, decide) for name, decide in each.decides.items()]
    return interleave(contenders, bench.rounds(80))


def table(rounds: dict[str, Rounds], counted: dict[str, dict[str, float]]) -> Table:
    columns = ["", *(f"{kind}, {of}" for kind in rounds for of in ("x raw EVALSHA", "us", "trips"))]
    made = Table("One decision", columns, chart=1)
    for name in rounds[ALLOWED].seconds:
        row: list[Cell] = [name]
        for kind, each in rounds.items():
            row += each.times(name, FLOOR), each.microseconds(name), counted[kind][name]
        made.rows.append(row)
    return made


def figures(rounds: Rounds, kind: str) -> dict[str, Any]:
    peers = [name for name in rounds.seconds if name not in (FLOOR, *OWN)]
    fastest = rounds.fastest(peers)
    return {
        f"{kind} / raw EVALSHA": rounds.times(OURS, FLOOR),
        f"peer, {kind}": fastest,
        f"peer / {kind}": rounds.times(fastest, OURS),
        f"peer / raw {kind}": rounds.times(fastest, FLOOR),
        f"ratelimit / {kind}": rounds.times(DJANGO_RATELIMIT, OURS),
        f"ratelimit / raw {kind}": rounds.times(DJANGO_RATELIMIT, FLOOR),
    }


def turn(clients: Sequence[str] = CLIENTS) -> Callable[[], str]:
    """Return the function that names the next client, all of them round and round."""
    return itertools.cycle(clients).__next__


def ours(limit: int) -> dict[str, Decide]:
    algorithms = ("fixed", "sliding", "token_bucket")
    decides = {
        name: _hitting(RateLimit(f"{limit}/d", name=f"{algorithm} {limit}", algorithm=algorithm))
        for name, algorithm in zip(OWN[:-1], algorithms, strict=True)
    }
    decides[OURS_OF_A_CROWD] = _hitting(RateLimit(f"{limit}/d", name=f"crowd {limit}"), CROWD)
    return decides


def _hitting(limit: RateLimit, clients: Sequence[str] = CLIENTS) -> Decide:
    client = turn(clients)
    return lambda: limit.hit(client())


def fresh() -> Decide:
    """Return hits that each begin a window."""
    limit, number = RateLimit("5/d", name="fresh"), itertools.count()
    return lambda: limit.hit(f"client {next(number)}")


def denied_again() -> Decide:
    """Return hits of clients that this process has denied a moment ago."""
    again = _hitting(RateLimit("1/d", name="again"))
    for _ in range(2 * len(CLIENTS)):
        again()
    return again


def peers(bench: Bench, limit: int) -> dict[str, Decide]:
    return {
        **throttled(bench, limit),
        **limits(bench, limit),
        **pyrate(bench, limit),
        **smart(limit),
        "DRF throttle": _drf(limit),
        DJANGO_RATELIMIT: _django_ratelimit(limit),
    }


def throttled(bench: Bench, limit: int) -> dict[str, Decide]:
    store = RedisStore(server=bench.url)

    def limiting(kind: RateLimiterType) -> Decide:
        limiter = Throttled(using=kind.value, quota=per_day(limit, burst=limit), store=store)
        client = turn()
        return lambda: limiter.limit(client())

    return {
        "throttled-py fixed window": limiting(RateLimiterType.FIXED_WINDOW),
        "throttled-py token bucket": limiting(RateLimiterType.TOKEN_BUCKET),
        "throttled-py GCRA": limiting(RateLimiterType.GCRA),
    }


def limits(bench: Bench, limit: int) -> dict[str, Decide]:
    storage = RedisStorage(bench.url)
    item = RateLimitItemPerDay(limit, 1, f"bench {limit}")

    def hitting(strategy: Any, name: str) -> Decide:
        client = turn()
        return lambda: strategy.hit(item, name, client())

    fixed = strategies.FixedWindowRateLimiter(storage)
    client = turn()

    def with_headers() -> object:
        identity = client()
        allowed = fixed.hit(item, "headers", identity)
        return allowed, fixed.get_window_stats(item, "headers", identity)

    sliding = strategies.SlidingWindowCounterRateLimiter(storage)
    moving = strategies.MovingWindowRateLimiter(storage)
    return {
        "limits fixed": hitting(fixed, "fixed"),
        "limits sliding": hitting(sliding, "sliding"),
        "limits moving": hitting(moving, "moving"),
        "limits fixed, with what headers need": with_headers,
    }


class Buckets(BucketFactory):
    """A bucket for each client, as pyrate-limiter's documentation tells to route them."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        self.make = make
        self.buckets: dict[str, Any] = {}

    def wrap_item(self, name: str, weight: int = 1) -> Any:
        return RateItem(name, time.time_ns() // 1_000_000, weight=weight)

    def get(self, item: Any) -> Any:
        bucket = self.buckets.get(item.name)
        if bucket is None:
            bucket = self.buckets[item.name] = self.make(item.name)
        return bucket


def pyrate(bench: Bench, limit: int) -> dict[str, Decide]:
    client = redis.Redis.from_url(bench.url)
    rates = [Rate(limit, Duration.DAY)]

    def log(name: str) -> Any:
        return RedisBucket.init(rates, client, f"pyrate:{limit}:log:{name}")

    def state(name: str) -> Any:
        store = RedisStateStore(client, f"pyrate:{limit}:state:{name}")
        return StateBucket(rates, algorithm=TokenBucket(), store=store)

    def acquiring(make: Callable[[str], Any]) -> Decide:
        limiter, name = Limiter(Buckets(make)), turn()
        return lambda: limiter.try_acquire(name(), blocking=False)

    return {
        "pyrate-limiter sliding log": acquiring(log),
        "pyrate-limiter token bucket": acquiring(state),
    }


def smart(limit: int) -> dict[str, Decide]:
    backend = get_backend("redis")
    bucket = TokenBucketAlgorithm()
    for_bucket, for_window = turn(), turn()

    def sliding() -> object:
        key = f"bench:{limit}:{for_window()}"
        allowed = backend.incr(key, DAY) <= limit
        return allowed, backend.get_reset_time(key)

    return {
        "django-smart-ratelimit token bucket": lambda: bucket.is_allowed(
            backend, f"bench:{limit}:{for_bucket()}", limit, DAY
        ),
        "django-smart-ratelimit sliding": sliding,
    }


def _requests() -> Callable[[], HttpRequest]:
    requests = [RequestFactory().get("/", REMOTE_ADDR=client) for client in CLIENTS]
    return itertools.cycle(requests).__next__


class Throttle(SimpleRateThrottle):
    """One by address: the one that REST framework has is for those who are not logged in."""

    scope = "bench"
    rate = f"{MANY}/day"

    def get_cache_key(self, request: Any, view: Any) -> str:
        return f"throttle_{self.rate}_{self.get_ident(request)}"


class StrictThrottle(Throttle):
    rate = f"{ONE}/day"


def _drf(limit: int) -> Decide:
    throttle, request = Throttle if limit == MANY else StrictThrottle, _requests()
    return lambda: throttle().allow_request(request(), None)


def _django_ratelimit(limit: int) -> Decide:
    request = _requests()
    rate = f"{limit}/d"
    return lambda: is_ratelimited(request(), group="bench", key="ip", rate=rate, increment=True)


NOTES = [
    "Raw EVALSHA is the command that `RateLimit.hit` sends, prepacked, on the socket of the floor.",
    f"Each call is by the next of {len(CLIENTS)} clients, where no other number is named. "
    f"Allowed: {MANY:,} a day. Denied: one a day, drawn before. Round trips are how often the "
    "server read from its clients; ours without the statistics that a process sends about once a "
    "second, which the times include.",
    "throttled-py: `RedisStore(server=url)`. limits: `RedisStorage(url)`; what headers need is "
    "`get_window_stats`.",
    "pyrate-limiter: a bucket for each client, `try_acquire(name, blocking=False)`, without its "
    "thread that trims logs; the token bucket is its `RedisStateStore`.",
    "django-smart-ratelimit: its Redis backend, asked as its decorator asks: sliding windows for "
    "the count, then for the reset.",
    "DRF: a `SimpleRateThrottle` on django-redis, which pickles the list of past requests. "
    "django-ratelimit: `is_ratelimited` on django-redis.",
]
