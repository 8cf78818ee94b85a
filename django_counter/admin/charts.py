"""The last hour of a rate limit as bars of an SVG, one for each minute."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from django.utils import timezone

from django_counter.ratelimit.history import Minute

HEIGHT = 100  # units of the SVG
STEP = 10  # units from bar to bar


class Bar(NamedTuple):
    """The hits of a minute: the allowed ones at the bottom, the denied ones on top of them."""

    at: datetime
    allowed: int
    denied: int
    x: int
    allowed_y: int
    allowed_height: int
    denied_y: int
    denied_height: int


class Chart(NamedTuple):
    bars: list[Bar]
    highest: int  # hits in a minute: what the whole height stands for
    allowed: int
    denied: int


def chart(minutes: Sequence[Minute]) -> Chart:
    """Return the bars of some minutes."""
    highest = max(minute.allowed + minute.denied for minute in minutes)
    return Chart(
        [_bar(number, minute, max(highest, 1)) for number, minute in enumerate(minutes)],
        highest,
        sum(minute.allowed for minute in minutes),
        sum(minute.denied for minute in minutes),
    )


def _bar(number: int, minute: Minute, highest: int) -> Bar:
    at, allowed, denied = minute
    # Some hits are always seen: a bar has a height of one at least.
    denied_height = max(round(denied * HEIGHT / highest), min(denied, 1))
    allowed_height = max(round(allowed * HEIGHT / highest), min(allowed, 1))
    allowed_height = min(allowed_height, HEIGHT - denied_height)
    allowed_y = HEIGHT - allowed_height
    return Bar(
        timezone.localtime(datetime.fromtimestamp(at, UTC)),
        allowed,
        denied,
        number * STEP,
        allowed_y,
        allowed_height,
        allowed_y - denied_height,
        denied_height,
    )
