"""Sliding windows: what the previous window used counts on, less and less, in the current one.

The estimate assumes that the previous window was used evenly. It is the one of "How we built rate
limiting capable of scaling to millions of domains" (Cloudflare, 2017).
"""

from collections.abc import Sequence
from typing import cast

from django_counter.base import Counter
from django_counter.idempotency import keyword
from django_counter.ratelimit.algorithms.base import Algorithm, Draw, aread, read
from django_counter.ratelimit.algorithms.places import Cut, Place, Window
from django_counter.ratelimit.decisions import Standing
from django_counter.ratelimit.rates import Rate
from django_counter.values import Budget, DecrementResult, Entry

REMEMBERED = 10_000  # previous windows that a process knows the use of


class SlidingWindow(Algorithm):
    def __init__(self, rates: Sequence[Rate]) -> None:
        super().__init__(rates)
        self._used: dict[str, int] = {}  # by the key of a window that has ended

    def keys(self, place: Place, now: float) -> list[str]:
        windows = self._cut(place, int(now * 1000)).windows
        return [each.key for each in windows] + [each.previous_key for each in windows]

    def draw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        moment = int(now * 1000)
        cut = self._cut(place, moment)
        known = self._known(cut)
        if None in known:
            known = self._learn(cut, known, read(counter, _unknown(cut, known)))
        uses = cast(list[int], known)
        budgets = _weighed(cut, uses, moment)
        results = counter.take(budgets, cost, **keyword(idempotency_key))
        return _drawn(cut, uses, results, cost, moment)

    async def adraw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        moment = int(now * 1000)
        cut = self._cut(place, moment)
        known = self._known(cut)
        if None in known:
            known = self._learn(cut, known, await aread(counter, _unknown(cut, known)))
        uses = cast(list[int], known)
        budgets = _weighed(cut, uses, moment)
        results = await counter.atake(budgets, cost, **keyword(idempotency_key))
        return _drawn(cut, uses, results, cost, moment)

    def refund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        counter.refund(self._cut(place, int(now * 1000)).budgets, cost)

    async def arefund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        await counter.arefund(self._cut(place, int(now * 1000)).budgets, cost)

    def forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._used.pop(key, None)

    def standings(
        self, values: Sequence[int | None], place: Place, cost: int, now: float
    ) -> tuple[Standing, ...]:
        moment = int(now * 1000)
        count = len(self.rates)
        return tuple(
            _standing(window, _limit_if_none(window, value), _use(window, previous), cost, moment)
            for window, value, previous in zip(
                self._cut(place, moment).windows, values[:count], values[count:], strict=True
            )
        )

    def _cut(self, place: Place, moment: int) -> Cut:
        return place.cut(self.rates, moment, kept=2)  # then as the previous one

    def _known(self, cut: Cut) -> list[int | None]:
        # Read all at once: while one is learned, another may be forgotten.
        return [self._used.get(window.previous_key) for window in cut.windows]

    def _learn(
        self, cut: Cut, known: list[int | None], entries: list[Entry | None]
    ) -> list[int | None]:
        """Return, and remember, what ended windows used: that does not change any more."""
        unread = iter(entries)
        for number, window in enumerate(cut.windows):
            if known[number] is None:
                entry = next(unread)
                if len(self._used) >= REMEMBERED:
                    self._used.clear()
                used = _use(window, entry and entry.value)
                known[number] = self._used[window.previous_key] = used
        return known


def _unknown(cut: Cut, known: list[int | None]) -> list[str]:
    """Return the keys of the previous windows of which nothing is known."""
    pairs = zip(cut.windows, known, strict=True)
    return [window.previous_key for window, used in pairs if used is None]


def _weighed(cut: Cut, uses: Sequence[int], moment: int) -> Sequence[Budget]:
    """Return the budgets, with what the previous windows weigh left in them."""
    if not any(uses):
        return cut.budgets
    return [
        budget._replace(floor=_weight(window, used, moment))
        for budget, window, used in zip(cut.budgets, cut.windows, uses, strict=True)
    ]


def _drawn(
    cut: Cut, uses: Sequence[int], results: Sequence[DecrementResult], cost: int, moment: int
) -> Draw:
    success = results[0].success
    asked = 0 if success else cost
    standings = [
        _standing(window, result.value, used, asked, moment)
        for window, used, result in zip(cut.windows, uses, results, strict=True)
    ]
    return success, tuple(standings)


def _limit_if_none(window: Window, value: int | None) -> int:
    return window.rate.limit if value is None else value


def _use(window: Window, value: int | None) -> int:
    """Return what a window used whose budget holds this value; a missing one used nothing."""
    return max(0, window.rate.limit - _limit_if_none(window, value))


def _weight(window: Window, used: int, moment: int) -> int:
    """Return what the use of the previous window still counts, rounded up."""
    return -(-used * (window.end - moment) // (window.rate.period * 1000))


def _standing(window: Window, value: int, used: int, cost: int, moment: int) -> Standing:
    remaining = max(0, value - _weight(window, used, moment))
    wait = _wait(window, value, used, cost, moment)
    return Standing(window.rate, remaining, (window.end - moment) / 1000, wait / 1000)


def _wait(window: Window, value: int, used: int, cost: int, moment: int) -> int:
    """Return the milliseconds until a cost can be drawn, if nobody else draws until then."""
    period = window.rate.period * 1000
    left = window.end - moment
    spare = value - cost  # what the previous window may weigh
    if spare >= _weight(window, used, moment):
        return 0
    if spare >= 0:
        return left - spare * period // used
    # This window is spent: its own use has to fade, in the next one.
    spent = window.rate.limit - value
    return left + period - (window.rate.limit - cost) * period // spent
