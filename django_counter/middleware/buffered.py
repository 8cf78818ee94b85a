"""Increments that are added up in the process, and sent together."""

import asyncio
import atexit
import inspect
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from functools import wraps
from itertools import zip_longest
from threading import RLock
from typing import Any, TypeVar, cast
from weakref import WeakMethod

from django_counter.arguments import (
    check_key,
    checked_amount,
    checked_keys,
    checked_value,
    milliseconds,
)
from django_counter.base import Counter
from django_counter.batch import Operation
from django_counter.exceptions import (
    CounterConfigError,
    CounterError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterUnavailable,
    gravest,
)
from django_counter.middleware.base import CounterMiddleware
from django_counter.rare_log import RareLog
from django_counter.sender import Sender
from django_counter.signals import increments_dropped
from django_counter.values import INT64_MAX, INT64_MIN, Entry, Page, Ttl

LOG_INTERVAL = 60.0  # seconds

logger = logging.getLogger("django_counter")

Method = TypeVar("Method", bound=Callable[..., Any])


def _after_what_waits(operation: Method) -> Method:
    """Send first what waits for the keys of an operation, so that it comes after it."""
    first = list(inspect.signature(operation).parameters)[1]

    @wraps(operation)
    def call(self: "BufferedMiddleware", *args: Any, **kwargs: Any) -> Any:
        keys = _keys(args[0] if args else kwargs.get(first))
        if self._holds(keys):
            self.flush()
            self._refuse_after(keys)
        return operation(self, *args, **kwargs)

    return cast(Method, call)


def _aafter_what_waits(operation: Method) -> Method:
    first = list(inspect.signature(operation).parameters)[1]

    @wraps(operation)
    async def call(self: "BufferedMiddleware", *args: Any, **kwargs: Any) -> Any:
        keys = _keys(args[0] if args else kwargs.get(first))
        if self._holds(keys):
            await asyncio.to_thread(self.flush)
            self._refuse_after(keys)
        return await operation(self, *args, **kwargs)

    return cast(Method, call)


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


