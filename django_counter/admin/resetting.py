"""Resets: counters are deleted, and begin anew."""

import time
from collections.abc import Iterable

from django.http import HttpRequest

from django_counter.admin.changes import UNKNOWN, Refused
from django_counter.admin.log import log, log_name
from django_counter.arguments import check_key, check_prefix
from django_counter.exceptions import CounterOutcomeUnknown
from django_counter.handler import counters
from django_counter.values import Entry

MAX_COUNTERS = 1_000  # that one request deletes
MAX_SECONDS = 5.0  # for which it looks for them


def to_reset(alias: str, key: str, prefix: str) -> list[Entry]:
    """Return one counter, or else those under a prefix; raise Refused for what is neither."""
    if alias not in counters:
        raise Refused(f"there is no alias {alias!r}")
    if not key and not prefix:
        raise Refused("it needs a key or a prefix")
    try:
        if key:
            check_key(key)
        check_prefix(prefix)
    except ValueError as error:
        raise Refused(str(error)) from error
    if key:
        entry = counters.backend(alias).entry(key)
        return [entry] if entry else []
    return _matching(alias, prefix)


def reset(request: HttpRequest, alias: str, entries: Iterable[Entry], reason: str) -> None:
    """Delete counters, and log all that were, or may have been, where that ends early."""
    done = []
    try:
        for key, value, _ in entries:
            try:
                counters.backend(alias).delete(key)
            except CounterOutcomeUnknown:
                done.append((log_name(alias, key), f"reset: {UNKNOWN}, it held {value}"))
                raise
            done.append((log_name(alias, key), f"reset, it held {value}"))
    finally:
        log(request, done, reason)


def _matching(alias: str, prefix: str) -> list[Entry]:
    until = time.monotonic() + MAX_SECONDS
    found: dict[str, Entry] = {}
    cursor = ""
    while True:
        entries, cursor = counters.backend(alias).scan_page(prefix, cursor)
        found.update({entry.key: entry for entry in entries})
        if len(found) > MAX_COUNTERS:
            raise Refused(f"more than {MAX_COUNTERS} counters begin so. Take a longer prefix")
        if not cursor:
            return [found[key] for key in sorted(found)]
        if time.monotonic() >= until:
            raise Refused("there are too many counters to look for these in a request")
