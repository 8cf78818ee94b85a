"""Integers that many processes change at once: usage counts, quotas, rate limits."""

from django_counter.base import (
    Batch,
    Budget,
    Counter,
    DecrementResult,
    Entry,
    Operation,
    Page,
    Pending,
    Timer,
    TimerResult,
)
from django_counter.exceptions import (
    CounterConfigError,
    CounterError,
    CounterIdempotencyError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterPartlyApplied,
    CounterTypeError,
    CounterUnavailable,
)
from django_counter.handler import counter, counters

__all__ = [
    "Batch",
    "Budget",
    "Counter",
    "CounterConfigError",
    "CounterError",
    "CounterIdempotencyError",
    "CounterOutcomeUnknown",
    "CounterOverflow",
    "CounterPartlyApplied",
    "CounterTypeError",
    "CounterUnavailable",
    "DecrementResult",
    "Entry",
    "Operation",
    "Page",
    "Pending",
    "Timer",
    "TimerResult",
    "counter",
    "counters",
]
