"""A token bucket: a burst of the whole limit, refilled steadily, one unit each period / limit.

It is kept as the generic cell rate algorithm (GCRA; ITU-T I.371, ATM Forum TM 4.0): one number, the
time at which the bucket will be full again, in whole microseconds. An interval is rounded up, so
that never more than burst + rate x time is admitted.
"""

from collections.abc import Sequence

from django_counter.base import Counter
from django_counter.idempotency import keyword
from django_counter.ratelimit.algorithms.base import Algorithm, Draw
from django_counter.ratelimit.algorithms.places import GRACE, Place
from django_counter.ratelimit.decisions import Standing
from django_counter.ratelimit.rates import Rate
from django_counter.values import Timer, TimerResult

SECOND = 1_000_000  # microseconds


class TokenBucket(Algorithm):
    def __init__(self, rates: Sequence[Rate]) -> None:
        for rate in rates:
            if rate.limit > rate.period * SECOND:
                raise ValueError(f"'{rate}' is too fast: a token bucket gets 1000000 a second")
        super().__init__(rates)

    def keys(self, place: Place, now: float) -> list[str]:
        return [f"{place.key}:{rate}:full" for rate in self.rates]

    def draw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        timers = self._timers(place, now)
        return self._drawn(counter.advance(timers, cost, **keyword(idempotency_key)), cost, now)

    async def adraw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        timers = self._timers(place, now)
        results = await counter.aadvance(timers, cost, **keyword(idempotency_key))
        return self._drawn(results, cost, now)

    def refund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        for rate, key in zip(self.rates, self.keys(place, now), strict=True):
            counter.decrement_if_exists(key, cost * _interval(rate))

    async def arefund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        for rate, key in zip(self.rates, self.keys(place, now), strict=True):
            await counter.adecrement_if_exists(key, cost * _interval(rate))

    def standings(
        self, values: Sequence[int | None], place: Place, cost: int, now: float
    ) -> tuple[Standing, ...]:
        moment = _microseconds(now)
        return tuple(
            _standing(rate, max(value or 0, moment) - moment, cost)
            for rate, value in zip(self.rates, values, strict=True)
        )

    def _drawn(self, results: Sequence[TimerResult], cost: int, now: float) -> Draw:
        success = results[0].success
        asked = 0 if success else cost
        moment = _microseconds(now)
        standings = [
            _standing(rate, max(result.value, moment) - moment, asked)
            for rate, result in zip(self.rates, results, strict=True)
        ]
        return success, tuple(standings)

    def _timers(self, place: Place, now: float) -> list[Timer]:
        moment = _microseconds(now)
        return [
            Timer(
                key,
                start=moment,
                step=_interval(rate),
                ceiling=moment + _burst(rate),
                ttl=_burst(rate) / SECOND + GRACE,
            )
            for rate, key in zip(self.rates, self.keys(place, now), strict=True)
        ]


def _microseconds(now: float) -> int:
    return int(now * SECOND)


def _interval(rate: Rate) -> int:
    """Return the microseconds in which one unit comes back, rounded up."""
    return -(-rate.period * SECOND // rate.limit)


def _burst(rate: Rate) -> int:
    """Return the microseconds in which an empty bucket fills."""
    return rate.limit * _interval(rate)


def _standing(rate: Rate, filling: int, cost: int) -> Standing:
    """Return where a rate stands whose bucket is full in so many microseconds."""
    room = _burst(rate) - filling
    wait = max(0, cost * _interval(rate) - room)
    return Standing(rate, max(0, room // _interval(rate)), filling / SECOND, wait / SECOND)
