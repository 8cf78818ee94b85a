"""The site-wide limit, through Django's clients and whole stacks of middleware."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import http_sf
import pytest
from asgiref.sync import SyncToAsync, iscoroutinefunction
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import TemplateView

from django_counter import CounterUnavailable
from django_counter.ratelimit import (
    Decision,
    RateLimit,
    RateLimited,
    RateLimitMiddleware,
    middleware,
    rate_limit,
    rate_limit_exempt,
)
from django_counter.ratelimit.limit import declared
from django_counter.signals import rate_limited
from tests.ratelimit.away import AWAY
from tests.ratelimit.clocks import Clock

pytest_plugins = ["tests.ratelimit.site_fixtures"]
pytestmark = [pytest.mark.usefixtures("memory", "forgotten"), pytest.mark.urls(__name__)]

THIS = "django_counter.ratelimit.RateLimitMiddleware"
AUTH = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SITE = RateLimit("3/m", name="site")
RAISED = RateLimit("1/h", name="raised in test_middleware")


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


async def aplain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


@rate_limit_exempt
def exempt(request: HttpRequest) -> HttpResponse:
    """Let all pass."""
    return HttpResponse(f"{request.path} is exempt")


@rate_limit_exempt
async def aexempt(request: HttpRequest) -> HttpResponse:
    """Let all pass."""
    return HttpResponse(f"{request.path} is exempt")


@method_decorator(rate_limit_exempt, name="dispatch")
class Exempt(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{request.path} is exempt")


@method_decorator(rate_limit_exempt, name="dispatch")
class AExempt(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{request.path} is exempt")


class Page(TemplateView):
    template_name = "django_counter/429.html"


class APage(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("page")


@rate_limit("2/h", name="stricter than the site")
def stricter(request: HttpRequest) -> HttpResponse:
    return HttpResponse("stricter")


@rate_limit_exempt
@rate_limit("2/h", name="only its own")
def only_its_own(request: HttpRequest) -> HttpResponse:
    return HttpResponse("only its own")


@rate_limit(SITE)
def same(request: HttpRequest) -> HttpResponse:
    return HttpResponse("same")


@rate_limit(SITE)
async def asame(request: HttpRequest) -> HttpResponse:
    return HttpResponse("same")


@rate_limit_exempt
def raises(request: HttpRequest) -> HttpResponse:
    decision = RAISED.hit("everyone")
    if not decision.allowed:
        raise RateLimited(decision)
    return HttpResponse("let in")


@rate_limit_exempt
async def araises(request: HttpRequest) -> HttpResponse:
    decision = await RAISED.ahit("everyone")
    if not decision.allowed:
        raise RateLimited(decision)
    return HttpResponse("let in")


@rate_limit(RAISED, key=lambda request: "everyone", block=False)
def raises_its_own(request: HttpRequest) -> HttpResponse:
    [decision] = [each for each in request.rate_limits if each.name == RAISED.name]
    raise RateLimited(decision)


def missing(request: HttpRequest) -> HttpResponse:
    raise Http404


def fails(request: HttpRequest) -> HttpResponse:
    raise KeyError("of the view")


views: dict[str, Callable[..., Any]] = {
    "plain": plain,
    "aplain": aplain,
    "exempt": exempt,
    "aexempt": aexempt,
    "exempt class": Exempt.as_view(),
    "aexempt class": AExempt.as_view(),
    "exempt view of class": rate_limit_exempt(Page.as_view()),
    "exempt aview of class": rate_limit_exempt(APage.as_view()),
    "exempt inside": csrf_exempt(rate_limit_exempt(plain)),
    "page": Page.as_view(),
    "apage": APage.as_view(),
    "stricter": stricter,
    "only its own": only_its_own,
    "same": same,
    "asame": asame,
    "raises": raises,
    "araises": araises,
    "raises its own": raises_its_own,
    "missing": missing,
    "fails": fails,
}
urlpatterns = [path(name, view) for name, view in views.items()]


def blocking(request: HttpRequest, decision: Decision) -> HttpResponse:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    return HttpResponse(status=420)


class AsyncVisits(AsyncClient):
    """A client that calls from another address, which Django's own cannot."""

    address = "127.0.0.1"

    def _base_scope(self, **request: Any) -> Any:
        return {**super()._base_scope(**request), "client": [self.address, 1]}


