"""A backend whose operations a test changes."""

import time
from collections.abc import Callable

from django_counter.backends.memory import MemoryCounter
from django_counter.middleware import CounterMiddleware


class WrappedMemory(CounterMiddleware):
    """Counters in memory, named as the BACKEND: those of administrators pass by middleware."""

    def __init__(
        self, *, key_prefix: str = "counter", clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(MemoryCounter(key_prefix=key_prefix, clock=clock))
