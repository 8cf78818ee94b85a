"""Signals of rate limits and circuit breakers.

Their senders are the classes, RateLimit and CircuitBreakerMiddleware.
"""

from django.dispatch import Signal

# A request was denied: `request`, `limit` (RateLimit), `decision` (Decision).
rate_limited = Signal()

# The counters were away and on_error decided: `limit` (RateLimit), `error` (CounterError).
rate_limit_error = Signal()

# A CircuitBreakerMiddleware, `breaker`, refuses calls from now on: `error` was the last straw.
# It is sent by the call that failed, in an event loop too: receivers must not be asynchronous.
circuit_opened = Signal()

# It lets calls through again.
circuit_closed = Signal()
