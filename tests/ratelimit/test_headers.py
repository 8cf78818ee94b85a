"""What a response tells of its limits: parsed back as structured fields."""

from typing import Any, cast

import http_sf
import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_counter.ratelimit import Decision, Rate, RateLimit, Standing
from django_counter.ratelimit.decisions import decide
from django_counter.ratelimit.headers import apply_headers, policies, retry_after_seconds
from django_counter.ratelimit.limit import ALGORITHMS
from django_counter.ratelimit.rates import PERIOD_MAX
from django_counter.values import INT64_MAX
from tests.ratelimit.clocks import Clock

STANDARD = {"RateLimit-Policy", "RateLimit"}
RATE = Rate(100, 3600)
LEGACY = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}


def decision(
    remaining: int = 42,
    reset_after: float = 1199.2,
    retry_after: float = 0.0,
    *,
    name: str = "search",
    rate: Rate = RATE,
    identity: str = "0" * 32,
    degraded: bool = False,
) -> Decision:
    standing = Standing(rate, remaining, reset_after, retry_after)
    decision = decide(name, identity, 0.0, retry_after == 0, (standing,))
    return decision._replace(degraded=degraded)


def headers_for(*decisions: Decision, status: int = 200) -> dict[str, str]:
    response = HttpResponse(status=status)
    apply_headers(response, decisions)
    del response["Content-Type"]
    return dict(response.items())


def parsed(field: str) -> list[tuple[str, dict[str, int]]]:
    return cast(list[tuple[str, dict[str, int]]], http_sf.parse(field.encode(), tltype="list"))


class TestStandard:
    def test_the_fields_of_the_draft(self) -> None:
        assert headers_for(decision()) == {
            "RateLimit-Policy": '"search";q=100;w=3600',
            "RateLimit": '"search";r=42;t=1200',
        }

    def test_seconds_are_rounded_up(self) -> None:
        assert parsed(headers_for(decision(reset_after=0.01))["RateLimit"])[0][1]["t"] == 1
        assert parsed(headers_for(decision(reset_after=60.0))["RateLimit"])[0][1]["t"] == 60

    def test_the_time_of_a_denial_is_its_wait(self) -> None:
        denied = decision(0, reset_after=60.0, retry_after=0.6)
        headers = headers_for(denied, status=429)
        assert parsed(headers["RateLimit"]) == [("search", {"r": 0, "t": 1})]
        assert headers["Retry-After"] == "1"

    def test_several_limits_are_several_items(self) -> None:
        headers = headers_for(decision(), decision(name="login", rate=Rate(5, 60), remaining=4))
        policy, service_limit = parsed(headers["RateLimit-Policy"]), parsed(headers["RateLimit"])
        assert dict(policy) == {"search": {"q": 100, "w": 3600}, "login": {"q": 5, "w": 60}}
        assert dict(service_limit) == {"search": {"r": 42, "t": 1200}, "login": {"r": 4, "t": 1200}}

    def test_several_rates_are_several_items_named_by_rate(self) -> None:
        standings = (Standing(Rate(10, 1), 9, 0.5, 0.0), Standing(Rate(1000, 7200), 900, 71.0, 0.0))
        both = decide("api", "", 0.0, True, standings)
        assert [name for name, _ in policies(both)] == ["api 10/s", "api 1000/2h"]
        assert parsed(headers_for(both)["RateLimit"]) == [
            ("api 10/s", {"r": 9, "t": 1}),
            ("api 1000/2h", {"r": 900, "t": 71}),
        ]

    def test_two_identities_at_one_limit_are_the_tighter_one(self) -> None:
        tight, loose = decision(1, identity="1" * 32), decision(90, identity="2" * 32)
        for order in ([tight, loose], [loose, tight]):
            headers = headers_for(*order)
            assert parsed(headers["RateLimit"]) == [("search", {"r": 1, "t": 1200})]
            assert len(parsed(headers["RateLimit-Policy"])) == 1

    def test_numbers_that_no_structured_field_holds_are_cut(self) -> None:
        most = decision(INT64_MAX, PERIOD_MAX, rate=Rate(INT64_MAX, PERIOD_MAX))
        assert parsed(headers_for(most)["RateLimit"])[0][1]["r"] == 999_999_999_999_999

    @given(
        name=st.from_regex(r"[A-Za-z0-9_.:/<> -]{1,128}", fullmatch=True),
        rate=st.builds(Rate, st.integers(1, INT64_MAX), st.integers(1, int(PERIOD_MAX))),
        remaining=st.integers(0, INT64_MAX),
        reset_after=st.floats(0, PERIOD_MAX),
        retry_after=st.just(0.0) | st.floats(0, PERIOD_MAX),
    )
    def test_whatever_a_limit_answers_can_be_parsed(
        self, name: str, rate: Rate, remaining: int, reset_after: float, retry_after: float
    ) -> None:
        made = decision(remaining, reset_after, retry_after, name=name, rate=rate)
        headers = headers_for(made)
        for field in STANDARD:
            [(item, parameters)] = parsed(headers[field])
            assert item == name
            assert all(value >= 0 for value in parameters.values())

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_a_denial_never_says_to_come_before_its_time(
        self, algorithm: str, clock: Clock, memory: None
    ) -> None:
        limit = RateLimit("3/m", "5/h", name="both", algorithm=algorithm)
        while (made := limit.hit("a")).allowed:
            pass
        headers = headers_for(made, status=429)
        [tightest] = [item for item in parsed(headers["RateLimit"]) if item[1]["r"] == 0]
        assert int(headers["Retry-After"]) >= tightest[1]["t"]


