"""How many hits were allowed and denied: by minute, and the denied ones by identity.

They are added up in each process, and sent about once a second by a thread of its own.
"""

import atexit
import itertools
import logging
import os
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from heapq import nlargest
from operator import itemgetter
from threading import Lock, RLock
from typing import Any, TypeAlias

from django_counter.exceptions import (
    CounterConfigError,
    CounterError,
    CounterPartlyApplied,
    CounterUnavailable,
)
from django_counter.handler import counters
from django_counter.rare_log import RareLog
from django_counter.sender import Sender

PREFIX = "statistics:"
INTERVAL = 1.0  # seconds between two batches
LOG_INTERVAL = 60.0  # seconds
MINUTES_TTL = 3900  # seconds: an hour, and some minutes to spare
IDENTITIES_TTL = 3600  # seconds, from the first denial of an identity
MAX_DENIED = 100  # denials that wait to be added up by identity: more would leave the caches
MAX_MINUTES = 10_000  # of limits, that a process counts: more are left out
MAX_IDENTITIES = 1_000  # that a process tells apart in a batch...
MAX_SENT_IDENTITIES = 100  # ...and that it sends: those denied most

logger = logging.getLogger("django_counter.ratelimit")

Place: TypeAlias = tuple[Any, ...]  # an alias, and what minute_key() or identity_key() takes
Sums: TypeAlias = dict[Place, int]


def minute_key(name: str, allowed: bool, minute: int) -> str:
    """Return the key of the hits of a limit in a minute, which is counted from 1970."""
    return f"{PREFIX}{{{name}}}:{'allowed' if allowed else 'denied'}:{minute}"


def identity_key(name: str, identity: str) -> str:
    """Return the key of the denied hits of an identity, which is a digest.

    No name has braces: these say where it ends. The digest is what follows the last colon.
    """
    return f"{PREFIX}{{{name}}}:identity:{identity}"


class Count:
    """A number that threads add 1 to without a lock: a step of itertools.count is never halved."""

    def __init__(self) -> None:
        self.add = itertools.count().__next__
        self._seen = 0

    def new(self) -> int:
        """Return how often 1 was added since the last look. One thread looks at a time."""
        added = self.add() - self._seen  # a look adds, too
        self._seen += added + 1
        return added


class Minute:
    """What counts the hits of a limit from `begin` until `end`, in seconds since 1970.

    It may end at any time: where it is idle, or has nobody to send it.
    """

    __slots__ = ("allowed", "begin", "denied", "end")

    def __init__(self, number: int) -> None:
        self.begin = self.end = 60 * number
        self.allowed, self.denied = Count(), Count()


