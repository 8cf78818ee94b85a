"""`manage.py counter list`: counters, their values, their time left."""

from argparse import ArgumentParser
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.core.management import CommandError

from django_counter.base import Counter
from django_counter.management.arguments import (
    add_format,
    add_limit,
    add_prefix,
    add_using,
    parse_pattern,
)
from django_counter.management.console import Console
from django_counter.management.exits import USAGE
from django_counter.management.glob import parse_glob
from django_counter.management.ranking import ORDERS, first_ranked, ranked
from django_counter.management.rows import ENTRY
from django_counter.values import Entry

HELP = "show counters: key, value, time left"
NOTES = r"""
It streams by SCAN, and never blocks the server: in no order, and a counter may come twice while
the server moves its keys. What is stored there and is no counter is passed over. With --sort each
comes once. Sorting without --limit holds all of them in memory.

A PREFIX is literal. Patterns need --glob and fit whole keys: * (anything), ? (one character),
[abc], [a-z], [^a], and \ before a character that is meant itself.
"""


def add_arguments(parser: ArgumentParser) -> None:
    add_prefix(parser)
    parser.add_argument(
        "--glob",
        metavar="PATTERN",
        type=parse_pattern,
        help="only keys of this pattern, in quotes",
    )
    add_limit(parser)
    parser.add_argument(
        "--sort", choices=list(ORDERS), help="by key, or by value with the largest first"
    )
    add_format(parser)
    add_using(parser)


def run(
    console: Console,
    *,
    using: str,
    prefix: str,
    glob: str | None,
    limit: int | None,
    sort: str | None,
    **options: Any,
) -> None:
    if prefix and glob is not None:
        message = "give a PREFIX or --glob, not both: --glob 'prefix*' is both in one"
        raise CommandError(message, returncode=USAGE)
    counter = console.counter(using)
    entries = counter.scan(prefix) if glob is None else _matching(counter, glob)
    if sort and limit:
        console.rows(ENTRY, first_ranked(entries, ORDERS[sort], count=limit))
    elif sort:
        console.rows(ENTRY, ranked(entries, ORDERS[sort]))
    else:
        console.rows(ENTRY, islice(entries, limit))


def _matching(counter: Counter, pattern: str) -> Iterator[Entry]:
    glob = parse_glob(pattern)
    return (entry for entry in counter.scan(glob.prefix) if glob.matches(entry.key))
