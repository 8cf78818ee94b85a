"""Rates as people write them: `100/h`, `5 per minute`, `1000/2h`."""

import re
from functools import lru_cache
from typing import NamedTuple

from django_counter.values import INT64_MAX

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNITS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
    "w": ("w", "week", "weeks"),
}
_UNIT_OF_WORD = {word: unit for unit, words in _UNITS.items() for word in words}
_RATE = re.compile(r"\s*([0-9]{1,19})\s*(?:/|\s+per\s+)\s*([0-9]{1,10})?\s*([a-z]+)\s*", re.I)
# 50 years, and no leap days: a sliding window keeps its budget for two, and a little more, and the
# longest ttl is 100 years.
PERIOD_MAX = 50 * 365 * 86_400


class Rate(NamedTuple):
    """So many units in a period."""

    limit: int  # > 0
    period: int  # seconds, > 0

    def __str__(self) -> str:
        return _text(self)


@lru_cache(maxsize=1024)  # each hit puts it into a key
def _text(rate: Rate) -> str:
    unit = next(unit for unit in reversed(_SECONDS) if rate.period % _SECONDS[unit] == 0)
    count = rate.period // _SECONDS[unit]
    return f"{rate.limit}/{'' if count == 1 else count}{unit}"


def parse_rate(text: str) -> Rate:
    """Return the rate that a text means; raise ValueError that shows what a good one looks like."""
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[3].lower() not in _UNIT_OF_WORD:
        raise ValueError(f"{text!r} is no rate. {_GOOD_ONES}")
    limit = int(match[1])
    period = int(match[2] or 1) * _SECONDS[_UNIT_OF_WORD[match[3].lower()]]
    if not 0 < limit <= INT64_MAX:
        raise ValueError(f"{text!r} is no rate: it allows 1 to 2**63 - 1. {_GOOD_ONES}")
    if not 0 < period <= PERIOD_MAX:
        raise ValueError(f"{text!r} is no rate: a period is 1 s to 50 years. {_GOOD_ONES}")
    return Rate(limit, period)


_GOOD_ONES = "Good ones are '5/s', '100/h', '1000/2h', '10 per day'"
