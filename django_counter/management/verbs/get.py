"""`manage.py counter get`: counters by their keys."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError

from django_counter.management.arguments import add_format, add_keys, add_using
from django_counter.management.console import Console
from django_counter.management.exits import NOT_FOUND
from django_counter.management.rows import ENTRY

HELP = "show the counters of these keys"
NOTES = """
A key without a counter is named on stderr, and the exit code is 3.
"""


def add_arguments(parser: ArgumentParser) -> None:
    add_keys(parser)
    add_format(parser)
    add_using(parser)


def run(console: Console, *, using: str, keys: list[str], **options: Any) -> None:
    counter = console.counter(using)
    entries = {key: counter.entry(key) for key in keys}
    console.rows(ENTRY, [entry for entry in entries.values() if entry])
    missing = ", ".join(repr(key) for key, entry in entries.items() if entry is None)
    if missing:
        message = f"no counter {missing}. 'list PREFIX' shows those there are"
        raise CommandError(message, returncode=NOT_FOUND)
