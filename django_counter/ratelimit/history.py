"""What the statistics of all processes say of the last hour."""

import time
from collections.abc import Iterable
from typing import NamedTuple

from django_counter.handler import counters
from django_counter.ratelimit import clock
from django_counter.ratelimit.limit import RateLimit
from django_counter.ratelimit.statistics import (
    IDENTITIES_TTL,
    PREFIX,
    identity_key,
    minute_key,
)

MINUTES = 60
MAX_SECONDS = 3.0  # for which one call looks for identities


class Minute(NamedTuple):
    """The hits of a limit in a minute."""

    at: int  # when it began, in seconds since 1970
    allowed: int
    denied: int


class Denied(NamedTuple):
    """An identity that a limit denied."""

    identity: str  # the digest
    times: int
    since: float  # seconds ago, an hour at most


class Identities(NamedTuple):
    """Those that were denied, the most denied first."""

    denied: list[Denied]
    complete: bool  # whether all were found in time


def last_hour(limits: Iterable[RateLimit]) -> list[list[Minute]]:
    """Return the minutes of each limit, the oldest first. One round trip for each alias."""
    limits = list(limits)
    this = int(clock.now() // 60)
    minutes = range(this - MINUTES + 1, this + 1)
    values = {
        alias: counters[alias].multi_get(
            minute_key(limit.name, allowed, minute)
            for limit in limits
            if limit.using == alias
            for minute in minutes
            for allowed in (True, False)
        )
        for alias in {limit.using for limit in limits}
    }
    return [
        [
            Minute(
                minute * 60,
                values[limit.using][minute_key(limit.name, True, minute)],
                values[limit.using][minute_key(limit.name, False, minute)],
            )
            for minute in minutes
        ]
        for limit in limits
    ]


def most_denied(limits: Iterable[RateLimit], most: int) -> list[Identities]:
    """Return for each limit the identities that it denied most, `most` of them."""
    limits = list(limits)
    found = {alias: _identities(alias) for alias in {limit.using for limit in limits}}
    return [_of_limit(limit, *found[limit.using], most) for limit in limits]


def _identities(alias: str) -> tuple[dict[str, Denied], bool]:
    """Return the denied identities of an alias by their keys, and whether these are all."""
    until = time.monotonic() + MAX_SECONDS
    found = {}
    cursor = ""
    while True:
        entries, cursor = counters[alias].scan_page(PREFIX, cursor)
        for key, value, ttl in entries:
            place, _, identity = key.rpartition(":")
            if place.endswith(":identity"):
                found[key] = Denied(identity, value, IDENTITIES_TTL - (ttl or 0))
        if not cursor or time.monotonic() >= until:
            return found, not cursor


def _of_limit(limit: RateLimit, found: dict[str, Denied], complete: bool, most: int) -> Identities:
    prefix = identity_key(limit.name, "")
    denied = [each for key, each in found.items() if key.startswith(prefix)]
    denied.sort(key=lambda each: (-each.times, each.identity))
    return Identities(denied[:most], complete)
