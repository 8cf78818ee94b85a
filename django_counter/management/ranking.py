"""Counters in order, a few or all of them."""

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django_counter.ratelimit.algorithms.token_bucket import KEY_END
from django_counter.ratelimit.digests import DIGEST_PATTERN
from django_counter.ratelimit.limit import PREFIX
from django_counter.values import Entry

SLACK = 1000
_BUCKET = re.compile(rf"{PREFIX}.*\{{{DIGEST_PATTERN}\}}:.*{KEY_END}")

ORDERS: dict[str, Callable[[Entry], Any]] = {
    "key": lambda entry: entry.key,
    "value": lambda entry: (-entry.value, entry.key),  # the largest first
}


def counting(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield those that count something: a token bucket is a time, larger than most counts."""
    return (entry for entry in entries if not _BUCKET.fullmatch(entry.key))


def ranked(entries: Iterable[Entry], order: Callable[[Entry], Any]) -> list[Entry]:
    """Return each counter once, in order."""
    return sorted({entry.key: entry for entry in entries}.values(), key=order)


def first_ranked(
    entries: Iterable[Entry], order: Callable[[Entry], Any], *, count: int
) -> list[Entry]:
    """Return the first `count`, each counter once, and never keep many more than these."""
    kept: dict[str, Entry] = {}
    for entry in entries:
        kept[entry.key] = entry
        if len(kept) >= 2 * count + SLACK:
            kept = {each.key: each for each in heapq.nsmallest(count, kept.values(), key=order)}
    return heapq.nsmallest(count, kept.values(), key=order)
