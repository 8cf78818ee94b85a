"""Counters in order, a few or all of them."""

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from django_counter.values import Entry

SLACK = 1000

ORDERS: dict[str, Callable[[Entry], Any]] = {
    "key": lambda entry: entry.key,
    "value": lambda entry: (-entry.value, entry.key),  # the largest first
}


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
