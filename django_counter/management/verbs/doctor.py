"""`manage.py counter doctor`: what is wrong, and what to do."""

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from django.core.management import CommandError

from django_counter.backends.redis.checkup import Finding
from django_counter.exceptions import CounterConfigError
from django_counter.management.arguments import add_format, add_using
from django_counter.management.console import Console
from django_counter.management.examination import UNREACHABLE, examine
from django_counter.management.exits import PROBLEMS
from django_counter.management.exits import UNREACHABLE as EXIT_UNREACHABLE
from django_counter.management.rows import Column
from django_counter.management.text import escaped

HELP = "examine configuration, server and rights, and say what to do"
NOTES = """
The exit code is 4 where there is a problem, 5 where the server, or a part of a cluster, cannot be
reached. Warnings leave it at 0. It writes one counter, doctor:RANDOM, and deletes it: it ends by
itself in any case.
"""

COLUMNS = tuple(map(Column, Finding._fields))
CHECK_WIDTH = 15
STATUS_WIDTH = 13


def add_arguments(parser: ArgumentParser) -> None:
    add_format(parser)
    add_using(parser)


def run(console: Console, *, using: str, **options: Any) -> None:
    with suppress(CounterConfigError):  # of COUNTERS as a whole: it is the first finding
        console.check_alias(using)
    statuses: set[str] = set()
    findings = _noted(examine(using), statuses)
    if console.format == "table":
        for finding in findings:
            _write(console, finding)
    else:
        console.rows(COLUMNS, findings)
    if UNREACHABLE in statuses:
        raise CommandError("the server cannot be reached", returncode=EXIT_UNREACHABLE)
    if "problem" in statuses:
        raise CommandError("there are problems, see above", returncode=PROBLEMS)


def _noted(findings: Iterable[Finding], statuses: set[str]) -> Iterator[Finding]:
    for finding in findings:
        statuses.add(finding.status)
        yield finding


def _write(console: Console, finding: Finding) -> None:
    style = console.style
    paint = {"ok": style.SUCCESS, "warning": style.WARNING, "skipped": str}.get(
        finding.status, style.ERROR
    )
    status = paint(f"{finding.status:<{STATUS_WIDTH}}")
    console.write(f"{status}{finding.check:<{CHECK_WIDTH}}{escaped(finding.found)}")
    if finding.advice:
        console.write(f"{'':<{STATUS_WIDTH + CHECK_WIDTH}}> {escaped(finding.advice)}")
