"""Where a verb writes: data to stdout, all else to stderr. And the counter it works on."""

import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.core.management.color import no_style

from django_counter.backends.memory import MemoryCounter
from django_counter.base import Counter
from django_counter.handler import counters, definition
from django_counter.management.exits import FAILED, USAGE
from django_counter.management.rows import FORMATS, PAGE, Column, Row
from django_counter.management.text import encodable, escaped


class Console:
    """The streams of a command, with the format and the colours that were asked for."""

    def __init__(self, command: BaseCommand, options: dict[str, Any]) -> None:
        self.stdout = command.stdout
        self.stderr = command.stderr
        self.format: str = options.get("format") or "table"
        self.verbosity: int = options["verbosity"]
        # Django's style is one for both streams, and looks at sys.stdout only.
        coloured = options["force_color"] or self.stdout.isatty()
        self.style: Any = command.style if coloured else no_style()

    def check_alias(self, alias: str) -> None:
        """Refuse an alias that there is not."""
        if alias not in list(counters):
            names = ", ".join(map(repr, counters))
            raise CommandError(f"COUNTERS has no alias {alias!r}, it has {names}", returncode=USAGE)

    def counter(self, alias: str) -> Counter:
        """Return the counter of an alias, without its middleware; refuse one that there is not."""
        self.check_alias(alias)
        if definition(alias).is_of(MemoryCounter):
            self.note(f"{alias!r} counts in memory, by each process alone: this sees its own only.")
        return counters.backend(alias)

    def rows(self, columns: Sequence[Column], rows: Iterable[Row]) -> None:
        """Write rows in the format asked for."""
        lines = FORMATS[self.format](columns, rows, self.style.MIGRATE_HEADING)
        while page := "\n".join(islice(lines, PAGE)):
            self.write(page)

    def write(self, line: str) -> None:
        """Write a line of data."""
        self.stdout.write(self.encodable(line))

    def encodable(self, text: str) -> str:
        """Return a text that stdout takes."""
        return encodable(text, getattr(self.stdout, "encoding", None))

    def note(self, text: str) -> None:
        """Say something on the way, unless nothing is to be said."""
        if self.verbosity:
            self.stderr.write(escaped(text), style_func=str)

    def confirm(self, count: int, question: str) -> None:
        """Let the count be typed on the terminal; refuse anything else."""
        if not sys.stdin.isatty():
            message = "there is no terminal to confirm on. Add --no-input, or look with --dry-run"
            raise CommandError(message, returncode=USAGE)
        self.stderr.write(escaped(question), style_func=str, ending=" ")
        self.stderr.flush()
        if sys.stdin.readline().strip() != str(count):
            raise CommandError("not confirmed, nothing was changed", returncode=FAILED)
