"""Fixed windows: each has the whole limit, and begins where the last one ended.

Around the end of a window at most twice the limit is admitted within one period.
"""

from collections.abc import Sequence
from typing import NamedTuple

from django_counter.base import Budget, Counter, DecrementResult
from django_counter.idempotency import keyword
from django_counter.ratelimit.algorithms.base import GRACE, Algorithm, Draw, Place
from django_counter.ratelimit.decisions import Standing
from django_counter.ratelimit.rates import Rate


class Window(NamedTuple):
    """One of the equal pieces that a period cuts the time in."""

    rate: Rate
    key: str  # what the keys of all windows of this rate begin with
    number: int  # of the periods before it
    elapsed: int  # milliseconds since it began

    @property
    def left(self) -> float:
        """Seconds until it ends."""
        return (self.rate.period * 1000 - self.elapsed) / 1000

    @property
    def budget_key(self) -> str:
        return f"{self.key}:{self.number}"

    @property
    def previous_key(self) -> str:
        return f"{self.key}:{self.number - 1}"


def windows(rates: Sequence[Rate], place: Place, now: float) -> list[Window]:
    """Return the current window of each rate."""
    return [_window(rate, place, int(now * 1000)) for rate in rates]


def _window(rate: Rate, place: Place, milliseconds: int) -> Window:
    period = rate.period * 1000
    number, elapsed = divmod(milliseconds + place.shift(period), period)
    return Window(rate, f"{place.key}:{rate}", number, elapsed)


def drawn(results: Sequence[DecrementResult]) -> Draw:
    """Return what `take` says."""
    return Draw(results[0].success, [result.value for result in results])


class FixedWindow(Algorithm):
    def keys(self, place: Place, now: float) -> list[str]:
        return [window.budget_key for window in windows(self.rates, place, now)]

    def draw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        once = keyword(idempotency_key)
        return drawn(counter.take(self._budgets(place, now), cost, **once))

    async def adraw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        once = keyword(idempotency_key)
        return drawn(await counter.atake(self._budgets(place, now), cost, **once))

    def refund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        counter.refund(self._budgets(place, now), cost)

    async def arefund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        await counter.arefund(self._budgets(place, now), cost)

    def standings(
        self, values: Sequence[int | None], place: Place, cost: int, now: float
    ) -> tuple[Standing, ...]:
        return tuple(
            self._standing(window, value, cost)
            for window, value in zip(windows(self.rates, place, now), values, strict=True)
        )

    def _budgets(self, place: Place, now: float) -> list[Budget]:
        # The ttl is the whole period, so that a clock that lags does not begin the window anew.
        return [
            Budget(
                window.budget_key,
                window.rate.limit,
                window.rate.period + GRACE,
                scope=window.key,
            )
            for window in windows(self.rates, place, now)
        ]

    def _standing(self, window: Window, value: int | None, cost: int) -> Standing:
        remaining = window.rate.limit if value is None else max(0, value)
        retry_after = 0.0 if remaining >= cost else window.left
        return Standing(window.rate, remaining, window.left, retry_after)
