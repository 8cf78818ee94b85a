"""list, get, set, incr, delete and top, on a real server."""

import io
import json
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command

from django_counter import Counter, CounterUnavailable, counters
from django_counter.ratelimit import RateLimit
from django_counter.values import Entry
from tests.commands.runs import Manage, call
from tests.wrapped import WrappedMemory

HOSTILE = ["*", "[x]", "\\", "?", "a*b"]
PATTERNS = [
    pattern
    for each in ("*", "?", "[x]", "[^x]", "[a-z]", "[", "]", "\\", "\\*", "^", "-", "{x}", "%")
    for pattern in (each, each * 2, f"x{each}", f"{each}x")
]


def table(out: str) -> list[list[str]]:
    """Return the words of each row below the heading."""
    return [line.split() for line in out.splitlines()[1:]]


@pytest.fixture
def some(counter: Counter) -> Counter:
    counter.set("clicks:a", 10)
    counter.set("clicks:b", 30, 3600)
    counter.set("visits:a", -20)
    return counter


def test_list_shows_key_value_and_time_left(some: Counter) -> None:
    run = call("list")
    assert sorted(table(run.out)) == [
        ["clicks:a", "10", "no", "expiry"],
        ["clicks:b", "30", "59m", "59s"],
        ["visits:a", "-20", "no", "expiry"],
    ]
    assert run.err == ""


def test_list_takes_a_prefix(some: Counter) -> None:
    assert sorted(row[0] for row in table(call("list", "clicks:").out)) == ["clicks:a", "clicks:b"]


@pytest.mark.parametrize("prefix", HOSTILE)
def test_a_prefix_is_literal(counter: Counter, prefix: str) -> None:
    for key in ("a", "x", "axb", *HOSTILE):
        counter.set(key, 1)
    expected = sorted(key for key in HOSTILE if key.startswith(prefix))
    assert sorted(row[0] for row in table(call("list", prefix).out)) == expected


def test_list_takes_a_pattern_for_whole_keys(some: Counter) -> None:
    assert sorted(row[0] for row in table(call("list", "--glob", "*:a").out)) == [
        "clicks:a",
        "visits:a",
    ]
    assert call("list", "--glob", "clicks").out == ""


@pytest.mark.parametrize("pattern", ["a\n*", "a\x7f", "\udcff*", "x" * 513 + "*"])
def test_list_refuses_a_pattern_that_no_key_has(manage: Manage, pattern: str) -> None:
    run = manage("list", "--glob", pattern)
    assert (run.code, run.out) == (2, "")
    assert "argument --glob: prefix must" in run.err
    assert "Traceback" not in run.err


def test_list_refuses_a_prefix_and_a_pattern_at_once(some: Counter) -> None:
    run = call("list", "clicks:", "--glob", "*a")
    assert (run.code, run.out) == (2, "")
    assert "not both" in run.err


@pytest.mark.parametrize(
    ("order", "keys"),
    [
        ("key", ["clicks:a", "clicks:b", "visits:a"]),
        ("value", ["clicks:b", "clicks:a", "visits:a"]),
    ],
)
def test_list_sorts(some: Counter, order: str, keys: list[str]) -> None:
    assert [row[0] for row in table(call("list", "--sort", order).out)] == keys
    limited = call("list", "--sort", order, "--limit", 2)
    assert [row[0] for row in table(limited.out)] == keys[:2]


def test_list_ends_at_its_limit(some: Counter) -> None:
    assert len(table(call("list", "--limit", 2).out)) == 2


def test_list_passes_over_what_is_no_counter(
    some: Counter, raw: redis.Redis, key_prefix: str
) -> None:
    raw.set(f"{key_prefix}:text", "\x1b[31mred")
    raw.rpush(f"{key_prefix}:list", "1")
    raw.set(f"{key_prefix}:\x1b[31m", "1")
    run = call("list", "--format", "csv")
    assert len(run.out.splitlines()) == 4
    assert "\x1b" not in run.out


