"""Patterns as Redis has them, for whole keys."""

import re
from typing import NamedTuple


class Glob(NamedTuple):
    r"""`*`, `?`, `[abc]`, `[a-z]`, `[^a]` and `\` before a character that is meant itself.

    They are Redis's, but for `?` and `[...]`, which stand for one character, not for one byte.
    """

    prefix: str  # what every key that matches begins with
    expression: re.Pattern[str]

    def matches(self, key: str) -> bool:
        """Say whether the whole key matches."""
        return self.expression.fullmatch(key) is not None


def parse_glob(pattern: str) -> Glob:
    """Return what a pattern means. Each one means something."""
    prefix = ""
    pieces = [""]  # between stars
    for part in _PART.finditer(pattern):
        if part["star"]:
            pieces.append("")
            continue
        literal = part["literal"]
        if literal and len(pieces) == 1 and pieces[0] == re.escape(prefix):
            prefix += literal
        pieces[-1] += re.escape(literal) if literal else _one_of(part)
    first, *others = pieces
    # What lies between two stars is best found as early as it can be, and not looked for again.
    between = "".join(f"(?>.*?{piece})" for piece in others[:-1])
    last = f".*{others[-1]}" if others else ""
    return Glob(prefix, re.compile(first + between + last, re.S))


_PART = re.compile(
    r"(?P<star>\*+)|(?P<one>\?)|\[(?P<no>\^?)(?P<set>(?:\\.|[^\]])*)\]?|\\?(?P<literal>.)", re.S
)
_MEMBER = re.compile(r"\\?(.)(?:-\\?(.))?", re.S)


def _one_of(part: re.Match[str]) -> str:
    """Return the expression for one character: any, or one of a set, or one of none of it."""
    if part["one"]:
        return "."
    ranges = []
    for member in _MEMBER.finditer(part["set"]):
        low, high = sorted((member[1], member[2] or member[1]))
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    if not ranges:
        return "." if part["no"] else "(?!)"
    return f"[{part['no']}{''.join(ranges)}]"
