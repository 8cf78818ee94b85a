"""What becomes of a hit while the counters are away."""

import logging
import re
from functools import lru_cache
from threading import RLock

from django_counter.backends.memory import MemoryCounter
from django_counter.exceptions import CounterError
from django_counter.rare_log import RareLog
from django_counter.ratelimit import clock
from django_counter.ratelimit.decisions import Decision
from django_counter.ratelimit.digests import DIGEST_PATTERN
from django_counter.ratelimit.limit import RateLimit
from django_counter.ratelimit.settings import setting
from django_counter.signals import rate_limit_error

ON_ERROR = ("allow", "deny", "raise", "local")
RETRY_AFTER = 1.0  # seconds, of a hit that "deny" has denied
LOG_INTERVAL = 1.0  # seconds

_DIGEST = re.compile(DIGEST_PATTERN)

logger = logging.getLogger("django_counter.ratelimit")


def check_on_error(on_error: str) -> None:
    """Refuse what is no way to meet an outage."""
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error must be one of {list(ON_ERROR)}, not {on_error!r}")


def hit(limit: RateLimit, identity: str, cost: int, on_error: str) -> Decision:
    """Return limit.hit(), or what `on_error` says when the counters are away.

    A hit whose outcome is unknown may have been drawn. It counts as taken: nobody repeats it.
    """
    try:
        return limit.hit(identity, cost)
    except CounterError as error:
        rate_limit_error.send_robust(RateLimit, limit=limit, error=error)
        return _decide(limit, identity, cost, on_error, error)


async def ahit(limit: RateLimit, identity: str, cost: int, on_error: str) -> Decision:
    """See hit()."""
    try:
        return await limit.ahit(identity, cost)
    except CounterError as error:
        await rate_limit_error.asend_robust(RateLimit, limit=limit, error=error)
        return _decide(limit, identity, cost, on_error, error)


def refund(limit: RateLimit, identity: str, cost: int, decision: Decision) -> bool:
    """Give a hit back, if what counted it is there, and return whether it was."""
    if decision.degraded == "local":
        return _refund_local(limit, identity, cost, decision)
    try:
        limit.refund(identity, cost, at=decision.at)
    except CounterError as error:
        rate_limit_error.send_robust(RateLimit, limit=limit, error=error)
        _log.error("A rate limit could not give a hit back: %s", type(error).__name__)
        return False
    return True


async def arefund(limit: RateLimit, identity: str, cost: int, decision: Decision) -> bool:
    """See refund()."""
    if decision.degraded == "local":
        return _refund_local(limit, identity, cost, decision)
    try:
        await limit.arefund(identity, cost, at=decision.at)
    except CounterError as error:
        await rate_limit_error.asend_robust(RateLimit, limit=limit, error=error)
        _log.error("A rate limit could not give a hit back: %s", type(error).__name__)
        return False
    return True


def _refund_local(limit: RateLimit, identity: str, cost: int, decision: Decision) -> bool:
    local = _share(limit)
    local.refund(identity, min(cost, local.largest_cost), at=decision.at)
    return True


def made(limit: RateLimit, decision: Decision) -> bool:
    """Return whether a decision is of a limit, or of this process's share of it."""
    if decision.degraded == "local":
        return decision.name == limit.name and _share(limit).made(decision)
    return limit.made(decision)


def forget() -> None:
    """Forget the shares of limits that this process has counted by itself."""
    _local.cache_clear()


def _decide(
    limit: RateLimit, identity: str, cost: int, on_error: str, error: CounterError
) -> Decision:
    if on_error == "raise":
        raise error
    words = "The rate limit %r cannot be asked at %r, on_error is %r: %s"
    told = _DIGEST.sub("...", str(error))  # what went wrong, and not for whom
    _log.error(words, limit.name, limit.using, on_error, f"{type(error).__name__}: {told}")
    if on_error == "local":
        local = _share(limit)
        return local.hit(identity, min(cost, local.largest_cost))._replace(degraded=on_error)
    decision = limit.whole(identity)._replace(degraded=on_error)
    if on_error == "allow":
        return decision
    return decision._replace(allowed=False, remaining=0, retry_after=RETRY_AFTER)


class _LocalLimit(RateLimit):
    """One process's share of a limit, in its memory."""

    counted = False  # the counters did not decide it

    def __init__(self, limit: RateLimit, processes: int) -> None:
        shares = (rate._replace(limit=max(1, rate.limit // processes)) for rate in limit.rates)
        rates = dict.fromkeys(str(share) for share in shares)
        super().__init__(*rates, name=limit.name, algorithm=limit.algorithm)
        self._counters = {self.using: MemoryCounter(clock=lambda: clock.now())}

    def _declare(self) -> None:
        """It is part of one that is declared."""


def _share(limit: RateLimit) -> _LocalLimit:
    with _lock:
        return _local(limit, max(1, setting("PROCESSES")))


_lock = RLock()  # two threads at once would make two shares


@lru_cache(maxsize=1024)
def _local(limit: RateLimit, processes: int) -> _LocalLimit:
    return _LocalLimit(limit, processes)


_log = RareLog(logger, LOG_INTERVAL)
