"""`manage.py counter limits`: the rate limits of the project, and where identities stand."""

from argparse import SUPPRESS, ArgumentParser
from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any

from django.core.management import CommandError

from django_counter.administration import on_server
from django_counter.management.arguments import add_format, add_using
from django_counter.management.console import Console
from django_counter.management.exits import NOT_FOUND, USAGE
from django_counter.management.rows import Column
from django_counter.management.text import duration, escaped
from django_counter.ratelimit.decisions import Decision, Standing
from django_counter.ratelimit.declared import declared_limits, keys_of
from django_counter.ratelimit.digests import Digest
from django_counter.ratelimit.identity import identity_of
from django_counter.ratelimit.limit import PREFIX, RateLimit
from django_counter.ratelimit.rates import Rate
from django_counter.ratelimit.settings import setting

HELP = "show rate limits; what an identity has left; give it back"
NOTES = """
Without more words: every declared limit, a row for each of its rates. "identities" have drawn
from their budget in the present window; "used up" are those of them with nothing left. (What the
previous window of a sliding limit still weighs is seen by 'show' only.)
"""
ACTIONS = {"show": "what one identity has left", "reset": "give it its whole limit back"}
IDENTITIES = """
IDENTITY is what the limit counts by, as its view says with key=:
  "ip"                   an address, 192.0.2.7 or 2001:db8::1
  "user", "user_or_ip"   a user's primary key, or anonymous, or an address
  "header:X-Api-Key", "post:username", "get:q"   what is sent in there
  "session"              a session's key
  a function             what it returns (--key callable)
digest:HEX takes the 32 hexadecimal digits that keys and logs have in place of an identity. A limit
without a key in the table, which code of yours or a throttle of REST framework counts by, takes the
very text that is handed in there. A class-based view's limit without a name= is not known here.
"""

DIGEST = "digest:"
OVERVIEW = (
    Column("name"),
    Column("rate", right=True),
    Column("algorithm"),
    Column("using"),
    Column("key", lambda text: escaped(text) or "-"),
    Column("identities", right=True),
    Column("used_up", right=True),
)
STANDING = (
    Column("rate", right=True),
    Column("remaining", right=True),
    Column("reset_after", duration, right=True),  # seconds
    Column("retry_after", duration, right=True),  # seconds
)


def add_arguments(parser: ArgumentParser) -> list[ArgumentParser]:
    """Add those of the verb; return the parsers of its actions."""
    add_format(parser)
    add_using(parser, default=None)
    _add_key(parser)
    parser.set_defaults(name="", identity="")
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION")
    parser.usage = "%(prog)s [options] [{show,reset} NAME IDENTITY]"
    return [_add_action(actions, parser, name) for name in ACTIONS]


def _add_action(actions: Any, parser: ArgumentParser, name: str) -> ArgumentParser:
    action: ArgumentParser = actions.add_parser(
        name,
        help=ACTIONS[name],
        description=f"{ACTIONS[name][0].upper()}{ACTIONS[name][1:]}.",
        epilog=IDENTITIES,
        formatter_class=parser.formatter_class,
        allow_abbrev=False,
    )
    action.add_argument("name", metavar="NAME", help="of a limit")
    action.add_argument("identity", metavar="IDENTITY", help="see below")
    # What stands before the action counts, unless it is said again here.
    add_format(action, default=SUPPRESS)
    add_using(action, default=SUPPRESS)
    _add_key(action, default=SUPPRESS)
    return action


def _add_key(parser: ArgumentParser, default: str | None = None) -> None:
    text = "what IDENTITY is, where a limit is counted by several keys or none"
    parser.add_argument("--key", default=default, help=text)


def run(
    console: Console,
    *,
    using: str | None,
    action: str | None,
    name: str,
    identity: str,
    key: str | None,
    **options: Any,
) -> None:
    if using is not None:
        console.check_alias(using)
    limits = [limit for limit in declared_limits() if using in (None, limit.using)]
    if action is None:
        console.rows(OVERVIEW, _overview(console, limits))
    else:
        limit = _named(limits, name)
        _one(console, action, limit, _identity(console, limit, identity, key))


def _overview(console: Console, limits: list[RateLimit]) -> Iterator[tuple[Any, ...]]:
    identities: Tally[tuple[RateLimit, Rate]] = Tally()
    used_up: Tally[tuple[RateLimit, Rate]] = Tally()
    for limit, standing in _drawn(console, limits):
        identities[limit, standing.rate] += 1
        used_up[limit, standing.rate] += standing.remaining == 0
    for limit in limits:
        keys = ", ".join(keys_of(limit))
        for rate in limit.rates:
            counts = identities[limit, rate], used_up[limit, rate]
            yield (limit.name, str(rate), limit.algorithm, limit.using, keys, *counts)


def _drawn(console: Console, limits: list[RateLimit]) -> Iterator[tuple[RateLimit, Standing]]:
    """Yield where each identity stands that has drawn. One scan of each alias tells of all."""
    places: dict[tuple[str, str], list[RateLimit]] = {}
    for limit in limits:
        places.setdefault((limit.using, limit.prefix), []).append(limit)
    for alias in dict.fromkeys(limit.using for limit in limits):
        for entry in console.counter(alias).scan(PREFIX):
            prefix = entry.key[: entry.key.find("{") + 1]
            for limit in places.get((alias, prefix), ()):
                standing = limit.standing(entry)
                if standing and standing.remaining < standing.rate.limit:
                    yield limit, standing


def _named(limits: list[RateLimit], name: str) -> RateLimit:
    for limit in limits:
        if limit.name == name:
            return limit
    names = ", ".join(repr(limit.name) for limit in limits) or "none"
    raise CommandError(f"no rate limit {name!r}. There are: {names}", returncode=NOT_FOUND)


def _identity(console: Console, limit: RateLimit, text: str, key: str | None) -> str:
    keys = [key] if key else keys_of(limit)
    try:
        if text.startswith(DIGEST):
            return Digest(text.removeprefix(DIGEST))
        if len(keys) == 1:
            return identity_of(keys[0], text)
    except ValueError as error:
        raise CommandError(f"IDENTITY: {error}", returncode=USAGE) from error
    if not keys:
        console.note(f"No view counts by {limit.name!r}: {text!r} is taken as code hands it in.")
        return text
    message = f"{limit.name!r} is counted by {' and by '.join(keys)}. Choose one: --key {keys[0]}"
    raise CommandError(message, returncode=USAGE)


def _one(console: Console, action: str, limit: RateLimit, identity: str) -> None:
    limit = on_server(limit)
    decision = limit.peek(identity)
    if action == "reset":
        limit.reset(identity)
        console.note(_given_back(decision))
        decision = limit.peek(identity)
    console.note(f"{limit.name!r} for {DIGEST}{decision.identity}:")
    console.rows(
        STANDING,
        [
            (str(each.rate), each.remaining, each.reset_after, each.retry_after)
            for each in decision.standings
        ],
    )


def _given_back(decision: Decision) -> str:
    if all(each.remaining == each.rate.limit for each in decision.standings):
        return "Nothing was missing. Is IDENTITY what the limit is counted by?"
    seconds = setting("DENY_CACHE")
    return f"Given back. Processes that have just denied it may go on for {seconds:g} s."
