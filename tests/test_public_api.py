"""What users import, and the program that uses all of it."""

import importlib

import pytest
from django.test import override_settings

import django_counter
import django_counter.middleware
from django_counter import counters
from tests import typed_program

MEMORY = {"default": {"BACKEND": "django_counter.backends.memory.MemoryCounter"}}


def test_the_package_exports_its_public_names() -> None:
    assert set(django_counter.__all__) == {
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
    }


def test_the_middleware_exports_its_public_names() -> None:
    assert set(django_counter.middleware.__all__) == {
        "BufferedMiddleware",
        "CircuitBreakerMiddleware",
        "CounterMiddleware",
        "FallbackMiddleware",
        "LoggingMiddleware",
    }


@pytest.mark.parametrize(
    "module", ["django_counter", "django_counter.middleware", "django_counter.backends.redis"]
)
def test_exported_names_are_there_and_sorted(module: str) -> None:
    exported = importlib.import_module(module)
    names = exported.__all__
    assert names == sorted(names)
    assert all(hasattr(exported, name) for name in names)


def test_the_typed_program_uses_every_public_name() -> None:
    used = vars(typed_program)
    for module in (django_counter, django_counter.middleware):
        assert [name for name in module.__all__ if name not in used] == []


def test_the_typed_program_runs() -> None:
    with override_settings(COUNTERS=MEMORY):
        typed_program.main()
        assert counters["default"].get("visits") == 0  # composed anew
