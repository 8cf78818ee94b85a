"""Fixed windows: each has the whole limit, and begins where the last one ended.

Around the end of a window at most twice the limit is admitted within one period.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter

from django_counter.base import Counter
from django_counter.ratelimit.algorithms.base import Algorithm, Draw
from django_counter.ratelimit.algorithms.places import Place, Window
from django_counter.ratelimit.decisions import Standing
from django_counter.values import DecrementResult


class FixedWindow(Algorithm):
    def keys(self, place: Place, now: float) -> list[str]:
        return [window.key for window in place.cut(self.rates, int(now * 1000)).windows]

    def draw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        moment = int(now * 1000)
        cut = place.cut(self.rates, moment)
        if idempotency_key is None:  # without keyword(): a call with ** is what a hit would feel
            results = counter.take(cut.budgets, cost)
        else:
            results = counter.take(cut.budgets, cost, idempotency_key=idempotency_key)
        return _drawn(cut.windows, results, cost, moment)

    async def adraw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        moment = int(now * 1000)
        cut = place.cut(self.rates, moment)
        if idempotency_key is None:
            results = await counter.atake(cut.budgets, cost)
        else:
            results = await counter.atake(cut.budgets, cost, idempotency_key=idempotency_key)
        return _drawn(cut.windows, results, cost, moment)

    def refund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        counter.refund(place.cut(self.rates, int(now * 1000)).budgets, cost)

    async def arefund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        await counter.arefund(place.cut(self.rates, int(now * 1000)).budgets, cost)

    def standings(
        self, values: Sequence[int | None], place: Place, cost: int, now: float
    ) -> tuple[Standing, ...]:
        moment = int(now * 1000)
        cut = place.cut(self.rates, moment)
        known = [
            rate.limit if value is None else value
            for rate, value in zip(self.rates, values, strict=True)
        ]
        return _standings(cut.windows, known, cost, moment)


def _drawn(
    windows: Sequence[Window], results: Sequence[DecrementResult], cost: int, moment: int
) -> Draw:
    success = results[0].success
    return success, _standings(windows, map(_VALUE, results), 0 if success else cost, moment)


_VALUE = itemgetter(0)


def _standings(
    windows: Sequence[Window], values: Iterable[int], cost: int, moment: int
) -> tuple[Standing, ...]:
    standings = []
    for (rate, _, _, end), value in zip(windows, values, strict=True):
        remaining = value if value > 0 else 0
        left = (end - moment) / 1000
        standings.append(Standing(rate, remaining, left, 0.0 if remaining >= cost else left))
    return tuple(standings)
