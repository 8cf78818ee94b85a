"""Arguments that are refused, before anything is asked or changed."""

import pytest

from django_counter import Counter
from tests.commands.runs import call

INT64 = 2**63


FULL_WIDTH = "\uff11\uff12"
NO_VALUES = [
    "1_000",
    "١٢",
    FULL_WIDTH,
    "+5",
    " 5",
    "5 ",
    "5.0",
    "1e3",
    "",
    "0x10",
    "True",
    "9" * 5000,
]


@pytest.mark.parametrize("value", [*NO_VALUES, str(INT64), str(-INT64 - 1)])
def test_a_value_is_an_int64_in_ascii_digits(counter: Counter, value: str) -> None:
    counter.set("key", 1)
    run = (
        call("set", "key", value) if not value.startswith("-") else call("set", "key", "--", value)
    )
    assert run.code != 0
    assert "digits 0-9" in run.err
    assert counter.get("key") == 1


@pytest.mark.parametrize("value", [INT64 - 1, -INT64, -1, 0])
def test_every_int64_is_a_value(counter: Counter, value: int) -> None:
    assert call("set", "key", value).code == 0
    assert counter.get("key") == value


@pytest.mark.parametrize(
    "ttl", ["0", "-1", "nan", "inf", "1e3", "1_0", "٣", "4000000000", "", "1h"]
)
@pytest.mark.parametrize("words", [("set", "key", 1), ("incr", "key")])
def test_a_ttl_is_seconds_up_to_100_years(
    counter: Counter, words: tuple[object, ...], ttl: str
) -> None:
    run = call(*words, f"--ttl={ttl}")
    assert run.code != 0
    assert "argument --ttl: " in run.err
    assert counter.entry("key") is None


@pytest.mark.parametrize("key", ["", "a\x1bb", "a\r\nb", "k" * 513, "\udc80"])
@pytest.mark.parametrize("verb", ["get", "delete", "incr"])
def test_a_key_that_is_none_is_refused(counter: Counter, verb: str, key: str) -> None:
    run = call(verb, key)
    assert run.code != 0
    assert "key must" in run.err
    assert run.err.isprintable()


@pytest.mark.parametrize("verb", ["list", "top", "export", "reset"])
def test_a_prefix_that_begins_no_key_is_refused(counter: Counter, verb: str) -> None:
    run = call(verb, "a\x1bb")
    assert run.code != 0
    assert "prefix must not contain control characters" in run.err
    assert "\x1b" not in run.err


@pytest.mark.parametrize(
    "words", [("list", "--limit="), ("top", "--limit="), ("top", "-n"), ("bench", "--threads=")]
)
@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_a_count_is_above_0(counter: Counter, words: tuple[str, str], count: str) -> None:
    run = call(words[0], f"{words[1]}{count}")
    assert run.code != 0
    assert run.out == ""


def test_an_option_is_not_abbreviated(counter: Counter) -> None:
    run = call("list", "--lim", "3")
    assert run.code != 0
    assert "unrecognized arguments" in run.err
