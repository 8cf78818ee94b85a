"""A counter that forwards every operation to the next one."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from django_counter.arguments import checked_budgets, checked_keys, checked_timers, checked_values
from django_counter.base import Counter
from django_counter.batch import Operation
from django_counter.exceptions import CounterError, gravest
from django_counter.idempotency import keyword
from django_counter.values import Budget, DecrementResult, Entry, Page, Timer, TimerResult, Ttl


class CounterMiddleware(Counter):
    """The base of middleware: it forwards everything to `self.next`.

    Override `around` to surround every operation, or the method of one operation, and its
    async twin, to change that one. A batch comes through as one call, `run_all`, and not through
    the methods of its operations. What around() sees of its errors is one of the gravest.
    """

    def __init__(self, next: Counter) -> None:
        self.next = next

    def around(self, operation: str, keys: tuple[str, ...]) -> AbstractContextManager[object]:
        """Return what each operation runs in: entered before it, left after it.

        `operation` is the name of the synchronous one for both twins. `keys` are those that the
        caller gave, not yet checked; scan, scan_page and close have none.
        """
        return _NOTHING

    def increment(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        with self.around("increment", (key,)):
            return self.next.increment(key, value, ttl, **keyword(idempotency_key))

    async def aincrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        with self.around("increment", (key,)):
            return await self.next.aincrement(key, value, ttl, **keyword(idempotency_key))

    def multi_increment(self, values: Mapping[str, int], ttl: Ttl = None) -> dict[str, int]:
        checked = checked_values(values)
        with self.around("multi_increment", tuple(checked)):
            return self.next.multi_increment(checked, ttl)

    async def amulti_increment(self, values: Mapping[str, int], ttl: Ttl = None) -> dict[str, int]:
        checked = checked_values(values)
        with self.around("multi_increment", tuple(checked)):
            return await self.next.amulti_increment(checked, ttl)

    def get(self, key: str) -> int:
        with self.around("get", (key,)):
            return self.next.get(key)

    async def aget(self, key: str) -> int:
        with self.around("get", (key,)):
            return await self.next.aget(key)

    def multi_get(self, keys: Iterable[str]) -> dict[str, int]:
        distinct = list(dict.fromkeys(checked_keys(keys)))
        with self.around("multi_get", tuple(distinct)):
            return self.next.multi_get(distinct)

    async def amulti_get(self, keys: Iterable[str]) -> dict[str, int]:
        distinct = list(dict.fromkeys(checked_keys(keys)))
        with self.around("multi_get", tuple(distinct)):
            return await self.next.amulti_get(distinct)

    def decrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        with self.around("decrement", (key,)):
            return self.next.decrement(key, value, ttl, **keyword(idempotency_key))

    async def adecrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        with self.around("decrement", (key,)):
            return await self.next.adecrement(key, value, ttl, **keyword(idempotency_key))

    def decrement_if_exists(
        self, key: str, value: int = 1, *, idempotency_key: str | None = None
    ) -> DecrementResult:
        with self.around("decrement_if_exists", (key,)):
            return self.next.decrement_if_exists(key, value, **keyword(idempotency_key))

    async def adecrement_if_exists(
        self, key: str, value: int = 1, *, idempotency_key: str | None = None
    ) -> DecrementResult:
        with self.around("decrement_if_exists", (key,)):
            return await self.next.adecrement_if_exists(key, value, **keyword(idempotency_key))

    def set_if_not_exists(self, key: str, value: int, ttl: Ttl = None) -> bool:
        with self.around("set_if_not_exists", (key,)):
            return self.next.set_if_not_exists(key, value, ttl)

    async def aset_if_not_exists(self, key: str, value: int, ttl: Ttl = None) -> bool:
        with self.around("set_if_not_exists", (key,)):
            return await self.next.aset_if_not_exists(key, value, ttl)

    def delete(self, key: str) -> None:
        with self.around("delete", (key,)):
            self.next.delete(key)

    async def adelete(self, key: str) -> None:
        with self.around("delete", (key,)):
            await self.next.adelete(key)

    def take(
        self, budgets: Sequence[Budget], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[DecrementResult]:
        budgets = checked_budgets(budgets)
        with self.around("take", tuple(budget.key for budget in budgets)):
            return self.next.take(budgets, cost, **keyword(idempotency_key))

    async def atake(
        self, budgets: Sequence[Budget], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[DecrementResult]:
        budgets = checked_budgets(budgets)
        with self.around("take", tuple(budget.key for budget in budgets)):
            return await self.next.atake(budgets, cost, **keyword(idempotency_key))

    def refund(self, budgets: Sequence[Budget], cost: int = 1) -> None:
        budgets = checked_budgets(budgets)
        with self.around("refund", tuple(budget.key for budget in budgets)):
            self.next.refund(budgets, cost)

    async def arefund(self, budgets: Sequence[Budget], cost: int = 1) -> None:
        budgets = checked_budgets(budgets)
        with self.around("refund", tuple(budget.key for budget in budgets)):
            await self.next.arefund(budgets, cost)

    def advance(
        self, timers: Sequence[Timer], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[TimerResult]:
        timers = checked_timers(timers)
        with self.around("advance", tuple(timer.key for timer in timers)):
            return self.next.advance(timers, cost, **keyword(idempotency_key))

    async def aadvance(
        self, timers: Sequence[Timer], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[TimerResult]:
        timers = checked_timers(timers)
        with self.around("advance", tuple(timer.key for timer in timers)):
            return await self.next.aadvance(timers, cost, **keyword(idempotency_key))

    def set(self, key: str, value: int, ttl: Ttl = None, *, if_equal: int | None = None) -> bool:
        with self.around("set", (key,)):
            return self.next.set(key, value, ttl, if_equal=if_equal)

    async def aset(
        self, key: str, value: int, ttl: Ttl = None, *, if_equal: int | None = None
    ) -> bool:
        with self.around("set", (key,)):
            return await self.next.aset(key, value, ttl, if_equal=if_equal)

    def entry(self, key: str) -> Entry | None:
        with self.around("entry", (key,)):
            return self.next.entry(key)

    async def aentry(self, key: str) -> Entry | None:
        with self.around("entry", (key,)):
            return await self.next.aentry(key)

    def scan(self, prefix: str = "") -> Iterator[Entry]:
        with self.around("scan", ()):
            yield from self.next.scan(prefix)

    async def ascan(self, prefix: str = "") -> AsyncIterator[Entry]:
        with self.around("scan", ()):
            async for entry in self.next.ascan(prefix):
                yield entry

    def scan_page(self, prefix: str = "", cursor: str = "") -> Page:
        with self.around("scan_page", ()):
            return self.next.scan_page(prefix, cursor)

    async def ascan_page(self, prefix: str = "", cursor: str = "") -> Page:
        with self.around("scan_page", ()):
            return await self.next.ascan_page(prefix, cursor)

    def run_all(self, operations: Sequence[Operation]) -> list[Any]:
        with _outcomes(len(operations)) as outcomes, self.around("run_all", _keys(operations)):
            outcomes += self.next.run_all(operations)
            _raise_gravest(outcomes)
        return outcomes

    async def arun_all(self, operations: Sequence[Operation]) -> list[Any]:
        with _outcomes(len(operations)) as outcomes, self.around("run_all", _keys(operations)):
            outcomes += await self.next.arun_all(operations)
            _raise_gravest(outcomes)
        return outcomes

    def close(self) -> None:
        with self.around("close", ()):
            self.next.close()

    async def aclose(self) -> None:
        with self.around("close", ()):
            await self.next.aclose()


_NOTHING = nullcontext()


def _keys(operations: Sequence[Operation]) -> tuple[str, ...]:
    return tuple(key for operation in operations for key in operation.keys)


@contextmanager
def _outcomes(count: int) -> Iterator[list[Any]]:
    """Yield a list for `count` outcomes: one error for all, where it is raised before there are."""
    outcomes: list[Any] = []
    try:
        yield outcomes
    except CounterError as error:
        outcomes += [error] * (count - len(outcomes))


def _raise_gravest(outcomes: list[Any]) -> None:
    """Raise, for around() to see it, how a batch failed."""
    errors = [each for each in outcomes if isinstance(each, CounterError)]
    if errors:
        raise gravest(errors)
