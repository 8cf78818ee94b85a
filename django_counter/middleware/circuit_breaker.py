"""A circuit breaker: while a server is in trouble, calls fail at once and leave it alone."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import RLock

from django_counter.base import Counter
from django_counter.exceptions import (
    CounterConfigError,
    CounterIdempotencyError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterPartlyApplied,
    CounterTypeError,
    CounterUnavailable,
    gravest,
)
from django_counter.middleware.base import CounterMiddleware
from django_counter.signals import circuit_closed, circuit_opened

FAILURES = (CounterUnavailable, CounterOutcomeUnknown)
SLICES = 10  # of the time that is looked back on; the oldest is dropped as a whole


class CircuitBreakerMiddleware(CounterMiddleware):
    """Raise CounterUnavailable at once while too many of the recent calls failed.

    The circuit opens when, of at least `calls` calls in `within` seconds, `share` or more failed:
    with CounterUnavailable or CounterOutcomeUnknown. A batch, or a multi_increment(), is one call,
    and failed if one of its operations did. Other errors of a server's are answers, and a
    CounterConfigError, which waiting does not heal, comes through uncounted. After `open_for`
    seconds one call is let through, to probe: it closes the circuit, or opens it anew.

    All threads and event loops of the process share it. `name` is for messages and the receivers
    of `circuit_opened` and `circuit_closed`; `clock` returns seconds and never goes back.
    """

    def __init__(
        self,
        next: Counter,
        *,
        share: float = 0.5,
        calls: int = 20,
        within: float = 10.0,
        open_for: float = 5.0,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(next)
        if not (0 < share <= 1 and calls >= 1 and within > 0 and open_for > 0):
            raise CounterConfigError(
                "a circuit breaker needs a share above 0 and up to 1, at least 1 call, and times "
                f"above 0, not {share=}, {calls=}, {within=}, {open_for=}"
            )
        self.name = name
        self._share = share
        self._calls = calls
        self._open_for = open_for
        self._clock = clock
        # A signal handler may count, too. Held for some lines, never while one waits for a server.
        self._lock = RLock()
        self._recent = Recent(within / SLICES)
        self._probe_at: float | None = None  # None while the circuit is closed

    def around(self, operation: str, keys: tuple[str, ...]) -> AbstractContextManager[object]:
        if operation == "close":
            return super().around(operation, keys)
        return self._watched(self._admit(operation))

    def _admit(self, operation: str) -> bool:
        """Refuse a call while the circuit is open; return whether it is the probe."""
        with self._lock:
            if self._probe_at is None:
                return False
            now = self._clock()
            if now < self._probe_at:
                raise CounterUnavailable(f"{operation}: the circuit {self.name!r} is open")
            self._probe_at = now + self._open_for  # for a probe that hangs, or is never ended
            return True

    @contextmanager
    def _watched(self, probe: bool) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            self._failed(probe, error)
            raise
        except CounterPartlyApplied as error:
            worst = gravest(error.errors.values())
            if isinstance(worst, FAILURES):
                self._failed(probe, worst)
            else:
                self._answered(probe)
            raise
        except (CounterTypeError, CounterOverflow, CounterIdempotencyError):
            self._answered(probe)
            raise
        except BaseException:  # cancelled, or never sent: it tells nothing
            if probe:
                self._probe_again()
            raise
        self._answered(probe)

    def _failed(self, probe: bool, error: Exception) -> None:
        with self._lock:
            now = self._clock()
            opens = False
            if self._probe_at is None:
                self._recent.note(now, failed=True)
                opens = self._recent.exceeds(self._calls, self._share)
                self._probe_at = now + self._open_for if opens else None
            elif probe:  # not one that began before the circuit opened
                self._probe_at = now + self._open_for
        if opens:
            circuit_opened.send_robust(CircuitBreakerMiddleware, breaker=self, error=error)

    def _answered(self, probe: bool) -> None:
        with self._lock:
            closes = probe and self._probe_at is not None
            if closes:
                self._probe_at = None
                self._recent.clear()
            elif self._probe_at is None:
                self._recent.note(self._clock(), failed=False)
        if closes:
            circuit_closed.send_robust(CircuitBreakerMiddleware, breaker=self)

    def _probe_again(self) -> None:
        with self._lock:
            if self._probe_at is not None:
                self._probe_at = self._clock()


class Slice:
    """What became of the calls of a piece of time."""

    __slots__ = ("calls", "failures", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0
        self.failures = 0


class Recent:
    """How many of the recent calls failed, in slices of `seconds` each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._slices: deque[Slice] = deque()

    def note(self, now: float, *, failed: bool) -> None:
        """Add a call."""
        number = int(now // self._seconds)
        if not self._slices or self._slices[-1].number != number:
            self._slices.append(Slice(number))
            while self._slices[0].number <= number - SLICES:
                self._slices.popleft()
        self._slices[-1].calls += 1
        self._slices[-1].failures += failed

    def exceeds(self, calls: int, share: float) -> bool:
        """Say whether there were that many calls, and at least that share of them failed."""
        total = sum(each.calls for each in self._slices)
        return total >= calls and sum(each.failures for each in self._slices) >= total * share

    def clear(self) -> None:
        """Forget all calls."""
        self._slices.clear()
