"""Denials that a process remembers, so that a client who goes on asking costs no round trip."""

from typing import NamedTuple

from django_counter.ratelimit.decisions import Decision
from django_counter.ratelimit.digests import Digest

MAX_DENIALS = 10_000
MAX_IDENTITY = 256  # characters; longer ones are not worth their memory


class Denial(NamedTuple):
    decision: Decision
    cost: int
    at: float  # seconds since 1970
    until: float


class DenyCache(dict[str, Denial]):
    """The latest denials of one limit, by identity. Those of a Digest are not remembered."""

    def known(self, identity: str, cost: int, now: float) -> Decision | None:
        """Return a denial that holds for this cost too, as it stands now."""
        denial = None if type(identity) is Digest else self.get(identity)
        if denial is None:
            return None
        decision, least, at, until = denial
        return decision.later(now - at) if cost >= least and at <= now < until else None

    def add(self, identity: str, cost: int, decision: Decision, now: float, seconds: float) -> None:
        """Remember a denial for that many seconds, at most until a hit may pass."""
        seconds = min(seconds, decision.retry_after)
        if seconds > 0 and len(identity) <= MAX_IDENTITY and not isinstance(identity, Digest):
            if len(self) >= MAX_DENIALS:
                self.clear()
            self[identity] = Denial(decision, cost, now, now + seconds)

    def forget(self, identity: str) -> None:
        """Forget the denial of an identity."""
        if not isinstance(identity, Digest):
            self.pop(identity, None)
            return
        for text, denial in list(self.items()):
            if denial.decision.identity == identity:
                self.pop(text, None)
