"""`manage.py counter import`: counters from the lines that export wrote."""

import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any

from django.core.management import CommandError

from django_counter.management.arguments import add_using
from django_counter.management.console import Console
from django_counter.management.exits import FAILED, USAGE
from django_counter.management.loading import MODES, SHOWN, Load, spans
from django_counter.management.progress import bar
from django_counter.management.records import Record, read
from django_counter.management.seen import SeenKeys
from django_counter.management.text import escaped

HELP = "read counters that export wrote"
NOTES = """
Every line is {"key": "clicks:home", "value": 12, "ttl": null}: just these fields, each key once, an
int64, seconds or null, at most 4 KB. All lines are checked before anything is written; each that is
wrong is named. Times to live start anew, with the seconds that are in the file.

--mode set   stores the value and the ttl in place of what is there
--mode add   adds the value; the ttl counts only for a counter that is created
--mode max   keeps the larger value; a counter that is there keeps its ttl

Each line changes its counter at most once. Where the server goes away in the middle, the report
says which lines were applied, which were not, and which may have been. set and max may simply be
run again. With add, import just the lines that were not applied.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a file, or - for stdin")
    parser.add_argument("--mode", choices=list(MODES), default="set", help="default: set")
    parser.add_argument("--dry-run", action="store_true", help="check, and write nothing")
    add_using(parser)


def run(
    console: Console, *, using: str, file: str, mode: str, dry_run: bool, **options: Any
) -> None:
    counter = console.counter(using)
    with _opened(file) as source:
        count = _check(console, source)
        if dry_run:
            console.write(f"{count} counters could be imported; nothing was written")
            return
        source.seek(0)
        load = Load(counter, mode)
        try:
            records = _records(source)
            load.run(bar(console, "importing", unit="counters", total=count, iterable=records))
        finally:
            _report(console, load, count)
    if load.error:
        raise load.error
    if load.refused:
        message = "some lines were refused: their keys hold no counter, or the sum leaves int64"
        raise CommandError(message, returncode=FAILED)


def _opened(file: str) -> IO[bytes]:
    """Return the file, or a copy of what can be read once only: it is read twice."""
    try:
        source = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115
        if file != "-" and source.seekable():
            return source
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes either
        copyfileobj(source, copy)
        copy.seek(0)
    except OSError as error:
        message = f"cannot read {file!r}: {error.strerror}"
        raise CommandError(message, returncode=USAGE) from error
    return copy


def _check(console: Console, source: IO[bytes]) -> int:
    """Return how many counters the file has; name its faults, and refuse it for them."""
    faults = count = 0
    with SeenKeys() as keys:
        for each in bar(console, "checking", unit="lines", iterable=read(source)):
            count += 1
            fault = _fault(each, keys)
            if fault:
                faults += 1
                if faults <= SHOWN:
                    console.stderr.write(escaped(fault))
    if faults:
        message = f"nothing was written, lines that are wrong: {faults}. Mend them first"
        raise CommandError(message, returncode=FAILED)
    return count


def _fault(each: Record | ValueError, keys: SeenKeys) -> str | None:
    if isinstance(each, ValueError):
        return str(each)
    if keys.add(each.key):
        return None
    return f"line {each.line}: must have a key of its own, {each.key!r} stands further up"


def _records(source: IO[bytes]) -> Iterator[Record]:
    for each in read(source):
        if isinstance(each, ValueError):
            raise CommandError(f"the file has changed since it was checked: {each}")
        yield each


def _report(console: Console, load: Load, count: int) -> None:
    """Say what was done, and of every other line what is known."""
    console.write(f"{load.applied} of {count} counters imported")
    for refused in load.refused:
        console.stderr.write(escaped(refused))
    if load.unapplied:
        console.note(f"Surely not applied: lines {spans(load.unapplied)}.")
    if load.unknown:
        console.note(f"May have been applied: lines {spans(load.unknown)}. Look at their counters.")
    if load.last < count:
        console.note(f"Not sent: the lines after {load.last}.")
