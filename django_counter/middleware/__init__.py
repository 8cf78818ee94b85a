"""Counters that wrap a counter."""

from django_counter.middleware.base import CounterMiddleware
from django_counter.middleware.buffered import BufferedMiddleware
from django_counter.middleware.circuit_breaker import CircuitBreakerMiddleware
from django_counter.middleware.fallback import FallbackMiddleware
from django_counter.middleware.logging import LoggingMiddleware

__all__ = [
    "BufferedMiddleware",
    "CircuitBreakerMiddleware",
    "CounterMiddleware",
    "FallbackMiddleware",
    "LoggingMiddleware",
]
