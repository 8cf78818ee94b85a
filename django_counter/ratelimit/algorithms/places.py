"""Where the counters of a limit and identity are: keys, in the windows that time is cut in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django_counter.ratelimit.rates import Rate
from django_counter.values import Budget, Budgets, new

# Seconds that a counter is kept after it has ceased to matter: clocks differ, and calls take time.
# One that ended early would be whole again, and that at the busiest moment.
GRACE = 1


class Window(NamedTuple):
    """One of the equal pieces that a period cuts the time in."""

    rate: Rate
    series: str  # what the keys of all windows of this rate begin with
    number: int  # of the periods before it
    end: int  # milliseconds since 1970

    @property
    def key(self) -> str:
        """The key of its budget."""
        return f"{self.series}:{self.number}"

    @property
    def previous_key(self) -> str:
        return f"{self.series}:{self.number - 1}"


class Cut(NamedTuple):
    """The window of each rate that a moment lies in, and their budgets, until the first ends."""

    begin: int  # milliseconds since 1970
    end: int
    windows: tuple[Window, ...]
    budgets: Budgets


@dataclass(eq=False, slots=True)
class Place:
    """Where the counters of one limit and identity are."""

    key: str  # what their keys begin with
    digest: str  # of the identity: 32 hexadecimal digits
    offset: int  # milliseconds by which its windows are shifted: not all turn at the same time
    _latest: Cut | None = field(default=None, init=False)

    def cut(self, rates: Sequence[Rate], moment: int, kept: int = 1) -> Cut:
        """Return the windows of a moment, in milliseconds since 1970, of always the same rates.

        Their counters are `kept` for that many periods.
        """
        latest = self._latest
        if latest is not None and latest.begin <= moment < latest.end:
            return latest
        windows, budgets, begins, ends = [], [], [], []
        for rate in rates:
            period = rate.period * 1000
            number, elapsed = divmod(moment + self.offset % period, period)
            series, end = f"{self.key}:{rate}", moment - elapsed + period
            window = new(Window, (rate, series, number, end))
            windows.append(window)
            # The ttl is whole periods, so that a clock that lags does not begin the window anew.
            ttl = kept * rate.period + GRACE
            budgets.append(new(Budget, (window.key, rate.limit, ttl, 0, series)))
            begins.append(moment - elapsed)
            ends.append(end)
        latest = self._latest = Cut(max(begins), min(ends), tuple(windows), Budgets(budgets))
        return latest