class BufferedMiddleware(CounterMiddleware):
    """Add increments and decrements up in this process, and send them together.

    They are sent every `interval` seconds, by a thread that runs while something waits; by who
    brings one key more than `max_keys`; by close(); at the end of the process and before it forks.
    Until then a process that is killed loses them.

    increment() and decrement() answer with what this process knows without asking: the last sum it
    was told, and its own since. They ask for nothing, but where there is no more room, and then
    raise CounterUnavailable while nothing can be sent. Of what is sent, that which surely was not
    applied waits on, for as long as it has to; anything else that fails is dropped, and told to
    the receivers of `increments_dropped`, for it may have been counted, or never can be.

    get() and multi_get() add what waits here. Any other operation is made after what waits for its
    keys was sent: also an increment with an idempotency key, and a batch. All threads and event
    loops of the process share the buffer.
    """

    def __init__(self, next: Counter, *, interval: float = 0.1, max_keys: int = 10_000) -> None:
        super().__init__(next)
        if not (interval > 0 and max_keys >= 1):
            raise CounterConfigError(
                "a buffer needs an interval above 0, and room for at least 1 key, not "
                f"{interval=}, {max_keys=}"
            )
        self._interval = interval
        self._max_keys = max_keys
        self._follows_forks = False
        self._sends_at_exit = False
        self._begin()

    def _begin(self) -> None:
        """Be empty: also in a process that was forked, as its parent sends what it has."""
        self._lock = RLock()  # a signal handler may count, too
        self._sending = RLock()
        self._sender = Sender("buffer", self._interval, self.flush, self._any, self._lock)
        self._log = RareLog(logger, LOG_INTERVAL)
        self._sums: dict[str, int] = {}
        self._ttls: dict[str, Ttl] = {}  # what the first of the increments had
        self._under_way: list[dict[str, int]] = []
        self._left = 0  # how often something was sent
        self._known: dict[str, int] = {}  # the sums that the server told, and what left since
        self._away: CounterError | None = None  # why something had to wait on

    def increment(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        value = checked_value(value)
        if idempotency_key is not None:
            return self._increment_once(key, value, ttl, idempotency_key=idempotency_key)
        return self._add(key, value, ttl)

    async def aincrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        value = checked_value(value)
        if idempotency_key is not None:
            return await self._aincrement_once(key, value, ttl, idempotency_key=idempotency_key)
        return await self._aadd(key, value, ttl)

    def get(self, key: str) -> int:
        return self._with_own(lambda: {key: CounterMiddleware.get(self, key)})[key]

    async def aget(self, key: str) -> int:
        left = self._left_so_far()
        value = await super().aget(key)
        with self._lock:
            if left == self._left:
                return value + self._sums.get(key, 0)
        return await asyncio.to_thread(self.get, key)

    def multi_get(self, keys: Iterable[str]) -> dict[str, int]:
        distinct = checked_keys(keys)
        return self._with_own(lambda: CounterMiddleware.multi_get(self, distinct))

    async def amulti_get(self, keys: Iterable[str]) -> dict[str, int]:
        distinct = checked_keys(keys)
        left = self._left_so_far()
        values = await super().amulti_get(distinct)
        with self._lock:
            if left == self._left:
                return self._plus_own(values)
        return await asyncio.to_thread(self.multi_get, distinct)

    def decrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        value = checked_amount(value)
        if idempotency_key is not None:
            return self._decrement_once(key, value, ttl, idempotency_key=idempotency_key)
        return self._add(key, -value, ttl)

    async def adecrement(
        self, key: str, value: int = 1, ttl: Ttl = None, *, idempotency_key: str | None = None
    ) -> int:
        value = checked_amount(value)
        if idempotency_key is not None:
            return await self._adecrement_once(key, value, ttl, idempotency_key=idempotency_key)
        return await self._aadd(key, -value, ttl)

    _increment_once = _after_what_waits(CounterMiddleware.increment)
    _aincrement_once = _aafter_what_waits(CounterMiddleware.aincrement)
    _decrement_once = _after_what_waits(CounterMiddleware.decrement)
    _adecrement_once = _aafter_what_waits(CounterMiddleware.adecrement)
    multi_increment = _after_what_waits(CounterMiddleware.multi_increment)
    amulti_increment = _aafter_what_waits(CounterMiddleware.amulti_increment)
    decrement_if_exists = _after_what_waits(CounterMiddleware.decrement_if_exists)
    adecrement_if_exists = _aafter_what_waits(CounterMiddleware.adecrement_if_exists)
    set_if_not_exists = _after_what_waits(CounterMiddleware.set_if_not_exists)
    aset_if_not_exists = _aafter_what_waits(CounterMiddleware.aset_if_not_exists)
    delete = _after_what_waits(CounterMiddleware.delete)
    adelete = _aafter_what_waits(CounterMiddleware.adelete)
    take = _after_what_waits(CounterMiddleware.take)
    atake = _aafter_what_waits(CounterMiddleware.atake)
    refund = _after_what_waits(CounterMiddleware.refund)
    arefund = _aafter_what_waits(CounterMiddleware.arefund)
    advance = _after_what_waits(CounterMiddleware.advance)
    aadvance = _aafter_what_waits(CounterMiddleware.aadvance)
    set = _after_what_waits(CounterMiddleware.set)
    aset = _aafter_what_waits(CounterMiddleware.aset)
    entry = _after_what_waits(CounterMiddleware.entry)
    aentry = _aafter_what_waits(CounterMiddleware.aentry)
    run_all = _after_what_waits(CounterMiddleware.run_all)
    arun_all = _aafter_what_waits(CounterMiddleware.arun_all)

    def scan(self, prefix: str = "") -> Iterator[Entry]:
        self.flush()
        yield from super().scan(prefix)

    async def ascan(self, prefix: str = "") -> AsyncIterator[Entry]:
        await asyncio.to_thread(self.flush)
        async for entry in super().ascan(prefix):
            yield entry

    def scan_page(self, prefix: str = "", cursor: str = "") -> Page:
        self.flush()
        return super().scan_page(prefix, cursor)

    async def ascan_page(self, prefix: str = "", cursor: str = "") -> Page:
        await asyncio.to_thread(self.flush)
        return await super().ascan_page(prefix, cursor)

    def close(self) -> None:
        self.flush()
        self._forget_exit()
        super().close()

    async def aclose(self) -> None:
        await asyncio.to_thread(self.flush)
        self._forget_exit()
        await super().aclose()

    def flush(self) -> None:
        """Send what waits, and return when nothing is under way. Errors are not raised."""
        with self._sending:
            with self._lock:
                sums, self._sums = self._sums, {}
                ttls, self._ttls = self._ttls, {}
                if not sums:
                    return
                self._left += 1
                self._under_way.append(sums)
                for key, amount in sums.items():
                    self._known[key] = self._known.get(key, 0) + amount
            outcomes: list[Any] = []
            try:
                operations = [
                    Operation("increment", (key, amount, ttls.get(key)), {})
                    for key, amount in sums.items()
                ]
                outcomes = CounterMiddleware.run_all(self, operations)
            finally:
                dropped = self._settle(sums, ttls, outcomes)
        if dropped:
            amounts = {key: sums[key] for key in dropped}
            increments_dropped.send_robust(
                BufferedMiddleware, buffer=self, amounts=amounts, errors=dropped
            )

    def _settle(
        self, sums: dict[str, int], ttls: dict[str, Ttl], outcomes: list[Any]
    ) -> dict[str, CounterError]:
        """Take note of what became of what was sent; return the errors of what is dropped."""
        dropped: dict[str, CounterError] = {}
        with self._lock:
            self._under_way.remove(sums)
            self._away = None
            for (key, amount), outcome in zip_longest(sums.items(), outcomes):
                if isinstance(outcome, int):
                    self._known[key] = outcome
                    continue
                self._known[key] = self._known.get(key, 0) - amount
                total = amount + self._sums.get(key, 0)
                if not isinstance(outcome, CounterUnavailable | CounterConfigError):
                    # None: something else than an answer ended it.
                    dropped[key] = outcome or CounterOutcomeUnknown("increment", key, amount)
                elif INT64_MIN <= total <= INT64_MAX:
                    self._away = outcome
                    self._keep(key, total, ttls.get(key))
                else:
                    dropped[key] = CounterOverflow(f"what waits of {key!r} would leave int64")
            if len(self._known) > self._max_keys:
                self._known.clear()
        if self._away:
            self._log.error("Increments wait to be sent: %s", type(self._away).__name__)
        if dropped:
            self._log.error("Increments were dropped: %s", type(gravest(dropped.values())).__name__)
        return dropped

    def _keep(self, key: str, total: int, ttl: Ttl) -> None:
        """Let wait what was not counted, with what came since, and with the ttl that was first."""
        self._sums[key] = total
        self._ttls.pop(key, None)
        if ttl is not None:
            self._ttls[key] = ttl

    def _add(self, key: str, amount: int, ttl: Ttl) -> int:
        if ttl is not None:
            milliseconds(ttl)
        sum_ = self._try_to_add(key, amount, ttl)
        while sum_ is None:
            self.flush()
            sum_ = self._try_to_add(key, amount, ttl)
            self._refuse_without_room(sum_)
        return sum_

    async def _aadd(self, key: str, amount: int, ttl: Ttl) -> int:
        if ttl is not None:
            milliseconds(ttl)
        sum_ = self._try_to_add(key, amount, ttl)
        while sum_ is None:
            await asyncio.to_thread(self.flush)
            sum_ = self._try_to_add(key, amount, ttl)
            self._refuse_without_room(sum_)
        return sum_

    def _try_to_add(self, key: str, amount: int, ttl: Ttl) -> int | None:
        """Return the sum as far as this process knows it, None where there is no room."""
        with self._lock:
            try:
                # No call stands between reading and writing: no signal handler comes in there.
                total = self._sums[key] = self._sums[key] + amount
            except KeyError:
                check_key(key)
                if len(self._sums) + sum(map(len, self._under_way)) >= self._max_keys:
                    return None
                total = self._sums[key] = amount
                if ttl is not None:
                    self._ttls[key] = ttl
                self._start()
            if not INT64_MIN <= total <= INT64_MAX:
                self._sums[key] -= amount
                return None
            return total + self._known.get(key, 0)

    def _refuse_without_room(self, sum_: int | None) -> None:
        if sum_ is None and self._away:  # else others were quicker: there will be room
            raise CounterUnavailable(
                f"{len(self._sums)} increments wait to be sent, there is no room for another"
            ) from self._away

    def _start(self) -> None:
        if not self._sends_at_exit:
            self._sends_at_exit = True
            atexit.register(self.flush)
        if self._sender.running:
            return
        if not self._follows_forks:
            self._follows_forks = True
            _follow_forks(self)
        try:
            self._sender.start()
        except RuntimeError as error:
            self._log.error("Increments wait for a thread: %s", error)

    def _forget_exit(self) -> None:
        """Keep nothing alive; what comes after this registers it again."""
        atexit.unregister(self.flush)
        self._sends_at_exit = False

    def _any(self) -> bool:
        return bool(self._sums)

    def _holds(self, keys: Collection[str] | None) -> bool:
        """Say whether something of these keys waits or is under way; of any without keys."""
        with self._lock:
            held = (self._sums, *self._under_way)
            if keys is None:
                return any(held)
            return any(key in sums for sums in held for key in keys)

    def _refuse_after(self, keys: Collection[str] | None) -> None:
        """Raise CounterUnavailable where something before an operation could not be sent."""
        if self._away and self._holds(keys):
            raise CounterUnavailable("increments from before it wait to be sent") from self._away

    def _left_so_far(self) -> int | None:
        """Return how often something was sent, None while something is under way."""
        with self._lock:
            return None if self._under_way else self._left

    def _with_own(self, read: Callable[[], dict[str, int]]) -> dict[str, int]:
        """Return what is read, and what waits here. Nothing may be sent in between."""
        left = self._left_so_far()
        values = read()
        with self._lock:
            if left == self._left:
                return self._plus_own(values)
        with self._sending:
            return self._plus_own(read())

    def _plus_own(self, values: dict[str, int]) -> dict[str, int]:
        with self._lock:
            return {key: value + self._sums.get(key, 0) for key, value in values.items()}


def _follow_forks(buffer: BufferedMiddleware) -> None:
    """Send before the process forks, and leave the child nothing; keep no buffer alive for that."""
    flush, begin = WeakMethod(buffer.flush), WeakMethod(buffer._begin)
    os.register_at_fork(before=lambda: _call(flush), after_in_child=lambda: _call(begin))


def _call(method: WeakMethod[Callable[[], None]]) -> None:
    alive = method()
    if alive:
        alive()
