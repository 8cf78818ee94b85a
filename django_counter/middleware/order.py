"""Operations in the order in which they were asked: after what waits for their keys."""

import asyncio
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

from django_counter.batch import Operation
from django_counter.exceptions import CounterConfigError, CounterError, CounterUnavailable
from django_counter.middleware.pending import PendingSums

# Errors of operations that changed nothing for sure.
NOT_APPLIED = (CounterUnavailable, CounterConfigError, TypeError, ValueError)

Method = TypeVar("Method", bound=Callable[..., Any])


class Buffer(Protocol):
    """What has something that waits, and can send it."""

    _pending: PendingSums

    def flush(self) -> None:
        """Send what waits."""


def after_pending(operation: Method) -> Method:
    """Send first what waits for the keys of an operation, so that it comes after it.

    What it tells of their counters is known from then on.
    """
    first = _first_parameter(operation)
    name = operation.__name__

    @wraps(operation)
    def call(self: Buffer, *args: Any, **kwargs: Any) -> Any:
        keys = _keys(args[0] if args else kwargs.get(first))
        if self._pending.holds(keys):
            self.flush()
            self._pending.refuse_after(keys)
        with _forgetting(self._pending, keys):
            outcome = operation(self, *args, **kwargs)
            _learn(self._pending, keys, Operation(name, args, kwargs), outcome)
        return outcome

    return cast(Method, call)


def aafter_pending(operation: Method) -> Method:
    """See after_pending()."""
    first = _first_parameter(operation)
    name = operation.__name__.removeprefix("a")

    @wraps(operation)
    async def call(self: Buffer, *args: Any, **kwargs: Any) -> Any:
        keys = _keys(args[0] if args else kwargs.get(first))
        if self._pending.holds(keys):
            await asyncio.to_thread(self.flush)
            self._pending.refuse_after(keys)
        with _forgetting(self._pending, keys):
            outcome = await operation(self, *args, **kwargs)
            _learn(self._pending, keys, Operation(name, args, kwargs), outcome)
        return outcome

    return cast(Method, call)


@contextmanager
def _forgetting(pending: PendingSums, keys: Collection[str] | None) -> Iterator[None]:
    """Forget what is known of keys where an operation fails that may have changed them."""
    try:
        yield
    except NOT_APPLIED:
        raise
    except BaseException:
        pending.forget(keys)
        raise


def _learn(
    pending: PendingSums, keys: Collection[str] | None, operation: Operation, outcome: Any
) -> None:
    """Take note of what an operation that was made tells of its counters."""
    match operation.name:
        case "run_all":
            made = (
                operation.arguments[0] if operation.arguments else operation.keywords["operations"]
            )
            for each, its_own in zip(made, outcome, strict=True):
                _learn(pending, each.keys, each, its_own)
        case _ if isinstance(outcome, NOT_APPLIED):
            return
        case "multi_increment":
            pending.learn(outcome)
        case "take" | "refund" | "advance":
            pending.forget(keys)  # rather than to know many budgets in place of counters
        case _ if isinstance(outcome, CounterError):
            pending.forget(keys)
        case _:
            value = _value_after(operation, outcome)
            if value is not None:
                pending.learn(dict.fromkeys(keys or (), value))


def _value_after(operation: Operation, outcome: Any) -> int | None:
    """Return what the one counter of an operation holds, None for one that changed nothing."""
    match operation.name:
        case "set" | "set_if_not_exists":
            named = operation.keywords
            value = named["value"] if "value" in named else operation.arguments[1]
            return int(value) if outcome else None
        case "delete":
            return 0
        case "decrement_if_exists" | "entry":
            return outcome.value if outcome else 0
        case _:
            return int(outcome)


def _first_parameter(operation: Callable[..., Any]) -> str:
    return list(inspect.signature(operation).parameters)[1]  # behind self


def _keys(named: Any) -> Collection[str] | None:
    """Return the keys in the first argument of an operation, None where they cannot be told."""
    if isinstance(named, str):
        return (named,)
    if isinstance(named, Mapping):
        return tuple(named)
    if not isinstance(named, list | tuple):
        return None
    keys: list[str] = []
    for each in named:
        keys += each.keys if isinstance(each, Operation) else (getattr(each, "key", ""),)
    return keys
