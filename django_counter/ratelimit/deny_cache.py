"""Denials that a process remembers, so that a client who goes on asking costs no round trip."""

from typing import NamedTuple

from django_counter.ratelimit.decisions import Decision
from django_counter.ratelimit.settings import setting

MAX_DENIALS = 10_000
MAX_IDENTITY = 256  # characters; longer ones are not worth their memory


class Denial(NamedTuple):
    decision: Decision
    cost: int
    at: float  # seconds since 1970
    until: float


class DenyCache:
    """The latest denials of one limit, by identity."""

    def __init__(self) -> None:
        self._denials: dict[str, Denial] = {}

    def get(self, identity: str, cost: int, now: float) -> Decision | None:
        """Return a denial that holds for this cost too, as it stands now."""
        denial = self._denials.get(identity)
        if denial is None or cost < denial.cost or not denial.at <= now < denial.until:
            return None
        return denial.decision.later(now - denial.at)

    def add(self, identity: str, cost: int, decision: Decision, now: float) -> None:
        """Remember a denial for RATE_LIMIT["DENY_CACHE"] seconds, at most until a hit may pass."""
        seconds = min(setting("DENY_CACHE"), decision.retry_after)
        if seconds > 0 and len(identity) <= MAX_IDENTITY:
            if len(self._denials) >= MAX_DENIALS:
                self._denials.clear()
            self._denials[identity] = Denial(decision, cost, now, now + seconds)

    def forget(self, identity: str) -> None:
        self._denials.pop(identity, None)

    def forget_digest(self, digest: str) -> None:
        """Forget an identity by its digest."""
        for identity, denial in list(self._denials.items()):
            if denial.decision.identity == digest:
                self.forget(identity)
