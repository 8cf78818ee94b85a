"""What an algorithm is to a rate limit."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

from django_counter.base import Counter
from django_counter.ratelimit.algorithms.places import Place
from django_counter.ratelimit.decisions import Standing
from django_counter.ratelimit.rates import Rate
from django_counter.values import Entry

# What came of drawing a cost from all rates or from none: whether it was drawn, and the standings
# after that.
Draw: TypeAlias = tuple[bool, tuple[Standing, ...]]


def read(counter: Counter, keys: Sequence[str]) -> list[Entry | None]:
    """Return the entries of keys, in one round trip."""
    if len(keys) == 1:
        return [counter.entry(keys[0])]
    with counter.batch() as batch:
        pending = [batch.entry(key) for key in keys]
    return [each.result() for each in pending]


async def aread(counter: Counter, keys: Sequence[str]) -> list[Entry | None]:
    """See read()."""
    if len(keys) == 1:
        return [await counter.aentry(keys[0])]
    async with counter.batch() as batch:
        pending = [batch.entry(key) for key in keys]
    return [each.result() for each in pending]


class Algorithm(ABC):
    """The counters of several rates, drawn together. `now` is in seconds since 1970."""

    def __init__(self, rates: Sequence[Rate]) -> None:
        self.rates = rates

    @abstractmethod
    def keys(self, place: Place, now: float) -> list[str]:
        """Return the keys of all counters that matter now."""

    @abstractmethod
    def draw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        """Draw a cost > 0 from all rates, or from none."""

    @abstractmethod
    async def adraw(
        self, counter: Counter, place: Place, cost: int, now: float, idempotency_key: str | None
    ) -> Draw:
        """See draw()."""

    @abstractmethod
    def refund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        """Give back a cost that was drawn; no rate gets more than its limit."""

    @abstractmethod
    async def arefund(self, counter: Counter, place: Place, cost: int, now: float) -> None:
        """See refund()."""

    def forget(self, keys: Sequence[str]) -> None:  # noqa: B027 - only one of them remembers
        """Forget what this process knows of counters that were deleted."""

    @abstractmethod
    def standings(
        self, values: Sequence[int | None], place: Place, cost: int, now: float
    ) -> tuple[Standing, ...]:
        """Return where each rate stands, to one who asks for a cost, by the values of keys()."""
