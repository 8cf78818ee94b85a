"""Counters on their way from a file to the server: many at once, each at most once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import groupby
from typing import TypeAlias

from django_counter.base import Counter
from django_counter.exceptions import (
    CounterError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterTypeError,
)
from django_counter.management.records import Record
from django_counter.values import allowed_ttl

AT_ONCE = 500  # calls, written together and answered well within the deadline of each
SHOWN = 20  # faults of each kind

Apply: TypeAlias = Callable[[Counter, Record], Awaitable[object]]


async def apply_set(counter: Counter, record: Record) -> None:
    """Store the value and the ttl in place of what is there."""
    await counter.aset(record.key, record.value, record.ttl)


async def apply_add(counter: Counter, record: Record) -> None:
    """Add the value; the ttl is for a counter that this creates."""
    await counter.aincrement(record.key, record.value, record.ttl)


async def apply_max(counter: Counter, record: Record) -> None:
    """Keep the larger value, with the ttl of a counter that is there."""
    key, value = record.key, record.value
    while not await counter.aset_if_not_exists(key, value, record.ttl):
        there = await counter.aentry(key)
        if there is None:
            continue  # it has just ended
        ttl = allowed_ttl(there.ttl)
        if there.value >= value or await counter.aset(key, value, ttl, if_equal=there.value):
            return


MODES: dict[str, Apply] = {"set": apply_set, "add": apply_add, "max": apply_max}


class Load:
    """The import of a file: what became of its lines."""

    def __init__(self, counter: Counter, mode: str) -> None:
        self._counter = counter
        self._apply = MODES[mode]
        self.applied = 0
        self.last = 0  # line that was begun
        self.unapplied: list[int] = []  # lines that surely were not, up to the last
        self.unknown: list[int] = []  # lines that may have been
        self.refused: list[str] = []  # the first lines whose counters cannot take them, and why
        self.error: CounterError | None = None  # what ended it early

    def run(self, records: Iterable[Record]) -> None:
        """Apply the records, until the server fails."""
        asyncio.run(self._run(iter(records)))

    async def _run(self, records: Iterator[Record]) -> None:
        await asyncio.gather(*(self._work(records) for _ in range(AT_ONCE)))

    async def _work(self, records: Iterator[Record]) -> None:
        """Apply one record after another, of those that all workers take from."""
        for record in records:
            self.last = record.line
            try:
                await self._apply(self._counter, record)
                self.applied += 1
            except CounterError as error:
                self._note(record, error)
            except asyncio.CancelledError:  # Ctrl-C
                self.unknown.append(record.line)
                raise
            if self.error:
                return

    def _note(self, record: Record, error: CounterError) -> None:
        if isinstance(error, CounterOutcomeUnknown):
            self.unknown.append(record.line)
            self.error = error
            return
        self.unapplied.append(record.line)
        if isinstance(error, CounterTypeError | CounterOverflow):
            if len(self.refused) < SHOWN:
                self.refused.append(f"line {record.line}: {error}")
        else:
            self.error = self.error or error


def spans(lines: list[int]) -> str:
    """Return numbers as people write them: `1-3, 5`."""
    groups = groupby(enumerate(sorted(lines)), key=lambda pair: pair[1] - pair[0])
    runs = [[line for _, line in group] for _, group in groups]
    return ", ".join(f"{run[0]}-{run[-1]}" if run[1:] else str(run[0]) for run in runs)
