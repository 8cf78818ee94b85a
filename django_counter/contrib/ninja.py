"""A throttle for Django Ninja."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from ninja.throttling import BaseThrottle

from django_counter.handler import DEFAULT_ALIAS
from django_counter.ratelimit.decisions import Decision, RateLimited
from django_counter.ratelimit.guard import Guard, decisions_of
from django_counter.ratelimit.identity import Identify, key_name, parse_identity
from django_counter.ratelimit.limit import RateLimit
from django_counter.ratelimit.outages import check_on_error
from django_counter.ratelimit.settings import current

# All requests share a throttle, and wait() is not told which one it is asked about.
_decisions: ContextVar[Sequence[Decision]] = ContextVar("django_counter_ninja", default=())


class RateLimitThrottle(BaseThrottle):
    """Limit synchronous operations: `throttle=[RateLimitThrottle("10/s", "1000/h", name="api")]`.

    The arguments are those of rate_limit(). RateLimitMiddleware puts the headers on the responses,
    and answers with 503 where `on_error` is "deny" and the counters are away.

    Ninja calls throttles of asynchronous operations in the event loop, where they would block it.
    That is refused: decorate these with `@decorate_view(rate_limit(...))`.
    """

    def __init__(
        self,
        *rates: str,
        name: str,
        key: str | Identify = "ip",
        algorithm: str = "fixed",
        using: str = DEFAULT_ALIAS,
        on_error: str = "allow",
    ) -> None:
        check_on_error(on_error)
        self.limit = RateLimit(*rates, name=name, algorithm=algorithm, using=using)
        self.limit.keys.add(key_name(key))
        self._guard = Guard(self.limit, parse_identity(key), on_error=on_error)

    def allow_request(self, request: HttpRequest) -> bool:
        """Count a request. Raise RateLimited, not to answer with 429, where nobody can count it."""
        _refuse_event_loop()
        if not current().enabled:
            return True
        decision = self._guard.hit(request).decision
        if decision.degraded == "deny":
            raise RateLimited(decision)
        _decisions.set(decisions_of(request))
        return decision.allowed

    def wait(self) -> float | None:
        """Return in how many seconds the request that was denied last here could be allowed."""
        for decision in reversed(_decisions.get()):
            if decision.name == self.limit.name and not decision.allowed:
                return decision.retry_after
        return None


def _refuse_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        "RateLimitThrottle would block the event loop. "
        "Decorate asynchronous operations with @decorate_view(rate_limit(...)) instead"
    )