class Visitor:
    """A client of one kind of server."""

    def __init__(self, runner: asyncio.Runner | None) -> None:
        self.runner = runner
        self.client: Any = AsyncVisits() if runner else Client()

    def get(self, url: str, **extra: Any) -> Any:
        return self._run(self.client.get(f"/{url}", **extra))

    def statuses(self, url: str, count: int, **extra: Any) -> list[int]:
        return [self.get(url, **extra).status_code for _ in range(count)]

    def at(self, address: str) -> "Visitor":
        if self.runner:
            self.client.address = address
        else:
            self.client.defaults["REMOTE_ADDR"] = address
        return self

    def log_in(self, user: User) -> None:
        self._run(self.client.aforce_login(user) if self.runner else self.client.force_login(user))

    def _run(self, answer: Any) -> Any:
        return self.runner.run(answer) if self.runner else answer


@pytest.fixture(params=["sync", "async"])
def visitor(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Visitor:
    return Visitor(runner if request.param == "async" else None)


@pytest.fixture(autouse=True)
def stack(forgotten: None) -> Iterator[None]:
    with override_settings(MIDDLEWARE=[THIS], RATE_LIMIT={"DEFAULT": {"RATE": "3/m"}}):
        yield
    middleware._guard.cache_clear()


def items(response: Any) -> dict[str, Any]:
    parsed = http_sf.parse(response["RateLimit"].encode(), tltype="list")
    return {item[0]: item[1]["r"] for item in parsed}


class TestDefault:
    @pytest.mark.parametrize("url", ["plain", "aplain", "page", "apage"])
    def test_every_view_is_limited(self, visitor: Visitor, url: str) -> None:
        assert visitor.statuses(url, 4) == [200, 200, 200, 429]

    def test_all_views_share_one_budget(self, visitor: Visitor) -> None:
        answers = [visitor.get(url) for url in ("plain", "aplain", "page", "apage")]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]

    def test_all_responses_have_the_headers(self, visitor: Visitor) -> None:
        answers = [visitor.get("plain") for _ in range(4)]
        assert [items(answer) for answer in answers] == [{"site": n} for n in (2, 1, 0, 0)]
        assert answers[0]["RateLimit-Policy"] == '"site";q=3;w=60'
        assert ["Retry-After" in answer for answer in answers] == [False, False, False, True]

    def test_a_view_that_is_not_found_has_them_too(self, visitor: Visitor) -> None:
        answer = visitor.get("missing")
        assert (answer.status_code, items(answer)) == (404, {"site": 2})

    def test_who_waits_as_long_as_told_is_let_in_again(
        self, visitor: Visitor, clock: Clock
    ) -> None:
        visitor.statuses("plain", 3)
        clock.move(int(visitor.get("plain")["Retry-After"]))
        assert visitor.statuses("plain", 4) == [200, 200, 200, 429]

    def test_addresses_are_counted_by_themselves(self, visitor: Visitor) -> None:
        assert visitor.at("192.0.2.1").statuses("plain", 4)[-1] == 429
        assert visitor.at("192.0.2.2").statuses("plain", 4) == [200, 200, 200, 429]

    def test_another_key_can_be_counted(self, visitor: Visitor) -> None:
        default = {"RATE": "1/m", "KEY": "header:X-Api-Key"}
        with override_settings(RATE_LIMIT={"DEFAULT": default}):
            assert visitor.statuses("plain", 2, headers={"X-Api-Key": "a"}) == [200, 429]
            assert visitor.statuses("plain", 2, headers={"X-Api-Key": "b"}) == [200, 429]

    @pytest.mark.parametrize("changed", [{}, {"DEFAULT": None}, {"DEFAULT": {}}])
    def test_without_one_nothing_is_limited(
        self, visitor: Visitor, changed: dict[str, Any]
    ) -> None:
        with override_settings(RATE_LIMIT=changed):
            assert visitor.statuses("plain", 5) == [200] * 5
            assert "RateLimit" not in visitor.get("plain")

    def test_a_changed_setting_counts_at_once(self, visitor: Visitor) -> None:
        assert visitor.statuses("plain", 4)[-1] == 429
        with override_settings(RATE_LIMIT={"DEFAULT": {"RATE": "5/m"}}):
            assert visitor.statuses("plain", 6) == [200] * 5 + [429]
        assert visitor.statuses("plain", 1) == [429]

    def test_no_limit_of_settings_that_have_changed_is_left(self, visitor: Visitor) -> None:
        for rate in ("3/m", "5/m", "7/m"):
            with override_settings(RATE_LIMIT={"DEFAULT": {"RATE": rate}}):
                visitor.get("plain")
        gc.collect()
        limits = [limit for limit in declared if limit.name == "site" and limit is not SITE]
        assert [str(limit.rates[0]) for limit in limits] == ["7/m"]

    def test_switched_off_it_counts_nothing(self, visitor: Visitor) -> None:
        off = {"DEFAULT": {"RATE": "1/m"}, "ENABLED": False}
        with override_settings(RATE_LIMIT=off):
            assert visitor.statuses("plain", 3) == [200] * 3
            assert "RateLimit" not in visitor.get("plain")

    def test_a_denial_is_heard(self, visitor: Visitor) -> None:
        heard = []

        def receive(**kwargs: Any) -> None:
            heard.append((kwargs["request"].path, kwargs["limit"].name))

        rate_limited.connect(receive)
        visitor.statuses("plain", 5)
        rate_limited.disconnect(receive)
        assert heard == [("/plain", "site")] * 2

    def test_json_is_answered_to_who_accepts_it(self, visitor: Visitor) -> None:
        answers = [visitor.get("plain", headers={"Accept": "application/json"}) for _ in range(4)]
        assert answers[3]["Content-Type"] == "application/problem+json"
        assert answers[3].json()["violated-policies"] == ["site"]

    def test_the_answer_of_a_project_may_block(self, visitor: Visitor) -> None:
        limits = {"DEFAULT": {"RATE": "1/m"}, "RESPONSE": f"{__name__}.blocking"}
        with override_settings(RATE_LIMIT=limits):
            assert visitor.statuses("plain", 2) == [200, 420]

    def test_an_error_of_a_view_goes_on(self, visitor: Visitor) -> None:
        with pytest.raises(KeyError, match="of the view"):
            visitor.get("fails")


