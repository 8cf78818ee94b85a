"""What the algorithms should do, as slow and plain as can be. Times are whole microseconds."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import Protocol

from django_counter.ratelimit import Rate

SECOND = 1_000_000
MILLISECOND = 1_000


class Model(Protocol):
    """What one identity has of one rate."""

    def room(self, now: int) -> int:
        """Return the units that could be drawn."""

    def draw(self, now: int, cost: int) -> None:
        """Draw them."""

    def refund(self, now: int, cost: int) -> None:
        """Give them back."""

    def reset(self, now: int) -> None:
        """Be as at the beginning."""

    def whole_after(self, now: int) -> int:
        """Return what the limit calls `reset_after`."""

    def wait(self, now: int, cost: int) -> int:
        """Return what the limit calls `retry_after`."""


class FixedModel:
    """Count what was drawn in each window; one of them ends at `end`."""

    def __init__(self, rate: Rate, end: int) -> None:
        self.limit = rate.limit
        self.period = rate.period * SECOND
        self.end = end
        self.used: dict[int, int] = {}

    def window(self, now: int) -> int:
        return (now - self.end) // self.period

    def in_window(self, window: int) -> int:
        return self.used.get(window, 0)

    def room(self, now: int) -> int:
        return self.limit - self.in_window(self.window(now))

    def draw(self, now: int, cost: int) -> None:
        self.used[self.window(now)] = self.in_window(self.window(now)) + cost

    def refund(self, now: int, cost: int) -> None:
        self.used[self.window(now)] = max(0, self.in_window(self.window(now)) - cost)

    def reset(self, now: int) -> None:
        self.used.clear()

    def whole_after(self, now: int) -> int:
        start_of_millisecond = now - now % MILLISECOND
        return self.period - (start_of_millisecond - self.end) % self.period

    def wait(self, now: int, cost: int) -> int:
        return soonest(
            lambda wait: self.room(now - now % MILLISECOND + wait) >= cost,
            2 * self.period,
            MILLISECOND,
        )


class SlidingModel(FixedModel):
    """Count the previous window too, by the part of it that is within one period from now."""

    def room(self, now: int) -> int:
        start_of_millisecond = now - now % MILLISECOND
        window = self.window(now)
        part = Fraction(self.whole_after(start_of_millisecond), self.period)
        return max(0, self.limit - self.in_window(window) - ceil(self.in_window(window - 1) * part))


class BucketModel:
    """A vessel of `limit` units that is filled one microsecond each microsecond."""

    def __init__(self, rate: Rate, end: int) -> None:
        self.unit = ceil(Fraction(rate.period * SECOND, rate.limit))
        self.size = rate.limit * self.unit
        self.level = self.size
        self.at = end

    def filled(self, now: int) -> int:
        return min(self.size, self.level + max(0, now - self.at))

    def room(self, now: int) -> int:
        return self.filled(now) // self.unit

    def draw(self, now: int, cost: int) -> None:
        self.level, self.at = self.filled(now) - cost * self.unit, now

    def refund(self, now: int, cost: int) -> None:
        self.level, self.at = min(self.size, self.filled(now) + cost * self.unit), now

    def reset(self, now: int) -> None:
        self.level = self.size

    def whole_after(self, now: int) -> int:
        return self.size - self.filled(now)

    def wait(self, now: int, cost: int) -> int:
        return soonest(lambda wait: self.room(now + wait) >= cost, self.size, 1)


def soonest(allowed: Callable[[int], bool], most: int, step: int) -> int:
    """Return the first of the multiples of a step from which on it is allowed."""
    low, high = -step, most
    assert allowed(high)
    while high - low > step:
        middle = low + (high - low) // step // 2 * step
        if allowed(middle):
            high = middle
        else:
            low = middle
    return high


MODELS: dict[str, Callable[[Rate, int], Model]] = {
    "fixed": FixedModel,
    "sliding": SlidingModel,
    "token_bucket": BucketModel,
}
