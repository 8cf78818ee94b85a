"""The system checks of rate limits: each by its id, without any network."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from django_counter.ratelimit import (
    Decision,
    RateLimit,
    RateLimitMiddleware,
    outages,
    rate_limit,
)
from django_counter.ratelimit.checks import RULES, check_declared_limits, check_rate_limit
from django_counter.ratelimit.limit import declared
from django_counter.ratelimit.settings import DEFAULTS

SECRET = "planted-secret"
pytestmark = pytest.mark.urls(__name__)


def answer(request: HttpRequest, decision: Decision) -> HttpResponse:
    return HttpResponse(status=429)


async def aanswer(request: HttpRequest, decision: Decision) -> HttpResponse:
    return HttpResponse(status=429)


text = "not callable"


@rate_limit("5/m", name="of test_checks")
def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [path("", view)]


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """No limits but those of this module are declared."""
    others = list(declared)
    for limit in others:
        if limit.name != "of test_checks":
            declared.discard(limit)
    yield
    for limit in others:
        declared.add(limit)


def found(**configured: Any) -> list[CheckMessage]:
    """Return what is found where RATE_LIMIT has these keys; each has a hint and shows no secret."""
    return found_in(configured)


def found_in(configured: Any) -> list[CheckMessage]:
    with override_settings(RATE_LIMIT=configured):
        messages = list(check_rate_limit())
    for message in messages:
        assert message.hint
        assert SECRET not in str(message)
    return messages


@pytest.fixture(autouse=True)
def limited_site(settings: Any) -> None:
    settings.MIDDLEWARE = ["django_counter.ratelimit.RateLimitMiddleware"]


class Heir(RateLimitMiddleware):
    pass


@pytest.mark.parametrize(
    ("middleware", "ids"),
    [
        ([], ["django_counter.W011"]),
        (["django.middleware.common.CommonMiddleware", "nowhere.M"], ["django_counter.W011"]),
        (["django_counter.ratelimit.middleware.RateLimitMiddleware"], []),
        ([f"{__name__}.Heir"], []),
        ([f"{__name__}.text"], ["django_counter.W011"]),
    ],
)
def test_a_limit_of_the_site_without_the_middleware_is_a_warning(
    settings: Any, middleware: list[str], ids: list[str]
) -> None:
    settings.MIDDLEWARE = middleware
    assert [each.id for each in found(DEFAULT={"RATE": "5/m"})] == ids
    assert found(DEFAULT=None) == []


def test_no_settings_are_good_ones(settings: Any) -> None:
    assert not hasattr(settings, "RATE_LIMIT")
    assert list(check_rate_limit()) == []
    assert found() == []
    assert found_in(dict(DEFAULTS)) == []


def test_every_key_is_checked() -> None:
    assert set(RULES) == set(DEFAULTS)


@pytest.mark.parametrize("configured", [None, [], "DEFAULT", [("DEFAULT", None)], 5])
def test_what_is_no_dict_is_an_error(configured: Any) -> None:
    [error] = found_in(configured)
    assert error.id == "django_counter.E011"
    assert error.msg == "RATE_LIMIT must be a dict."
    assert "TRUSTED_PROXIES" in str(error.hint)


def test_keys_that_are_unknown_are_errors() -> None:
    errors = found(default=None, DENY_CASH=3, **{"": SECRET})
    assert [error.id for error in errors] == ["django_counter.E011"] * 3
    assert [error.msg.split()[-1] for error in errors] == ["'default'.", "'DENY_CASH'.", "''."]
    assert all("'DENY_CACHE'" in str(error.hint) for error in errors)


NO_LISTS = [None, "10.0.0.0/8", 5, {"10.0.0.0/8": 1}, b"10"]
BAD: dict[str, list[Any]] = {
    "ALLOW_NETWORKS": [*NO_LISTS, ["10.0.0.1/8"], ["10.0.0"], ["all"], [""], [None]],
    "ALLOW_USERS": [None, "monitoring", 5, {"monitoring": 1}, [5], ["monitoring", None]],
    "DEFAULT": [
        "100/m",
        ["100/m"],
        {"KEY": "ip"},
        {"RATE": "100"},
        {"RATE": 100},
        {"RATE": None},
        {"RATE": ["1/s", "9/m"]},
        {"RATE": "1/s", "KEY": "ips"},
        {"RATE": "1/s", "KEY": None},
        {"RATE": "1/s", "ON_ERROR": "ignore"},
        {"RATE": "1/s", "ON_ERROR": None},
        {"RATE": "1/s", "USING": None},
        {"RATE": "1/s", "NAME": "site"},
        {"rate": "1/s"},
    ],
    "DENY_CACHE": [-1, -0.001, 86_400.1, float("nan"), float("inf"), None, "1", True],
    "ENABLED": [None, 0, 1, "yes"],
    "HEADERS": [None, "", "Standard", "none", ["standard"], True],
    "IPV6_PREFIX": [0, 129, -1, None, "64", 64.0, True],
    "PROCESSES": [0, -1, 1_000_001, None, "4", 4.0, True],
    "RESPONSE": [
        "",
        "nodots",
        "no.such.module",
        f"{__name__}.missing",
        f"{__name__}.text",
        f"{__name__}.aanswer",
        answer,
        5,
    ],
    "SECRET": ["", b"planted-secret", 5, ["planted-secret"]],
    "STATISTICS": [None, 0, 1, "yes"],
    "TRUSTED_PROXIES": [-1, 101, True, False, "10.0.0.1", 1.0, ["10.0.0.1/8"], ["proxy"], [None]],
}
GOOD: dict[str, list[Any]] = {
    "ALLOW_NETWORKS": [[], (), ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"], {"::1"}],
    "ALLOW_USERS": [[], ("monitoring",), {"a", "b"}, frozenset()],
    "DEFAULT": [
        None,
        {"RATE": "100/m"},
        {"RATE": "5 per day", "KEY": "user_or_ip", "ON_ERROR": "local", "USING": "default"},
        {"RATE": "5/s", "KEY": lambda request: "all"},
    ],
    "DENY_CACHE": [0, 0.5, 1, 86_400],
    "ENABLED": [True, False],
    "HEADERS": ["standard", "legacy", "both"],
    "IPV6_PREFIX": [1, 56, 64, 128],
    "PROCESSES": [1, 4, 1_000_000],
    "RESPONSE": [None, f"{__name__}.answer"],
    "SECRET": [None, SECRET],
    "STATISTICS": [True, False],
    "TRUSTED_PROXIES": [None, 0, 1, 100, [], ["10.0.0.0/8"], ("::1",)],
}


def each(values: dict[str, list[Any]]) -> Any:
    pairs = [(name, value) for name, several in values.items() for value in several]
    return pytest.mark.parametrize(("name", "value"), pairs)


@each(BAD)
def test_a_bad_value_is_an_error(name: str, value: Any) -> None:
    [error] = found(**{name: value})
    assert error.id == "django_counter.E012"
    assert error.msg.startswith(f"RATE_LIMIT[{name!r}]: ")
    assert error.hint == RULES[name][1]


@each(GOOD)
def test_a_good_value_is_none(name: str, value: Any) -> None:
    assert found(**{name: value}) == []


def test_every_bad_value_is_told() -> None:
    bad = {name: several[0] for name, several in BAD.items()}
    assert [str(error.msg).split("'")[1] for error in found(**bad)] == sorted(BAD)


def test_a_bad_rate_shows_good_ones() -> None:
    [error] = found(DEFAULT={"RATE": "many"})
    assert "Good ones are '5/s', '100/h'" in error.msg


class TestNames:
    def test_two_limits_of_one_name_and_two_rates_are_an_error(self) -> None:
        limits = [RateLimit("9/h", name="one name"), RateLimit("10/h", name="one name")]
        [error] = check_declared_limits()
        assert error.id == "django_counter.E013"
        assert error.msg == (
            f"Two rate limits are named 'one name': {limits[0]!r} and {limits[1]!r}."
        )
        assert error.hint

    @pytest.mark.parametrize(
        ("rates", "options"),
        [
            (("1/h", "9/d"), {}),
            (("1/h",), {"algorithm": "sliding"}),
            (("1/h",), {"using": "elsewhere"}),
        ],
    )
    def test_whatever_differs(self, rates: Any, options: Any) -> None:
        limits = [RateLimit("1/h", name="one name"), RateLimit(*rates, name="one name", **options)]
        assert [error.id for error in check_declared_limits()] == ["django_counter.E013"]
        assert limits

    def test_each_name_is_told_once(self) -> None:
        limits = [RateLimit(f"{n}/h", name=name) for n in (1, 2, 3) for name in ("b", "a")]
        assert [str(error.msg).split("'")[1] for error in check_declared_limits()] == ["a", "b"]
        assert limits

    def test_one_limit_that_is_made_twice_is_none(self) -> None:
        limits = [RateLimit("1/h", name="one name"), RateLimit("1/60m", name="one name")]
        assert list(check_declared_limits()) == []
        assert limits

    def test_a_limit_that_is_gone_is_none(self) -> None:
        limit = RateLimit("1/h", name="one name")
        RateLimit("2/h", name="one name")
        gc.collect()
        assert list(check_declared_limits()) == []
        assert limit

    def test_views_declare_theirs(self) -> None:
        limit = RateLimit("6/m", name="of test_checks")
        [error] = check_declared_limits()
        assert "'of test_checks'" in error.msg
        assert limit

    def test_stacked_limits_need_names(self) -> None:
        stacked = rate_limit("1/m")(rate_limit("9/h")(aanswer_view))
        [error] = check_declared_limits()
        assert f"{__name__}.aanswer_view" in error.msg
        assert stacked

    def test_the_share_of_one_process_in_an_outage_is_none(self) -> None:
        limit = RateLimit("9/h", name="one name")
        with override_settings(
            COUNTERS={
                "default": {
                    "BACKEND": "django_counter.backends.memory.MemoryCounter",
                    "MIDDLEWARE": ["tests.ratelimit.away.Away"],
                }
            },
            RATE_LIMIT={"PROCESSES": 3},
        ):
            assert outages.hit(limit, "a", 1, "local").degraded == "local"
        assert list(check_declared_limits()) == []
        outages.forget()

    def test_the_limit_of_the_site_is_one_of_them(self) -> None:
        mine = RateLimit("1/h", name="site")
        with override_settings(RATE_LIMIT={"DEFAULT": {"RATE": "2/h"}}):
            [error] = check_declared_limits()
        assert error.id == "django_counter.E013"
        assert repr(mine) in str(error.msg)

    @pytest.mark.parametrize("value", [{"DEFAULT": {"RATE": "many"}}, "none"])
    def test_without_the_limit_of_the_site_nothing_is_said(self, value: Any) -> None:
        limits = [RateLimit("1/h", name="one name"), RateLimit("2/h", name="one name")]
        with override_settings(RATE_LIMIT=value):
            assert list(check_declared_limits()) == []
        assert limits

    def test_views_are_imported_first(self) -> None:
        """A limit is known when its module is, which the URLs bring in."""
        with override_settings(ROOT_URLCONF="no_such_urls"), pytest.raises(ImportError):
            list(check_declared_limits())

    def test_a_project_without_urls_is_none(self, settings: Any) -> None:
        del settings.ROOT_URLCONF
        assert list(check_declared_limits()) == []


class TestAliases:
    def test_an_unknown_alias_is_an_error(self) -> None:
        limits = [RateLimit("1/h", name=each, using="nowhere") for each in ("one", "two")]
        [error] = check_declared_limits()
        assert error.id == "django_counter.E015"
        words = "COUNTERS has no alias 'nowhere', which rate limits use: 'one', 'two'."
        assert error.msg == words
        assert error.hint == (
            "Add it, or set their using= to another; there are ['default', 'elsewhere']."
        )
        assert limits

    def test_a_known_alias_is_none(self) -> None:
        limit = RateLimit("1/h", name="one name", using="elsewhere")
        assert list(check_declared_limits()) == []
        assert limit

    def test_counters_that_are_no_dict_are_told_elsewhere(self) -> None:
        limit = RateLimit("1/h", name="one name", using="nowhere")
        with override_settings(COUNTERS=[]):
            assert list(check_declared_limits()) == []
        assert limit


async def aanswer_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def test_both_are_run_with_the_checks_of_django() -> None:
    limits = [RateLimit("1/h", name="one name"), RateLimit("2/h", name="one name")]
    with override_settings(RATE_LIMIT={"ENABLED": 1, "OTHER": 1}):
        ids = {message.id for message in run_checks(tags=["rate_limits"])}
    assert {f"django_counter.E01{number}" for number in (1, 2, 3)} <= ids
    assert limits
