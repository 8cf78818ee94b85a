"""Patterns, against those of a real server."""

from uuid import uuid4

import pytest
import redis

from django_counter.management.glob import parse_glob

KEYS = ["a", "ab", "abc", "b", "a*b", "[x]", "x", "\\", "?", "a-b", "^", "a]b", "a.b", "aXb", "-"]
PATTERNS = ["*", "**", "a*", "*b", "a*b", "a?b", "?", "??", "[ab]", "[^a]", "[a-c]b", "[c-a]*"]
PATTERNS += [r"a\*b", r"\[x\]", "[x]", r"\\", r"\?", "a.b", "[]", "[^]", "[ab", r"[\]]"]
PATTERNS += [r"a[\]\*]b", "*a*b*", "a\\"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_means_what_it_means_to_the_server(pattern: str, raw: redis.Redis) -> None:
    # As members of a set, all matched in one reply.
    place = f"glob:{uuid4()}"
    raw.sadd(place, *KEYS)
    found = {member.decode() for member in raw.sscan_iter(place, match=pattern)}
    glob = parse_glob(pattern)
    assert {key for key in KEYS if glob.matches(key)} == found
    assert all(key.startswith(glob.prefix) for key in found)


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("clicks:*", "clicks:"), (r"a\*b*c", "a*b"), ("?a", ""), ("ab[c]d", "ab"), ("abc", "abc")],
)
def test_the_scan_is_narrowed_to_what_stands_before_the_first_wildcard(
    pattern: str, prefix: str
) -> None:
    assert parse_glob(pattern).prefix == prefix


def test_many_stars_take_no_time() -> None:
    assert not parse_glob("*a" * 40 + "b").matches("a" * 512)
