"""Another alias, wherever a counter is unavailable."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from django_counter.arguments import checked_values
from django_counter.base import Counter
from django_counter.batch import Operation, checked_sums, increments_of
from django_counter.exceptions import CounterUnavailable
from django_counter.handler import counters
from django_counter.middleware.base import CounterMiddleware
from django_counter.values import Ttl

Method = TypeVar("Method", bound=Callable[..., Any])


def _or_fallback(operation: Method) -> Method:
    @wraps(operation)
    def ask(self: "FallbackMiddleware", *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _twice(args, kwargs)
        try:
            return operation(self, *args, **kwargs)
        except CounterUnavailable:
            return operation(self.fallback, *args, **kwargs)

    return cast(Method, ask)


def _aor_fallback(operation: Method) -> Method:
    @wraps(operation)
    async def ask(self: "FallbackMiddleware", *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _twice(args, kwargs)
        try:
            return await operation(self, *args, **kwargs)
        except CounterUnavailable:
            return await operation(self.fallback, *args, **kwargs)

    return cast(Method, ask)


def _twice(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments that can be read twice: keys may come from a generator."""
    return (
        tuple(list(each) if isinstance(each, Iterator) else each for each in args),
        {name: list(v) if isinstance(v, Iterator) else v for name, v in kwargs.items()},
    )


class FallbackMiddleware(CounterMiddleware):
    """Make each call that raises CounterUnavailable on another alias instead.

    The next call asks this counter first again. What was counted on the other alias stays there.
    Of a batch, and of multi_increment(), it makes what was unavailable.
    An unknown outcome is not repeated: it may have been applied. Nor is a scan, whose pages follow
    each other.
    """

    def __init__(self, next: Counter, *, alias: str) -> None:
        super().__init__(next)
        self.fallback = CounterMiddleware(counters[alias])

    increment = _or_fallback(CounterMiddleware.increment)
    aincrement = _aor_fallback(CounterMiddleware.aincrement)
    get = _or_fallback(CounterMiddleware.get)
    aget = _aor_fallback(CounterMiddleware.aget)
    multi_get = _or_fallback(CounterMiddleware.multi_get)
    amulti_get = _aor_fallback(CounterMiddleware.amulti_get)
    decrement = _or_fallback(CounterMiddleware.decrement)
    adecrement = _aor_fallback(CounterMiddleware.adecrement)
    decrement_if_exists = _or_fallback(CounterMiddleware.decrement_if_exists)
    adecrement_if_exists = _aor_fallback(CounterMiddleware.adecrement_if_exists)
    set_if_not_exists = _or_fallback(CounterMiddleware.set_if_not_exists)
    aset_if_not_exists = _aor_fallback(CounterMiddleware.aset_if_not_exists)
    delete = _or_fallback(CounterMiddleware.delete)
    adelete = _aor_fallback(CounterMiddleware.adelete)
    take = _or_fallback(CounterMiddleware.take)
    atake = _aor_fallback(CounterMiddleware.atake)
    refund = _or_fallback(CounterMiddleware.refund)
    arefund = _aor_fallback(CounterMiddleware.arefund)
    advance = _or_fallback(CounterMiddleware.advance)
    aadvance = _aor_fallback(CounterMiddleware.aadvance)
    set = _or_fallback(CounterMiddleware.set)
    aset = _aor_fallback(CounterMiddleware.aset)
    entry = _or_fallback(CounterMiddleware.entry)
    aentry = _aor_fallback(CounterMiddleware.aentry)

    def multi_increment(self, values: Mapping[str, int], ttl: Ttl = None) -> dict[str, int]:
        checked = checked_values(values)
        return checked_sums(checked, self.run_all(increments_of(checked, ttl)))

    async def amulti_increment(self, values: Mapping[str, int], ttl: Ttl = None) -> dict[str, int]:
        checked = checked_values(values)
        return checked_sums(checked, await self.arun_all(increments_of(checked, ttl)))

    def run_all(self, operations: Sequence[Operation]) -> list[Any]:
        outcomes = super().run_all(operations)
        away = _unavailable(outcomes)
        if away:
            _replace(outcomes, away, self.fallback.run_all([operations[each] for each in away]))
        return outcomes

    async def arun_all(self, operations: Sequence[Operation]) -> list[Any]:
        outcomes = await super().arun_all(operations)
        away = _unavailable(outcomes)
        if away:
            again = await self.fallback.arun_all([operations[each] for each in away])
            _replace(outcomes, away, again)
        return outcomes


def _replace(outcomes: list[Any], away: list[int], again: list[Any]) -> None:
    for number, outcome in zip(away, again, strict=True):
        outcomes[number] = outcome


def _unavailable(outcomes: list[Any]) -> list[int]:
    return [number for number, each in enumerate(outcomes) if isinstance(each, CounterUnavailable)]
