"""`manage.py counter watch`: the counters that move fastest, again and again."""

import heapq
import shutil
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any, NamedTuple

from django_counter.base import Counter
from django_counter.exceptions import CounterOutcomeUnknown, CounterUnavailable
from django_counter.management.arguments import add_prefix, add_using, parse_seconds
from django_counter.management.console import Console
from django_counter.management.ranking import counting
from django_counter.management.text import escaped, shortened, width

HELP = "show the fastest growing counters, until Ctrl-C"
NOTES = """
Those that grow come first, then those that fall, as budgets of rate limits do. On a terminal each
picture replaces the last one. While the server is away, the picture says so, the first one too.
Token buckets of rate limits are left out: each is a time.

It reads all counters of the prefix each time, and keeps their values in memory: with many of them,
give a prefix or a longer interval.
"""

LINES = 20  # where there is no terminal to fill
BAR_WIDTH = 16
KEY_WIDTH = 24  # at least, or there are no bars
LEAST_KEY_WIDTH = 8
PLAIN = str.maketrans("█…", "#~")  # for terminals that have no such signs
HOME = "\x1b[H"
CLEAR_LINE = "\x1b[K"
CLEAR_BELOW = "\x1b[J"


class Move(NamedTuple):
    """A counter that changed."""

    key: str
    value: int
    rate: float  # per second


def add_arguments(parser: ArgumentParser) -> None:
    add_prefix(parser)
    parser.add_argument(
        "--interval", metavar="SECONDS", type=parse_seconds, default=1.0, help="default: 1"
    )
    add_using(parser)


def run(console: Console, *, using: str, prefix: str, interval: float, **options: Any) -> None:
    counter = console.counter(using)
    title = f"{using}  {prefix!r}" if prefix else using
    on_terminal = console.stdout.isatty()
    pictures = _pictures(console, counter, prefix, interval, title)
    try:
        while True:
            _draw(console, next(pictures), on_terminal)
    except KeyboardInterrupt:
        console.stdout.write()


def _pictures(
    console: Console, counter: Counter, prefix: str, interval: float, title: str
) -> Iterator[list[str]]:
    before: dict[str, int] | None = None
    then = 0.0
    while True:
        clock = f"every {interval:g}s  {time.strftime('%H:%M:%S')}"
        try:
            values = _values(counter, prefix)
        except (CounterUnavailable, CounterOutcomeUnknown) as error:
            yield _cut(console, f"{title}  {clock}", "", escaped(str(error)))
        else:
            now = time.monotonic()
            head = _cut(console, f"{title}  {len(values)} counters  {clock}", "")
            if before is None:
                yield [*head, *_cut(console, "The first rates come in a moment.")]
            else:
                columns, lines = _size(console)
                moves = _fastest(before, values, now - then, max(1, lines - 4))
                yield [*head, *_table(console, moves, columns)]
            before, then = values, now
        time.sleep(interval)


def _size(console: Console) -> tuple[int, int]:
    return shutil.get_terminal_size() if console.stdout.isatty() else (80, LINES + 3)


def _cut(console: Console, *lines: str) -> list[str]:
    """Return lines that the terminal does not break."""
    columns, _ = _size(console)
    return [shortened(console.encodable(line), columns) for line in lines]


def _values(counter: Counter, prefix: str) -> dict[str, int]:
    return {entry.key: entry.value for entry in counting(counter.scan(prefix))}


def _fastest(
    before: dict[str, int], values: dict[str, int], elapsed: float, count: int
) -> list[Move]:
    """Return the fastest growing, then the fastest falling. A new counter grew from 0."""
    moves = (
        Move(key, value, (value - before.get(key, 0)) / elapsed)
        for key, value in values.items()
        if value != before.get(key, 0)
    )
    return heapq.nsmallest(count, moves, key=lambda move: (move.rate < 0, -abs(move.rate)))


def _table(console: Console, moves: list[Move], columns: int) -> Iterator[str]:
    style = console.style
    if not moves:
        yield "Nothing moved."
        return
    values = _aligned("VALUE", [f"{move.value:,}" for move in moves])
    rates = _aligned("PER SECOND", [f"{move.rate:+,.1f}" for move in moves])
    numbers = [f"  {value}  {rate}" for value, rate in zip(values, rates, strict=True)]
    key_width = columns - len(numbers[0]) - BAR_WIDTH - 2
    has_bars = key_width >= KEY_WIDTH
    if not has_bars:
        key_width = max(LEAST_KEY_WIDTH, columns - len(numbers[0]))
    yield style.MIGRATE_HEADING(f"{'KEY':<{key_width}}{numbers[0]}"[:columns])
    fastest = max(abs(move.rate) for move in moves)
    for move, its_numbers in zip(moves, numbers[1:], strict=True):
        key = shortened(console.encodable(escaped(move.key)), key_width)
        blank = " " * (key_width - width(key))
        paint = style.SUCCESS if move.rate > 0 else style.WARNING
        room = columns - BAR_WIDTH - 2 if has_bars else columns
        line = shortened(f"{key}{blank}{its_numbers}", room)
        yield f"{line}  {paint('█' * _cells(move.rate, fastest))}" if has_bars else line


def _aligned(name: str, texts: list[str]) -> list[str]:
    """Return a column's name and its texts, as wide as the widest of them."""
    wide = max(map(len, [name, *texts]))
    return [f"{text:>{wide}}" for text in [name, *texts]]


def _cells(rate: float, fastest: float) -> int:
    return max(1, round(BAR_WIDTH * abs(rate) / fastest))


def _draw(console: Console, picture: list[str], on_terminal: bool) -> None:
    """Write a picture: over the last one, or below it."""
    if console.encodable("█…") != "█…":
        picture = [line.translate(PLAIN) for line in picture]
    if on_terminal:
        lines = "".join(f"{line}{CLEAR_LINE}\n" for line in picture)
        console.stdout.write(f"{HOME}{lines}{CLEAR_BELOW}", ending="")
    else:
        for line in [*picture, ""]:
            console.write(line)
    console.stdout.flush()
