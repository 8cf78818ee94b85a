"""A token bucket: a burst of the whole limit, refilled steadily, one unit each period / limit.

It is kept as the generic cell rate algorithm (GCRA; ITU-T I.371, ATM Forum TM 4.0): one number, the
time at which the bucket will be full again, in whole microseconds. An interval is rounded up, so
that never more than burst + rate x time is admitted.
"""

from collections.abc import Sequence
from typing import NamedTuple

from django_counter.base import Counter
from django_counter.batch import Batch, Pending
from django_counter.idempotency import keyword
from django_counter.ratelimit.algorithms.base import Algorithm, Draw
from django_counter.ratelimit.algorithms.places import GRACE, Place
from django_counter.ratelimit.decisions import Standing
from django_counter.ratelimit.rates import Rate
from django_counter.values import DecrementResult, Timer, TimerResult

SECOND = 1_000_000  # microseconds
KEY_END = ":full"  # of all buckets, and of no other counter of a limit


class Bucket(NamedTuple):
    """A rate, with its times in microseconds."""

    rate: Rate
    interval: int  # in which one unit comes back, rounded up
    burst: int  # in which an empty bucket fills
    ttl: int  # seconds


class TokenBucket(Algorithm):
    def __init__(self, rates: Sequence[Rate]) -> None:
        for rate in rates:
            if rate.limit > rate.period * SECOND:
                raise ValueError(f"'{rate}' is too fast: a token bucket gets 1000000 a second")
        super().__init__(rates)
        self._buckets = [_bucket(rate) for rate in rates]

    def keys(self, place: Place, now: float) -> list[str]:
        return [f"{place.key}:{rate}{KEY_END}" for rate in self.rates]

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
        with counter.batch() as batch:
            pending = self._give_back(batch, place, cost, now)
        for each in pending:
            each.result()

    async def arefund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        async with counter.batch() as batch:
            pending = self._give_back(batch, place, cost, now)
        for each in pending:
            each.result()

    def standings(
        self, values: Sequence[int | None], place: Place, cost: int, now: float
    ) -> tuple[Standing, ...]:
        moment = _microseconds(now)
        return tuple(
            _standing(bucket, max(value or 0, moment) - moment, cost)
            for bucket, value in zip(self._buckets, values, strict=True)
        )

    def _give_back(
        self, batch: Batch, place: Place, cost: int, now: float
    ) -> list[Pending[DecrementResult]]:
        return [
            batch.decrement_if_exists(key, cost * bucket.interval)
            for bucket, key in zip(self._buckets, self.keys(place, now), strict=True)
        ]

    def _drawn(self, results: Sequence[TimerResult], cost: int, now: float) -> Draw:
        success = results[0].success
        asked = 0 if success else cost
        moment = _microseconds(now)
        standings = [
            _standing(bucket, max(result.value, moment) - moment, asked)
            for bucket, result in zip(self._buckets, results, strict=True)
        ]
        return success, tuple(standings)

    def _timers(self, place: Place, now: float) -> list[Timer]:
        moment = _microseconds(now)
        return [
            Timer(key, moment, interval, moment + burst, ttl)
            for (_, interval, burst, ttl), key in zip(
                self._buckets, self.keys(place, now), strict=True
            )
        ]


def _microseconds(now: float) -> int:
    return int(now * SECOND)


def _bucket(rate: Rate) -> Bucket:
    interval = -(-rate.period * SECOND // rate.limit)
    burst = rate.limit * interval
    return Bucket(rate, interval, burst, -(-burst // SECOND) + GRACE)


def _standing(bucket: Bucket, filling: int, cost: int) -> Standing:
    """Return where a rate stands whose bucket is full in that many microseconds."""
    rate, interval, burst, _ = bucket
    room = burst - filling
    wait = max(0, cost * interval - room)
    return Standing(rate, max(0, room // interval), filling / SECOND, wait / SECOND)
