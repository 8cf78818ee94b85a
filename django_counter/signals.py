"""Signals of rate limits, circuit breakers and buffers.

Their senders are the classes: RateLimit, CircuitBreakerMiddleware, BufferedMiddleware.
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

# A BufferedMiddleware, `buffer`, gave increments up: `amounts` (dict of int by key) with `errors`
# (dict of CounterError by key). Those with CounterOutcomeUnknown may have been counted. It is sent
# by whoever sent them, mostly a thread: receivers must not be asynchronous.
increments_dropped = Signal()