class TestOutages:
    @pytest.mark.parametrize(("on_error", "status"), [("allow", 200), ("deny", 503)])
    def test_on_error_decides(self, visitor: Visitor, on_error: str, status: int) -> None:
        default = {"RATE": "1/m", "ON_ERROR": on_error}
        with override_settings(COUNTERS=AWAY, RATE_LIMIT={"DEFAULT": default}):
            assert visitor.statuses("plain", 3) == [status] * 3

    def test_another_alias_may_count(self, visitor: Visitor) -> None:
        aliases = {**AWAY, "limits": settings.COUNTERS["default"]}
        default = {"RATE": "2/m", "ON_ERROR": "raise", "USING": "limits"}
        with override_settings(COUNTERS=aliases, RATE_LIMIT={"DEFAULT": default}):
            assert visitor.statuses("plain", 3) == [200, 200, 429]

    def test_all_are_let_in_without_it(self, visitor: Visitor) -> None:
        with override_settings(COUNTERS=AWAY):
            assert visitor.statuses("plain", 5) == [200] * 5

    def test_raise_is_an_error(self, visitor: Visitor) -> None:
        default = {"RATE": "1/m", "ON_ERROR": "raise"}
        with (
            override_settings(COUNTERS=AWAY, RATE_LIMIT={"DEFAULT": default}),
            pytest.raises(CounterUnavailable),
        ):
            visitor.get("plain")


