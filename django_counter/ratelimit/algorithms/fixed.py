"""Fixed windows: each has the whole limit, and begins where the last one ended.

Around the end of a window at most twice the limit is admitted within one period.
"""

from collections.abc import Sequence

from django_counter.base import Counter
from django_counter.ratelimit.algorithms.base import Algorithm, Draw
from django_counter.ratelimit.algorithms.places import Place, Window
from django_counter.ratelimit.decisions import Standing
from django_counter.values import DecrementResult, new


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
        return tuple(
            _standing(window, window.rate.limit if value is None else value, cost, moment)
            for window, value in zip(cut.windows, values, strict=True)
        )


def _drawn(
    windows: Sequence[Window], results: Sequence[DecrementResult], cost: int, moment: int
) -> Draw:
    success = results[0].success
    asked = 0 if success else cost
    if len(results) == 1:  # a loop would cost a hit more than the standing
        return success, (_standing(windows[0], results[0].value, asked, moment),)
    standings = [
        _standing(window, result.value, asked, moment)
        for window, result in zip(windows, results, strict=True)
    ]
    return success, tuple(standings)


def _standing(window: Window, value: int, cost: int, moment: int) -> Standing:
    remaining = value if value > 0 else 0
    left = (window.end - moment) / 1000
    return new(Standing, (window.rate, remaining, left, 0.0 if remaining >= cost else left))
