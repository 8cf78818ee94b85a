"""The contract of a counter: its operations, the values they answer with, the argument rules.

Every operation has an async twin of the same signature, prefixed with `a`.
"""

import re
import reprlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

from django_counter.exceptions import (
    CounterError,
    CounterOutcomeUnknown,
    CounterPartlyApplied,
    gravest,
)

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
TIMER_MAX = 2**53 - 1  # Redis moves timers in Lua, whose numbers are exact up to here
KEY_MAX_BYTES = 512
TTL_MIN = 0.001  # seconds
TTL_MAX = 36_525 * 86_400  # seconds: 100 years

Ttl: TypeAlias = float | timedelta | None


class DecrementResult(NamedTuple):
    """What a conditional decrement found and did."""

    value: int  # after the call; 0 when missing
    existed: bool
    success: bool  # whether the amount was drawn


class Budget(NamedTuple):
    """A counter that starts at a limit, is drawn down by `take`, and ends with its ttl."""

    key: str
    limit: int  # what it starts with, > 0
    ttl: Ttl  # seconds, from the call that creates it; None = no expiry
    floor: int = 0  # `take` leaves at least this much, >= 0
    scope: str | None = None  # of a series of them: what idempotency keys belong to, not the key


class Timer(NamedTuple):
    """A counter that holds a point in time, in units and from an origin of the caller's choice."""

    key: str
    start: int  # where a missing one, or one that lies before, begins; 0 to 2**53 - 1
    step: int  # what each unit of the cost moves it by, 1 to 2**53 - 1
    ceiling: int  # how far it may be moved, 0 to 2**53 - 1
    ttl: Ttl  # seconds, from each move


class TimerResult(NamedTuple):
    """Where a timer is after a call, at its start or later, and whether the call moved it."""

    value: int
    success: bool


class Entry(NamedTuple):
    """A stored counter, as operators see it."""

    key: str
    value: int
    ttl: float | None  # seconds left; None = no expiry


class Page(NamedTuple):
    """A part of a scan. It may be empty and not the last one."""

    entries: list[Entry]
    cursor: str  # what the next page is asked for with; empty after the last one


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

    def batch(self) -> "Batch":
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


