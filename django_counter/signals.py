"""Signals of rate limits. Their sender is the class RateLimit."""

from django.dispatch import Signal

# A request was denied: `request`, `limit` (RateLimit), `decision` (Decision).
rate_limited = Signal()

# The counters were away and on_error decided: `limit` (RateLimit), `error` (CounterError).
rate_limit_error = Signal()
