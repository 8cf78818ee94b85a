"""Every operation of a counter by what it takes, for tests that go through them all."""

from collections.abc import Callable
from typing import Any

from django_counter.base import Counter
from django_counter.values import Budget

# Tests hand in what no type checker would let through.
Call = Callable[[Counter, str, Any], object]

WITH_KEY: dict[str, Callable[[Counter, Any], object]] = {
    "increment": lambda counter, key: counter.increment(key),
    "increment with ttl": lambda counter, key: counter.increment(key, 1, 100),
    "get": lambda counter, key: counter.get(key),
    "multi_get": lambda counter, key: counter.multi_get(["good", key]),
    "decrement": lambda counter, key: counter.decrement(key),
    "decrement with ttl": lambda counter, key: counter.decrement(key, 1, 100),
    "decrement_if_exists": lambda counter, key: counter.decrement_if_exists(key),
    "set_if_not_exists": lambda counter, key: counter.set_if_not_exists(key, 1),
    "delete": lambda counter, key: counter.delete(key),
    "take": lambda counter, key: counter.take([Budget(key, 10, None)]),
    "set": lambda counter, key: counter.set(key, 1),
    "set if_equal": lambda counter, key: counter.set(key, 1, if_equal=1),
    "entry": lambda counter, key: counter.entry(key),
}

# Each with the name of the argument.
WITH_VALUE: dict[str, tuple[str, Call]] = {
    "increment": ("value", lambda counter, key, value: counter.increment(key, value)),
    "increment with ttl": ("value", lambda counter, key, value: counter.increment(key, value, 9)),
    "set_if_not_exists": (
        "value",
        lambda counter, key, value: counter.set_if_not_exists(key, value),
    ),
    "set": ("value", lambda counter, key, value: counter.set(key, value)),
    "set if_equal": ("if_equal", lambda counter, key, value: counter.set(key, 1, if_equal=value)),
}
WITH_AMOUNT: dict[str, tuple[str, Call]] = {
    "decrement": ("value", lambda counter, key, value: counter.decrement(key, value)),
    "decrement with ttl": ("value", lambda counter, key, value: counter.decrement(key, value, 9)),
    "decrement_if_exists": (
        "value",
        lambda counter, key, value: counter.decrement_if_exists(key, value),
    ),
    "take": ("cost", lambda counter, key, value: counter.take([Budget(key, 10, None)], value)),
    "limit": ("limit", lambda counter, key, value: counter.take([Budget(key, value, None)])),
}
WITH_FLOOR: dict[str, tuple[str, Call]] = {
    "floor": ("floor", lambda counter, key, value: counter.take([Budget(key, 10, None, value)])),
}
WITH_TTL: dict[str, Call] = {
    "increment": lambda counter, key, ttl: counter.increment(key, 1, ttl),
    "decrement": lambda counter, key, ttl: counter.decrement(key, 1, ttl),
    "set_if_not_exists": lambda counter, key, ttl: counter.set_if_not_exists(key, 1, ttl),
    "take": lambda counter, key, ttl: counter.take([Budget(key, 10, ttl)]),
    "set": lambda counter, key, ttl: counter.set(key, 1, ttl),
}
