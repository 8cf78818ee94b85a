"""`manage.py counter export`: counters as lines of JSON."""

from argparse import ArgumentParser
from typing import Any

from django_counter.management.arguments import add_prefix, add_using
from django_counter.management.console import Console
from django_counter.management.progress import bar
from django_counter.management.records import written
from django_counter.management.seen import SeenKeys
from django_counter.values import TTL_MIN, Entry, allowed_ttl

HELP = "write counters to stdout, a line of JSON each"
NOTES = """
'import' reads the same lines. Each counter comes once, with the seconds that it had left. It is no
snapshot: counters go on changing while they are read. Ctrl-C leaves the lines written so far.
"""


def add_arguments(parser: ArgumentParser) -> None:
    add_prefix(parser)
    add_using(parser)


def run(console: Console, *, using: str, prefix: str, **options: Any) -> None:
    entries = console.counter(using).scan(prefix)
    count = 0
    with SeenKeys() as seen:
        for entry in bar(console, "exporting", unit="counters", iterable=entries):
            if _lives(entry) and seen.add(entry.key):
                console.write(written(entry._replace(ttl=allowed_ttl(entry.ttl))))
                count += 1
    console.note(f"{count} counters exported.")


def _lives(entry: Entry) -> bool:
    """Say whether there is time left that import can give it."""
    return entry.ttl is None or entry.ttl >= TTL_MIN
