"""Rows as a table, JSON, JSON lines or CSV, each written as soon as it is known."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple, TypeAlias

from django_counter.management.text import escaped, time_left, width

PAGE = 1000  # rows whose widths a table takes for those of all

Row: TypeAlias = Sequence[Any]


class Column(NamedTuple):
    """A column: its name in every format, and how a table shows its values."""

    name: str
    show: Callable[[Any], str] = str
    right: bool = False  # aligned there


KEY = Column("key", escaped)
VALUE = Column("value", str, right=True)
TTL = Column("ttl", time_left, right=True)  # seconds left, None = no expiry
ENTRY = (KEY, VALUE, TTL)

Heading: TypeAlias = Callable[[str], str]
Format: TypeAlias = Callable[[Sequence[Column], Iterable[Row], Heading], Iterator[str]]


def table(columns: Sequence[Column], rows: Iterable[Row], heading: Heading) -> Iterator[str]:
    """Yield the lines of a table, none without rows."""
    remaining = iter(rows)
    widths: list[int] = []
    while page := list(islice(remaining, PAGE)):
        cells = [
            [column.show(value) for column, value in zip(columns, row, strict=True)] for row in page
        ]
        if not widths:
            names = [column.name.upper() for column in columns]
            widths = [max(map(width, column)) for column in zip(names, *cells, strict=True)]
            yield heading(_line(columns, names, widths))
        for row in cells:
            yield _line(columns, row, widths)


def json_array(columns: Sequence[Column], rows: Iterable[Row], heading: Heading) -> Iterator[str]:
    """Yield the lines of one JSON array."""
    yield "["
    objects = json_lines(columns, rows, heading)
    line = next(objects, None)
    while line is not None:
        following = next(objects, None)
        yield f"  {line}" if following is None else f"  {line},"
        line = following
    yield "]"


def json_lines(columns: Sequence[Column], rows: Iterable[Row], heading: Heading) -> Iterator[str]:
    """Yield a JSON object for each row. It is ASCII: what is not printable is escaped."""
    names = [column.name for column in columns]
    for row in rows:
        yield json.dumps(dict(zip(names, row, strict=True)))


def csv_lines(columns: Sequence[Column], rows: Iterable[Row], heading: Heading) -> Iterator[str]:
    """Yield the header and the rows; a None is empty."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="")
    for row in chain([[column.name for column in columns]], rows):
        sink.seek(0)
        sink.truncate()
        writer.writerow(row)
        yield sink.getvalue()


FORMATS: dict[str, Format] = {
    "table": table,
    "json": json_array,
    "jsonl": json_lines,
    "csv": csv_lines,
}


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    parts = []
    for column, cell, size in zip(columns, cells, widths, strict=True):
        if not cell.isascii():
            size -= width(cell) - len(cell)  # of characters, to fill as many columns
        parts.append(cell.rjust(size) if column.right else cell.ljust(size))
    return "  ".join(parts).rstrip()
