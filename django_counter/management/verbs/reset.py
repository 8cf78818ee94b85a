"""`manage.py counter reset`: delete all counters of a prefix."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError

from django_counter.base import Counter
from django_counter.exceptions import CounterError
from django_counter.management.arguments import add_no_input, add_using, parse_full_prefix
from django_counter.management.console import Console
from django_counter.management.exits import NOT_FOUND
from django_counter.management.progress import bar
from django_counter.management.seen import SeenKeys

HELP = "delete all counters whose keys begin with a prefix"
NOTES = """
It counts them, shows the number, and deletes just these once the number is typed. The prefix is
literal, and must not be empty. 'export PREFIX > file' first, and 'import file' brings them back.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("prefix", metavar="PREFIX", type=parse_full_prefix, help="literally")
    parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
    add_no_input(parser)
    add_using(parser)


def run(
    console: Console, *, using: str, prefix: str, dry_run: bool, interactive: bool, **options: Any
) -> None:
    counter = console.counter(using)
    with SeenKeys() as keys:
        count = sum(keys.add(entry.key) for entry in counter.scan(prefix))
        if not count:
            message = f"no counter begins with {prefix!r}. 'list' shows those there are"
            raise CommandError(message, returncode=NOT_FOUND)
        console.note(f"Counters that begin with {prefix!r} in {using!r}: {count}")
        if dry_run:
            console.write(f"{count} would be deleted")
            return
        if interactive:
            console.confirm(count, f"Type {count} to delete them:")
        _delete(console, counter, keys, count)


def _delete(console: Console, counter: Counter, keys: SeenKeys, count: int) -> None:
    done = 0
    try:
        for key in bar(console, "deleting", unit="counters", total=count, iterable=keys):
            counter.delete(key)
            done += 1
    except (CounterError, KeyboardInterrupt):
        console.note(f"{done} of {count} were deleted. The same command goes on with the rest.")
        raise
    console.write(f"{done} deleted")