Answer = TypeVar("Answer")


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

    A refused argument is raised at the end of the block, and nothing is sent then. Nor is it when
    the block raises, nor when nothing was recorded.
    """

    def __init__(self, counter: Counter) -> None:
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
        self._operations.append(Operation(name, arguments, keywords))
        pending: Pending[Any] = Pending()
        self._pending.append(pending)
        return pending

    def _answer(self, outcomes: list[Any]) -> None:
        for pending, outcome in zip(self._pending, outcomes, strict=True):
            pending._outcome = outcome


def check_key(key: str) -> None:
    """Refuse what is no key."""
    if not _plain(key):
        _check_name("key", key)


def check_idempotency_key(idempotency_key: str) -> None:
    """Refuse what is no idempotency key."""
    _check_name("idempotency_key", idempotency_key)


def check_prefix(prefix: str) -> None:
    """Refuse what cannot begin a key. The empty prefix begins every key."""
    _check_text("prefix", prefix)


def check_cursor(cursor: str) -> None:
    """Refuse what is no text. What else a cursor must be is up to the backend."""
    _check_text("cursor", cursor)


def checked_keys(keys: Iterable[str]) -> list[str]:
    """Return the different keys, in order; refuse one `str`, whose letters are not meant."""
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise TypeError(f"keys must be several str, such as a list, not {_shown(keys)}")
    listed = list(keys)
    if not _all_plain(listed):
        for key in listed:
            check_key(key)
    return list(dict.fromkeys(listed))


def checked_value(value: int, name: str = "value") -> int:
    """Return a plain int; refuse what is no int64."""
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:
        return value
    return _checked_integer(name, value, INT64_MIN)


def checked_amount(value: int, name: str = "value") -> int:
    """Return a plain int; refuse what is no positive int64."""
    if type(value) is int and 0 < value <= INT64_MAX:
        return value
    return _checked_integer(name, value, 1)


def checked_values(values: Mapping[str, int]) -> dict[str, int]:
    """Return the values by key; refuse keys and values that are none."""
    if not isinstance(values, Mapping):
        raise TypeError(f"values must be a mapping of str to int, not {_shown(values)}")
    amounts = values.values()
    plain = _all_plain(list(values)) and {*map(type, amounts)} == {int}
    if plain and min(amounts) >= INT64_MIN and max(amounts) <= INT64_MAX:
        return dict(values)
    checked = {}
    for key, value in values.items():
        check_key(key)
        checked[key] = checked_value(value)
    return checked


def increments_of(values: dict[str, int], ttl: Ttl) -> list[Operation]:
    """Return the operations that a multi_increment() of checked values is; refuse a bad ttl."""
    milliseconds(ttl)
    return [Operation("increment", (key, value, ttl), {}) for key, value in values.items()]


def checked_sums(values: Iterable[str], outcomes: Iterable[int | CounterError]) -> dict[str, int]:
    """Return the sums by key; raise what increments that leave together raise when some fail."""
    by_key = dict(zip(values, outcomes, strict=True))
    sums = cast(dict[str, int], by_key)
    if {*map(type, by_key.values())} <= {int}:
        return sums
    errors = {key: each for key, each in by_key.items() if isinstance(each, CounterError)}
    sums = {key: each for key, each in sums.items() if key not in errors}
    error = gravest(errors.values())
    if sums or len({type(each) for each in errors.values()}) > 1:
        raise CounterPartlyApplied(sums, errors) from error
    if isinstance(error, CounterOutcomeUnknown) and len(errors) > 1:
        keys = ", ".join(errors)
        raise CounterOutcomeUnknown("multi_increment", keys, None) from error.__cause__
    raise error


def checked_budgets(budgets: Iterable[Budget]) -> list[Budget]:
    """Return the budgets; refuse those that cannot be drawn. milliseconds() checks their ttl."""
    if not isinstance(budgets, list | tuple | Iterable):  # the quick ones first
        raise TypeError(f"budgets must be several Budget, not {_shown(budgets)}")
    listed = [budget if _sound(budget) else _checked_budget(budget) for budget in budgets]
    if len(listed) != 1:
        _check_distinct("budgets", [budget.key for budget in listed])
    return listed


def checked_refund(budgets: list[Budget], cost: int) -> int:
    """Return a plain int; refuse a cost that these budgets cannot have given."""
    cost = checked_amount(cost, "cost")
    for budget in budgets:
        milliseconds(budget.ttl)
        if cost > budget.limit:
            raise ValueError(f"cost must be at most the limit {budget.limit}, not {_shown(cost)}")
    return cost


def checked_timers(timers: Iterable[Timer]) -> list[Timer]:
    """Return the timers; refuse those that cannot be moved. milliseconds() checks their ttl."""
    if not isinstance(timers, Iterable):
        raise TypeError(f"timers must be several Timer, not {_shown(timers)}")
    listed = [_checked_timer(timer) for timer in timers]
    if len(listed) != 1:
        _check_distinct("timers", [timer.key for timer in listed])
    return listed


def _sound(budget: Budget) -> bool:
    """Say whether a budget is good at first sight; any other may still be one."""
    if type(budget) is not Budget:
        return False
    key, limit, _, floor, scope = budget
    return (
        type(key) is str
        and 0 < len(key) <= _PLAIN_LENGTH
        and key.isprintable()
        and type(limit) is int
        and 0 < limit <= INT64_MAX
        and type(floor) is int
        and 0 <= floor <= INT64_MAX
        and (scope is None or _plain(scope))
    )


def _checked_budget(budget: Budget) -> Budget:
    if not isinstance(budget, Budget):
        raise TypeError(f"budgets must be several Budget, not {_shown(budget)}")
    key, limit, ttl, floor, scope = budget
    check_key(key)
    limit = checked_amount(limit, "limit")
    if scope is not None:
        _check_name("scope", scope)
    return Budget(key, limit, ttl, _checked_integer("floor", floor, 0), scope)


def _checked_timer(timer: Timer) -> Timer:
    if not isinstance(timer, Timer):
        raise TypeError(f"timers must be several Timer, not {_shown(timer)}")
    key, start, step, ceiling, ttl = timer
    check_key(key)
    start = _checked_integer("start", start, 0, TIMER_MAX)
    step = _checked_integer("step", step, 1, TIMER_MAX)
    return Timer(key, start, step, _checked_integer("ceiling", ceiling, 0, TIMER_MAX), ttl)


def milliseconds(ttl: Ttl, name: str = "ttl") -> int | None:
    """Return a ttl in whole milliseconds; refuse what is no ttl."""
    if ttl is None:
        return None
    if type(ttl) is int and 0 < ttl <= TTL_MAX:
        return ttl * 1000
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name} must be seconds (int or float) or a timedelta, not {_shown(ttl)}")
    if not TTL_MIN <= seconds <= TTL_MAX:  # NaN is not within anything
        raise ValueError(
            f"{name} must be from {TTL_MIN} s to {TTL_MAX} s (100 years), not {_shown(ttl)}"
        )
    return round(seconds * 1000)


def _plain(text: str) -> bool:
    """Say whether a text is a good name at first sight; any other may still be one."""
    # Four bytes a character at most, and no control character is printable.
    return type(text) is str and 0 < len(text) <= _PLAIN_LENGTH and text.isprintable()


def _all_plain(texts: list[str]) -> bool:
    """See _plain(): the same of many, at the speed of C."""
    return (
        {*map(type, texts)} == {str}
        and all(texts)
        and max(map(len, texts)) <= _PLAIN_LENGTH
        and "".join(texts).isprintable()
    )


_PLAIN_LENGTH = KEY_MAX_BYTES // 4


def _check_name(name: str, text: str) -> None:
    if text == "":
        raise ValueError(f"{name} must not be empty")
    _check_text(name, text)


def _check_text(name: str, text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {_shown(text)}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must be encodable in UTF-8, not {_shown(text)}") from error
    if size > KEY_MAX_BYTES:
        raise ValueError(f"{name} must be at most {KEY_MAX_BYTES} bytes in UTF-8, not {size}")
    if _CONTROL_CHARACTER.search(text):
        raise ValueError(f"{name} must not contain control characters: {_shown(text)}")


# The Unicode category Cc.
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")


def _check_distinct(name: str, keys: list[str]) -> None:
    if not keys:
        raise ValueError(f"{name} must not be empty")
    if len(set(keys)) < len(keys):
        raise ValueError(f"{name} must have different keys")


def _checked_integer(name: str, value: int, least: int, most: int = INT64_MAX) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {_shown(value)}")
    if not least <= value <= most:
        low = "-2**63" if least == INT64_MIN else least
        high = f"2**{most.bit_length()} - 1"
        raise ValueError(f"{name} must be from {low} to {high}, not {_shown(value)}")
    return int(value)


def _shown(argument: object) -> str:
    kind = type(argument).__name__
    if isinstance(argument, int) and argument.bit_length() > 128:
        return f"an {kind} of {argument.bit_length()} bits"
    try:
        return f"{reprlib.repr(argument)} ({kind})"
    except ValueError:  # of a very long int somewhere in it
        return f"this {kind}"
