"""`manage.py counter incr`: add to a counter."""

from argparse import ArgumentParser
from typing import Any

from django_counter.management.arguments import (
    add_format,
    add_using,
    parse_integer,
    parse_key,
    parse_seconds,
)
from django_counter.management.console import Console
from django_counter.management.rows import KEY, VALUE

HELP = "add to a counter, and show the sum"
NOTES = """
A missing counter starts from 0, with the ttl that is given here: without --ttl, none. An existing
one keeps its ttl.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", type=parse_key, help="a whole key, literally")
    parser.add_argument(
        "--by", metavar="N", type=parse_integer, default=1, help="of either sign, default: 1"
    )
    parser.add_argument(
        "--ttl",
        metavar="SECONDS",
        type=parse_seconds,
        help="where this creates it, it expires after these",
    )
    add_format(parser)
    add_using(parser)


def run(
    console: Console, *, using: str, key: str, by: int, ttl: float | None, **options: Any
) -> None:
    total = console.counter(using).increment(key, by, ttl)
    console.rows((KEY, VALUE), [(key, total)])
