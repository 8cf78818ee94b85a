"""Increments that are added up in the process, and sent together."""

import asyncio
import atexit
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from threading import RLock, get_ident
from typing import Any
from weakref import WeakMethod

from django_counter.arguments import (
    checked_amount,
    checked_keys,
    checked_value,
    milliseconds,
)
from django_counter.base import Counter
from django_counter.batch import Operation
from django_counter.exceptions import CounterConfigError, CounterError, gravest
from django_counter.middleware.base import CounterMiddleware
from django_counter.middleware.order import aafter_pending, after_pending
from django_counter.middleware.pending import Parcel, PendingSums
from django_counter.rare_log import RareLog
from django_counter.sender import Sender
from django_counter.signals import increments_dropped
from django_counter.values import Entry, Page, Ttl

LOG_INTERVAL = 60.0  # seconds

logger = logging.getLogger("django_counter")


class BufferedMiddleware(CounterMiddleware):
    """Add increments and decrements up in this process, and send them together.

    They are sent every `interval` seconds, by a thread that runs while something waits; by the
    call that brings one key more than `max_keys`; by close(); at the end of the process and before
    it forks. Until then a process that is killed loses them.

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
        self._pending = PendingSums(self._max_keys, self._start)
        self._sending = RLock()  # a signal handler may count, too
        self._sending_thread: int | None = None  # who sends now
        self._sender = Sender(
            "buffer", self._interval, self.flush, self._pending.waits, self._pending.lock
        )
        self._log = RareLog(logger, LOG_INTERVAL)

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
        sends = self._pending.sends()
        value = await super().aget(key)
        values = self._pending.plus_unless_sent({key: value}, sends)
        return await asyncio.to_thread(self.get, key) if values is None else values[key]

    def multi_get(self, keys: Iterable[str]) -> dict[str, int]:
        checked = checked_keys(keys)
        return self._with_own(lambda: CounterMiddleware.multi_get(self, checked))

    async def amulti_get(self, keys: Iterable[str]) -> dict[str, int]:
        checked = checked_keys(keys)
        sends = self._pending.sends()
        read = await super().amulti_get(checked)
        values = self._pending.plus_unless_sent(read, sends)
        return await asyncio.to_thread(self.multi_get, checked) if values is None else values

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

    _increment_once = after_pending(CounterMiddleware.increment)
    _aincrement_once = aafter_pending(CounterMiddleware.aincrement)
    _decrement_once = after_pending(CounterMiddleware.decrement)
    _adecrement_once = aafter_pending(CounterMiddleware.adecrement)
    multi_increment = after_pending(CounterMiddleware.multi_increment)
    amulti_increment = aafter_pending(CounterMiddleware.amulti_increment)
    decrement_if_exists = after_pending(CounterMiddleware.decrement_if_exists)
    adecrement_if_exists = aafter_pending(CounterMiddleware.adecrement_if_exists)
    set_if_not_exists = after_pending(CounterMiddleware.set_if_not_exists)
    aset_if_not_exists = aafter_pending(CounterMiddleware.aset_if_not_exists)
    delete = after_pending(CounterMiddleware.delete)
    adelete = aafter_pending(CounterMiddleware.adelete)
    take = after_pending(CounterMiddleware.take)
    atake = aafter_pending(CounterMiddleware.atake)
    refund = after_pending(CounterMiddleware.refund)
    arefund = aafter_pending(CounterMiddleware.arefund)
    advance = after_pending(CounterMiddleware.advance)
    aadvance = aafter_pending(CounterMiddleware.aadvance)
    set = after_pending(CounterMiddleware.set)
    aset = aafter_pending(CounterMiddleware.aset)
    entry = after_pending(CounterMiddleware.entry)
    aentry = aafter_pending(CounterMiddleware.aentry)
    run_all = after_pending(CounterMiddleware.run_all)
    arun_all = aafter_pending(CounterMiddleware.arun_all)

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
        self._forget_exit()  # what another thread adds from here on registers it again
        self.flush()
        super().close()

    async def aclose(self) -> None:
        self._forget_exit()
        await asyncio.to_thread(self.flush)
        await super().aclose()

    def flush(self) -> None:
        """Send what waits, and return when nothing is under way. Errors are not raised."""
        with self._sending:
            parcel = self._pending.leave()
            if parcel is None:
                return
            outcomes: list[Any] = []
            before, self._sending_thread = self._sending_thread, get_ident()
            try:
                operations = [
                    Operation("increment", (key, amount, parcel.ttls.get(key)), {})
                    for key, amount in parcel.sums.items()
                ]
                outcomes = CounterMiddleware.run_all(self, operations)
            finally:
                self._sending_thread = before
                dropped = self._settle(parcel, outcomes)
        if dropped:
            amounts = {key: parcel.sums[key] for key in dropped}
            increments_dropped.send_robust(
                BufferedMiddleware, buffer=self, amounts=amounts, errors=dropped
            )

    def _settle(self, parcel: Parcel, outcomes: Sequence[Any]) -> dict[str, CounterError]:
        """Take note of what became of what was sent; return the errors of what is dropped."""
        dropped = self._pending.settle(parcel, outcomes)
        away = self._pending.away
        if away:
            self._log.error("Increments wait to be sent: %s", type(away).__name__)
        if dropped:
            self._log.error("Increments were dropped: %s", type(gravest(dropped.values())).__name__)
        return dropped

    def _add(self, key: str, amount: int, ttl: Ttl) -> int:
        if ttl is not None:
            milliseconds(ttl)
        sum_ = self._pending.add(key, amount, ttl)
        while sum_ is None:
            self.flush()
            sum_ = self._pending.add(key, amount, ttl)
            if sum_ is None:
                self._pending.refuse_without_room(self._sending_thread == get_ident())
        return sum_

    async def _aadd(self, key: str, amount: int, ttl: Ttl) -> int:
        if ttl is not None:
            milliseconds(ttl)
        sum_ = self._pending.add(key, amount, ttl)
        while sum_ is None:
            await asyncio.to_thread(self.flush)
            sum_ = self._pending.add(key, amount, ttl)
            if sum_ is None:
                self._pending.refuse_without_room()
        return sum_

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
        """Keep nothing alive."""
        atexit.unregister(self.flush)
        self._sends_at_exit = False

    def _with_own(self, read: Callable[[], dict[str, int]]) -> dict[str, int]:
        """Return what is read, and what waits here. Nothing may be sent in between."""
        sends = self._pending.sends()
        values = read()
        together = self._pending.plus_unless_sent(values, sends)
        if together is not None:
            return together
        with self._sending:
            return self._pending.plus(read())


def _follow_forks(buffer: BufferedMiddleware) -> None:
    """Send before the process forks, and leave the child nothing; keep no buffer alive for that."""
    flush, begin = WeakMethod(buffer.flush), WeakMethod(buffer._begin)
    os.register_at_fork(before=lambda: _call(flush), after_in_child=lambda: _call(begin))


def _call(method: WeakMethod[Callable[[], None]]) -> None:
    alive = method()
    if alive:
        alive()
