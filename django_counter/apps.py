"""The Django app: what must be known to Django is made known here, when it is ready."""

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.signals import setting_changed

from django_counter.checks import check_counters
from django_counter.handler import counters


class DjangoCounterConfig(AppConfig):
    name = "django_counter"
    verbose_name = "Counters"

    def ready(self) -> None:
        checks.register(check_counters, "counters")
        setting_changed.connect(_forget_counters, dispatch_uid="django_counter")


def _forget_counters(*, setting: str, **kwargs: Any) -> None:
    """Compose the counters anew after override_settings()."""
    if setting in {"COUNTERS", "CACHES"}:
        counters.reset()
