"""Arguments of the verbs: read strictly, refused with what would be right."""

import re
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError
from collections.abc import Callable

from django_counter.arguments import check_key, check_prefix, milliseconds
from django_counter.handler import DEFAULT_ALIAS
from django_counter.management.glob import parse_glob
from django_counter.management.rows import FORMATS
from django_counter.values import INT64_MAX, INT64_MIN

# int() and float() take `1_000`, ` 1` and the digits of all scripts.
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


def add_using(parser: ArgumentParser, default: str | None = DEFAULT_ALIAS) -> None:
    """Add --using."""
    parser.add_argument(
        "--using",
        metavar="ALIAS",
        default=default,
        help=f"an alias in COUNTERS, default: {'all' if default in {None, SUPPRESS} else default}",
    )


def add_format(parser: ArgumentParser, default: str = "table") -> None:
    """Add --format."""
    parser.add_argument(
        "--format",
        choices=list(FORMATS),
        default=default,
        help="default: table. In JSON and CSV a ttl is in seconds, and none (null, empty) is no "
        "expiry. CSV has keys as they are: a spreadsheet may take one for a formula",
    )


def add_keys(parser: ArgumentParser) -> None:
    """Add KEY..."""
    parser.add_argument(
        "keys", metavar="KEY", nargs="+", type=parse_key, help="a whole key, literally"
    )


def add_prefix(parser: ArgumentParser) -> None:
    """Add [PREFIX]."""
    parser.add_argument(
        "prefix", metavar="PREFIX", nargs="?", default="", type=parse_prefix, help="only these keys"
    )


def add_limit(parser: ArgumentParser, default: int | None = None) -> None:
    """Add --limit, -n for short."""
    parser.add_argument(
        "-n",
        "--limit",
        metavar="N",
        type=parse_positive,
        default=default,
        help=f"at most N, default: {default or 'all'}",
    )


def add_no_input(parser: ArgumentParser) -> None:
    """Add --no-input, under the name that all of Django's commands have for it."""
    parser.add_argument(
        "--noinput",
        "--no-input",
        action="store_false",
        dest="interactive",
        help="do not ask",
    )


def parse_key(text: str) -> str:
    """Return a key of a counter."""
    return _checked(check_key, text)


def parse_prefix(text: str) -> str:
    """Return what keys may begin with."""
    return _checked(check_prefix, text)


def parse_pattern(text: str) -> str:
    """Return a pattern that keys may have."""
    parse_prefix(parse_glob(text).prefix)
    return text


def parse_full_prefix(text: str) -> str:
    """Return a prefix that is not empty."""
    if not text:
        raise ArgumentTypeError("must not be empty, that would be every counter")
    return parse_prefix(text)


def parse_integer(text: str) -> int:
    """Return an int64."""
    value = int(text) if _INTEGER.fullmatch(text) else None
    if value is None or not INT64_MIN <= value <= INT64_MAX:
        raise ArgumentTypeError(
            f"must be digits 0-9, perhaps after a minus, from -2**63 to 2**63 - 1, not {text!r}"
        )
    return value


def parse_positive(text: str) -> int:
    """Return an int64 above 0."""
    value = parse_integer(text)
    if value < 1:
        raise ArgumentTypeError(f"must be above 0, not {text!r}")
    return value


def parse_seconds(text: str) -> float:
    """Return a number of seconds that a ttl may have."""
    if not _DECIMAL.fullmatch(text):
        raise ArgumentTypeError(f"must be seconds, such as 3600 or 0.5, not {text!r}")
    try:
        milliseconds(float(text))
    except ValueError as error:
        raise ArgumentTypeError(str(error).removeprefix("ttl ")) from error
    return float(text)


def _checked(check: Callable[[str], None], text: str) -> str:
    try:
        check(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
    return text
