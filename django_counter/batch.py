"""Operations that are recorded and leave together, and what becomes of them."""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

from django_counter.arguments import checked_budgets, checked_timers, milliseconds
from django_counter.exceptions import (
    CounterError,
    CounterOutcomeUnknown,
    CounterPartlyApplied,
    gravest,
)
from django_counter.values import Budget, DecrementResult, Entry, Timer, TimerResult, Ttl, new

Answer = TypeVar("Answer")


class Operation(NamedTuple):
    """A call that a batch has recorded: its operation is one of those that Batch has."""

    name: str
    arguments: tuple[Any, ...]  # all that are not keyword-only, the key or the budgets first
    keywords: dict[str, Any]

    @property
    def keys(self) -> tuple[str, ...]:
        """Those that the caller gave, not yet checked."""
        named = self.arguments[0]
        several = self.name in ("take", "refund", "advance")
        return tuple(each.key for each in named) if several else (named,)


class Runner(Protocol):
    """What a batch needs of a counter."""

    def run_all(self, operations: Sequence[Operation]) -> list[Any]:
        """See Counter.run_all()."""

    async def arun_all(self, operations: Sequence[Operation]) -> list[Any]:
        """See run_all()."""


class Pending(Generic[Answer]):
    """What an operation of a batch will have answered."""

    __slots__ = ("_outcome",)
    _outcome: Any

    def result(self) -> Answer:
        """Return the answer, or raise its CounterError; a RuntimeError before the batch is sent."""
        try:
            outcome = self._outcome
        except AttributeError:
            raise RuntimeError("a batch has results after its block, if that went well") from None
        if isinstance(outcome, CounterError):
            raise outcome
        answer: Answer = outcome
        return answer


_NOTHING: dict[str, Any] = {}


class Batch:
    """Operations that are recorded in a block, and leave together when it ends.

    In one round trip, on a cluster one to each node; 10,000 at a time when they are more. They are
    sent in the order recorded, and are not one atomic step: others may come between, and each has
    its own answer or error. `with` sends them, or `async with`, each once.

    A refused argument is raised at the end of the block at the latest, budgets and timers that
    cannot be as they are recorded, and nothing is sent then. Nor is it when the block raises, nor
    when nothing was recorded.
    """

    def __init__(self, counter: Runner) -> None:
        self._counter = counter
        self._operations: list[Operation] = []
        self._pending: list[Pending[Any]] = []
        self._recording = False

    def __enter__(self) -> "Batch":
        self._operations, self._pending, self._recording = [], [], True
        return self

    async def __aenter__(self) -> "Batch":
        return self.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._recording = False
        if kind is None and self._operations:
            self._answer(self._counter.run_all(self._operations))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._recording = False
        if kind is None and self._operations:
            self._answer(await self._counter.arun_all(self._operations))

    def increment(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> Pending[int]:
        """See Counter.increment()."""
        return self._record("increment", (key, value, ttl), idempotency_key)

    def get(self, key: str) -> Pending[int]:
        """See Counter.get()."""
        return self._record("get", (key,))

    def decrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> Pending[int]:
        """See Counter.decrement()."""
        return self._record("decrement", (key, value, ttl), idempotency_key)

    def decrement_if_exists(
        self, key: str, value: int = 1, *, idempotency_key: str | None = None
    ) -> Pending[DecrementResult]:
        """See Counter.decrement_if_exists()."""
        return self._record("decrement_if_exists", (key, value), idempotency_key)

    def set_if_not_exists(self, key: str, value: int, ttl: Ttl = None) -> Pending[bool]:
        """See Counter.set_if_not_exists()."""
        return self._record("set_if_not_exists", (key, value, ttl))

    def delete(self, key: str) -> Pending[None]:
        """See Counter.delete()."""
        return self._record("delete", (key,))

    def take(
        self, budgets: Sequence[Budget], cost: int = 1, *, idempotency_key: str | None = None
    ) -> Pending[list[DecrementResult]]:
        """See Counter.take()."""
        return self._record("take", (checked_budgets(budgets), cost), idempotency_key)

    def refund(self, budgets: Sequence[Budget], cost: int = 1) -> Pending[None]:
        """See Counter.refund()."""
        return self._record("refund", (checked_budgets(budgets), cost))

    def advance(
        self, timers: Sequence[Timer], cost: int = 1, *, idempotency_key: str | None = None
    ) -> Pending[list[TimerResult]]:
        """See Counter.advance()."""
        return self._record("advance", (checked_timers(timers), cost), idempotency_key)

    def set(
        self, key: str, value: int, ttl: Ttl = None, *, if_equal: int | None = None
    ) -> Pending[bool]:
        """See Counter.set()."""
        return self._record("set", (key, value, ttl), keywords={"if_equal": if_equal})

    def entry(self, key: str) -> Pending[Entry | None]:
        """See Counter.entry()."""
        return self._record("entry", (key,))

    def _record(
        self,
        name: str,
        arguments: tuple[Any, ...],
        idempotency_key: str | None = None,
        keywords: dict[str, Any] = _NOTHING,
    ) -> Pending[Any]:
        if not self._recording:
            raise RuntimeError("a batch takes operations inside its block")
        if idempotency_key is not None:
            keywords = {"idempotency_key": idempotency_key}
        self._operations.append(new(Operation, (name, arguments, keywords)))
        pending: Pending[Any] = Pending()
        self._pending.append(pending)
        return pending

    def _answer(self, outcomes: list[Any]) -> None:
        for pending, outcome in zip(self._pending, outcomes, strict=True):
            pending._outcome = outcome


def increments_of(values: dict[str, int], ttl: Ttl) -> list[Operation]:
    """Return the operations that a multi_increment() of checked values is; refuse a bad ttl."""
    milliseconds(ttl)
    return [Operation("increment", (key, value, ttl), {}) for key, value in values.items()]


def checked_sums(keys: Iterable[str], outcomes: Iterable[int | CounterError]) -> dict[str, int]:
    """Return the sums by key; raise what increments that leave together raise when some fail."""
    by_key = dict(zip(keys, outcomes, strict=True))
    sums = cast(dict[str, int], by_key)
    if {*map(type, by_key.values())} <= {int}:
        return sums
    errors = {key: each for key, each in by_key.items() if isinstance(each, CounterError)}
    sums = {key: each for key, each in sums.items() if key not in errors}
    error = gravest(errors.values())
    if sums or len({type(each) for each in errors.values()}) > 1:
        raise CounterPartlyApplied(sums, errors) from error
    if isinstance(error, CounterOutcomeUnknown) and len(errors) > 1:
        unknown = ", ".join(errors)
        raise CounterOutcomeUnknown("multi_increment", unknown, None) from error.__cause__
    raise error
