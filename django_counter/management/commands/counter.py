"""`manage.py counter`: counters and rate limits, by hand."""

import os
import shlex
import sys
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from types import ModuleType
from typing import Any, NoReturn

from django.core.management import BaseCommand, CommandError, CommandParser
from django.core.management.base import DjangoHelpFormatter, OutputWrapper

from django_counter.exceptions import CounterError, CounterOutcomeUnknown, CounterUnavailable
from django_counter.handler import DEFAULT_ALIAS
from django_counter.management.console import Console
from django_counter.management.exits import FAILED, INTERRUPTED, UNREACHABLE
from django_counter.management.text import escaped
from django_counter.management.verbs import (
    bench,
    delete,
    doctor,
    export,
    get,
    import_,
    incr,
    limits,
    reset,
    top,
    watch,
)
from django_counter.management.verbs import list as list_
from django_counter.management.verbs import set as set_

# What each has: HELP, its line in the index; NOTES, what its own help says below the options;
# add_arguments(parser), which may return further parsers within; run(console, **options).
VERBS: dict[str, ModuleType] = {
    "list": list_,
    "get": get,
    "set": set_,
    "incr": incr,
    "delete": delete,
    "reset": reset,
    "top": top,
    "watch": watch,
    "limits": limits,
    "export": export,
    "import": import_,
    "doctor": doctor,
    "bench": bench,
}

EXIT_CODES = """
Data goes to stdout, all else to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 not found,
4 problems found, 5 server unreachable, 130 ended by Ctrl-C.
"""


STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}


class HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's order of options, and texts as they are written."""


class Command(BaseCommand):
    """Hands the command line to a verb, and makes its errors exit codes."""

    help = "Look at counters and rate limits, and put them right: counter VERB --help says how."
    requires_system_checks: list[str] = []  # what is wrong with them is what `doctor` reports

    def add_arguments(self, parser: CommandParser) -> None:
        self._add_skip_checks(parser, default=False)
        parser.epilog = EXIT_CODES
        verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True)
        for name, verb in VERBS.items():
            each = verbs.add_parser(
                name,
                help=verb.HELP,
                description=f"{verb.HELP[0].upper()}{verb.HELP[1:]}.",
                epilog=verb.NOTES + EXIT_CODES,
                formatter_class=HelpFormatter,
                allow_abbrev=False,
            )
            inner = verb.add_arguments(each) or ()
            for words in (each, *inner):
                self._add_django_options(words)

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a program: Ctrl-C, and a reader of stdout who has gone, end it quietly.

        A stream that is closed is one that holds nothing, and takes all.
        """
        for name, mode in STREAMS.items():
            if getattr(sys, name) is None:
                setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until it ends
                setattr(self, name, OutputWrapper(getattr(sys, name)))
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:
            self.stderr.write("Interrupted.")
            sys.exit(INTERRUPTED)
        except OSError as error:
            # Python writes once more, when it ends, what stdout did not take.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                self.stderr.write(f"CommandError: {error.strerror}")
            sys.exit(FAILED)

    def handle(self, *, verb: str, **options: Any) -> None:
        console = Console(self, options)
        try:
            VERBS[verb].run(console, **options)
        except CounterError as error:
            self._fail(error, options.get("using") or DEFAULT_ALIAS)
        self.stdout.flush()

    def _fail(self, error: CounterError, alias: str) -> NoReturn:
        """Say what is known, and what to do next."""
        code = UNREACHABLE if isinstance(error, CounterUnavailable) else FAILED
        words = f"{escaped(str(error))}. {_advice(error, alias)}"
        raise CommandError(words, returncode=code) from error

    def _add_django_options(self, parser: ArgumentParser) -> None:
        """Accept after the verb what Django accepts before it, which then still counts."""
        parser.add_argument(
            "--version", action="version", version=self.get_version(), help=SUPPRESS
        )
        parser.add_argument(
            "-v",
            "--verbosity",
            type=int,
            choices=[0, 1, 2, 3],
            default=SUPPRESS,
            help="0: no notes",
        )
        for name in ("--settings", "--pythonpath"):
            parser.add_argument(name, default=SUPPRESS, help="see manage.py help")
        for name in ("--traceback", "--no-color", "--force-color"):
            parser.add_argument(
                name, action="store_true", default=SUPPRESS, help="see manage.py help"
            )
        self._add_skip_checks(parser, default=SUPPRESS)

    def _add_skip_checks(self, parser: ArgumentParser, *, default: Any) -> None:
        words = "accepted, as by all commands; none of the verbs waits for the system checks"
        parser.add_argument("--skip-checks", action="store_true", default=default, help=words)


def _advice(error: CounterError, alias: str) -> str:
    using = "" if alias == DEFAULT_ALIAS else f" --using {shlex.quote(escaped(alias))}"
    if isinstance(error, CounterOutcomeUnknown):
        dashes = "-- " if error.key.startswith("-") else ""
        key = shlex.quote(escaped(error.key))
        return f"What is there now: manage.py counter get{using} {dashes}{key}"
    return f"Find out more: manage.py counter doctor{using}"
