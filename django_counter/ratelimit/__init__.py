"""Rate limits on counters."""

from django_counter.ratelimit.addresses import client_address
from django_counter.ratelimit.decisions import Decision, RateLimited, Standing
from django_counter.ratelimit.decorator import rate_limit, rate_limit_exempt
from django_counter.ratelimit.digests import Digest
from django_counter.ratelimit.identity import parse_identity
from django_counter.ratelimit.limit import RateLimit
from django_counter.ratelimit.middleware import RateLimitMiddleware
from django_counter.ratelimit.rates import Rate

__all__ = [
    "Decision",
    "Digest",
    "Rate",
    "RateLimit",
    "RateLimitMiddleware",
    "RateLimited",
    "Standing",
    "client_address",
    "parse_identity",
    "rate_limit",
    "rate_limit_exempt",
]
