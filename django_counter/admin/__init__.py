"""Counters and rate limits in Django's admin, where it is installed."""

from django_counter.admin.model_admin import CounterAdmin

__all__ = ["CounterAdmin"]
