"""Rate limits as administrators work on them: on the server itself, without any middleware."""

from copy import copy

from django_counter.handler import counters
from django_counter.ratelimit.limit import RateLimit


def on_server(limit: RateLimit) -> RateLimit:
    """Return a rate limit that passes by the middleware of its alias.

    Where it gives something back, the limit itself forgets its denials in this process too.
    """
    found = copy(limit)
    found._counters = {limit.using: counters.backend(limit.using)}
    return found