class TestExempt:
    @pytest.mark.parametrize("url", [url for url in views if "exempt" in url])
    def test_who_is_exempt_is_not_counted(self, visitor: Visitor, url: str) -> None:
        assert visitor.statuses(url, 5) == [200] * 5
        assert "RateLimit" not in visitor.get(url)
        assert items(visitor.get("plain")) == {"site": 2}

    @pytest.mark.parametrize("view", [exempt, aexempt])
    def test_a_view_stays_what_it_is(self, view: Any) -> None:
        assert view.__doc__ == "Let all pass."
        assert view.__name__ == ("aexempt" if iscoroutinefunction(view) else "exempt")
        assert iscoroutinefunction(view) == iscoroutinefunction(view.__wrapped__)

    def test_what_is_decorated_is_not_exempt_itself(self) -> None:
        assert not hasattr(plain, "rate_limit_exempt")

    def test_a_view_has_its_own_limit_nevertheless(self, visitor: Visitor) -> None:
        assert visitor.statuses("only its own", 3) == [200, 200, 429]
        assert items(visitor.get("only its own")) == {"only its own": 0}


class TestAllowNetworks:
    @pytest.fixture(autouse=True)
    def _networks(self, stack: None) -> Iterator[None]:
        networks = ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]
        limits = {"DEFAULT": {"RATE": "1/m"}, "ALLOW_NETWORKS": networks}
        with override_settings(RATE_LIMIT=limits):
            yield

    @pytest.mark.parametrize(
        "address", ["192.0.2.1", "192.0.2.255", "2001:db8:1::1", "198.51.100.7", "::ffff:192.0.2.1"]
    )
    def test_who_comes_from_there_is_not_counted(self, visitor: Visitor, address: str) -> None:
        assert visitor.at(address).statuses("plain", 3) == [200] * 3
        assert "RateLimit" not in visitor.at(address).get("plain")

    @pytest.mark.parametrize("address", ["192.0.3.1", "2001:db9::1", "198.51.100.8", "unix:"])
    def test_others_are(self, visitor: Visitor, address: str) -> None:
        assert visitor.at(address).statuses("plain", 2) == [200, 429]

    def test_a_forged_address_helps_nobody(self, visitor: Visitor) -> None:
        forged = {"X-Forwarded-For": "192.0.2.1"}
        asked = visitor.at("203.0.113.1").statuses("plain", 2, headers=forged)
        assert asked == [200, 429]

    def test_a_limit_of_a_view_holds_there_too(self, visitor: Visitor) -> None:
        assert visitor.at("192.0.2.1").statuses("stricter", 3) == [200, 200, 429]


@pytest.mark.django_db(transaction=True)
class TestAllowUsers:
    @pytest.fixture(autouse=True)
    def _users(self, stack: None) -> Iterator[None]:
        limits = {"DEFAULT": {"RATE": "1/m"}, "ALLOW_USERS": {"monitoring"}}
        with override_settings(MIDDLEWARE=[*AUTH, THIS], RATE_LIMIT=limits):
            yield

    @pytest.mark.parametrize(
        ("name", "statuses"), [("monitoring", [200, 200]), ("Monitoring", [200, 429])]
    )
    def test_only_who_is_named_is_not_counted(
        self, visitor: Visitor, name: str, statuses: list[int]
    ) -> None:
        visitor.log_in(User.objects.create(username=name))
        assert visitor.statuses("plain", 2) == statuses

    def test_who_is_not_logged_in_is_counted(self, visitor: Visitor) -> None:
        assert visitor.statuses("plain", 2) == [200, 429]

    def test_who_has_no_name_is_not_a_user_without_one(self, visitor: Visitor) -> None:
        limits = {"DEFAULT": {"RATE": "1/m"}, "ALLOW_USERS": [""]}
        with override_settings(RATE_LIMIT=limits):
            assert visitor.statuses("plain", 2) == [200, 429]

    def test_users_are_counted_by_themselves(self, visitor: Visitor) -> None:
        by_user = {"DEFAULT": {"RATE": "1/m", "KEY": "user"}, "ALLOW_USERS": ["monitoring"]}
        with override_settings(RATE_LIMIT=by_user):
            for name in ("ann", "bob"):
                visitor.log_in(User.objects.create(username=name))
                assert visitor.statuses("plain", 2) == [200, 429]

    def test_the_middleware_that_is_missing_is_named(self, visitor: Visitor) -> None:
        with (
            override_settings(MIDDLEWARE=[THIS]),
            pytest.raises(ImproperlyConfigured, match="AuthenticationMiddleware"),
        ):
            visitor.get("plain")

    def test_without_any_name_no_user_is_asked_for(self, visitor: Visitor) -> None:
        limits = {"DEFAULT": {"RATE": "1/m"}, "ALLOW_USERS": []}
        with override_settings(MIDDLEWARE=[THIS], RATE_LIMIT=limits):
            assert visitor.statuses("plain", 2) == [200, 429]


