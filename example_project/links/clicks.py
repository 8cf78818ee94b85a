"""The clicks of each link: one counter a link.

Nothing here raises when the counters are away. A visitor is redirected, counted or not, and a
page has None in place of a number. What went wrong is logged.
"""

import logging
from collections.abc import Iterable
from typing import NamedTuple

from django_counter import CounterError, counter

logger = logging.getLogger(__name__)


class Clicks(NamedTuple):
    """The clicks of some links. None = unavailable."""

    by_slug: dict[str, int | None]
    total: int | None


def key(slug: str) -> str:
    """Return the key of a link's counter. No other place builds one."""
    return f"clicks:{slug}"


def count(slug: str) -> None:
    """Count a click."""
    try:
        counter.increment(key(slug))
    except CounterError as error:
        log_uncounted(error)


async def acount(slug: str) -> None:
    """See count()."""
    try:
        await counter.aincrement(key(slug))
    except CounterError as error:
        log_uncounted(error)


def clicks(slugs: Iterable[str]) -> Clicks:
    """Return the clicks of all these links, read in one round trip."""
    keys = {slug: key(slug) for slug in slugs}
    try:
        return of_values(keys, counter.multi_get(keys.values()))
    except CounterError as error:
        return unavailable(keys, error)


async def aclicks(slugs: Iterable[str]) -> Clicks:
    """See clicks()."""
    keys = {slug: key(slug) for slug in slugs}
    try:
        return of_values(keys, await counter.amulti_get(keys.values()))
    except CounterError as error:
        return unavailable(keys, error)


def of_values(keys: dict[str, str], values: dict[str, int]) -> Clicks:
    return Clicks({slug: values[keys[slug]] for slug in keys}, sum(values.values()))


def unavailable(keys: dict[str, str], error: CounterError) -> Clicks:
    logger.warning("Clicks are shown as unavailable: %s", error)
    return Clicks(dict.fromkeys(keys), None)


def log_uncounted(error: CounterError) -> None:
    # Not repeated: after CounterOutcomeUnknown the click may be counted already.
    logger.warning("Redirected, but the click may not be counted: %s", error)
