"""The contract of a counter: its operations.

Every operation has an async twin of the same signature, prefixed with `a`.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from django_counter.batch import Batch, Operation
from django_counter.values import Budget, DecrementResult, Entry, Page, Timer, TimerResult, Ttl


class Counter(ABC):
    """Integers under keys, changed by many processes at once, each call one atomic step.

    Everywhere below: a key is a non-empty `str` without control characters, at most 512 bytes
    in UTF-8. A value is an `int` in int64. A ttl is a number of seconds from 0.001 to
    100 years, or a `timedelta`; it is kept in whole milliseconds. None means no expiry.

    An argument outside these rules is a `TypeError` or a `ValueError` that names it, raised
    before anything is sent. Every operation may raise `CounterUnavailable` and
    `CounterConfigError`, those that change something `CounterOutcomeUnknown`, and those that
    read or add to what is stored `CounterTypeError`.

    An `idempotency_key` is a `str` by the rules of a key. It names one call on one counter (of
    `take` and `advance`: on the first): within a window, ten minutes by default, a repeat is
    answered what the first one was, and changes nothing. An error is not remembered, nor is a
    refusal that time heals: by timers, and by budgets with a scope. The same key with another
    operation or other arguments is a `CounterIdempotencyError`; `floor`, `start` and `ceiling`
    are no such arguments, for they move with time. A lost reply is asked for again by itself.
    """

    @abstractmethod
    def increment(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        """Add a value, of either sign, and return the sum. A missing counter starts from 0.

        The ttl starts only when this call creates the counter; an existing one keeps its own.
        Raise CounterOverflow when the sum would leave int64.
        """

    @abstractmethod
    async def aincrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        """See increment()."""

    @abstractmethod
    def multi_increment(self, values: Mapping[str, int], ttl: Ttl = None) -> dict[str, int]:
        """Add a value to each key, as by increment(); return each with its sum, in that order.

        They leave together, 10,000 at a time, and each counts by itself. When all fail alike,
        that error is raised; when some do, CounterPartlyApplied.
        """

    @abstractmethod
    async def amulti_increment(self, values: Mapping[str, int], ttl: Ttl = None) -> dict[str, int]:
        """See multi_increment()."""

    @abstractmethod
    def get(self, key: str) -> int:
        """Return the value, 0 when missing."""

    @abstractmethod
    async def aget(self, key: str) -> int:
        """See get()."""

    @abstractmethod
    def multi_get(self, keys: Iterable[str]) -> dict[str, int]:
        """Return each key once, in the order asked, with its value, 0 when missing.

        Raise CounterTypeError for a stored string that is no counter. A key that holds another
        Redis type than a string reads as missing: that is MGET's answer for it.
        """

    @abstractmethod
    async def amulti_get(self, keys: Iterable[str]) -> dict[str, int]:
        """See multi_get()."""

    @abstractmethod
    def decrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        """Subtract a value > 0 and return the difference, which may be below zero.

        A missing counter starts from 0 and is created, with the ttl, as by increment().
        Raise CounterOverflow when the difference would leave int64.
        """

    @abstractmethod
    async def adecrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        """See decrement()."""

    @abstractmethod
    def decrement_if_exists(
        self, key: str, value: int = 1, *, idempotency_key: str | None = None
    ) -> DecrementResult:
        """Subtract a value > 0 where the counter exists and holds at least that much.

        Missing: (0, False, False), and nothing is created. Too little: (what it holds, True,
        False). The ttl stays.
        """

    @abstractmethod
    async def adecrement_if_exists(
        self, key: str, value: int = 1, *, idempotency_key: str | None = None
    ) -> DecrementResult:
        """See decrement_if_exists()."""

    @abstractmethod
    def set_if_not_exists(self, key: str, value: int, ttl: Ttl = None) -> bool:
        """Create a counter with this value; return whether this call created it.

        False for whatever the key holds already; that, and its ttl, stay.
        """

    @abstractmethod
    async def aset_if_not_exists(self, key: str, value: int, ttl: Ttl = None) -> bool:
        """See set_if_not_exists()."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the key, whatever it holds. A missing one is no error."""

    @abstractmethod
    async def adelete(self, key: str) -> None:
        """See delete()."""

    @abstractmethod
    def take(
        self, budgets: Sequence[Budget], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[DecrementResult]:
        """Draw a cost > 0 from all the budgets, or from none of them, as one atomic step.

        A missing budget is first created with its limit and ttl, whether or not the cost is
        drawn. The cost is drawn when every budget keeps at least its floor. The results are in
        the order of the budgets; `existed` is True in each, `success` is the same in all.
        Budgets are at least one, with different keys.
        """

    @abstractmethod
    async def atake(
        self, budgets: Sequence[Budget], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[DecrementResult]:
        """See take()."""

    @abstractmethod
    def refund(self, budgets: Sequence[Budget], cost: int = 1) -> None:
        """Give a cost > 0 back to budgets that were drawn, as one atomic step.

        None gets more than its limit, which the cost must not exceed. A missing one stays
        missing: it starts whole.
        """

    @abstractmethod
    async def arefund(self, budgets: Sequence[Budget], cost: int = 1) -> None:
        """See refund()."""

    @abstractmethod
    def advance(
        self, timers: Sequence[Timer], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[TimerResult]:
        """Move all the timers on by cost > 0 steps, or none of them, as one atomic step.

        They are moved when none would pass its ceiling. The results are in the order of the
        timers, `success` is the same in all. Timers are at least one, with different keys.
        """

    @abstractmethod
    async def aadvance(
        self, timers: Sequence[Timer], cost: int = 1, *, idempotency_key: str | None = None
    ) -> list[TimerResult]:
        """See advance()."""

    @abstractmethod
    def set(self, key: str, value: int, ttl: Ttl = None, *, if_equal: int | None = None) -> bool:
        """Store a value with its ttl, in place of both; return whether it was stored.

        With `if_equal`, only where that value is stored: a missing counter equals nothing.
        Raise CounterTypeError for what is no counter, and leave it: delete it first.
        """

    @abstractmethod
    async def aset(
        self, key: str, value: int, ttl: Ttl = None, *, if_equal: int | None = None
    ) -> bool:
        """See set()."""

    @abstractmethod
    def entry(self, key: str) -> Entry | None:
        """Return the counter with its time left, None when missing."""

    @abstractmethod
    async def aentry(self, key: str) -> Entry | None:
        """See entry()."""

    @abstractmethod
    def scan(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the counters whose key starts with a prefix (literally), in no order.

        It streams, while others go on: a counter that exists all the time is yielded at least
        once, one created or deleted meanwhile may be missed, one may be yielded twice. What is
        stored there and is no counter is passed over. Arguments are checked at the first step.
        """

    @abstractmethod
    def ascan(self, prefix: str = "") -> AsyncIterator[Entry]:
        """See scan()."""

    @abstractmethod
    def scan_page(self, prefix: str = "", cursor: str = "") -> Page:
        """Return a part of scan(), of about a thousand stored keys looked through.

        The first page has the empty cursor. Others are good for their own prefix, and for as
        long as the counters are where they are. Raise ValueError for one that is none.
        """

    @abstractmethod
    async def ascan_page(self, prefix: str = "", cursor: str = "") -> Page:
        """See scan_page()."""

    def batch(self) -> Batch:
        """Return what records operations in a `with` or `async with` block: see Batch."""
        return Batch(self)

    @abstractmethod
    def run_all(self, operations: Sequence[Operation]) -> list[Any]:
        """Apply what a batch has recorded; return for each its answer, or its CounterError.

        A batch calls it once, at the end of its block.
        """

    @abstractmethod
    async def arun_all(self, operations: Sequence[Operation]) -> list[Any]:
        """See run_all()."""

    @abstractmethod
    def close(self) -> None:
        """Drop the idle connections of this process. Calls under way go on; so may new ones."""

    @abstractmethod
    async def aclose(self) -> None:
        """See close(): also that of the running event loop, once its calls are answered."""
