"""Operations in the order in which they were asked: after what waits for their keys."""

import asyncio
import inspect
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

from django_counter.batch import Operation
from django_counter.middleware.pending import Pending

Method = TypeVar("Method", bound=Callable[..., Any])


class Buffer(Protocol):
    """What has something that waits, and can send it."""

    _pending: Pending

    def flush(self) -> None:
        """Send what waits."""


def after_pending(operation: Method) -> Method:
    """Send first what waits for the keys of an operation, so that it comes after it."""
    first = _first_parameter(operation)

    @wraps(operation)
    def call(self: Buffer, *args: Any, **kwargs: Any) -> Any:
        keys = _keys(args[0] if args else kwargs.get(first))
        if self._pending.holds(keys):
            self.flush()
            self._pending.refuse_after(keys)
        return operation(self, *args, **kwargs)

    return cast(Method, call)


def aafter_pending(operation: Method) -> Method:
    """See after_pending()."""
    first = _first_parameter(operation)

    @wraps(operation)
    async def call(self: Buffer, *args: Any, **kwargs: Any) -> Any:
        keys = _keys(args[0] if args else kwargs.get(first))
        if self._pending.holds(keys):
            await asyncio.to_thread(self.flush)
            self._pending.refuse_after(keys)
        return await operation(self, *args, **kwargs)

    return cast(Method, call)


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