class TestLegacy:
    @pytest.fixture(autouse=True)
    def _settings(self) -> Any:
        with override_settings(RATE_LIMIT={"HEADERS": "legacy"}):
            yield

    def test_the_trio_with_its_reset_since_1970(self, clock: Clock) -> None:
        assert headers_for(decision()) == {
            "X-RateLimit-Limit": "100",
            "X-RateLimit-Remaining": "42",
            "X-RateLimit-Reset": "1700001200",
        }

    def test_it_is_that_of_the_tightest_limit(self) -> None:
        headers = headers_for(decision(), decision(3, name="login", rate=Rate(5, 60)), decision(7))
        assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("5", "3")

    def test_a_denial_is_tighter_than_what_has_less_left(self) -> None:
        denied = decision(2, retry_after=9.0, name="upload", rate=Rate(10, 60))
        assert headers_for(decision(0), denied)["X-RateLimit-Limit"] == "10"


@pytest.mark.parametrize(
    ("style", "names"), [("standard", STANDARD), ("legacy", LEGACY), ("both", STANDARD | LEGACY)]
)
def test_the_setting_says_which_headers(style: str, names: set[str]) -> None:
    with override_settings(RATE_LIMIT={"HEADERS": style}):
        assert headers_for(decision()).keys() == names


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("seconds", "whole"), [(0.0, 1), (0.001, 1), (1.0, 1), (1.001, 2), (59.5, 60)]
    )
    def test_whole_seconds_rounded_up_at_least_one(self, seconds: float, whole: int) -> None:
        assert retry_after_seconds(seconds) == whole

    def test_a_denial_has_the_longest_wait(self) -> None:
        denials = [decision(0, retry_after=seconds, name=f"{seconds}") for seconds in (3.2, 7.9)]
        assert headers_for(*denials, status=429)["Retry-After"] == "8"

    def test_its_own_stays(self) -> None:
        response = HttpResponse(status=429, headers={"Retry-After": "120"})
        apply_headers(response, [decision(0, retry_after=3.0)])
        assert response["Retry-After"] == "120"

    def test_an_answer_that_was_not_refused_has_none(self) -> None:
        assert "Retry-After" not in headers_for(decision(0, retry_after=3.0), status=200)
        assert "Retry-After" not in headers_for(decision(), status=429)


def test_decisions_made_up_in_an_outage_are_left_out() -> None:
    assert headers_for(decision(degraded=True)) == {}
    both = headers_for(decision(degraded=True), decision(name="login"))
    assert [name for name, _ in parsed(both["RateLimit"])] == ["login"]


def test_no_decisions_are_no_headers() -> None:
    assert headers_for() == {}


def test_headers_are_replaced() -> None:
    response = StreamingHttpResponse()
    with override_settings(RATE_LIMIT={"HEADERS": "both"}):
        apply_headers(response, [decision(9)])
        apply_headers(response, [decision(8)])
    assert response["RateLimit"] == '"search";r=8;t=1200'
    assert response["X-RateLimit-Remaining"] == "8"