def test_rows_come_as_json(some: Counter) -> None:
    rows = json.loads(call("list", "--sort", "key", "--format", "json").out)
    assert rows[0] == {"key": "clicks:a", "value": 10, "ttl": None}
    assert 3500 < rows[1]["ttl"] <= 3600


def test_another_alias_has_counters_of_its_own(some: Counter) -> None:
    assert call("list", "--using", "other").out == ""


def test_get_shows_the_counters_in_the_order_asked(some: Counter) -> None:
    rows = json.loads(call("get", "visits:a", "clicks:a", "--format", "json").out)
    assert [(row["key"], row["value"]) for row in rows] == [("visits:a", -20), ("clicks:a", 10)]


def test_get_names_what_is_missing_and_shows_the_others(some: Counter) -> None:
    run = call("get", "nowhere", "clicks:a", "\u202e")
    assert run.code == 3
    assert table(run.out) == [["clicks:a", "10", "no", "expiry"]]
    assert r"no counter 'nowhere', '\u202e'" in run.err
    assert "'list PREFIX'" in run.err


def test_get_refuses_what_is_no_counter(counter: Counter, raw: Any, key_prefix: str) -> None:
    raw.set(f"{key_prefix}:text", "\x1b[31mred")
    run = call("get", "text")
    assert (run.code, run.out) == (1, "")
    assert "'text' is not a counter" in run.err
    assert "\x1b" not in run.err


def test_set_stores_the_value_with_its_ttl(counter: Counter) -> None:
    run = call("set", "key", "-5", "--ttl", "3600")
    assert table(run.out) == [["key", "-5", "1h", "0m"]]
    entry = counter.entry("key")
    assert entry is not None
    assert entry.value == -5
    assert entry.ttl is not None
    assert entry.ttl > 3500


def test_set_without_a_ttl_removes_it(counter: Counter) -> None:
    counter.set("key", 1, 60)
    assert call("set", "key", 2).code == 0
    assert counter.entry("key") == Entry("key", 2, None)


class Interrupted(WrappedMemory):
    """Counters whose second deletion is interrupted."""

    error: BaseException

    def delete(self, key: str) -> None:
        if key == "b":
            raise self.error
        super().delete(key)


@pytest.mark.parametrize("error", [CounterUnavailable("no server"), KeyboardInterrupt()])
@pytest.mark.parametrize("format", ["table", "csv", "json", "jsonl"])
def test_what_was_deleted_is_shown_where_the_rest_is_not(
    settings: Any, error: BaseException, format: str
) -> None:
    settings.COUNTERS = {"default": {"BACKEND": f"{__name__}.Interrupted"}}
    Interrupted.error = error
    server = counters.backend("default")
    for key in "abc":
        server.set(key, 41)
    out = io.StringIO()
    with pytest.raises((CommandError, KeyboardInterrupt)):
        call_command("counter", "delete", *"abc", format=format, stdout=out)
    assert "41" in out.getvalue()
    assert out.getvalue().count("41") == 1
    assert sorted(entry.key for entry in server.scan()) == ["b", "c"]


def test_set_if_equal_replaces_the_value_it_names(counter: Counter) -> None:
    counter.set("key", 5)
    assert call("set", "key", 7, "--if-equal", 5).code == 0
    assert counter.get("key") == 7


def test_set_if_equal_tells_of_another_value(counter: Counter) -> None:
    counter.set("key", 6)
    run = call("set", "key", 7, "--if-equal", 5)
    assert (run.code, run.out) == (1, "")
    assert "'key' holds 6, not 5: nothing was changed" in run.err
    assert counter.get("key") == 6


def test_set_if_equal_tells_of_a_missing_counter(counter: Counter) -> None:
    run = call("set", "key", 7, "--if-equal", 0)
    assert run.code == 1
    assert "'key' does not exist: nothing was changed" in run.err


