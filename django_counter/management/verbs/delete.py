"""`manage.py counter delete`: remove counters by their keys."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError

from django_counter.base import Counter
from django_counter.exceptions import CounterTypeError
from django_counter.management.arguments import add_format, add_keys, add_using
from django_counter.management.console import Console
from django_counter.management.exits import NOT_FOUND
from django_counter.management.rows import KEY, TTL, Column, Row

HELP = "delete these keys, and show what they held just before"
NOTES = """
It does not ask. A key that holds something else than a counter is deleted too, and shown without
a value. One that holds nothing is named on stderr, and the exit code is 3. Where an error or Ctrl-C
ends it early, what was deleted until then is shown.
"""

HELD = Column("value", lambda value: "no counter" if value is None else str(value), right=True)
COLUMNS = (KEY, HELD, TTL)


def add_arguments(parser: ArgumentParser) -> None:
    add_keys(parser)
    add_format(parser)
    add_using(parser)


def run(console: Console, *, using: str, keys: list[str], **options: Any) -> None:
    counter = console.counter(using)
    deleted: list[Row] = []
    missing: list[str] = []
    try:
        for key in dict.fromkeys(keys):
            held = _held(counter, key)
            if held is None:
                missing.append(key)
            else:
                counter.delete(key)
                deleted.append(held)
    finally:  # nobody else knows what they held
        console.rows(COLUMNS, deleted)
    if missing:
        message = f"no counter {', '.join(map(repr, missing))}"
        raise CommandError(message, returncode=NOT_FOUND)


def _held(counter: Counter, key: str) -> Row | None:
    try:
        return counter.entry(key)
    except CounterTypeError:
        return key, None, None