class TestBesideTheDecorator:
    @pytest.mark.parametrize("url", ["same", "asame"])
    def test_one_limit_counts_a_request_once(self, visitor: Visitor, url: str) -> None:
        assert [items(visitor.get(url)) for _ in range(3)] == [{"site": n} for n in (2, 1, 0)]
        assert visitor.statuses(url, 1) == [429]

    def test_another_limit_is_counted_beside_it(self, visitor: Visitor) -> None:
        answers = [visitor.get("stricter") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert items(answers[0]) == {"site": 2, "stricter than the site": 1}
        assert items(answers[2]) == {"site": 0, "stricter than the site": 0}
        assert items(answers[3]) == {"site": 0}  # which did not let it come that far

    def test_the_headers_are_there_without_any_default(self, visitor: Visitor) -> None:
        with override_settings(RATE_LIMIT={}):
            assert items(visitor.get("stricter")) == {"stricter than the site": 1}


class TestRateLimited:
    @pytest.mark.parametrize("url", ["raises", "araises"])
    def test_it_is_answered_with_429(self, visitor: Visitor, url: str) -> None:
        assert visitor.statuses(url, 3) == [200, 429, 429]

    def test_the_answer_has_its_headers(self, visitor: Visitor) -> None:
        visitor.get("raises")
        answer = visitor.get("raises")
        assert items(answer) == {RAISED.name: 0}
        assert 0 < int(answer["Retry-After"]) <= 3600

    def test_a_decision_that_is_known_is_told_once(self, visitor: Visitor) -> None:
        RAISED.hit("everyone")
        answer = visitor.get("raises its own")
        assert answer.status_code == 429
        assert items(answer) == {"site": 2, RAISED.name: 0}
        request = answer.asgi_request if visitor.runner else answer.wsgi_request
        assert len(request.rate_limits) == 2


class TestStacks:
    @pytest.fixture(autouse=True)
    def _seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[bool] = []
        original = RateLimitMiddleware.__init__

        def made(middleware: RateLimitMiddleware, get_response: Any) -> None:
            original(middleware, get_response)
            self.made.append(iscoroutinefunction(middleware))

        monkeypatch.setattr(RateLimitMiddleware, "__init__", made)

    def test_it_is_of_the_kind_of_its_stack(self, visitor: Visitor) -> None:
        assert visitor.statuses("plain", 4) == [200, 200, 200, 429]
        assert self.made == [bool(visitor.runner)]

    def test_before_synchronous_middleware_it_goes_on(self, runner: asyncio.Runner) -> None:
        with override_settings(MIDDLEWARE=[THIS, f"{__name__}.SyncOnly"]):
            assert Visitor(runner).statuses("aplain", 4) == [200, 200, 200, 429]
        assert self.made == [False]

    def test_it_puts_nothing_into_threads(
        self, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(self: object, *args: object, **kwargs: object) -> None:
            raise AssertionError("in a thread")

        async def ask() -> list[int]:
            middleware = RateLimitMiddleware(aplain)
            statuses = []
            for _ in range(4):
                request = AsyncRequestFactory().get("/", headers={"Accept": "application/json"})
                answer = await middleware.process_view(request, aplain, (), {})
                statuses.append((answer or await middleware(request)).status_code)
            return statuses

        monkeypatch.setattr(SyncToAsync, "__call__", refuse)
        assert runner.run(ask()) == [200, 200, 200, 429]


class SyncOnly:
    """A middleware as they were before asynchronous views."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)
