"""The list of counters: by alias and prefix, a page at a time."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.test import Client

from django_counter import CounterUnavailable, counter, counters
from django_counter.admin import listing
from django_counter.values import Page
from tests.admin.conftest import MEMORY, ROOT, LogIn, keys_of, messages_of
from tests.wrapped import WrappedMemory


def links_of(response: Any, title: str) -> list[str]:
    """Return where the links of a page with a title lead."""
    found = re.findall(
        rf'<a href="([^"]*)"[^>]*>{re.escape(html.escape(title))}</a>', response.text
    )
    return [html.unescape(each) for each in found]


def follow(client: Client, response: Any, title: str) -> Any:
    [link] = links_of(response, title)
    return client.get(ROOT + link)


def choices_of(response: Any, title: str) -> list[str]:
    """Return what a filter offers, the selected one with a star."""
    box = re.search(rf'<details data-filter-title="{title}".*?</details>', response.text, re.DOTALL)
    assert box
    found = re.findall(r"<li( class=\"selected\")?>\s*<a [^>]*>(.*?)</a>", box[0], re.DOTALL)
    return [html.unescape(text) + ("*" if selected else "") for selected, text in found]


def test_it_shows_key_value_and_time_left(ann: Client) -> None:
    counter.set("visits", 41, 5400)
    counter.set("never", -7)
    page = ann.get(ROOT)
    assert page.status_code == 200
    assert keys_of(page) == ["never", "visits"]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page.text.partition('id="result_list"')[2])
    assert cells == ["-7", "no expiry", "41", "1 h 30 min"]


def test_a_key_leads_to_its_page(ann: Client) -> None:
    counter.set("a/b?c", 41)
    page = ann.get(ROOT)
    [link] = links_of(page, "a/b?c")
    assert 'name="shown" value="41"' in ann.get(link).text


def test_the_search_is_a_literal_prefix(ann: Client) -> None:
    for key in ("a*b", "a*c", "axb", "[x]", "x", "\\", "ba*b"):
        counter.set(key, 1)
    for prefix, keys in {"a*": ["a*b", "a*c"], "[x]": ["[x]"], "\\": ["\\"], "?": []}.items():
        assert keys_of(ann.get(ROOT, {"q": prefix})) == keys


def test_the_search_stays_in_its_field_and_keeps_the_alias(ann: Client) -> None:
    page = ann.get(ROOT, {"q": '"><b>', "using": "other"}).text
    assert 'name="q" value="&quot;&gt;&lt;b&gt;"' in page
    assert '<input type="hidden" name="using" value="other">' in page
    assert "<b>" not in page


@pytest.mark.parametrize("prefix", ["a\n", "\x85", "x" * 513])
def test_what_is_no_prefix_is_told(ann: Client, prefix: str) -> None:
    answer = ann.get(ROOT, {"q": prefix}, follow=True)
    assert messages_of(answer)[0].startswith("There is no such page: prefix must")
    assert answer.status_code == 200


def test_aliases_are_a_filter(ann: Client) -> None:
    counter.set("here", 1)
    counters["other"].set("there", 1)
    page = ann.get(ROOT)
    assert choices_of(page, "alias") == ["default*", "other"]
    other = follow(ann, page, "other")
    assert choices_of(other, "alias") == ["default", "other*"]
    assert keys_of(other) == ["there"]


def test_prefixes_are_a_filter_step_by_step(ann: Client) -> None:
    for key in ("limit:api:1", "limit:api:2", "limit:login:1", "visits", "end:"):
        counter.set(key, 1)
    page = ann.get(ROOT)
    assert choices_of(page, "prefix") == ["All*", "limit:"]
    page = follow(ann, page, "limit:")
    assert choices_of(page, "prefix") == ["All", "limit:*", "limit:api:", "limit:login:"]
    page = follow(ann, page, "limit:api:")
    assert choices_of(page, "prefix") == ["All", "limit:", "limit:api:*"]
    assert keys_of(page) == ["limit:api:1", "limit:api:2"]
    page = ann.get(ROOT, {"q": "limit:a"})
    assert choices_of(page, "prefix") == ["All", "limit:", "limit:a*", "limit:api:"]


def test_an_unknown_alias_is_told(ann: Client) -> None:
    answer = ann.get(ROOT, {"using": "nowhere"}, follow=True)
    assert answer.status_code == 200
    assert messages_of(answer) == ["There is no such page: there is no alias 'nowhere'"]


def test_without_default_it_starts_with_the_first_alias(ann: Client, settings: Any) -> None:
    in_memory = {"BACKEND": MEMORY}
    settings.COUNTERS = {"quotas": in_memory, "hits": in_memory}
    counters["quotas"].set("visits", 1)
    page = ann.get(ROOT)
    assert choices_of(page, "alias") == ["quotas*", "hits"]
    assert keys_of(page) == ["visits"]
    settings.COUNTERS = {"quotas": in_memory, "default": in_memory}
    assert choices_of(ann.get(ROOT), "alias") == ["quotas", "default*"]


class TestPages:
    @pytest.fixture(autouse=True)
    def _many(self, site: None) -> None:
        for number in range(2500):
            counter.set(f"visits:{number:04}", number)

    def test_links_lead_through_all_of_them(self, ann: Client) -> None:
        page = ann.get(ROOT, {"q": "visits:"})
        assert links_of(page, "First page") == []
        seen = keys_of(page)
        assert len(seen) == 1000
        for _ in range(2):
            page = follow(ann, page, "Next page")
            seen += keys_of(page)
        assert seen == [f"visits:{number:04}" for number in range(2500)]
        assert links_of(page, "Next page") == []
        assert keys_of(follow(ann, page, "First page")) == seen[:1000]

    def test_no_totals_are_shown(self, ann: Client) -> None:
        page = ann.get(ROOT)
        assert "1000 on this page" in page.text
        assert "2500" not in page.text
        assert not re.search(r"\d+ (results?|total|counters?)\b", page.text)

    def test_a_cursor_that_is_not_ours_is_refused(self, ann: Client) -> None:
        link = links_of(ann.get(ROOT, {"q": "visits:"}), "Next page")[0]
        for bad in (
            link.replace("q=visits", "q=visit"),
            link.replace("using=default", "using=other"),
            f"{link}x",
            "?cursor=0",
            "?cursor=5:aaaa",
        ):
            answer = ann.get(ROOT + bad)
            assert (answer.status_code, answer["Location"]) == (302, ROOT)
        said = messages_of(ann.get(ROOT))
        assert len(said) == 5
        assert said[0].startswith("There is no such page: ")


class Sparse(WrappedMemory):
    """Counters of which a server names one every third time, and that twice."""

    asked: list[str] = []

    def scan_page(self, prefix: str = "", cursor: str = "") -> Page:
        self.asked.append(cursor)
        number = int(cursor or 0) + 1
        entries = super().scan_page(prefix).entries if number % 30 == 0 else []
        return Page(entries * 2, str(number) if number < 31 else "")


@pytest.fixture
def sparse(settings: Any) -> Iterator[None]:
    settings.COUNTERS = {"default": {"BACKEND": f"{__name__}.Sparse"}}
    counter.set("visits", 1)
    yield
    Sparse.asked.clear()


def test_an_empty_page_leads_on_and_a_counter_is_shown_once(ann: Client, sparse: None) -> None:
    page = ann.get(ROOT)
    assert len(Sparse.asked) == listing.MAX_LOOKS
    assert keys_of(page) == []
    assert "None of those looked through so far." in page.text
    page = follow(ann, page, "Next page")
    page = follow(ann, page, "Next page")
    assert keys_of(page) == ["visits"]
    page = follow(ann, page, "Next page")
    assert "There are no more such counters." in page.text


def test_an_empty_list_says_so(ann: Client) -> None:
    assert "There are no such counters." in ann.get(ROOT).text


def test_nothing_can_be_added(log_in: LogIn) -> None:
    client = log_in(superuser=True)
    assert f"{ROOT}add/" not in client.get(ROOT).text
    assert client.get(f"{ROOT}add/").status_code == 403


class Away(WrappedMemory):
    """Counters whose server is gone."""

    @contextmanager
    def around(self, operation: str, keys: tuple[str, ...]) -> Iterator[None]:  # type: ignore[override]
        if operation != "close":
            raise CounterUnavailable("the server cannot be reached")
        yield


@pytest.mark.parametrize("page", ["", "reset/?q=a", "reset/?key=a"])
def test_a_page_says_that_the_server_is_away(ann: Client, settings: Any, page: str) -> None:
    settings.COUNTERS = {"default": {"BACKEND": f"{__name__}.Away"}}
    answer = ann.get(ROOT + page)
    assert answer.status_code == 503
    assert "the server cannot be reached." in answer.text
    assert "result_list" not in answer.text


@pytest.mark.parametrize(
    "configured", [None, [], {}, {"default": None}, {"default": {"COLOUR": 1}}]
)
def test_a_page_says_that_the_settings_are_wrong(
    ann: Client, settings: Any, configured: Any
) -> None:
    settings.COUNTERS = configured
    answer = ann.get(ROOT)
    assert answer.status_code == 500
    assert "COUNTERS" in answer.text
