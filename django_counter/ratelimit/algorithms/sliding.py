"""Sliding windows: what the previous window used counts on, less and less, in the current one.

The estimate assumes that the previous window was used evenly. It is the one of "How we built rate
limiting capable of scaling to millions of domains" (Cloudflare, 2017).
"""

from collections.abc import Sequence

from django_counter.base import Counter
from django_counter.idempotency import keyword
from django_counter.ratelimit.algorithms.base import GRACE, Algorithm, Draw, Place
from django_counter.ratelimit.algorithms.fixed import Window, windows
from django_counter.ratelimit.decisions import Standing
from django_counter.ratelimit.rates import Rate
from django_counter.values import Budget, DecrementResult, Entry

REMEMBERED = 10_000  # previous windows that a process knows the use of


class SlidingWindow(Algorithm):
    def __init__(self, rates: Sequence[Rate]) -> None:
        super().__init__(rates)
        self._used: dict[str, int] = {}  # by the key of a window that has ended

    def keys(self, place: Place, now: float) -> list[str]:
        current = windows(self.rates, place, now)
        return [each.key for each in current] + [each.previous_key for each in current]

    def draw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        current = windows(self.rates, place, now)
        uses = [
            self._learn(window, counter.entry(window.previous_key)) if used is None else used
            for window, used in self._known(current)
        ]
        budgets = _budgets(current, uses, idempotency_key)
        results = counter.take(budgets, cost, **keyword(idempotency_key))
        return _drawn(current, uses, results, cost)

    async def adraw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        current = windows(self.rates, place, now)
        uses = [
            self._learn(window, await counter.aentry(window.previous_key)) if used is None else used
            for window, used in self._known(current)
        ]
        budgets = _budgets(current, uses, idempotency_key)
        results = await counter.atake(budgets, cost, **keyword(idempotency_key))
        return _drawn(current, uses, results, cost)

    def refund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        current = windows(self.rates, place, now)
        counter.refund(_budgets(current, [0] * len(current)), cost)

    async def arefund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        current = windows(self.rates, place, now)
        await counter.arefund(_budgets(current, [0] * len(current)), cost)

    def forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._used.pop(key, None)

    def standings(
        self, values: Sequence[int | None], place: Place, cost: int, now: float
    ) -> tuple[Standing, ...]:
        count = len(self.rates)
        return tuple(
            _standing(window, _limit_if_none(window, value), _use(window, previous), cost)
            for window, value, previous in zip(
                windows(self.rates, place, now), values[:count], values[count:], strict=True
            )
        )

    def _known(self, current: Sequence[Window]) -> list[tuple[Window, int | None]]:
        # Read all at once: while one is learned, another may be forgotten.
        return [(window, self._used.get(window.previous_key)) for window in current]

    def _learn(self, window: Window, previous: Entry | None) -> int:
        """Return, and remember, what an ended window used: that does not change any more."""
        if len(self._used) >= REMEMBERED:
            self._used.clear()
        used = self._used[window.previous_key] = _use(window, previous and previous.value)
        return used


def _budgets(
    current: Sequence[Window], uses: Sequence[int], idempotency_key: str | None = None
) -> list[Budget]:
    once = idempotency_key is not None
    # The ttl is two periods: in the second one, this window is the previous one.
    return [
        Budget(
            window.key,
            window.rate.limit,
            2 * window.rate.period + GRACE,
            _weight(window, used),
            window.series if once else None,
        )
        for window, used in zip(current, uses, strict=True)
    ]


def _drawn(
    current: Sequence[Window], uses: Sequence[int], results: Sequence[DecrementResult], cost: int
) -> Draw:
    success = results[0].success
    asked = 0 if success else cost
    standings = [
        _standing(window, result.value, used, asked)
        for window, used, result in zip(current, uses, results, strict=True)
    ]
    return success, tuple(standings)


def _limit_if_none(window: Window, value: int | None) -> int:
    return window.rate.limit if value is None else value


def _use(window: Window, value: int | None) -> int:
    """Return what a window used whose budget holds this value; a missing one used nothing."""
    return max(0, window.rate.limit - _limit_if_none(window, value))


def _weight(window: Window, used: int) -> int:
    """Return what the use of the previous window still counts, rounded up."""
    period = window.rate.period * 1000
    return -(-used * (period - window.elapsed) // period)


def _standing(window: Window, value: int, used: int, cost: int) -> Standing:
    remaining = max(0, value - _weight(window, used))
    wait = _wait(window, value, used, cost) / 1000
    return Standing(window.rate, remaining, window.left, wait)


def _wait(window: Window, value: int, used: int, cost: int) -> int:
    """Return the milliseconds until a cost can be drawn, if nobody else draws until then."""
    period = window.rate.period * 1000
    spare = value - cost  # what the previous window may weigh
    if spare >= _weight(window, used):
        return 0
    if spare >= 0:
        return period - spare * period // used - window.elapsed
    # This window is spent: its own use has to fade, in the next one.
    spent = window.rate.limit - value
    return period - window.elapsed + period - (window.rate.limit - cost) * period // spent
