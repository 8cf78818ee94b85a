"""Changes of one counter. Each says in words what it did, for the log and for whoever made it."""

from typing import Any

from django_counter.handler import counters
from django_counter.models import Counter, time_left
from django_counter.values import allowed_ttl

UNKNOWN = "not confirmed, it may have been applied"


class Refused(Exception):
    """A change was not made. The text says why."""


def adjusted(obj: Counter, amount: int) -> str:
    """Add an amount."""
    # One that has ended meanwhile begins anew, and is to end as well.
    value = counters.backend(obj.alias).increment(obj.key, amount, allowed_ttl(obj.ttl))
    return f"adjusted by {amount:+}, from {value - amount} to {value}"


def replaced(obj: Counter, data: dict[str, Any]) -> str:
    """Set the value, the time left or both; raise Refused where it does not hold what was shown."""
    shown = data["shown"]
    value = shown if data["set_to"] is None else data["set_to"]
    ttl = None if data["no_expiry"] else data["set_ttl"] or allowed_ttl(obj.ttl)
    if not counters.backend(obj.alias).set(obj.key, value, ttl, if_equal=shown):
        raise Refused(_moved(obj, shown))
    done = f"set from {shown} to {value}"
    if data["no_expiry"] or data["set_ttl"]:
        done += f", time left from {time_left(obj.ttl)} to {time_left(ttl)}"
    return done


def _moved(obj: Counter, shown: int) -> str:
    entry = counters.backend(obj.alias).entry(obj.key)
    now = f"holds {entry.value}" if entry else "is gone"
    return f"the counter has changed since it was shown. It held {shown}, now it {now}"
