"""Integers that many processes change at once: usage counts, quotas, rate limits."""

from django_counter.base import Budget, Counter, DecrementResult, Entry, Page, Timer, TimerResult
from django_counter.exceptions import (
    CounterConfigError,
    CounterError,
    CounterIdempotencyError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterTypeError,
    CounterUnavailable,
)
from django_counter.handler import counter, counters

__all__ = [
    "Budget",
    "Counter",
    "CounterConfigError",
    "CounterError",
    "CounterIdempotencyError",
    "CounterOutcomeUnknown",
    "CounterOverflow",
    "CounterTypeError",
    "CounterUnavailable",
    "DecrementResult",
    "Entry",
    "Page",
    "Timer",
    "TimerResult",
    "counter",
    "counters",
]
