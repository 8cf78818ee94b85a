"""Fixtures for the tests of projects."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from django_counter.testing import Clock


@pytest.fixture
def memory_counters() -> "Iterator[Clock]":
    """Counters in memory, on the clock that this gives: see testing.override_counters."""
    from django_counter.testing import override_counters  # noqa: PLC0415 - needs settings

    with override_counters() as clock:
        yield cast("Clock", clock)  # the stubs of Django know another class alone
