"""Threads that count while a test does harm to their servers."""

import itertools
import threading
from collections import Counter as Tally
from time import monotonic
from types import TracebackType

from django_counter import CounterOutcomeUnknown, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from tests.faults.watch import eventually, patiently

THREADS = 4


class Load:
    """Threads that count on "key" as long as the `with` block lasts.

    With `once`, each call has an idempotency key and is made until it is answered.
    """

    def __init__(self, counter: RedisCounter, once: bool = False) -> None:
        self.tally: Tally[str] = Tally()
        self._answered: list[float] = []  # when, by time.monotonic()
        self._counter = counter
        self._stop = threading.Event()
        work = self._count_once if once else self._count
        self._threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]

    def goes_on(self, calls: int = 500) -> bool:
        """Say whether that many calls more are answered soon."""
        before = len(self._answered)
        return eventually(lambda: len(self._answered) > before + calls)

    def outage(self) -> tuple[float, float]:
        """Return when the longest time without an answer began and ended."""
        answered = sorted(self._answered)
        return max(itertools.pairwise(answered), key=lambda pair: pair[1] - pair[0])

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _count(self, _: int) -> None:
        while not self._stop.is_set():
            try:
                self._counter.increment("key")
                self.tally["counted"] += 1
                self._answered.append(monotonic())
            except CounterOutcomeUnknown:
                self.tally["unknown"] += 1
            except CounterUnavailable:
                self.tally["unavailable"] += 1

    def _count_once(self, thread: int) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                break
            token = f"{thread}-{number}"
            patiently(lambda token=token: self._counter.increment("key", idempotency_key=token))
            self.tally["counted"] += 1
            self._answered.append(monotonic())
