"""Denials that a process remembers, so that a client who goes on asking costs no round trip."""

from typing import NamedTuple

from django_counter.ratelimit.decisions import Decision
from django_counter.ratelimit.digests import Digest
from django_counter.ratelimit.settings import setting

MAX_DENIALS = 10_000
MAX_IDENTITY = 256  # characters; longer ones are not worth their memory


class Denial(NamedTuple):
    decision: Decision
    cost: int
    at: float  # seconds since 1970
    until: float


class DenyCache:
    """The latest denials of one limit, by identity. Those of a Digest are not remembered."""

    def __init__(self) -> None:
        self._denials: dict[str, Denial] = {}

    def get(self, identity: str, cost: int, now: float) -> Decision | None:
        """Return a denial that holds for this cost too, as it stands now."""
        denial = None if isinstance(identity, Digest) else self._denials.get(identity)
        if denial is None or cost < denial.cost or not denial.at <= now < denial.until:
            return None
        return denial.decision.later(now - denial.at)

    def add(self, identity: str, cost: int, decision: Decision, now: float) -> None:
        """Remember a denial for RATE_LIMIT["DENY_CACHE"] seconds, at most until a hit may pass."""
        seconds = min(setting("DENY_CACHE"), decision.retry_after)
        if seconds > 0 and len(identity) <= MAX_IDENTITY and not isinstance(identity, Digest):
            if len(self._denials) >= MAX_DENIALS:
                self._denials.clear()
            self._denials[identity] = Denial(decision, cost, now, now + seconds)

    def forget(self, identity: str) -> None:
        """Forget the denial of an identity."""
        if not isinstance(identity, Digest):
            self._denials.pop(identity, None)
            return
        for text, denial in list(self._denials.items()):
            if denial.decision.identity == identity:
                self._denials.pop(text, None)
