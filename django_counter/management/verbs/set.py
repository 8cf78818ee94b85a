"""`manage.py counter set`: a value by hand."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError

from django_counter.management.arguments import (
    add_format,
    add_using,
    parse_integer,
    parse_key,
    parse_seconds,
)
from django_counter.management.console import Console
from django_counter.management.exits import FAILED
from django_counter.management.rows import ENTRY

HELP = "store a value, always or only in place of a known one"
NOTES = """
The counter has the ttl that is given here afterwards: without --ttl, none. With --if-equal nothing
changes where another value is stored; then the exit code is 1.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", type=parse_key, help="a whole key, literally")
    parser.add_argument("value", metavar="VALUE", type=parse_integer, help="the value to store")
    parser.add_argument(
        "--ttl", metavar="SECONDS", type=parse_seconds, help="it expires after these"
    )
    parser.add_argument(
        "--if-equal", metavar="OLD", type=parse_integer, help="only where this value is stored"
    )
    add_format(parser)
    add_using(parser)


def run(
    console: Console,
    *,
    using: str,
    key: str,
    value: int,
    ttl: float | None,
    if_equal: int | None,
    **options: Any,
) -> None:
    counter = console.counter(using)
    if not counter.set(key, value, ttl, if_equal=if_equal):
        found = counter.entry(key)
        held = f"holds {found.value}, not {if_equal}" if found else "does not exist"
        message = f"{key!r} {held}: nothing was changed. Look, and try again"
        raise CommandError(message, returncode=FAILED)
    console.rows(ENTRY, [(key, value, ttl)])
