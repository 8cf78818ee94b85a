"""Counters that wrap a counter."""

from django_counter.middleware.base import CounterMiddleware
from django_counter.middleware.logging import LoggingMiddleware

__all__ = ["CounterMiddleware", "LoggingMiddleware"]
