"""What a terminal is shown of values, and the order and the formats of rows."""

import csv
import io
import json
from typing import Any

import pytest

from django_counter.management.ranking import ORDERS, first_ranked, ranked
from django_counter.management.rows import ENTRY, FORMATS, PAGE
from django_counter.management.text import (
    duration,
    encodable,
    escaped,
    shortened,
    time_left,
    width,
)
from django_counter.values import Entry


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clicks:home", "clicks:home"),
        ("über 名前 👍", "über 名前 👍"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\r\nb\x07", r"a\r\nb\x07"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\u200b\u2028\xa0", r"\u200b\u2028\xa0"),
        ("\ud800", r"\ud800"),
        ("\x7f\x9b", r"\x7f\x9b"),
    ],
)
def test_what_would_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", r"\xfc-\u540d"), ("utf-8", "ü-名"), (None, "ü-名")]
)
def test_what_a_stream_cannot_encode_is_escaped(encoding: str | None, shown: str) -> None:
    assert encodable("ü-名", encoding) == shown


def test_ascii_fits_into_any_encoding() -> None:
    assert encodable("clicks", "ascii") == "clicks"


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("名前", 4), ("e\u0301", 1)])
def test_the_width_is_in_columns_of_a_terminal(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "shown"), [("abcd", "abcd"), ("abcde", "abc…"), ("名前名前", "名…"), ("名前", "名前")]
)
def test_a_long_text_is_cut_off_visibly(text: str, shown: str) -> None:
    assert shortened(text, 4) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0s"),
        (9.96, "10.0s"),
        (10, "10s"),
        (59.9, "59s"),
        (60, "1m 0s"),
        (3599, "59m 59s"),
        (3600, "1h 0m"),
        (86_399, "23h 59m"),
        (90_000, "1d 1h"),
        (36_525 * 86_400, "36525d 0h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
    assert time_left(seconds) == shown


def test_no_ttl_is_no_expiry() -> None:
    assert time_left(None) == "no expiry"


ROWS = [Entry("a", 1, None), Entry('=b,"\x7f', -20, 1.5)]


def lines(format: str, rows: Any) -> list[str]:
    return list(FORMATS[format](ENTRY, rows, str.lower))


def test_a_table_is_aligned_under_its_heading() -> None:
    assert lines("table", ROWS) == [
        "key       value        ttl",
        "a             1  no expiry",
        r'=b,"\x7f    -20       1.5s',
    ]


def test_a_table_without_rows_has_no_lines() -> None:
    assert lines("table", []) == []


def test_a_table_takes_wide_characters_for_two_columns() -> None:
    rows = [Entry("名前", 1, None), Entry("abcdef", 2, None)]
    _, first, second = lines("table", rows)
    assert first == "名前        1  no expiry"
    assert width(first) == width(second)


def test_a_table_is_written_while_rows_come() -> None:
    rows = iter([Entry(f"key {number}", number, None) for number in range(PAGE + 10)])
    first = next(FORMATS["table"](ENTRY, rows, str))
    assert first.startswith("KEY")
    assert len(list(rows)) == 10


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS])
def test_json_is_one_array(rows: list[Entry]) -> None:
    text = "\n".join(lines("json", rows))
    assert json.loads(text) == [row._asdict() for row in rows]


def test_json_lines_are_printable_ascii() -> None:
    each = lines("jsonl", [*ROWS, Entry("\u202eü", 3, None)])
    assert [json.loads(line)["key"] for line in each] == ["a", '=b,"\x7f', "\u202eü"]
    assert all(line.isprintable() and line.isascii() for line in each)


def test_csv_has_a_header_and_quotes() -> None:
    rows = list(csv.reader(io.StringIO("\n".join(lines("csv", ROWS)))))
    assert rows == [["key", "value", "ttl"], ["a", "1", ""], ['=b,"\x7f', "-20", "1.5"]]


def entries(*values: int) -> list[Entry]:
    return [Entry(f"key {number}", value, None) for number, value in enumerate(values)]


def test_by_value_the_largest_is_first_and_ties_are_by_key() -> None:
    order = [entry.key for entry in ranked(entries(1, 3, 3, -2), ORDERS["value"])]
    assert order == ["key 1", "key 2", "key 0", "key 3"]


def test_a_counter_that_came_twice_is_ranked_once() -> None:
    twice = [*entries(1, 2), *entries(1, 2)]
    assert ranked(twice, ORDERS["key"]) == entries(1, 2)
    assert first_ranked(twice, ORDERS["key"], count=5) == entries(1, 2)


@pytest.mark.parametrize("order", ORDERS)
def test_the_first_few_of_many_are_those_of_all(order: str) -> None:
    many = entries(*((number * 7919) % 10_007 for number in range(5000)))
    first = first_ranked(many, ORDERS[order], count=20)
    assert first == ranked(many, ORDERS[order])[:20]
