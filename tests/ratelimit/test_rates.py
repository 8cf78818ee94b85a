"""Rates as people write them."""

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_counter.ratelimit import Rate, RateLimit
from django_counter.ratelimit.rates import PERIOD_MAX, parse_rate

INT64_MAX = 2**63 - 1
SAME = settings(max_examples=150, deadline=None, derandomize=True, database=None)

SECONDS = {
    **dict.fromkeys(["s", "sec", "secs", "second", "seconds"], 1),
    **dict.fromkeys(["m", "min", "mins", "minute", "minutes"], 60),
    **dict.fromkeys(["h", "hr", "hrs", "hour", "hours"], 3600),
    **dict.fromkeys(["d", "day", "days"], 86_400),
    **dict.fromkeys(["w", "week", "weeks"], 604_800),
}
GOOD = {
    "5/s": (5, 1),
    "100/m": (100, 60),
    "100/h": (100, 3600),
    "1000/2h": (1000, 7200),
    "10/day": (10, 86_400),
    "10 per day": (10, 86_400),
    "100 per hour": (100, 3600),
    "5 per 30 seconds": (5, 30),
    "5 PER 30SECONDS": (5, 30),
    "1/minute": (1, 60),
    "3 / 10 min": (3, 600),
    " 3/10min ": (3, 600),
    "20/2Weeks": (20, 1_209_600),
    "7\tper\n2 h": (7, 7200),
    "007/05s": (7, 5),
    "9223372036854775807/s": (INT64_MAX, 1),
    "1/18250d": (1, PERIOD_MAX),
}
BAD = [
    "",
    " ",
    "5",
    "/s",
    "5/",
    "5/2",
    "s",
    "5s",
    "5/x",
    "5/ms",
    "5/month",
    "5/year",
    "five/s",
    "-5/s",
    "+5/s",
    "5.5/s",
    "5,000/h",
    "5_000/h",
    "1e3/h",
    "5/-1s",
    "5/1.5h",
    "5//s",
    "5/s/s",
    "5/s 6/m",
    "5/s, 6/m",
    "5/1h30m",
    "5perh",
    "5 perh",
    "5per h",
    "5 in h",
    "5/s\x00",
    "0/s",
    "5/0s",
    "0/0s",
    "9223372036854775808/s",
    "99999999999999999999/s",
    "5/18251d",
    "5/2608w",
    "5/9999999999w",
    "5/99999999999s",
    "\N{ARABIC-INDIC DIGIT FIVE}/s",
    "\N{FULLWIDTH DIGIT FIVE}/s",
    "5/\N{FULLWIDTH LATIN SMALL LETTER S}",
    "5/\N{LATIN SMALL LETTER LONG S}",  # its upper case is S
    "5\N{FULLWIDTH SOLIDUS}s",
]


@pytest.mark.parametrize(("text", "rate"), GOOD.items(), ids=GOOD)
def test_a_rate_is_read_as_people_write_it(text: str, rate: tuple[int, int]) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(text.upper()) == rate


@SAME
@given(
    limit=st.integers(1, 9) | st.integers(1, INT64_MAX),
    count=st.none() | st.integers(1, 2607),
    unit=st.sampled_from(list(SECONDS)),
    slash=st.sampled_from(["/", " /", "/ ", " / ", " per ", "  per\t", " Per "]),
    space=st.sampled_from(["", " ", "  "]),
    change=st.sampled_from([str.lower, str.upper, str.title]),
)
def test_every_way_to_write_a_rate(
    limit: int, count: int | None, unit: str, slash: str, space: str, change: Any
) -> None:
    text = change(f"{space}{limit}{slash}{'' if count is None else count}{space}{unit}{space}")
    assert parse_rate(text) == (limit, (count or 1) * SECONDS[unit])


@SAME
@given(limit=st.integers(1, INT64_MAX), period=st.integers(1, PERIOD_MAX))
@example(1, 1)
@example(INT64_MAX, PERIOD_MAX)
def test_a_rate_reads_what_it_writes(limit: int, period: int) -> None:
    rate = Rate(limit, period)
    assert parse_rate(str(rate)) == rate
    assert f"{rate}" == str(rate)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("60/60s", "60/m"),
        ("5 per second", "5/s"),
        ("5/90s", "5/90s"),
        ("5/120m", "5/2h"),
        ("5/24h", "5/d"),
        ("5/7d", "5/w"),
        ("5/14 days", "5/2w"),
        ("5/8d", "5/8d"),
    ],
)
def test_a_rate_is_written_with_its_largest_unit(text: str, written: str) -> None:
    assert str(parse_rate(text)) == written


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_a_bad_rate_fails_at_once_and_shows_good_ones(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))) as caught:
        RateLimit("5/s", text, name="bad")
    _shows_good_ones(str(caught.value))


@pytest.mark.parametrize("bad", [None, 5, 5.5, b"5/s", ("5/s",), ["5/s"], (5, 1), True])
def test_what_is_no_str_is_no_rate(bad: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        RateLimit(bad, name="bad")
    _shows_good_ones(str(caught.value))


@SAME
@given(text=st.text(max_size=12) | st.from_regex(r"[ 0-9]{0,4}(/|per)[ 0-9]{0,3}[a-z]{0,4} ?"))
@example("\N{ARABIC-INDIC DIGIT THREE}/s")
def test_any_text_is_a_rate_or_refused_with_good_ones(text: str) -> None:
    try:
        rate = parse_rate(text)
    except ValueError as error:
        _shows_good_ones(str(error))
    else:
        assert type(rate) is Rate
        assert 0 < rate.limit <= INT64_MAX
        assert 0 < rate.period <= PERIOD_MAX
        assert parse_rate(str(rate)) == rate


def _shows_good_ones(message: str) -> None:
    shown = re.search(r"Good ones are (.*)$", message)
    assert shown
    rates = re.findall("'(.*?)'", shown[1])
    assert len(rates) >= 3
    for each in rates:
        parse_rate(each)
