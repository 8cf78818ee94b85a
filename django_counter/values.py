"""What counters take and answer with, and the bounds of it."""

from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
TIMER_MAX = 2**53 - 1  # Redis moves timers in Lua, whose numbers are exact up to here
KEY_MAX_BYTES = 512
TTL_MIN = 0.001  # seconds
TTL_MAX = 36_525 * 86_400  # seconds: 100 years

Ttl: TypeAlias = float | timedelta | None


def allowed_ttl(ttl: float | None) -> float | None:
    """Return the time that a stored counter has left as one that can be given to a counter.

    Another client may have given it more, and the server rounds what is left down to 0.
    """
    return None if ttl is None else min(max(ttl, TTL_MIN), TTL_MAX)


# Makes a NamedTuple of a tuple of all its fields. Its own way there is a function of Python, which
# a call between two waits feels.
new = tuple.__new__


class DecrementResult(NamedTuple):
    """What a conditional decrement found and did."""

    value: int  # after the call; 0 when missing
    existed: bool
    success: bool  # whether the amount was drawn


class Budget(NamedTuple):
    """A counter that starts at a limit, is drawn down by `take`, and ends with its ttl.

    Budgets that follow each other, as the windows of one rate limit, may have a scope: one name
    for all of them, which idempotency keys belong to in place of the key, so that a repeat in the
    next window is known. Refusals are not remembered then: that window may heal them.
    """

    key: str
    limit: int  # what it starts with, > 0
    ttl: Ttl  # seconds, from the call that creates it; None = no expiry
    floor: int = 0  # `take` leaves at least this much, >= 0
    scope: str | None = None  # by the rules of a key; of several budgets, that of the first counts


class Budgets(tuple[Budget, ...]):
    """Budgets that are drawn together, and drawn again, as those of a limit until a window ends.

    What a counter prepares for them is kept with them, and goes with them.
    """

    prepared: tuple[object, Any] | None = None  # by which counter, and whatever that is


class Timer(NamedTuple):
    """A counter that holds a point in time, in units and from an origin of the caller's choice."""

    key: str
    start: int  # where a missing one, or one that lies before, begins; 0 to 2**53 - 1
    step: int  # what each unit of the cost moves it by, 1 to 2**53 - 1
    ceiling: int  # how far it may be moved, 0 to 2**53 - 1
    ttl: Ttl  # seconds, from each move


class TimerResult(NamedTuple):
    """Where a timer is after a call, at its start or later, and whether the call moved it."""

    value: int
    success: bool


class Entry(NamedTuple):
    """A stored counter, as operators see it."""

    key: str
    value: int
    ttl: float | None  # seconds left; None = no expiry


class Page(NamedTuple):
    """A part of a scan. It may be empty and not the last one."""

    entries: list[Entry]
    cursor: str  # what the next page is asked for with; empty after the last one
