"""reset: what it counts, how it asks, what it deletes."""

from collections.abc import Callable
from typing import Any

import pytest

from django_counter import Counter, CounterUnavailable, counters
from tests.commands.runs import Manage, call
from tests.commands.test_verbs import PATTERNS


@pytest.fixture
def some(counter: Counter) -> Counter:
    for key in ("clicks:a", "clicks:b", "clicks:c", "visits:a"):
        counter.set(key, 1)
    return counter


def keys(counter: Counter) -> list[str]:
    return sorted(entry.key for entry in counter.scan())


def test_the_count_typed_on_a_terminal_deletes(manage: Manage, some: Counter) -> None:
    run = manage.on_terminal("reset", "clicks:", typed="3\n")
    assert run.code == 0
    assert "Type 3 to delete them: " in run.out
    assert "3 deleted" in run.out
    assert keys(some) == ["visits:a"]


@pytest.mark.parametrize("typed", ["4\n", "\x04"])
def test_anything_else_deletes_nothing(manage: Manage, some: Counter, typed: str) -> None:
    run = manage.on_terminal("reset", "clicks:", typed=typed)
    assert run.code == 1
    assert "nothing was changed" in run.out
    assert len(keys(some)) == 4


def test_without_a_terminal_it_does_not_ask(manage: Manage, some: Counter) -> None:
    run = manage("reset", "clicks:", given="3\n")
    assert (run.code, run.out) == (2, "")
    assert "--no-input" in run.err
    assert len(keys(some)) == 4


def test_no_input_deletes_without_a_question(some: Counter) -> None:
    run = call("reset", "clicks:", "--no-input")
    assert (run.code, run.out) == (0, "3 deleted\n")
    assert keys(some) == ["visits:a"]


def test_a_program_says_interactive_as_with_other_commands(some: Counter) -> None:
    assert call("reset", "clicks:", interactive=False).out == "3 deleted\n"


def test_a_dry_run_deletes_nothing(some: Counter) -> None:
    run = call("reset", "clicks:", "--dry-run")
    assert (run.code, run.out) == (0, "3 would be deleted\n")
    assert len(keys(some)) == 4


def test_an_empty_prefix_is_refused(some: Counter) -> None:
    run = call("reset", "", "--no-input")
    assert run.code != 0
    assert "must not be empty" in run.err
    assert len(keys(some)) == 4


def test_a_prefix_of_nothing_is_not_found(some: Counter) -> None:
    run = call("reset", "nowhere", "--no-input")
    assert run.code == 3
    assert "no counter begins with 'nowhere'" in run.err


@pytest.mark.figure("hostile patterns")
def test_a_prefix_is_literal(
    counter: Counter, record_property: Callable[[str, object], None]
) -> None:
    assert len(PATTERNS) >= 50
    left = {*PATTERNS, "a", "x", "xx", "axb", "y[x]"}
    for key in left:
        counter.set(key, 1)
    for prefix in sorted(PATTERNS, key=len, reverse=True):
        assert call("reset", "--no-input", "--", prefix).code == 0
        left -= {key for key in left if key.startswith(prefix)}
        assert keys(counter) == sorted(left)
    assert left == {"a", "x", "xx", "axb", "y[x]"}
    record_property("figure", f"{len(PATTERNS)} patterns")


def test_other_aliases_stay(some: Counter) -> None:
    counters["other"].set("clicks:a", 1)
    assert call("reset", "clicks:", "--no-input").code == 0
    assert keys(counters["other"]) == ["clicks:a"]


def test_a_key_that_is_scanned_twice_is_counted_once(
    some: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = list(some.scan("clicks:"))
    monkeypatch.setattr(some, "scan", lambda prefix: iter(once * 2))
    assert call("reset", "clicks:", "--no-input").out == "3 deleted\n"


def test_what_comes_after_the_question_stays(some: Counter, monkeypatch: Any) -> None:
    def confirm(*arguments: object) -> None:
        some.set("clicks:new", 1)

    monkeypatch.setattr("django_counter.management.console.Console.confirm", confirm)
    assert call("reset", "clicks:").out == "3 deleted\n"
    assert keys(some) == ["clicks:new", "visits:a"]


def test_a_failure_on_the_way_says_how_far_it_came(
    some: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = []

    def delete(key: str) -> None:
        if deleted:
            raise CounterUnavailable("gone")
        deleted.append(key)

    monkeypatch.setattr(some, "delete", delete)
    run = call("reset", "clicks:", "--no-input")
    assert run.code == 5
    assert "1 of 3 were deleted" in run.err
