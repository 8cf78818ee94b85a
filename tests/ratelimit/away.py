"""A middleware of counters, as it is when the server is away."""

from contextlib import AbstractContextManager

from django_counter import CounterUnavailable
from django_counter.middleware import CounterMiddleware

AWAY = {
    "default": {
        "BACKEND": "django_counter.backends.memory.MemoryCounter",
        "MIDDLEWARE": ["tests.ratelimit.away.Away"],
    }
}


class Away(CounterMiddleware):
    def around(self, operation: str, keys: tuple[str, ...]) -> AbstractContextManager[object]:
        if operation == "close":
            return super().around(operation, keys)
        raise CounterUnavailable("the server is away")