class Statistics:
    """The hits of this process that were not sent yet."""

    def __init__(self) -> None:
        self._registered = False
        self._minutes: dict[tuple[str, str, int], Minute] = {}
        self._begin()

    def _begin(self) -> None:
        self._lock = RLock()  # a signal handler may hit a limit, too
        self._sending = Lock()
        self._sender = Sender("statistics", INTERVAL, self.send, self._waits, self._lock)
        self._log = RareLog(logger, LOG_INTERVAL)
        self._empty()

    def _empty(self) -> None:
        for minute in self._minutes.values():  # limits have them
            minute.end = minute.begin
        self._minutes = {}
        self._denied: deque[tuple[str, str, str]] = deque()
        self._sums: Sums = {}
        self._identities: Sums = {}

    def minute(self, alias: str, name: str, now: float) -> Minute:
        """Return what counts the hits of a limit now, in seconds since 1970, and sends them later.

        A hit asks for it where the one before has ended: else counting it is one step of C.
        """
        number = int(now // 60)
        with self._lock:
            minute = self._minutes.get((alias, name, number)) or Minute(number)
            if len(self._minutes) < MAX_MINUTES:
                self._minutes[alias, name, number] = minute
            if not self._sender.running:
                self._start()
            if self._sender.running:
                minute.end = minute.begin + 60
        return minute

    def deny(self, alias: str, name: str, identity: str) -> None:
        """Count a denied hit of an identity, a digest, beside that of its minute."""
        self._denied.append((alias, name, identity))
        if len(self._denied) >= MAX_DENIED:
            with self._lock:
                self._add_up_denied()

    def send(self) -> None:
        """Send what was added up.

        What surely was not applied waits for the next time. What may have been is not repeated.
        """
        with self._sending:
            with self._lock:
                self._add_up()
                sums, identities = self._sums, self._identities
                self._sums, self._identities = {}, {}
            most = nlargest(MAX_SENT_IDENTITIES, identities.items(), key=itemgetter(1))
            away: set[str] = set()
            kept = self._send(sums.items(), minute_key, MINUTES_TTL, away)
            kept_identities = self._send(most, identity_key, IDENTITIES_TTL, away)
            with self._lock:
                _merge(self._sums, kept, MAX_MINUTES)
                _merge(self._identities, kept_identities, MAX_IDENTITIES)

    def forget(self) -> None:
        """Drop what waits, once what is being sent has gone."""
        with self._sending, self._lock:
            self._empty()

    def _add_up(self) -> None:
        for (alias, name, number), minute in list(self._minutes.items()):
            counts = {True: minute.allowed.new(), False: minute.denied.new()}
            new = {(alias, name, allowed, number): hits for allowed, hits in counts.items() if hits}
            _merge(self._sums, new, MAX_MINUTES)
            if not new:
                if minute.end == minute.begin:  # it ended a look ago: nobody has it any more
                    del self._minutes[alias, name, number]
                minute.end = minute.begin
        self._add_up_denied()

    def _add_up_denied(self) -> None:
        denied = []
        with suppress(IndexError):  # not by its length: a signal handler may empty it meanwhile
            while True:
                denied.append(self._denied.popleft())
        _merge(self._identities, Tally(denied), MAX_IDENTITIES)

    def _send(
        self,
        sums: Iterable[tuple[Place, int]],
        key_of: Callable[..., str],
        ttl: float,
        away: set[str],
    ) -> Sums:
        """Send to all aliases but those away, and note these; return what is to be kept."""
        by_alias: dict[str, dict[str, tuple[Place, int]]] = {}
        for place, amount in sums:
            alias, *parts = place
            by_alias.setdefault(alias, {})[key_of(*parts)] = place, amount
        kept: Sums = {}
        for alias, named in by_alias.items():
            if alias in away:
                kept |= named.values()
                continue
            values = {key: amount for key, (_, amount) in named.items()}
            for key, error in _failures(alias, values, ttl).items():
                if isinstance(error, CounterUnavailable | CounterConfigError):
                    self._log.error("Statistics wait to be sent: %s", type(error).__name__)
                    away.add(alias)
                    kept |= [named[key]]
                else:
                    self._log.error("Statistics may be lost: %s", type(error).__name__)
        return kept

    def _start(self) -> None:
        if not self._registered:
            self._registered = True
            atexit.register(self.send)
            os.register_at_fork(after_in_child=self._begin)  # the parent sends what it has
        try:
            self._sender.start()
        except RuntimeError as error:
            self._log.error("Statistics wait for a thread: %s", error)

    def _waits(self) -> bool:
        return bool(self._minutes or self._sums or self._denied or self._identities)


def _failures(alias: str, values: dict[str, int], ttl: float) -> dict[str, CounterError]:
    """Add to counters; return the errors of those that failed."""
    try:
        counters[alias].multi_increment(values, ttl)
    except CounterPartlyApplied as error:
        return error.errors
    except CounterError as error:
        return dict.fromkeys(values, error)
    return {}


def _merge(sums: Sums, more: Sums, most: int) -> None:
    for place, amount in more.items():
        if place in sums or len(sums) < most:
            sums[place] = sums.get(place, 0) + amount


statistics = Statistics()
