"""`manage.py counter top`: the largest counters."""

from argparse import ArgumentParser
from typing import Any

from django_counter.management.arguments import add_format, add_limit, add_prefix, add_using
from django_counter.management.console import Console
from django_counter.management.ranking import ORDERS, counting, first_ranked
from django_counter.management.rows import ENTRY

HELP = "show the largest counters"
NOTES = """
Token buckets of rate limits are left out: each is a time, larger than any count. 'list' has them.
"""


def add_arguments(parser: ArgumentParser) -> None:
    add_prefix(parser)
    add_limit(parser, default=20)
    add_format(parser)
    add_using(parser)


def run(console: Console, *, using: str, prefix: str, limit: int, **options: Any) -> None:
    entries = counting(console.counter(using).scan(prefix))
    console.rows(ENTRY, first_ranked(entries, ORDERS["value"], count=limit))
