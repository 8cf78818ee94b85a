"""Every operation of the contract, and how to call it in both ways."""

import asyncio
from typing import Any, NamedTuple

from django_counter.backends.redis import RedisCounter
from django_counter.values import Budget, DecrementResult, Timer, TimerResult


class Operation(NamedTuple):
    """A call on the counter "key", which holds 10 before it."""

    name: str
    arguments: tuple[Any, ...]
    result: Any
    left: int = 10  # what the counter holds after it
    options: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """The counter it changes."""
        return "other" if self.name == "set_if_not_exists" else "key"

    @property
    def value(self) -> int | None:
        """The amount it changes it by."""
        return None if self.name == "delete" else 3


CHANGING = {
    "increment": Operation("increment", ("key", 3), 13, 13),
    "increment with a ttl": Operation("increment", ("key", 3, 60), 13, 13),
    "decrement": Operation("decrement", ("key", 3), 7, 7),
    "decrement with a ttl": Operation("decrement", ("key", 3, 60), 7, 7),
    "decrement_if_exists": Operation(
        "decrement_if_exists", ("key", 3), DecrementResult(7, True, True), 7
    ),
    "set_if_not_exists": Operation("set_if_not_exists", ("other", 3), True, 3),
    "delete": Operation("delete", ("key",), None, 0),
    "take": Operation("take", ([Budget("key", 10, 60)], 3), [DecrementResult(7, True, True)], 7),
    "refund": Operation("refund", ([Budget("key", 20, 60)], 3), None, 13),
    "advance": Operation("advance", ([Timer("key", 0, 1, 99, 60)], 3), [TimerResult(13, True)], 13),
    "set": Operation("set", ("key", 3), True, 3),
    "set with if_equal": Operation("set", ("key", 3), True, 3, {"if_equal": 10}),
}
SAFE = {
    "get": Operation("get", ("key",), 10),
    "multi_get": Operation("multi_get", (["key", "other"],), {"key": 10, "other": 0}),
    "entry": Operation("entry", ("key",), ("key", 10, None)),
    "scan": Operation("scan", ("key",), [("key", 10, None)]),
}
ALL = CHANGING | SAFE


class Caller:
    """Calls operations of a counter, either the synchronous ones or their async twins."""

    def __init__(self, runner: asyncio.Runner | None) -> None:
        self._runner = runner

    def __call__(self, counter: RedisCounter, operation: str, *args: Any, **options: Any) -> Any:
        if self._runner is None:
            answer = getattr(counter, operation)(*args, **options)
            return list(answer) if operation == "scan" else answer
        return self._runner.run(self._acall(counter, operation, *args, **options))

    async def _acall(
        self, counter: RedisCounter, operation: str, *args: Any, **options: Any
    ) -> Any:
        answer = getattr(counter, f"a{operation}")(*args, **options)
        return [entry async for entry in answer] if operation == "scan" else await answer


def make(call: Caller, counter: RedisCounter, operation: Operation) -> Any:
    """Call an operation."""
    return call(counter, operation.name, *operation.arguments, **operation.options)
