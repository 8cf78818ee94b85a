"""Resets of one counter and of all under a prefix."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from django_counter import CounterOutcomeUnknown, CounterUnavailable, counter, counters
from django_counter.admin import resetting
from django_counter.admin.log import log_name
from tests.admin.conftest import ROOT, LogIn, address, messages_of, trail
from tests.wrapped import WrappedMemory

RESET = f"{ROOT}reset/"
POST = {"reason": "agreed", "shown": 3}


@pytest.fixture
def visits() -> list[str]:
    keys = [f"visits:{number}" for number in range(3)]
    for key in keys:
        counter.set(key, 10)
    counter.set("other", 1)
    return keys


def test_it_asks_first(ann: Client, visits: list[str]) -> None:
    page = ann.get(f"{RESET}?q=visits:")
    assert page.status_code == 200
    assert "<strong>3</strong> counters" in page.text
    assert "visits:2</span>: 10" in page.text
    assert counter.multi_get(visits) == dict.fromkeys(visits, 10)


def test_confirmed_it_deletes_what_has_the_prefix(ann: Client, visits: list[str]) -> None:
    answer = ann.post(f"{RESET}?q=visits:", POST, follow=True)
    assert messages_of(answer) == ["Reset: 3."]
    assert [entry.key for entry in counter.scan()] == ["other"]
    assert trail() == [
        (log_name("default", key), "reset, it held 10. Reason: agreed") for key in visits
    ]


def test_confirmed_it_deletes_one(ann: Client, visits: list[str]) -> None:
    counter.set("visits:00", 5)
    ann.post(f"{RESET}?key=visits:0", {**POST, "shown": 1})
    assert sorted(entry.key for entry in counter.scan("visits")) == [
        "visits:00",
        "visits:1",
        "visits:2",
    ]
    assert [name for name, _ in trail()] == [log_name("default", "visits:0")]


@pytest.mark.parametrize("prefix", ["*", "[x]", "\\", "?", "a*", "%"])
def test_a_prefix_is_literal(ann: Client, prefix: str) -> None:
    others = ["a", "ab", "x", "!"]
    for key in [*others, prefix, f"{prefix}a"]:
        counter.set(key, 1)
    ann.post(RESET, {**POST, "shown": 2}, query_params={"q": prefix})
    assert sorted(entry.key for entry in counter.scan()) == sorted(others)


def test_it_is_of_one_alias(ann: Client, visits: list[str]) -> None:
    counters["other"].set("visits:0", 1)
    ann.post(f"{RESET}?q=visits:&using=other", {**POST, "shown": 1})
    assert counter.multi_get(visits) == dict.fromkeys(visits, 10)
    assert counters["other"].entry("visits:0") is None


@pytest.mark.parametrize("ask", ["get", "post"])
@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "it needs a key or a prefix"),
        ("?q=", "it needs a key or a prefix"),
        ("?q=a&using=nowhere", "there is no alias 'nowhere'"),
        ("?q=a%0a", "prefix must not contain control characters"),
        ("?key=a%0a", "key must not contain control characters"),
    ],
)
def test_what_names_no_counters_is_refused(
    ann: Client, visits: list[str], ask: str, query: str, why: str
) -> None:
    answer = getattr(ann, ask)(RESET + query, follow=True)
    assert messages_of(answer)[0].startswith(f"Nothing was reset: {why}")
    assert len(list(counter.scan())) == 4
    assert trail() == []


def test_more_than_one_request_can_do_are_refused(
    ann: Client, visits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resetting, "MAX_COUNTERS", 2)
    answer = ann.post(f"{RESET}?q=visits:", POST, follow=True)
    assert "more than 2 counters begin so" in messages_of(answer)[0]
    assert counter.multi_get(visits) == dict.fromkeys(visits, 10)


def test_a_search_that_takes_too_long_is_refused(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1001):
        counter.set(f"visits:{number}", 1)
    monkeypatch.setattr(resetting, "MAX_COUNTERS", 5000)
    assert "1001</strong> counters" in ann.get(f"{RESET}?q=visits:").text
    monkeypatch.setattr(resetting, "MAX_SECONDS", 0.0)
    answer = ann.post(f"{RESET}?q=visits:", POST, follow=True)
    assert "too many counters to look for these" in messages_of(answer)[0]
    assert len(list(counter.scan())) == 1001


@pytest.mark.parametrize("change", ["more", "fewer"])
def test_it_asks_again_where_others_than_those_shown_would_go(
    ann: Client, visits: list[str], change: str
) -> None:
    assert 'name="shown" value="3"' in ann.get(f"{RESET}?q=visits:").text
    counter.set("visits:late", 1) if change == "more" else counter.delete("visits:0")
    number = 4 if change == "more" else 2
    page = ann.post(f"{RESET}?q=visits:", POST)
    assert messages_of(page) == [f"Nothing was reset: 3 were shown, now there are {number}."]
    assert f"<strong>{number}</strong> counters" in page.text
    assert f'name="shown" value="{number}"' in page.text
    assert 'value="agreed"' in page.text
    assert len(list(counter.scan("visits:"))) == number
    assert trail() == []


def test_without_the_number_that_was_shown_it_asks(ann: Client, visits: list[str]) -> None:
    assert "<strong>3</strong> counters" in ann.post(f"{RESET}?q=visits:", {"reason": ""}).text
    assert counter.multi_get(visits) == dict.fromkeys(visits, 10)


def test_the_number_is_sent_without_separators(ann: Client, settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    for number in range(1000):
        counter.set(f"visits:{number}", 1)
    assert 'name="shown" value="1000"' in ann.get(f"{RESET}?q=visits:").text


def test_what_is_gone_is_told(ann: Client) -> None:
    for query in ("?q=gone", "?key=gone"):
        assert "There are no such counters any more." in ann.get(RESET + query).text


def test_keys_are_escaped(ann: Client) -> None:
    counter.set("<b>&", 1)
    page = ann.get(RESET, {"q": "<b>"}).text
    assert "&lt;b&gt;&amp;</span>: 1" in page
    assert "<b>" not in page


def test_a_reason_that_is_too_long_is_refused(ann: Client, visits: list[str]) -> None:
    answer = ann.post(f"{RESET}?q=visits:", {**POST, "reason": "x" * 201})
    assert "at most 200 characters" in answer.text
    assert counter.get("visits:0") == 10


def test_the_pages_link_to_it_where_it_is_allowed(
    ann: Client, log_in: LogIn, visits: list[str]
) -> None:
    other = log_in("view", "change", "delete")
    for page, link in {
        f"{ROOT}?q=visits:": f"{RESET}?using=default&amp;q=visits%3A",
        address("visits:0"): f"{RESET}?using=default&amp;key=visits%3A0",
    }.items():
        assert link in ann.get(page).text
        assert RESET not in other.get(page).text
    assert RESET not in ann.get(ROOT).text


class Failing(WrappedMemory):
    """Counters whose second deletion fails."""

    error: Exception
    deleted: list[str] = []

    def delete(self, key: str) -> None:
        self.deleted.append(key)
        if len(self.deleted) == 2:
            raise self.error
        super().delete(key)


@pytest.fixture
def failing(settings: Any) -> Iterator[None]:
    settings.COUNTERS = {"default": {"BACKEND": f"{__name__}.Failing"}}
    yield
    Failing.deleted.clear()


def test_a_reset_that_ends_early_logs_what_it_did(
    ann: Client, failing: None, visits: list[str]
) -> None:
    Failing.error = CounterUnavailable("the server cannot be reached")
    answer = ann.post(f"{RESET}?q=visits:", POST)
    assert answer.status_code == 503
    assert trail() == [(log_name("default", "visits:0"), "reset, it held 10. Reason: agreed")]


def test_a_reset_with_an_unknown_outcome_logs_that(
    ann: Client, failing: None, visits: list[str]
) -> None:
    Failing.error = CounterOutcomeUnknown("delete", "visits:1", None)
    answer = ann.post(f"{RESET}?q=visits:", {"shown": 3})
    assert answer.status_code == 503
    assert [said for _, said in trail()] == [
        "reset, it held 10.",
        "reset: not confirmed, it may have been applied, it held 10.",
    ]
