"""Help for the tests of projects: counters in memory, a clock to move, rate limits switched off."""

import time
from typing import Any

from django.conf import settings
from django.test import override_settings
from django.test.utils import TestContextDecorator

from django_counter.handler import DEFAULT_ALIAS
from django_counter.ratelimit import clock

MEMORY = "django_counter.backends.memory.MemoryCounter"


class Clock:
    """A clock that stands still until it is moved. It begins at the time of its making."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def __call__(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        """Let time pass, for ttls and for windows."""
        self.seconds += seconds


class _Override(TestContextDecorator):
    """A context manager, and with its parentheses a decorator of tests and of TestCase classes.

    Each test of a class has its own, and what sets the class up has another one; there,
    override_settings() of the same settings on the class goes before it.
    """

    def __init__(self, *, attr_name: str | None = None, kwarg_name: str | None = None) -> None:
        super().__init__(attr_name, kwarg_name)

    def decorate_class(self, cls: Any) -> Any:
        decorated: Any = super().decorate_class(cls)
        own = vars(decorated).get("setUpClass")

        def setUpClass(cls: Any) -> None:
            cls.enterClassContext(type(self)())
            inherited: Any = super(decorated, cls)
            if own:
                own.__func__(cls)
            else:
                inherited.setUpClass()

        decorated.setUpClass = classmethod(setUpClass)
        return decorated


class override_counters(_Override):
    """Keep all counters in memory, empty, on a clock of their own, without statistics.

    As a context manager it gives the Clock.
    """

    def enable(self) -> Clock:
        moved = Clock()
        entries = getattr(settings, "COUNTERS", {DEFAULT_ALIAS: {}})
        in_memory = {"BACKEND": MEMORY, "OPTIONS": {"clock": moved}}
        configured: dict[str, Any] = getattr(settings, "RATE_LIMIT", {})
        self._settings = override_settings(
            COUNTERS={alias: {**entry, **in_memory} for alias, entry in entries.items()},
            RATE_LIMIT={**configured, "STATISTICS": False},  # no thread changes what a test sees
        )
        self._settings.enable()
        self._real_now, clock.now = clock.now, moved
        return moved

    def disable(self) -> None:
        clock.now = self._real_now
        self._settings.disable()


class rate_limits_disabled(_Override):
    """Let every request pass, uncounted: RATE_LIMIT["ENABLED"] is off."""

    def enable(self) -> None:
        configured: dict[str, Any] = getattr(settings, "RATE_LIMIT", {})
        self._settings = override_settings(RATE_LIMIT={**configured, "ENABLED": False})
        self._settings.enable()

    def disable(self) -> None:
        self._settings.disable()


def move_clock(seconds: float) -> None:
    """Let time pass inside override_counters()."""
    if not isinstance(clock.now, Clock):
        raise RuntimeError("move_clock() works inside override_counters()")
    clock.now.move(seconds)
