"""A rate limit: rates, a name, and the hits of identities."""

import re
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from weakref import WeakSet

from django_counter.arguments import checked_amount
from django_counter.base import Counter
from django_counter.handler import DEFAULT_ALIAS, Counters, counters
from django_counter.ratelimit import clock
from django_counter.ratelimit.algorithms import (
    Algorithm,
    Draw,
    FixedWindow,
    Place,
    SlidingWindow,
    TokenBucket,
    aread,
    read,
)
from django_counter.ratelimit.decisions import Decision, Standing, decide
from django_counter.ratelimit.deny_cache import MAX_IDENTITY, DenyCache
from django_counter.ratelimit.digests import DIGEST_PATTERN, digest
from django_counter.ratelimit.rates import Rate, parse_rate
from django_counter.ratelimit.settings import current
from django_counter.ratelimit.statistics import Minute, statistics
from django_counter.regulars import Regulars
from django_counter.values import Entry

ALGORITHMS: dict[str, type[Algorithm]] = {
    "fixed": FixedWindow,
    "sliding": SlidingWindow,
    "token_bucket": TokenBucket,
}
PREFIX = "limit:"  # of the counters of all limits
MAX_PLACES = 5_000  # that a limit remembers in a process
_NAME = re.compile(r"[A-Za-z0-9_.:/<> -]{1,128}")
_PLACE = re.compile(rf"({DIGEST_PATTERN})\}}:.+")