@pytest.mark.parametrize(
    ("words", "sum_"), [(("key",), 4), (("key", "--by", "-5"), -2), (("new", "--by", "2"), 2)]
)
def test_incr_shows_the_sum(counter: Counter, words: tuple[str, ...], sum_: int) -> None:
    counter.set("key", 3)
    run = call("incr", *words)
    assert table(run.out) == [[words[0], str(sum_)]]
    assert counter.get(words[0]) == sum_


def test_incr_gives_a_counter_that_it_creates_its_ttl(counter: Counter) -> None:
    assert call("incr", "key", "--ttl", "3600").code == 0
    entry = counter.entry("key")
    assert entry is not None
    assert entry.value == 1
    assert entry.ttl is not None
    assert entry.ttl > 3500


def test_incr_leaves_the_ttl_of_an_existing_counter_alone(counter: Counter) -> None:
    counter.set("key", 3)
    assert call("incr", "key", "--ttl", "3600").code == 0
    assert counter.entry("key") == Entry("key", 4, None)


def test_incr_past_int64_changes_nothing(counter: Counter) -> None:
    counter.set("key", 2**63 - 1)
    run = call("incr", "key")
    assert (run.code, run.out) == (1, "")
    assert "would leave int64" in run.err
    assert counter.get("key") == 2**63 - 1


@pytest.mark.parametrize("key", HOSTILE)
def test_delete_removes_the_literal_key_only(counter: Counter, key: str) -> None:
    for each in ("a", "x", "axb", *HOSTILE):
        counter.set(each, 1)
    assert call("delete", key).code == 0
    assert counter.entry(key) is None
    assert len(list(counter.scan())) == 3 + len(HOSTILE) - 1


def test_delete_shows_what_was_there(some: Counter) -> None:
    run = call("delete", "clicks:a", "clicks:a", "visits:a")
    assert run.code == 0
    assert [row[:2] for row in table(run.out)] == [["clicks:a", "10"], ["visits:a", "-20"]]
    assert [entry.key for entry in some.scan()] == ["clicks:b"]


def test_delete_names_what_is_missing_and_deletes_the_others(some: Counter) -> None:
    run = call("delete", "nowhere", "clicks:a")
    assert run.code == 3
    assert "no counter 'nowhere'" in run.err
    assert some.entry("clicks:a") is None


def test_delete_removes_what_is_no_counter_too(
    counter: Counter, raw: redis.Redis, key_prefix: str
) -> None:
    raw.set(f"{key_prefix}:text", "\x1b[31mred")
    run = call("delete", "text", "--format", "jsonl")
    assert json.loads(run.out) == {"key": "text", "value": None, "ttl": None}
    assert not raw.exists(f"{key_prefix}:text")


def test_delete_says_what_was_no_counter(
    counter: Counter, raw: redis.Redis, key_prefix: str
) -> None:
    raw.rpush(f"{key_prefix}:list", "1")
    assert table(call("delete", "list").out) == [["list", "no", "counter", "no", "expiry"]]


def test_top_shows_the_largest(some: Counter) -> None:
    assert [row[0] for row in table(call("top").out)] == ["clicks:b", "clicks:a", "visits:a"]
    assert [row[0] for row in table(call("top", "visits").out)] == ["visits:a"]


def test_top_leaves_out_the_times_of_token_buckets(some: Counter) -> None:
    limit = RateLimit("5/h", name="bursts", algorithm="token_bucket")
    limit.hit("ann")
    others = ["clicks:b", "clicks:a", "visits:a"]
    assert [row[0] for row in table(call("top").out)] == others
    [bucket] = [row[0] for row in table(call("list", "limit:").out)]
    assert bucket.startswith("limit:bursts:")
    limit.reset("ann")
    some.increment("limit:a:full", 1000)
    assert [row[0] for row in table(call("top").out)] == ["limit:a:full", *others]


@pytest.mark.parametrize("option", ["--limit", "-n"])
@pytest.mark.parametrize("words", [("top",), ("list", "--sort", "value")])
def test_how_many_rows_there_are_has_one_spelling(
    some: Counter, words: tuple[str, ...], option: str
) -> None:
    assert [row[0] for row in table(call(*words, option, 1).out)] == ["clicks:b"]
