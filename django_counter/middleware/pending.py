"""What waits to be sent in one process: sums by key, and what the server is known to hold."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import zip_longest
from threading import RLock
from typing import Any, NamedTuple

from django_counter.arguments import check_key
from django_counter.exceptions import (
    CounterConfigError,
    CounterError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterUnavailable,
)
from django_counter.values import INT64_MAX, INT64_MIN, Ttl


class Parcel(NamedTuple):
    """What is sent together."""

    sums: dict[str, int]
    ttls: dict[str, Ttl]  # what the first of the increments had


class PendingSums:
    """Increments that were added up and not sent yet, or are under way.

    `begin` is called, under `lock`, whenever another key begins to wait.
    """

    def __init__(self, max_keys: int, begin: Callable[[], object]) -> None:
        self.lock = RLock()  # a signal handler may count, too
        self.away: CounterError | None = None  # why something had to wait on
        self._max_keys = max_keys
        self._begin = begin
        self._sums: dict[str, int] = {}
        self._ttls: dict[str, Ttl] = {}  # what the first of the increments had
        self._under_way: list[dict[str, int]] = []
        self._sends = 0  # how often something was sent
        self._known: dict[str, int] = {}  # the sums that the server told, and what left since

    def add(self, key: str, amount: int, ttl: Ttl) -> int | None:
        """Return the sum as far as this process knows it, None where there is no room."""
        with self.lock:
            try:
                # No call stands between reading and writing: no signal handler comes in there.
                total = self._sums[key] = self._sums[key] + amount
            except KeyError:
                check_key(key)
                if len(self._sums) + sum(map(len, self._under_way)) >= self._max_keys:
                    return None
                total = self._sums[key] = amount
                if ttl is not None:
                    self._ttls[key] = ttl
                self._begin()
            if not INT64_MIN <= total <= INT64_MAX:
                self._sums[key] -= amount
                return None
            return total + self._known.get(key, 0)

    def refuse_without_room(self, sending: bool = False) -> None:
        """Raise CounterUnavailable where no room is to come: nothing can be sent.

        Nor can it by one who is `sending`, whom a signal's handler has interrupted in that.
        """
        if self.away or sending:  # else others were quicker
            raise CounterUnavailable(
                f"{len(self._sums)} increments wait to be sent, there is no room for another"
            ) from self.away

    def waits(self) -> bool:
        """Say whether something waits."""
        return bool(self._sums)

    def holds(self, keys: Collection[str] | None) -> bool:
        """Say whether something of these keys waits or is under way; of any without keys."""
        with self.lock:
            held = (self._sums, *self._under_way)
            if keys is None:
                return any(held)
            return any(key in sums for sums in held for key in keys)

    def refuse_after(self, keys: Collection[str] | None) -> None:
        """Raise CounterUnavailable where something before an operation could not be sent."""
        if self.away and self.holds(keys):
            raise CounterUnavailable("increments from before it wait to be sent") from self.away

    def sends(self) -> int | None:
        """Return how often something was sent, None while something is under way."""
        with self.lock:
            return None if self._under_way else self._sends

    def plus(self, values: dict[str, int]) -> dict[str, int]:
        """Return what was read, and what waits here."""
        with self.lock:
            return {key: value + self._sums.get(key, 0) for key, value in values.items()}

    def plus_unless_sent(self, values: dict[str, int], sends: int | None) -> dict[str, int] | None:
        """Return what was read, and what waits here; None if any was sent meanwhile."""
        with self.lock:
            return self.plus(values) if sends == self._sends else None

    def leave(self) -> Parcel | None:
        """Return what waits, which is under way from now on; None where nothing does."""
        with self.lock:
            sums, self._sums = self._sums, {}
            ttls, self._ttls = self._ttls, {}
            if not sums:
                return None
            self._sends += 1
            self._under_way.append(sums)
            for key, amount in sums.items():
                self._known[key] = self._known.get(key, 0) + amount
            return Parcel(sums, ttls)

    def settle(self, parcel: Parcel, outcomes: Sequence[Any]) -> dict[str, CounterError]:
        """Take note of what became of a parcel; return the errors of what is dropped.

        Outcomes are missing where something else than an answer ended it.
        """
        dropped: dict[str, CounterError] = {}
        with self.lock:
            self._under_way.remove(parcel.sums)
            self.away = None
            for (key, amount), outcome in zip_longest(parcel.sums.items(), outcomes):
                if isinstance(outcome, int):
                    self._known[key] = outcome
                    continue
                self._known[key] = self._known.get(key, 0) - amount
                total = amount + self._sums.get(key, 0)
                if not isinstance(outcome, CounterUnavailable | CounterConfigError):
                    dropped[key] = outcome or CounterOutcomeUnknown("increment", key, amount)
                elif INT64_MIN <= total <= INT64_MAX:
                    self.away = outcome
                    self._keep(key, total, parcel.ttls.get(key))
                else:
                    dropped[key] = CounterOverflow(f"what waits of {key!r} would leave int64")
            self._know_no_more_than_fit()
        return dropped

    def learn(self, sums: Mapping[str, int]) -> None:
        """Take note of what the server holds after an operation that did not wait here."""
        with self.lock:
            for key, value in sums.items():
                self._known[key] = value + self._amount_under_way(key)
            self._know_no_more_than_fit()

    def forget(self, keys: Collection[str] | None) -> None:
        """Take note that the server may hold anything of these keys, of any without keys."""
        with self.lock:
            for key in list(self._known) if keys is None else self._known.keys() & {*keys}:
                self._known[key] = self._amount_under_way(key)

    def _amount_under_way(self, key: str) -> int:
        return sum(sums.get(key, 0) for sums in self._under_way)

    def _know_no_more_than_fit(self) -> None:
        if len(self._known) > self._max_keys:
            self._known = {
                key: self._amount_under_way(key) for sums in self._under_way for key in sums
            }

    def _keep(self, key: str, total: int, ttl: Ttl) -> None:
        """Let wait what was not counted, with what came since, and with the ttl that was first."""
        self._sums[key] = total
        self._ttls.pop(key, None)
        if ttl is not None:
            self._ttls[key] = ttl
