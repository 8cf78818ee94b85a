"""One page of counters, in the shape that the templates of the stock changelist ask for."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlencode

from django.core.signing import Signer

from django_counter.handler import counters
from django_counter.models import Counter

MAX_LOOKS = 10  # that one request takes at the server, of about a thousand stored keys each
ENOUGH = 100  # counters after which it takes no further one


class Choice(NamedTuple):
    """What a filter can be set to."""

    display: str
    query_string: str
    selected: bool


class Filter:
    """A box at the side of the list."""

    template = "admin/filter.html"

    def __init__(self, title: str, choices: list[Choice]) -> None:
        self.title = title
        self._choices = choices

    def choices(self, listing: "Listing") -> list[Choice]:
        return self._choices


class Listing:
    """The counters of an alias under a prefix, from a cursor on.

    Raise ValueError for what is no prefix, BadSignature for a cursor that this list did not give.
    """

    search_fields = ("key",)
    search_help_text = "The first letters of a key. They are taken literally."
    has_filters = True

    def __init__(self, alias: str, prefix: str, signed: str) -> None:
        self.opts = Counter._meta
        self.alias = alias
        self.query = self.prefix = prefix
        self.params = {"using": alias}  # what the form of the search keeps
        # Equal, whatever they are: then no totals are shown, which nobody knows.
        self.result_count = self.full_result_count = 0
        self.is_first = not signed
        self.first = self._query()
        signer = Signer(salt=f"django_counter.cursor {alias!r} {prefix!r}")
        self.counters, cursor = _look(alias, prefix, signer.unsign(signed) if signed else "")
        self.following = self._query(cursor=signer.sign(cursor)) if cursor else ""
        self.filter_specs = [
            Filter("alias", list(self._aliases())),
            Filter("prefix", list(self._prefixes())),
        ]

    def _query(self, **parameters: str) -> str:
        return "?" + urlencode({"using": self.alias, "q": self.prefix, **parameters})

    def _aliases(self) -> Iterator[Choice]:
        for alias in counters:
            yield Choice(alias, self._query(using=alias), alias == self.alias)

    def _prefixes(self) -> Iterator[Choice]:
        """Yield the prefixes up to this one, and those that the counters here go on with."""
        yield Choice("All", self._query(q=""), not self.prefix)
        above = [prefix for prefix in _prefixes(self.prefix) if prefix != self.prefix]
        below = {_next_prefix(counter.key, len(self.prefix)) for counter in self.counters}
        for prefix in [*above, *([self.prefix] if self.prefix else []), *sorted(below - {""})]:
            yield Choice(prefix, self._query(q=prefix), prefix == self.prefix)


def _look(alias: str, prefix: str, cursor: str) -> tuple[list[Counter], str]:
    """Return counters in the order of their keys, and the cursor behind them."""
    found = {}  # the server may name one twice
    for _ in range(MAX_LOOKS):
        entries, cursor = counters.backend(alias).scan_page(prefix, cursor)
        found.update({entry.key: Counter.of(alias, entry) for entry in entries})
        if not cursor or len(found) >= ENOUGH:
            break
    return [found[key] for key in sorted(found)], cursor


def _next_prefix(key: str, start: int) -> str:
    """Return a key up to the next colon from a place on, empty where there is none."""
    end = key.find(":", start) + 1
    return key[:end] if end < len(key) else ""


def _prefixes(text: str) -> list[str]:
    return [text[: end + 1] for end, letter in enumerate(text) if letter == ":"]
