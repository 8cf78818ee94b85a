"""The Django app: what must be known to Django is made known here, when it is ready."""

from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.core.signals import setting_changed

from django_counter.checks import check_counters
from django_counter.handler import counters
from django_counter.ratelimit import addresses, digests, outages, settings
from django_counter.ratelimit.checks import check_declared_limits, check_rate_limit
from django_counter.ratelimit.limit import declared
from django_counter.ratelimit.statistics import statistics


class DjangoCounterConfig(AppConfig):
    name = "django_counter"
    verbose_name = "Counters"

    def ready(self) -> None:
        checks.register(check_counters, "counters")
        for check in (check_rate_limit, check_declared_limits):
            checks.register(check, "rate_limits")
        if apps.is_installed("rest_framework"):
            from django_counter.contrib.drf import check_throttles  # noqa: PLC0415 - optional

            checks.register(check_throttles, "rate_limits")
        setting_changed.connect(_forget_counters, dispatch_uid="django_counter")


def _forget_counters(*, setting: str, **kwargs: Any) -> None:
    """Compose the counters, and read the settings of limits, anew after override_settings()."""
    if setting in {"RATE_LIMIT", "SECRET_KEY"}:
        settings.forget()
        digests.forget()
        addresses.forget()
    if setting in {"COUNTERS", "CACHES"}:
        statistics.forget()  # they are of the counters before
        counters.reset()
    if setting in {"COUNTERS", "CACHES", "RATE_LIMIT", "SECRET_KEY"}:
        outages.forget()
        for limit in list(declared):
            limit.forget()
