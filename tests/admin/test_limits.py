"""The page of rate limits: the last hour of each, and whom to forgive."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from django_counter import CounterUnavailable, counter, counters
from django_counter.admin.charts import HEIGHT, chart
from django_counter.ratelimit import RateLimit, history, rate_limit
from django_counter.ratelimit.digests import digest
from django_counter.ratelimit.history import Minute
from django_counter.ratelimit.limit import declared
from django_counter.ratelimit.statistics import Statistics, identity_key, minute_key
from tests.admin.conftest import ROOT, LogIn, messages_of, trail
from tests.ratelimit.clocks import Clock
from tests.wrapped import WrappedMemory

pytestmark = pytest.mark.urls(__name__)
LIMITS = f"{ROOT}limits/"
FORGIVE = f"{LIMITS}forgive/"
SEARCH = RateLimit("3/h", "9/d", name="search of test_limits")
ELSEWHERE = RateLimit("5/m", name="<else> of test_limits", using="other", algorithm="sliding")


@rate_limit(SEARCH)
def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [path("search", view), path("", include("example_project.urls"))]


@pytest.fixture(autouse=True)
def alone(site: None) -> Iterator[None]:
    """No limits but those of this module are declared, and they know nothing."""
    others = [limit for limit in declared if limit not in (SEARCH, ELSEWHERE)]
    for limit in others:
        declared.discard(limit)
    for limit in (SEARCH, ELSEWHERE):
        limit.forget()
    yield
    for limit in others:
        declared.add(limit)


@pytest.fixture
def statistics(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Statistics:
    """Statistics that are on, and are sent when a test says so."""
    monkeypatch.setattr(Statistics, "_start", lambda self: None)
    statistics = Statistics()
    monkeypatch.setattr("django_counter.ratelimit.limit.statistics", statistics)
    settings.RATE_LIMIT = {"STATISTICS": True}
    return statistics


def section_of(response: Any, name: str) -> str:
    """Return the part of the page on one limit."""
    for part in response.text.split('<section class="module">')[1:]:
        if name in part:
            return str(part)
    raise AssertionError(f"{name} is not on the page")


def test_every_declared_limit_is_shown(ann: Client) -> None:
    page = ann.get(LIMITS)
    assert page.status_code == 200
    first = section_of(page, "search of test_limits")
    assert "3/h, 9/d, fixed, alias default" in first
    assert "No hits in the last hour." in first
    assert "Nobody was denied." in first
    assert "<details" not in first
    second = section_of(page, "&lt;else&gt; of test_limits")
    assert "5/m, sliding, alias other" in second


def test_without_limits_it_says_so(ann: Client, settings: Any) -> None:
    for limit in list(declared):
        declared.discard(limit)
    settings.ROOT_URLCONF = "example_project.urls"
    try:
        page = ann.get(LIMITS).text
        assert "This project has no rate limits." in page
    finally:
        for limit in (SEARCH, ELSEWHERE):
            declared.add(limit)


def test_it_counts_what_was_allowed_and_denied(
    ann: Client, statistics: Statistics, clock: Clock
) -> None:
    for _ in range(5):
        SEARCH.hit("ann")
    clock.move(60)
    SEARCH.hit("bob")
    ELSEWHERE.hit("ann")
    statistics.send()
    page = ann.get(LIMITS)
    part = section_of(page, "search of test_limits")
    assert "4 allowed" in part
    assert "2 denied" in part
    titles = re.findall(r"<g [^>]*><title>(\d\d:\d\d): (.*?)</title>", part)
    assert [text for _, text in titles] == ["3 allowed, 2 denied", "1 allowed, 0 denied"]
    rows = re.findall(r'<th scope="row">(\d\d:\d\d)</th><td[^>]*>(\d+)</td><td[^>]*>(\d+)', part)
    assert rows == [(titles[0][0], "3", "2"), (titles[1][0], "1", "0")]
    assert "5 a minute" in part
    assert "1 allowed" in section_of(page, "else")


def test_times_are_those_of_the_site(
    ann: Client, statistics: Statistics, settings: Any, clock: Clock
) -> None:
    settings.TIME_ZONE = "Asia/Kolkata"
    SEARCH.hit("ann")
    statistics.send()
    assert "<title>03:43: 1 allowed, 0 denied</title>" in ann.get(LIMITS).text  # 22:13 in UTC


def test_numbers_of_the_chart_are_not_localised(ann: Client, clock: Clock, settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = "de"
    counter.set(minute_key(SEARCH.name, True, int(clock() // 60)), 1_234_567)
    part = section_of(ann.get(LIMITS), "search of test_limits")
    assert "1.234.567" in part
    bars = re.findall(r"<rect (.*?)/>", part)
    assert bars
    for bar in bars:
        assert re.fullmatch(r'class="[a-z-]+"( (x|y|width|height)="\d+"){4}', bar)


def test_an_hour_later_it_is_over(ann: Client, statistics: Statistics, clock: Clock) -> None:
    SEARCH.hit("ann")
    statistics.send()
    clock.move(3600)
    assert "No hits in the last hour." in section_of(ann.get(LIMITS), "search of test_limits")


def test_the_most_denied_are_shown_by_their_digests(ann: Client, statistics: Statistics) -> None:
    for number in range(12):
        for _ in range(3 + number):
            SEARCH.hit(f"client {number}")
    statistics.send()
    part = section_of(ann.get(LIMITS), "search of test_limits")
    shown = re.findall(r'class="counter-key">([0-9a-f]{32})</th>\s*<td[^>]*>(\d+)', part)
    expected = [(digest(f"client {number}"), str(number)) for number in range(11, 1, -1)]
    assert shown == expected
    assert "client" not in part


def test_where_not_all_were_found_in_time_it_says_so(
    ann: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1001):
        counter.set(identity_key("another", digest(f"{number}")), 1)
    said = "Not all were looked through"
    assert said not in section_of(ann.get(LIMITS), "search of test_limits")
    monkeypatch.setattr(history, "MAX_SECONDS", 0.0)
    assert said in section_of(ann.get(LIMITS), "search of test_limits")


def test_it_says_that_statistics_are_off(ann: Client, settings: Any) -> None:
    settings.RATE_LIMIT = {"STATISTICS": False}
    assert "Statistics are turned off" in ann.get(LIMITS).text
    settings.RATE_LIMIT = {"STATISTICS": True}
    assert "Statistics are turned off" not in ann.get(LIMITS).text


def test_it_says_that_the_server_is_away(ann: Client, settings: Any) -> None:
    away = {**settings.COUNTERS["other"], "BACKEND": "tests.admin.test_list.Away"}
    settings.COUNTERS = {**settings.COUNTERS, "other": away}
    form = {"name": ELSEWHERE.name, "identity": digest("ann")}
    for answer in (ann.get(LIMITS), ann.post(FORGIVE, form)):
        assert answer.status_code == 503
        assert "the server cannot be reached." in answer.text
        assert 'role="img"' not in answer.text
    assert trail() == []


def test_the_list_links_to_it(ann: Client) -> None:
    assert f'href="{LIMITS}"' in ann.get(ROOT).text


class Failing(WrappedMemory):
    """Counters that cannot be deleted."""

    def delete(self, key: str) -> None:
        raise CounterUnavailable("the server cannot be reached")


class TestForgive:
    @pytest.fixture(autouse=True)
    def _denied(self, statistics: Statistics) -> None:
        for identity in ("ann", "bob"):
            for _ in range(5):
                SEARCH.hit(identity)
        statistics.send()

    def form(self, **fields: str) -> dict[str, str]:
        return {"name": SEARCH.name, "identity": digest("ann"), "reason": "a friend", **fields}

    def test_it_gives_the_whole_limit_back(self, ann: Client) -> None:
        answer = ann.post(FORGIVE, self.form(), follow=True)
        assert messages_of(answer) == [f"Forgiven: {digest('ann')} at {SEARCH.name}."]
        assert [each.remaining for each in SEARCH.peek("ann").standings] == [3, 9]
        assert SEARCH.hit("ann", 3).allowed
        assert not SEARCH.hit("bob").allowed

    def test_it_is_logged(self, ann: Client) -> None:
        ann.post(FORGIVE, self.form())
        assert trail() == [
            (
                f"{digest('ann')} at {SEARCH.name}",
                "forgiven, it was denied 2 times. The whole limit is given back. Reason: a friend",
            )
        ]

    def test_an_outage_in_the_middle_is_logged(self, ann: Client, settings: Any) -> None:
        failing = {**settings.COUNTERS["default"], "BACKEND": f"{__name__}.Failing"}
        settings.COUNTERS = {**settings.COUNTERS, "default": failing}
        assert ann.post(FORGIVE, self.form()).status_code == 503
        [(_, said)] = trail()
        assert said.endswith("It may have been applied in part. Reason: a friend")

    def test_the_forgiven_one_is_off_the_page(self, ann: Client) -> None:
        assert digest("ann") in ann.get(LIMITS).text
        answer = ann.post(FORGIVE, self.form(), follow=True)
        part = section_of(answer, "search of test_limits")
        assert digest("ann") not in part
        assert digest("bob") in part

    @pytest.mark.parametrize(
        "fields",
        [
            {"name": "no such limit"},
            {"name": ""},
            {"identity": "ann"},
            {"identity": "A" * 32},
            {"identity": "a" * 32 + "\n"},
            {"reason": "x" * 201},
        ],
    )
    def test_what_names_nobody_is_refused(self, ann: Client, fields: dict[str, str]) -> None:
        answer = ann.post(FORGIVE, self.form(**fields), follow=True)
        assert messages_of(answer)[0].startswith("Nobody was forgiven")
        assert trail() == []
        assert not SEARCH.peek("ann").allowed

    def test_who_may_only_look_has_no_button(self, log_in: LogIn) -> None:
        page = log_in("view").get(LIMITS)
        assert digest("ann") in page.text
        assert 'value="Forgive"' not in page.text

    def test_it_is_only_posted(self, ann: Client) -> None:
        assert ann.get(FORGIVE, self.form()).status_code == 405

    def test_the_counters_of_a_limit_are_those_of_its_alias(self, ann: Client) -> None:
        for _ in range(6):
            ELSEWHERE.hit("ann")
        ann.post(FORGIVE, self.form(name=ELSEWHERE.name))
        assert ELSEWHERE.hit("ann", 5).allowed
        assert not list(counters["default"].scan("limit:<else>"))


class TestChart:
    def test_bars_stand_on_each_other(self) -> None:
        drawn = chart([Minute(60, 30, 10), Minute(120, 0, 0), Minute(180, 20, 0)])
        assert (drawn.highest, drawn.allowed, drawn.denied) == (40, 50, 10)
        first, second, third = drawn.bars
        assert (first.allowed_y, first.allowed_height) == (25, 75)
        assert (first.denied_y, first.denied_height) == (0, 25)
        assert (second.allowed_height, second.denied_height) == (0, 0)
        assert (third.x, third.allowed_height) == (20, 50)

    @pytest.mark.parametrize(("allowed", "denied"), [(1, 10**6), (10**6, 1), (1, 0), (0, 1)])
    def test_a_few_hits_are_seen_beside_many(self, allowed: int, denied: int) -> None:
        [bar] = chart([Minute(60, allowed, denied)]).bars
        assert bar.denied_height >= min(denied, 1)
        assert bar.allowed_height >= (1 if allowed >= denied else 0)
        assert bar.allowed_height + bar.denied_height == HEIGHT
        assert bar.denied_y == 0

    def test_an_hour_without_hits_is_empty(self) -> None:
        drawn = chart([Minute(60, 0, 0)])
        assert drawn.highest == 0
        assert drawn.bars[0].allowed_height == 0
