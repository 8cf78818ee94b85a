"""What a rate limit answers."""

from typing import NamedTuple

from django_counter.ratelimit.rates import Rate
from django_counter.values import new


class Standing(NamedTuple):
    """Where one rate stands after a decision."""

    rate: Rate
    remaining: int  # units that could be drawn now
    reset_after: float  # seconds until it is whole again, or its window ends
    retry_after: float  # seconds until the cost asked could be drawn, 0 when it could be now

    def later(self, seconds: float) -> "Standing":
        """See Decision.later()."""
        rate, remaining, reset_after, retry_after = self
        reset_after = reset_after - seconds if reset_after > seconds else 0.0
        retry_after = retry_after - seconds if retry_after > seconds else 0.0
        return new(Standing, (rate, remaining, reset_after, retry_after))

    def refunded(self, cost: int) -> "Standing":
        """See Decision.refunded()."""
        return self._replace(remaining=min(self.rate.limit, self.remaining + cost))


class Decision(NamedTuple):
    """Whether a hit is allowed. A limit of several rates answers with its tightest one."""

    allowed: bool
    limit: int  # units
    remaining: int  # units that could be drawn now
    reset_after: float  # seconds until the rate is whole again, or its window ends
    retry_after: float  # seconds until the same hit could be allowed, 0 when this one was
    name: str  # of the limit
    identity: str  # the digest, as in the key of the budget
    at: float  # when it was made, in seconds since 1970
    standings: tuple[Standing, ...]  # one for each rate, in the order of the limit
    degraded: str | None = None  # the on_error that decided, while the counters were away

    def later(self, seconds: float) -> "Decision":
        """Return the decision as it stands some seconds later, if nothing was drawn since."""
        allowed, limit, remaining, reset_after, retry_after, name, identity, at, each, why = self
        reset_after = reset_after - seconds if reset_after > seconds else 0.0
        retry_after = retry_after - seconds if retry_after > seconds else 0.0
        if len(each) == 1:
            each = (each[0].later(seconds),)
        else:
            each = tuple([standing.later(seconds) for standing in each])
        fields = allowed, limit, remaining, reset_after, retry_after, name, identity, at, each, why
        return new(Decision, fields)

    def refunded(self, cost: int) -> "Decision":
        """Return the decision with a cost given back."""
        standings = tuple(standing.refunded(cost) for standing in self.standings)
        remaining = min(self.limit, self.remaining + cost)
        return self._replace(remaining=remaining, standings=standings)


class RateLimited(Exception):
    """A hit was denied. For use outside views: RateLimitMiddleware answers it with 429."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision)
        self.decision = decision

    def __str__(self) -> str:
        wait = self.decision.retry_after
        return f"the rate limit {self.decision.name!r} is reached, try again in {wait:.3f} s"


def decide(
    name: str, identity: str, at: float, allowed: bool, standings: tuple[Standing, ...]
) -> Decision:
    """Return the decision of the tightest of several rates."""
    tightest = standings[0] if len(standings) == 1 else max(standings, key=_tightness)
    rate, remaining, reset_after, retry_after = tightest
    if allowed:
        retry_after = 0.0
    limit = rate.limit
    return new(
        Decision,
        (allowed, limit, remaining, reset_after, retry_after, name, identity, at, standings, None),
    )


def _tightness(standing: Standing) -> tuple[float, int, float]:
    """Order by how long a denied hit must wait, then by how little remains, then by its end."""
    return standing.retry_after, -standing.remaining, standing.reset_after
