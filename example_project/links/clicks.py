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
        values = counter.multi_get(keys.values())
    except CounterError as error:
        logger.warning("Clicks are shown as unavailable: %s", error)
        return Clicks(dict.fromkeys(keys), None)
    return Clicks({slug: values[keys[slug]] for slug in keys}, sum(values.values()))


def log_uncounted(error: CounterError) -> None:
    # Not repeated: after CounterOutcomeUnknown the click may be counted already.
    logger.warning("Redirected, but the click may not be counted: %s", error)
