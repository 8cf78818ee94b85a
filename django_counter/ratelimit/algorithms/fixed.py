"""Fixed windows: each has the whole limit, and begins where the last one ended.

Around the end of a window at most twice the limit is admitted within one period.
"""

from collections.abc import Sequence
from typing import NamedTuple

from django_counter.base import Counter
from django_counter.idempotency import keyword
from django_counter.ratelimit.algorithms.base import GRACE, Algorithm, Draw, Place
from django_counter.ratelimit.decisions import Standing
from django_counter.ratelimit.rates import Rate
from django_counter.values import Budget, DecrementResult


class Window(NamedTuple):
    """One of the equal pieces that a period cuts the time in."""

    rate: Rate
    series: str  # what the keys of all windows of this rate begin with
    number: int  # of the periods before it
    elapsed: int  # milliseconds since it began
    left: float  # seconds until it ends

    @property
    def key(self) -> str:
        """The key of its budget."""
        return f"{self.series}:{self.number}"

    @property
    def previous_key(self) -> str:
        return f"{self.series}:{self.number - 1}"


def windows(rates: Sequence[Rate], place: Place, now: float) -> list[Window]:
    """Return the current window of each rate."""
    milliseconds = int(now * 1000)
    cut = []
    for rate in rates:
        period = rate.period * 1000
        number, elapsed = divmod(milliseconds + place.offset % period, period)
        left = (period - elapsed) / 1000
        cut.append(Window(rate, f"{place.key}:{rate}", number, elapsed, left))
    return cut


class FixedWindow(Algorithm):
    def keys(self, place: Place, now: float) -> list[str]:
        return [window.key for window in windows(self.rates, place, now)]

    def draw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        current = windows(self.rates, place, now)
        budgets = _budgets(current, idempotency_key)
        results = counter.take(budgets, cost, **keyword(idempotency_key))
        return _drawn(current, results, cost)

    async def adraw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        current = windows(self.rates, place, now)
        budgets = _budgets(current, idempotency_key)
        results = await counter.atake(budgets, cost, **keyword(idempotency_key))
        return _drawn(current, results, cost)

    def refund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        counter.refund(_budgets(windows(self.rates, place, now)), cost)

    async def arefund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        await counter.arefund(_budgets(windows(self.rates, place, now)), cost)

    def standings(
        self, values: Sequence[int | None], place: Place, cost: int, now: float
    ) -> tuple[Standing, ...]:
        current = windows(self.rates, place, now)
        return tuple(
            _standing(window, window.rate.limit if value is None else value, cost)
            for window, value in zip(current, values, strict=True)
        )


def _budgets(current: Sequence[Window], idempotency_key: str | None = None) -> list[Budget]:
    # The ttl is the whole period, so that a clock that lags does not begin the window anew.
    once = idempotency_key is not None
    return [
        Budget(f"{series}:{number}", rate.limit, rate.period + GRACE, 0, series if once else None)
        for rate, series, number, _, _ in current
    ]


def _drawn(current: Sequence[Window], results: Sequence[DecrementResult], cost: int) -> Draw:
    success = results[0].success
    standings = [
        _standing(window, value, 0 if success else cost)
        for window, (value, _, _) in zip(current, results, strict=True)
    ]
    return success, tuple(standings)


def _standing(window: Window, value: int, cost: int) -> Standing:
    rate, _, _, _, left = window
    remaining = value if value > 0 else 0
    return Standing(rate, remaining, left, 0.0 if remaining >= cost else left)
