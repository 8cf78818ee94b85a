"""Stored values as a terminal shows them."""

from unicodedata import combining, east_asian_width


def escaped(text: str) -> str:
    r"""Return a text in which nothing steers a terminal: others than printable become `\x1b`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def encodable(text: str, encoding: str | None) -> str:
    """Return a text that a stream of this encoding takes."""
    if text.isascii() or not encoding:
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def width(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(_width(each) for each in text)


def shortened(text: str, columns: int) -> str:
    """Return what fits into that many columns, the end cut off visibly."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return f"{text}…"


def duration(seconds: float) -> str:
    """Return a time in its two largest units: `2d 3h`, `59m 8s`, `4.2s`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"


def time_left(seconds: float | None) -> str:
    """Return a ttl, which may be none."""
    return "no expiry" if seconds is None else duration(seconds)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _width(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
