"""Counters as lines of a file: `{"key": "clicks:home", "value": 12, "ttl": null}`."""

import json
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from django_counter.arguments import check_key, checked_value, milliseconds
from django_counter.management.rows import ENTRY
from django_counter.values import Entry

LINE_MAX = 4096  # bytes, with the line's end
FIELDS = [column.name for column in ENTRY]


class Record(NamedTuple):
    """A counter, and the line it was read from."""

    line: int
    key: str
    value: int
    ttl: float | None  # seconds from now on; None = no expiry


def written(entry: Entry) -> str:
    """Return the line of a counter."""
    return json.dumps(entry._asdict())


def read(file: IO[bytes]) -> Iterator[Record | ValueError]:
    """Yield each line's counter, or what is wrong with it. A line that is too long is the last."""
    number = 0
    while line := file.readline(LINE_MAX + 1):
        number += 1
        try:
            yield Record(number, *_parse(line, first=number == 1))
        except (TypeError, ValueError) as error:
            yield ValueError(f"line {number}: {error}")
        if len(line) > LINE_MAX:
            return


def _parse(line: bytes, *, first: bool) -> tuple[str, int, float | None]:
    fields = _fields(_text(line, first))
    key, value, ttl = (fields[name] for name in FIELDS)
    check_key(key)
    milliseconds(ttl)
    return key, checked_value(value), ttl


def _text(line: bytes, first: bool) -> str:
    if len(line) > LINE_MAX:
        raise ValueError(f"must be at most {LINE_MAX} bytes long")
    if first and line.startswith(b"\xef\xbb\xbf"):
        raise ValueError("must begin without a byte order mark: save it as UTF-8 without BOM")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"must be UTF-8, byte {error.start + 1} is not") from error
    if not text.strip():
        raise ValueError("must be a counter, it is blank")
    return text


def _fields(text: str) -> dict[str, Any]:
    try:
        fields = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"must be JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise ValueError("must be a flat JSON object") from error
    if not isinstance(fields, dict) or fields.keys() != _NAMES:
        raise ValueError(f"must be a JSON object of just {', '.join(FIELDS)}")
    return fields


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("must have each field once")
    return fields


def _constant(name: str) -> None:
    raise ValueError(f"must be JSON, which has no {name}")


_NAMES = set(FIELDS)
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
