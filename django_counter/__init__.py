"""Integers that many processes change at once: usage counts, quotas, rate limits."""

from django_counter.base import Counter
from django_counter.batch import Batch, Operation, Pending
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
from django_counter.values import Budget, DecrementResult, Entry, Page, Timer, TimerResult

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
