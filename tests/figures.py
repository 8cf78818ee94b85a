"""The table of what holds under faults: `python -m tests.figures`, or `make faults`.

Its rows are tests, marked `figure("row")`; those marked `fault("name")` are its catalogue. A test
hands in what it measured with record_property("figure", ...). With FULL=1 in the environment the
sizes are the full ones. Files named figure_*.py are run here only, as what they assert is a time.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

FOLDER = Path(__file__).parent
FILES = "test_*.py figure_*.py"

ROWS = {
    "lost replies": "nothing counted twice, every lost reply of a change is unknown",
    "chaos, at most once": "counted <= stored <= counted + unknown",
    "chaos, exactly once": "stored = asked",
    "signals": "0 wrong replies, 0 connections leaked",
    "cancelled tasks": "0 wrong replies, one connection",
    "catalogue": "every fault named below is met with its own exception",
    "failover": "back within 1 s of the servers, stored <= asked, lost at most what was in flight; "
    "with replicas=1 and idempotency keys stored = acknowledged",
    "partition": "nothing counted twice, what is missing is what the cut-off master acknowledged; "
    "with replicas=1 nothing is missing",
    "outage": "a limited view waits at most 0.3 s, and 0.002 s while the circuit is open",
    "close, fork, restart": "0 errors in other threads and in reloaded processes, sums exact",
    "int64": "0 answers unlike those of plain Python",
    "garbage": "refused, and left as it was",
    "hot key": "as many successes as credits, 0 left",
    "resharding": "the right values, no error",
    "hostile identities": "0 collisions, keys of at most 200 bytes, 900 slots for each 1,000",
    "spoofed addresses": "1 key, less than 1 MiB more memory",
    "hostile patterns": "touch what begins with them literally, and nothing else",
}

# The faults that a server, a network or a caller may have, and that tests are marked with.
CATALOGUE = (
    "scripts forgotten",
    "loading",
    "read-only replica",
    "demoted master behind Sentinel",
    "replica cut off",
    "out of memory",
    "too few replicas",
    "cannot save",
    "busy with a script",
    "too many clients",
    "wrong credentials",
    "missing rights",
    "no HELLO",
    "no such database",
    "another type",
    "no integer",
    "int64 overflow",
    "numbers beyond doubles",
    "ttl out of range",
    "amount out of range",
    "hanging server",
    "reply lost",
    "command lost",
    "refused port",
    "unresolvable host",
    "unknown certificate authority",
    "wrong name in the certificate",
    "missing certificate file",
    "TLS to a plain port",
    "plain to a TLS port",
    "not Redis",
    "cluster met by a plain alias",
    "slot moved",
    "slot on its way",
    "budgets of several slots",
    "cluster down",
    "no node of the cluster",
    "master killed, cluster",
    "master killed, Sentinel",
    "no Sentinel",
    "Sentinel's password",
    "partition and promotion",
    "server killed",
    "exception from a signal",
    "cancelled task",
    "close while in use",
    "cache.clear() on the counters",
    "not django-redis",
)


def sized(small: int, full: int) -> int:
    """Return the full size where that is asked for."""
    return full if os.environ.get("FULL") else small


class Outcome(NamedTuple):
    """What became of one test."""

    name: str
    outcome: str  # "passed", "failed" or "skipped"
    figures: tuple[str, ...]


class Table:
    """A pytest plugin: selects the tests of the rows and prints the table after them."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[str, str | None]]] = {}  # by test: row, fault
        self._outcomes: dict[str, list[Outcome]] = {}  # by row
        self._faults: dict[str, set[str]] = {}  # outcomes by fault
        self._narrowed = False  # to some rows, by -k
        self.missed = False

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        for item in items:
            rows = [(mark.args[0], None) for mark in item.iter_markers("figure")]
            faults = [("catalogue", each) for m in item.iter_markers("fault") for each in m.args]
            unknown = {row for row, _ in rows} - ROWS.keys()
            unknown |= {fault for _, fault in faults} - set(CATALOGUE)
            assert not unknown, f"{item.nodeid}: {unknown} is in no table of {__name__}"
            if rows or faults:
                self._rows[item.nodeid] = [*rows, *faults]
        self._narrowed = bool(config.option.keyword)
        config.hook.pytest_deselected(items=[i for i in items if i.nodeid not in self._rows])
        items[:] = [item for item in items if item.nodeid in self._rows]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        figures = tuple(str(value) for name, value in report.user_properties if name == "figure")
        outcome = Outcome(report.nodeid, report.outcome, figures)
        for row, fault in self._rows[report.nodeid]:
            if fault is not None:
                self._faults.setdefault(fault, set()).add(report.outcome)
            self._outcomes.setdefault(row, []).append(outcome)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("what holds under faults")
        for row, required in ROWS.items():
            if outcomes := self._outcomes.get(row):
                found = {each.outcome for each in outcomes}
                ok = "passed" in found and "failed" not in found
                results = list(self._catalogue() if row == "catalogue" else figures_of(outcomes))
                ok = ok and (row != "catalogue" or not self._uncovered())
                self.missed |= not ok
                verdict = "ok" if ok else "MISSED"
                terminalreporter.line(f"{row:21}  {verdict:6}  {size_of(outcomes)}")
                terminalreporter.line(f"{'':21}  required: {required}")
                for result in results:
                    terminalreporter.line(f"{'':21}  {result}")

    def _uncovered(self) -> list[str]:
        asked = self._faults if self._narrowed else CATALOGUE
        return [fault for fault in asked if self._faults.get(fault) != {"passed"}]

    def _catalogue(self) -> Iterator[str]:
        uncovered = self._uncovered()
        shown = sum(self._faults.get(fault) == {"passed"} for fault in CATALOGUE)
        yield f"{shown} of {len(CATALOGUE)} faults"
        for fault in uncovered:
            outcomes = ", ".join(sorted(self._faults.get(fault, {"no test"})))
            yield f"not shown: {fault} ({outcomes})"


def size_of(outcomes: list[Outcome]) -> str:
    """Say how many tests a row is, and what became of them."""
    tests = {each.name for each in outcomes}
    bad = {
        word: len({each.name for each in outcomes if each.outcome == word})
        for word in ("failed", "skipped")
    }
    return ", ".join(
        [f"{len(tests)} tests", *(f"{count} {word}" for word, count in bad.items() if count)]
    )


def figures_of(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield what the tests of a row measured, each after the variant it measured."""
    for each in outcomes:
        variant = each.name.partition("[")[2].removesuffix("]")
        for figure in each.figures:
            yield f"{variant}: {figure}" if variant else figure


def main(arguments: list[str]) -> int:
    table = Table()
    options = ["-o", f"python_files={FILES}", "-p", "no:randomly", "-q", str(FOLDER)]
    status = pytest.main([*options, *arguments], plugins=[table])
    return int(status) or int(table.missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