class RateLimit:
    """So many hits of one identity in a time: `RateLimit("10/s", "1000/h", name="search")`.

    All rates are drawn, or none. `algorithm` is "fixed", "sliding" or "token_bucket"; `using` is an
    alias of COUNTERS. Limits of one name and rate share their budgets, in all processes.

    An identity is any text, or a Digest.

    Where the counters are away, each method raises their CounterError.
    """

    counted = True  # in the statistics
    _counters: Mapping[str, Counter] | Counters = counters  # by alias

    def __init__(
        self, *rates: str, name: str, algorithm: str = "fixed", using: str = DEFAULT_ALIAS
    ) -> None:
        if not rates:
            raise ValueError("a rate limit needs a rate, such as '100/h'")
        if not isinstance(name, str):
            raise TypeError(f"name must be a str, not {name!r}")
        if not isinstance(using, str):
            raise TypeError(f"using must be a str, not {using!r}")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name: 1 to 128 letters, digits, spaces and _.:/<>-")
        if algorithm not in ALGORITHMS:
            raise ValueError(f"{algorithm!r} is no algorithm. They are {list(ALGORITHMS)}")
        self.rates = tuple(parse_rate(rate) for rate in rates)
        if len(set(self.rates)) < len(self.rates):
            raise ValueError("a rate limit has each rate once")
        self.name = name
        # Braces around the digest let all counters of an identity lie in one slot of a cluster.
        self.prefix = f"{PREFIX}{name}:{{"
        self.algorithm = algorithm
        self.using = using
        self.keys: set[str] = set()  # by which views count: "ip", "post:username", "callable"
        self.largest_cost = min(rate.limit for rate in self.rates)
        self._algorithm = ALGORITHMS[algorithm](self.rates)
        self._denials = DenyCache()
        self._places: Regulars[Place] = Regulars(MAX_PLACES)
        self._minute = Minute(0)
        self._declare()

    def __repr__(self) -> str:
        rates = ", ".join(repr(str(rate)) for rate in self.rates)
        options = f"algorithm={self.algorithm!r}, using={self.using!r}"
        return f"RateLimit({rates}, name={self.name!r}, {options})"

    @property
    def kind(self) -> tuple[str, tuple[Rate, ...], str, str]:
        """Return name, rates, algorithm and alias: limits that have all in common are as one."""
        return self.name, self.rates, self.algorithm, self.using

    def hit(self, identity: str, cost: int = 1, *, idempotency_key: str | None = None) -> Decision:
        """Draw a cost from the limit of an identity. A denied hit draws nothing; cost 0 peeks.

        Raise ValueError for a cost above a rate's limit: it could never be allowed.

        An allowed hit with an idempotency key is drawn once: for ten minutes, or the alias's
        `idempotency_window`, its repeats are allowed too, in later windows as well; `remaining` is
        what the first one left, less what the previous of sliding windows weighs now, and with what
        has filled a token bucket since. A denied one is decided anew. The same key with another
        cost is a CounterIdempotencyError.
        """
        if cost == 0 and type(cost) is int:
            return self.peek(identity)
        now = clock.now()
        found = self._find(identity, cost, now, idempotency_key)
        if isinstance(found, Decision):
            return found
        draw = self._algorithm.draw(self._counters[self.using], found, cost, now, idempotency_key)
        return self._decide(identity, found, cost, now, draw)

    async def ahit(
        self, identity: str, cost: int = 1, *, idempotency_key: str | None = None
    ) -> Decision:
        """See hit()."""
        if cost == 0 and type(cost) is int:
            return await self.apeek(identity)
        now = clock.now()
        found = self._find(identity, cost, now, idempotency_key)
        if isinstance(found, Decision):
            return found
        counter = self._counters[self.using]
        draw = await self._algorithm.adraw(counter, found, cost, now, idempotency_key)
        return self._decide(identity, found, cost, now, draw)

    def peek(self, identity: str) -> Decision:
        """Return what a hit of cost 1 would be answered, and draw nothing."""
        if not current().enabled:
            return self.whole(identity)
        now = clock.now()
        place = self._place(identity)
        keys = self._algorithm.keys(place, now)
        entries = read(self._counters[self.using], keys)
        return self._look(place, entries, now)

    async def apeek(self, identity: str) -> Decision:
        """See peek()."""
        if not current().enabled:
            return self.whole(identity)
        now = clock.now()
        place = self._place(identity)
        keys = self._algorithm.keys(place, now)
        entries = await aread(self._counters[self.using], keys)
        return self._look(place, entries, now)

    def refund(self, identity: str, cost: int = 1, *, at: float | None = None) -> None:
        """Give back a hit that was decided `at` a time, without which it is taken to be of now.

        It goes back to the window that it was drawn from. Once that has ended, only a sliding limit
        still counts it, as the previous one.
        """
        self._check_cost(cost)
        if not current().enabled:
            return
        then = clock.now() if at is None else at
        place = self._place(identity)
        self._algorithm.refund(self._counters[self.using], place, cost, then)
        # The first are those that it went to.
        self._forget(identity, self._algorithm.keys(place, then)[: len(self.rates)])

    async def arefund(self, identity: str, cost: int = 1, *, at: float | None = None) -> None:
        """See refund()."""
        self._check_cost(cost)
        if not current().enabled:
            return
        then = clock.now() if at is None else at
        place = self._place(identity)
        await self._algorithm.arefund(self._counters[self.using], place, cost, then)
        # The first are those that it went to.
        self._forget(identity, self._algorithm.keys(place, then)[: len(self.rates)])

    def reset(self, identity: str) -> None:
        """Give an identity its whole limit back. Other processes may deny it a moment longer."""
        self._forget(identity, self._delete(self._place(identity)))

    async def areset(self, identity: str) -> None:
        """See reset()."""
        self._forget(identity, await self._adelete(self._place(identity)))

    def standing(self, entry: Entry) -> Standing | None:
        """Return where one rate stands, by its counter alone; None for what is no counter of now.

        What the previous one of a sliding window weighs is not in it.
        """
        match = _PLACE.fullmatch(entry.key.removeprefix(self.prefix))
        if match is None:
            return None
        now = clock.now()
        place = self._place_of(match[1])
        keys = self._algorithm.keys(place, now)
        values = [entry.value if key == entry.key else None for key in keys]
        standings = self._algorithm.standings(values, place, 1, now)
        return next(
            (each for key, each in zip(keys, standings, strict=False) if key == entry.key), None
        )

    def whole(self, identity: str) -> Decision:
        """Return the decision on one who has drawn nothing, without asking anyone."""
        standings = tuple(Standing(rate, rate.limit, 0.0, 0.0) for rate in self.rates)
        return decide(self.name, digest(identity), clock.now(), True, standings)

    def _find(
        self, identity: str, cost: int, now: float, idempotency_key: str | None
    ) -> Decision | Place:
        """Return a decision that needs no counter, or else the place where one is made."""
        if type(cost) is not int or not 0 < cost <= self.largest_cost:
            self._check_cost(cost)
        settings = current()
        if not settings.enabled:
            return self.whole(identity)
        # With an idempotency key, it may have been allowed before the denial.
        if self._denials and idempotency_key is None:
            denial = self._denials.known(identity, cost, now)
            if denial is not None:
                if settings.statistics and self.counted:
                    self._count(denial, now)
                return denial
        if type(identity) is str and (place := self._places.get(identity)):
            return place
        return self._place(identity)

    def _check_cost(self, cost: int) -> None:
        cost = checked_amount(cost, "cost")
        if cost > self.largest_cost:
            raise ValueError(f"a cost of {cost} can never be allowed by {self!r}")

    def _declare(self) -> None:
        declared.add(self)

    def _place(self, identity: str) -> Place:
        """Return the place of an identity: see _find(), which looks among them by itself."""
        if type(identity) is not str or len(identity) > MAX_IDENTITY:
            return self._place_of(digest(identity))
        place = self._places.get(identity)
        if place is None:
            place = self._place_of(digest(identity))
            self._places.note(identity, place)
        return place

    def _place_of(self, hexadecimal: str) -> Place:
        return Place(f"{self.prefix}{hexadecimal}}}", hexadecimal, int(hexadecimal[:16], 16))

    def _decide(self, identity: str, place: Place, cost: int, now: float, draw: Draw) -> Decision:
        decision = decide(self.name, place.digest, now, *draw)
        settings = current()
        if settings.deny_cache and not decision.allowed:
            self._denials.add(identity, cost, decision, now, settings.deny_cache)
        if settings.statistics and self.counted:
            self._count(decision, now)
        return decision

    def _count(self, decision: Decision, now: float) -> None:
        minute = self._minute
        if not minute.begin <= now < minute.end:
            minute = self._minute = statistics.minute(self.using, self.name, now)
        if decision.allowed:
            minute.allowed.add()
        else:
            minute.denied.add()
            statistics.deny(self.using, self.name, decision.identity)

    def _look(self, place: Place, entries: list[Entry | None], now: float) -> Decision:
        values = [entry and entry.value for entry in entries]
        standings = self._algorithm.standings(values, place, 1, now)
        allowed = all(standing.remaining > 0 for standing in standings)
        return decide(self.name, place.digest, now, allowed, standings)

    def made(self, decision: Decision) -> bool:
        """Return whether a decision is on the budgets of this limit."""
        rates = tuple(standing.rate for standing in decision.standings)
        return decision.name == self.name and rates == self.rates

    def forget(self) -> None:
        """Forget what this process knows of all identities: denials, digests, ended windows."""
        self._denials = DenyCache()
        self._places = Regulars(MAX_PLACES)
        self._algorithm = ALGORITHMS[self.algorithm](self.rates)

    def _forget(self, identity: str, keys: Sequence[str]) -> None:
        """Forget a denial and ended windows, in all limits of this process that share them."""
        for limit in {self, *alike(self)}:
            limit._denials.forget(identity)
            limit._algorithm.forget(keys)

    def _delete(self, place: Place) -> list[str]:
        keys = self._algorithm.keys(place, clock.now())
        with self._counters[self.using].batch() as batch:
            pending = [batch.delete(key) for key in keys]
        for each in pending:
            each.result()
        return keys

    async def _adelete(self, place: Place) -> list[str]:
        keys = self._algorithm.keys(place, clock.now())
        async with self._counters[self.using].batch() as batch:
            pending = [batch.delete(key) for key in keys]
        for each in pending:
            each.result()
        return keys


class _Limits(WeakSet[RateLimit]):
    """Limits, as long as they live. A thread may make one while another goes through them."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()

    def add(self, item: RateLimit) -> None:
        with self._lock:
            super().add(item)

    def __iter__(self) -> Iterator[RateLimit]:
        with self._lock:
            return iter([*super().__iter__()])


declared = _Limits()  # all that this process has made


def alike(limit: RateLimit) -> list[RateLimit]:
    """Return those of one kind."""
    return [each for each in declared if each.kind == limit.kind]
