"""The decorator of views: what it counts, what it lets in, what it leaves as it was."""

import asyncio
import functools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, iscoroutinefunction
from django.core.exceptions import BadRequest, ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.utils.asyncio import async_unsafe
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView, TemplateView

from django_counter import counters
from django_counter.middleware import CounterMiddleware
from django_counter.ratelimit import Decision, RateLimit, rate_limit
from django_counter.ratelimit.limit import declared
from tests.ratelimit.clocks import Clock
from tests.ratelimit.conftest import MEMORY
from tests.ratelimit.sites import Site, decisions, done, parsed, remaining, requests

pytest_plugins = ["tests.ratelimit.site_fixtures"]
pytestmark = [pytest.mark.usefixtures("memory", "forgotten"), pytest.mark.urls(__name__)]


class Feed:
    def __call__(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("done")


async def aroot(request: HttpRequest) -> HttpResponse:
    return HttpResponse("done")


class TestViews:
    def test_a_view_is_let_in_until_its_rate_is_spent(self, site: Site) -> None:
        assert site.statuses(site.limited("3/h"), 5) == [200, 200, 200, 429, 429]

    def test_an_address_is_whom_a_limit_counts(self, site: Site) -> None:
        view = site.limited("1/h")
        assert site.statuses(view, 2) == [200, 429]
        assert site.statuses(view, 2, REMOTE_ADDR="192.0.2.2") == [200, 429]

    def test_who_waits_as_long_as_told_is_let_in_again(self, site: Site, clock: Clock) -> None:
        view = site.limited("1/m")
        assert site.statuses(view, 1) == [200]
        denied = site.get(view)
        clock.move(int(denied["Retry-After"]))
        assert site.statuses(view, 2) == [200, 429]

    def test_a_view_does_not_run_when_it_is_denied(self, site: Site) -> None:
        ran = []

        def respond(request: HttpRequest) -> HttpResponse:
            ran.append(request)
            return HttpResponse()

        site.statuses(site.limited("2/h", respond=respond), 5)
        assert len(ran) == 2

    def test_a_view_gets_its_arguments(self, site: Site) -> None:
        @rate_limit("1/h", name=site.name)
        def view(request: HttpRequest, *args: int, **kwargs: int) -> HttpResponse:
            return HttpResponse(f"{args} {kwargs}")

        @rate_limit("1/h", name=site.name)
        async def aview(request: HttpRequest, *args: int, **kwargs: int) -> HttpResponse:
            return HttpResponse(f"{args} {kwargs}")

        answer = site.ask(aview if site.runner else view, requests.get("/"), 1, two=2)
        assert answer.content == b"(1,) {'two': 2}"

    def test_a_view_stays_what_it_is(self, site: Site) -> None:
        assert iscoroutinefunction(site.limited("1/h")) == bool(site.runner)

    def test_a_view_keeps_its_name_and_attributes(self, site: Site) -> None:
        view = site.view()
        view.__doc__ = "Says something."
        view.attribute = 1  # type: ignore[attr-defined]
        limited = rate_limit("1/h", name=site.name)(view)
        assert limited.__name__ == ("aview" if site.runner else "view")
        assert (limited.__doc__, limited.__module__) == ("Says something.", view.__module__)
        assert limited.__wrapped__ is view  # type: ignore[attr-defined]
        assert limited.attribute == 1  # type: ignore[attr-defined]

    def test_csrf_exempt_may_stand_on_either_side(self, site: Site) -> None:
        inside = rate_limit("1/h", name=site.name)(csrf_exempt(site.view()))
        outside = csrf_exempt(rate_limit("1/h", name=site.name)(site.view()))
        assert inside.csrf_exempt
        assert outside.csrf_exempt
        assert site.statuses(inside, 2) == [200, 429]
        assert site.statuses(outside, 1) == [429]

    def test_an_error_of_a_view_is_counted_and_goes_on(self, site: Site) -> None:
        def respond(request: HttpRequest) -> HttpResponse:
            raise KeyError("planted")

        view = site.limited("2/h", respond=respond, refund_when=lambda request, response: True)
        for _ in range(2):
            with pytest.raises(KeyError, match="planted"):
                site.get(view)
        assert site.statuses(view, 1) == [429]

    def test_a_limit_of_another_alias_counts_there(self, site: Site) -> None:
        with override_settings(
            COUNTERS={"default": {"BACKEND": MEMORY}, "other": {"BACKEND": MEMORY}}
        ):
            assert site.statuses(site.limited("1/h", using="other"), 2) == [200, 429]
            assert list(counters["default"].scan()) == []

    def test_an_algorithm_is_the_one_asked_for(self, site: Site, clock: Clock) -> None:
        view = site.limited("2/m", algorithm="token_bucket")
        assert site.statuses(view, 3) == [200, 200, 429]
        clock.move(30)
        assert site.statuses(view, 2) == [200, 429]

    def test_several_rates_are_drawn_all_or_none(self, site: Site, clock: Clock) -> None:
        view = site.limited("2/s", "3/h")
        assert site.statuses(view, 3) == [200, 200, 429]
        clock.move(1)
        assert site.statuses(view, 2) == [200, 429]

    def test_switched_off_it_counts_nothing(self, site: Site) -> None:
        view = site.limited("1/h")
        with override_settings(RATE_LIMIT={"ENABLED": False}):
            assert site.statuses(view, 3) == [200, 200, 200]
            assert "RateLimit" not in site.get(view)
        assert site.statuses(view, 2) == [200, 429]


class TestAsync:
    @pytest.fixture(autouse=True)
    def _nothing_may_block(self, memory: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        async def refuse(self: object, *args: object, **kwargs: object) -> None:
            raise AssertionError("in a thread")

        entry = {"BACKEND": MEMORY, "MIDDLEWARE": [f"{__name__}.OnlyAsync"]}
        with override_settings(COUNTERS={"default": entry}):
            monkeypatch.setattr(SyncToAsync, "__call__", refuse)
            yield

    def test_an_asynchronous_view_waits_for_nothing_in_its_thread_or_another(
        self, runner: asyncio.Runner, name: str
    ) -> None:
        site = Site(runner, name)
        view = site.limited("2/h")
        assert site.statuses(view, 3, headers={"Accept": "application/json"}) == [200, 200, 429]

    def test_an_asynchronous_peek_is_no_other(self, runner: asyncio.Runner, name: str) -> None:
        site = Site(runner, name)
        assert site.statuses(site.limited("2/h", cost=0), 3) == [200, 200, 200]

    def test_the_synchronous_twin_would_be_seen(self, name: str) -> None:
        with pytest.raises(AssertionError, match="take blocks"):
            Site(None, name).get(Site(None, name).limited("1/h"))


class TestFunctionsOfProjects:
    def test_they_run_where_they_may_use_the_orm(self, site: Site) -> None:
        @async_unsafe("an event loop runs here")
        def first(request: HttpRequest, *_: object) -> int:
            called.append(request)
            return 1

        called: list[HttpRequest] = []
        view = site.limited(
            "2/h",
            key=lambda request: str(first(request)),
            when=first,  # type: ignore[arg-type]
            cost=first,
            refund_when=first,  # type: ignore[arg-type]
        )
        request = requests.get("/")
        assert remaining(site.ask(view, request)) == [2]
        assert called == [request] * 4

    def test_an_asynchronous_refund_does_not_block(self, runner: asyncio.Runner, name: str) -> None:
        site = Site(runner, name)
        entry = {"BACKEND": MEMORY, "MIDDLEWARE": [f"{__name__}.OnlyAsync"]}
        with override_settings(COUNTERS={"default": entry}):
            response = site.get(site.limited("2/h", refund_when=lambda *_: True))
        assert remaining(response) == [2]

    def test_refund_when_is_not_asked_of_what_was_not_drawn(self, site: Site) -> None:
        asked: list[HttpRequest] = []
        options = {"refund_when": lambda request, _: asked.append(request)}
        assert site.statuses(site.limited("2/h", cost=0, **options), 1) == [200]
        assert asked == []


class OnlyAsync(CounterMiddleware):
    """A counter whose synchronous operations are a mistake."""

    def take(self, *args: object) -> Any:
        raise AssertionError("take blocks")

    def refund(self, *args: object) -> Any:
        raise AssertionError("refund blocks")

    def entry(self, *args: object) -> Any:
        raise AssertionError("entry blocks")


def blocking(request: HttpRequest, decision: Decision) -> HttpResponse:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    return HttpResponse(status=420)


class TestAnswers:
    def test_an_allowed_response_says_what_remains(self, site: Site) -> None:
        response = site.get(site.limited("5/h"))
        assert parsed(response, "RateLimit-Policy") == [(site.name, {"q": 5, "w": 3600})]
        [(item, parameters)] = parsed(response, "RateLimit")
        assert (item, parameters["r"]) == (site.name, 4)
        assert 0 < parameters["t"] <= 3600
        assert "Retry-After" not in response

    def test_a_denied_response_says_when_to_come_again(self, site: Site) -> None:
        view = site.limited("1/h")
        site.get(view)
        denied = site.get(view)
        assert denied.status_code == 429
        assert parsed(denied, "RateLimit-Policy") == [(site.name, {"q": 1, "w": 3600})]
        [(_, parameters)] = parsed(denied, "RateLimit")
        assert parameters["r"] == 0
        assert int(denied["Retry-After"]) == parameters["t"]
        assert 0 < int(denied["Retry-After"]) <= 3600

    def test_every_rate_and_limit_has_its_items(self, site: Site) -> None:
        view = rate_limit("9/d", name=f"{site.name} of a day")(site.limited("2/m", "5/h"))
        names = [f"{site.name} of a day", f"{site.name} 2/m", f"{site.name} 5/h"]
        response = site.get(view)
        assert {item[0] for item in parsed(response, "RateLimit")} == set(names)
        assert {item[0] for item in parsed(response, "RateLimit-Policy")} == set(names)

    def test_the_other_headers_are_there_when_asked_for(self, site: Site) -> None:
        view = site.limited("1/h")
        for allowed in ("1", "0"):
            with override_settings(RATE_LIMIT={"HEADERS": "legacy", "DENY_CACHE": 0}):
                response = site.get(view)
            assert response["X-RateLimit-Limit"] == "1"
            assert response["X-RateLimit-Remaining"] == "0"
            assert "RateLimit" not in response
            assert ("Retry-After" in response) == (allowed == "0")

    def test_the_answer_of_a_project_may_block(self, site: Site) -> None:
        view = site.limited("1/h")
        with override_settings(RATE_LIMIT={"RESPONSE": f"{__name__}.blocking"}):
            assert site.statuses(view, 2) == [200, 420]

    def test_without_block_a_view_runs_in_any_case(self, site: Site) -> None:
        request = requests.get("/")
        view = site.limited("1/h", block=False, respond=lambda r: HttpResponse(decisions(r)))
        assert site.statuses(view, 2) == [200, 200]
        response = site.ask(view, request)
        [decision] = decisions(request)
        assert (response.status_code, decision.allowed, decision.remaining) == (200, False, 0)
        assert remaining(response) == [0]
        assert "Retry-After" not in response

    def test_a_view_finds_the_decisions_on_its_request(self, site: Site) -> None:
        found = []

        def respond(request: HttpRequest) -> HttpResponse:
            found.extend(decisions(request))
            return HttpResponse()

        inner = site.limited("2/h", name="within", respond=respond)
        site.get(rate_limit("3/h", name="around")(inner))
        assert [(each.name, each.allowed, each.remaining) for each in found] == [
            ("around", True, 2),
            ("within", True, 1),
        ]

    def test_a_denied_request_has_its_decisions_too(self, site: Site) -> None:
        view = site.limited("1/h")
        site.get(view)
        request = requests.get("/")
        site.ask(view, request)
        [decision] = decisions(request)
        assert not decision.allowed
        assert decision.retry_after > 0

    def test_a_template_response_is_rendered_later(self, site: Site) -> None:
        template = engines["django"].from_string("Hello {{ name }}")

        def respond(request: HttpRequest) -> HttpResponseBase:
            return TemplateResponse(request, template, {"name": "Ann"})  # type: ignore[arg-type]

        response = site.get(site.limited("2/h", respond=respond))
        assert not response.is_rendered
        assert remaining(response) == [1]
        assert response.render().content == b"Hello Ann"

    def test_a_streaming_response_is_streamed(self, site: Site) -> None:
        streamed = []

        def parts() -> Any:
            for part in ("a", "b"):
                streamed.append(part)
                yield part

        view = site.limited("2/h", respond=lambda request: StreamingHttpResponse(parts()))
        response = site.get(view)
        assert remaining(response) == [1]
        assert streamed == []
        assert response.getvalue() == b"ab"


class TestNames:
    def test_a_view_has_the_name_of_its_path(self) -> None:
        request = requests.get("/")
        plain(request)
        [decision] = decisions(request)
        assert decision.name == f"{__name__}.plain"

    def test_an_asynchronous_view_too(self, runner: asyncio.Runner) -> None:
        request = requests.get("/")
        runner.run(aplain(request))
        [decision] = decisions(request)
        assert decision.name == f"{__name__}.aplain"

    def test_a_decorated_view_has_the_name_of_what_is_decorated(self) -> None:
        request = requests.get("/")
        wrapped(request)
        [decision] = decisions(request)
        assert decision.name == f"{__name__}.wrapped"

    @pytest.mark.parametrize(
        "view",
        [
            pytest.param(lambda request: None, id="lambda"),
            pytest.param(View.as_view(), id="as_view"),
            pytest.param(TemplateView.as_view(template_name="a"), id="as_view of a subclass"),
            pytest.param(functools.partial(done), id="partial"),
            pytest.param(Feed(), id="instance"),
            pytest.param(Site(None, "").view, id="bound method"),
            pytest.param(
                functools.update_wrapper(lambda request: None, Site(None, "").view),
                id="wrapped bound method",
            ),
            pytest.param(Site(None, "").view(), id="local"),
            pytest.param(Site(aroot, "").view(), id="local and asynchronous"),
        ],
    )
    def test_a_view_whose_path_is_not_its_own_needs_a_name(self, view: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"needs a name=: the path .* not this view"):
            rate_limit("5/h")(view)

    def test_it_has_one_when_it_is_given(self, name: str) -> None:
        view = rate_limit("1/h", name=name)(functools.partial(done))
        assert [view(requests.get("/")).status_code for _ in range(2)] == [200, 429]

    def test_one_decorator_limits_each_view_by_itself(self) -> None:
        both = rate_limit("1/h")
        one, two = both(first), both(second)
        assert [view(requests.get("/")).status_code for view in (one, two, one)] == [200, 200, 429]

    def test_one_decorator_with_a_name_limits_all_its_views(self, name: str) -> None:
        both = rate_limit("1/h", name=name)
        one, two = both(first), both(second)
        assert [view(requests.get("/")).status_code for view in (one, two)] == [200, 429]

    def test_no_limit_is_declared_but_those_of_views(self) -> None:
        rate_limit("77/h")(first)
        assert "unnamed" not in {limit.name for limit in declared}


def first(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def second(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@rate_limit("2/h")
def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


@rate_limit("2/h")
async def aplain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


def passing(view: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a view as most do, and do nothing."""

    @functools.wraps(view)
    def passes(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return passes


@rate_limit("2/h")
@passing
def wrapped(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


async def acost(request: HttpRequest) -> int:
    return 1


ONE = RateLimit("3/h", name="three of test_decorator")


class TestArguments:
    @pytest.mark.parametrize(
        ("rates", "options", "error", "message"),
        [
            ((), {}, ValueError, "needs a rate"),
            (("5",), {}, ValueError, "'5' is no rate. Good ones are '5/s'"),
            (("5/h", "x"), {}, ValueError, "'x' is no rate"),
            (("5/h", "5/h"), {}, ValueError, "each rate once"),
            ((5,), {}, ValueError, "5 is no rate"),
            ((done,), {}, ValueError, "is no rate"),
            (("5/h", ONE), {}, ValueError, "is no rate"),
            ((ONE, "5/h"), {}, ValueError, "a RateLimit stands alone"),
            ((ONE, ONE), {}, ValueError, "a RateLimit stands alone"),
            ((ONE,), {"name": "a"}, ValueError, "a RateLimit stands alone"),
            ((ONE,), {"algorithm": "sliding"}, ValueError, "a RateLimit stands alone"),
            ((ONE,), {"using": "other"}, ValueError, "a RateLimit stands alone"),
            ((ONE,), {"cost": 4}, ValueError, "cost must be from 0 to 3, not 4"),
            (("5/h",), {"name": "é"}, ValueError, "'é' is no name"),
            (("5/h",), {"name": ""}, ValueError, "'' is no name"),
            (("5/h",), {"algorithm": "leaky"}, ValueError, "'leaky' is no algorithm"),
            (("5/h",), {"key": "ips"}, ValueError, "'ips' is no key. Good ones are 'ip'"),
            (("5/h",), {"key": acost}, ValueError, "must not be a coroutine function"),
            (("5/h",), {"on_error": "ignore"}, ValueError, r"on_error must be one of \['allow'"),
            (("5/h",), {"methods": "POST"}, TypeError, r"such as \['POST'\]"),
            (("5/h",), {"methods": ["POST", "Pots"]}, ValueError, "'CONNECT'.* not 'POTS'"),
            (("5/h",), {"methods": [None, "Z", "A"]}, ValueError, "not 'A', 'NONE', 'Z'"),
            (("5/h",), {"methods": []}, ValueError, "methods must name at least one"),
            (("5/h",), {"block": "no"}, TypeError, "block must be True or False, not 'no'"),
            (("5/h",), {"name": 5}, TypeError, "name must be a str, not 5"),
            (("5/h",), {"cost": -1}, ValueError, "cost must be from 0 to 5, not -1"),
            (("9/d", "5/h"), {"cost": 6}, ValueError, "cost must be from 0 to 5, not 6"),
            (("5/h",), {"cost": 6, "name": "a"}, ValueError, "cost must be from 0 to 5, not 6"),
            (("5/h",), {"cost": True}, TypeError, "cost must be an int or a sync.*, not True"),
            (("5/h",), {"cost": 1.0}, TypeError, "cost must be an int or a sync.*, not 1.0"),
            (("5/h",), {"cost": "1"}, TypeError, "cost must be an int or a sync.*, not '1'"),
            (("5/h",), {"cost": acost}, TypeError, "cost must be an int or a sync"),
            (("5/h",), {"when": True}, TypeError, "when must be a sync.*, not True"),
            (("5/h",), {"when": acost}, TypeError, "when must be a synchronous function"),
            (("5/h",), {"refund_when": 1}, TypeError, "refund_when must be a sync.*, not 1"),
            (("5/h",), {"refund_when": acost}, TypeError, "refund_when must be a synchronous"),
            (("5/h",), {"rate": "5/h"}, TypeError, "rate"),
        ],
    )
    def test_a_bad_one_is_refused_at_decoration(
        self, rates: Any, options: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            rate_limit(*rates, **options)


class TestOptions:
    def test_only_the_methods_named_are_counted(self, site: Site) -> None:
        view = site.limited("1/h", methods=["post", "PUT"])
        assert site.statuses(view, 3) == [200, 200, 200]
        ask = [requests.post("/"), requests.put("/"), requests.get("/"), requests.post("/")]
        assert [site.ask(view, request).status_code for request in ask] == [200, 429, 200, 429]

    def test_all_methods_are_counted_when_none_is_named(self, site: Site) -> None:
        view = site.limited("1/h")
        assert site.ask(view, requests.delete("/")).status_code == 200
        assert site.ask(view, requests.options("/")).status_code == 429

    def test_a_request_that_is_not_counted_has_no_headers(self, site: Site) -> None:
        request = requests.get("/")
        response = site.ask(site.limited("1/h", methods=["POST"]), request)
        assert "RateLimit" not in response
        assert not hasattr(request, "rate_limits")

    def test_a_cost_is_drawn(self, site: Site) -> None:
        view = site.limited("5/h", cost=2)
        assert [remaining(site.get(view)) for _ in range(2)] == [[3], [1]]
        assert site.statuses(view, 1) == [429]

    def test_a_cost_is_a_function_of_the_request(self, site: Site) -> None:
        view = site.limited("5/h", cost=lambda request: len(request.GET.getlist("item")))
        costs = [(3, 200, 2), (3, 429, 2), (2, 200, 0), (1, 429, 0)]
        for count, status, left in costs:
            response = site.ask(view, requests.get("/?" + "item=1&" * count))
            assert (response.status_code, remaining(response)) == (status, [left])

    @pytest.mark.parametrize("cost", [0, lambda request: 0])
    def test_a_cost_of_0_draws_nothing(self, site: Site, cost: Any) -> None:
        limit = RateLimit("1/h", name=site.name)
        free = site.limited(limit, cost=cost, refund_when=lambda *_: True)
        assert site.statuses(free, 3) == [200, 200, 200]
        assert remaining(site.get(free)) == [1]
        assert site.statuses(site.limited(limit), 1) == [200]
        assert site.statuses(free, 1) == [429]

    def test_a_request_whose_cost_can_never_be_allowed_is_a_bad_one(self, site: Site) -> None:
        view = site.limited("5/h", "9/d", cost=lambda request: 6)
        with pytest.raises(BadRequest, match="a cost of 6 can never be allowed"):
            site.get(view)
        assert remaining(site.get(site.limited("5/h", "9/d"))) == [4, 8]

    @pytest.mark.parametrize("cost", ["6", -1, 1.5])
    def test_a_cost_that_is_none_is_a_fault_of_its_function(self, site: Site, cost: Any) -> None:
        with pytest.raises((TypeError, ValueError), match="cost"):
            site.get(site.limited("5/h", cost=lambda request: cost))

    def test_when_says_which_requests_count(self, site: Site) -> None:
        view = site.limited("1/h", when=lambda request: "robot" in request.headers["User-Agent"])
        assert site.statuses(view, 3, headers={"User-Agent": "Firefox"}) == [200, 200, 200]
        assert site.statuses(view, 2, headers={"User-Agent": "a robot"}) == [200, 429]

    def test_when_is_not_asked_for_other_methods(self, site: Site) -> None:
        asked = []
        view = site.limited("1/h", methods=["POST"], when=asked.append)
        site.get(view)
        assert asked == []
        site.ask(view, requests.post("/"))
        assert len(asked) == 1

    def test_refund_when_gives_a_hit_back(self, site: Site) -> None:
        view = site.limited("1/h", refund_when=lambda request, _: "back" in request.GET)
        for _ in range(3):
            response = site.ask(view, requests.get("/?back"))
            assert (response.status_code, remaining(response)) == (200, [1])
        assert site.statuses(view, 2) == [200, 429]
        assert site.ask(view, requests.get("/?back")).status_code == 429

    def test_refund_when_sees_the_request_and_the_response(self, site: Site) -> None:
        seen = []

        def refund_when(*args: object) -> bool:
            seen.append(args)
            return True

        request = requests.get("/")
        response = site.ask(site.limited("1/h", refund_when=refund_when), request)
        assert seen == [(request, response)]

    def test_the_whole_cost_is_given_back(self, site: Site) -> None:
        request = requests.get("/")
        view = site.limited("5/h", cost=lambda request: 4, refund_when=lambda *_: True)
        assert remaining(site.ask(view, request)) == [5]
        assert [decision.remaining for decision in decisions(request)] == [5]
        assert site.statuses(view, 3) == [200, 200, 200]

    def test_nothing_is_given_back_of_what_was_denied(self, site: Site) -> None:
        limit = RateLimit("1/h", name=site.name)
        site.get(site.limited(limit))
        view = site.limited(limit, block=False, refund_when=lambda *_: True)
        assert site.statuses(view, 2) == [200, 200]
        assert limit.peek("ip:192.0.2.1").remaining == 0

    def test_five_failed_logins_a_minute_is_one_line(self, site: Site, clock: Clock) -> None:
        def respond(request: HttpRequest) -> HttpResponse:
            return HttpResponse(status=302 if request.POST["password"] == "right" else 200)

        login = site.limited(
            "5/m",
            key="post:username",
            methods=["POST"],
            refund_when=lambda request, response: response.status_code == 302,
            respond=respond,
        )

        def attempt(username: str, password: str) -> int:
            request = requests.post("/", {"username": username, "password": password})
            return int(site.ask(login, request).status_code)

        clock.move(RateLimit("5/m", name=site.name).peek("post:8:username:ann").reset_after)
        assert [attempt("ann", "right") for _ in range(20)] == [302] * 20
        assert [attempt("ann", "wrong") for _ in range(4)] == [200] * 4
        assert [attempt("ann", "right") for _ in range(9)] == [302] * 9
        assert [attempt("Ann ", "wrong") for _ in range(2)] == [200, 429]
        assert attempt("ann", "right") == 429
        assert attempt("bob", "wrong") == 200
        clock.move(60)
        assert attempt("ann", "right") == 302


class TestIdentities:
    """Each kind has its own tests; here they come from requests."""

    @pytest.mark.parametrize(
        ("key", "one", "other"),
        [
            ("ip", {"REMOTE_ADDR": "192.0.2.8"}, {"REMOTE_ADDR": "192.0.2.9"}),
            ("ip", {"REMOTE_ADDR": "2001:db8:0:1::1"}, {"REMOTE_ADDR": "2001:db8:0:2::1"}),
            ("header:X-Api-Key", {"HTTP_X_API_KEY": "k"}, {"HTTP_X_API_KEY": "K"}),
            ("get:q", {"QUERY_STRING": "q=a"}, {"QUERY_STRING": "q=b"}),
            ("user", {"user": "1"}, {"user": "2"}),
            ("user_or_ip", {"user": "1"}, {"REMOTE_ADDR": "192.0.2.9"}),
            (lambda request: request.META["SERVER_NAME"], {}, {"SERVER_NAME": "other"}),
        ],
    )
    def test_each_has_a_budget_of_its_own(self, site: Site, key: Any, one: Any, other: Any) -> None:
        view = site.limited("2/h", key=key)

        def ask(extra: dict[str, str]) -> int:
            request = requests.get("/", **{k: v for k, v in extra.items() if k != "user"})
            request.user = SimpleNamespace(  # type: ignore[assignment]
                pk=extra.get("user"), is_authenticated="user" in extra
            )
            return int(site.ask(view, request).status_code)

        assert [ask(each) for each in (one, one, one, other)] == [200, 200, 429, 200]

    def test_a_field_of_a_form(self, site: Site) -> None:
        view = site.limited("1/h", key="post:username")
        names = ["ann", "ANN", "bob", " \uff41nn"]
        answers = [site.ask(view, requests.post("/", {"username": name})) for name in names]
        assert [answer.status_code for answer in answers] == [200, 429, 200, 429]

    def test_a_neighbour_in_an_ipv6_network_is_the_same_client(self, site: Site) -> None:
        view = site.limited("1/h")
        assert site.statuses(view, 1, REMOTE_ADDR="2001:db8:0:1::1") == [200]
        assert site.statuses(view, 1, REMOTE_ADDR="2001:db8:0:1:ffff::9") == [429]

    def test_who_forges_a_forwarded_address_is_still_one_client(self, site: Site) -> None:
        view = site.limited("1/h")
        assert site.statuses(view, 1, headers={"X-Forwarded-For": "198.51.100.1"}) == [200]
        assert site.statuses(view, 1, headers={"X-Forwarded-For": "198.51.100.2"}) == [429]

    @pytest.mark.parametrize(
        "text", ["x" * 2**20, "\x00", "\ud800", "{}", "\r\nSet-Cookie: a=1", "💣" * 9, "'\";--"]
    )
    @pytest.mark.parametrize(
        "key", ["header:X-Api-Key", lambda request: request.headers["x-api-key"]]
    )
    def test_any_text_gets_a_decision(self, site: Site, key: Any, text: str) -> None:
        view = site.limited("1/h", key=key)
        assert site.statuses(view, 2, headers={"X-Api-Key": text}) == [200, 429]
        assert all(len(entry.key) < 200 for entry in counters["default"].scan())


class TestSharing:
    def test_two_views_of_one_limit_share_its_budget(self, site: Site) -> None:
        limit = RateLimit("2/h", name=site.name)
        one, two = site.limited(limit), site.limited(limit)
        assert [site.get(view).status_code for view in (one, two, one)] == [200, 200, 429]

    def test_a_sync_and_an_async_view_share_it_too(self, runner: asyncio.Runner, name: str) -> None:
        limit = RateLimit("2/h", name=name)
        sites = [Site(None, name), Site(runner, name), Site(None, name)]
        assert [site.get(site.limited(limit)).status_code for site in sites] == [200, 200, 429]

    def test_stacked_limits_count_each(self, site: Site, clock: Clock) -> None:
        view = rate_limit("3/h", name=f"{site.name} slow")(site.limited("2/s"))
        assert site.statuses(view, 3) == [200, 200, 429]
        clock.move(1)
        assert site.statuses(view, 1) == [429]  # the outer one was drawn by what the inner denied

    def test_stacked_limits_of_one_name_count_each(self, site: Site, clock: Clock) -> None:
        view = rate_limit("9/h", name=site.name)(site.limited("2/s"))
        assert site.statuses(view, 3) == [200, 200, 429]
        clock.move(1)
        assert remaining(site.get(view))

    def test_one_limit_by_two_keys_counts_each(self, site: Site) -> None:
        limit = RateLimit("2/h", name=site.name)
        view = rate_limit(limit, key="header:X-Api-Key")(site.limited(limit, key="get:q"))
        request = requests.get("/?q=a", headers={"X-Api-Key": "a"})
        site.ask(view, request)
        assert [decision.remaining for decision in decisions(request)] == [1, 1]
        assert len({decision.identity for decision in decisions(request)}) == 2


class TestOncePerRequest:
    def test_a_limit_that_stands_twice_counts_once(self, site: Site) -> None:
        limit = RateLimit("2/h", name=site.name)
        view = rate_limit(limit)(site.limited(limit))
        request = requests.get("/")
        site.ask(view, request)
        assert [decision.remaining for decision in decisions(request)] == [1]
        assert site.statuses(view, 2) == [200, 429]

    def test_two_objects_of_one_limit_count_once(self, site: Site) -> None:
        view = rate_limit("2/h", name=site.name)(site.limited("2/h"))
        assert site.statuses(view, 3) == [200, 200, 429]

    def test_a_view_that_calls_another_counts_once(self, site: Site) -> None:
        limit = RateLimit("2/h", name=site.name)
        inner = site.limited(limit)

        @rate_limit(limit)
        def outer(request: HttpRequest) -> HttpResponse:
            return inner(request)  # type: ignore[no-any-return]

        @rate_limit(limit)
        async def aouter(request: HttpRequest) -> HttpResponse:
            return await inner(request)  # type: ignore[no-any-return]

        assert site.statuses(aouter if site.runner else outer, 3) == [200, 200, 429]

    def test_a_request_that_is_sent_again_to_the_same_view_counts_once(self, site: Site) -> None:
        view = site.limited("2/h")
        request = requests.get("/")
        assert [remaining(site.ask(view, request)) for _ in range(3)] == [[1]] * 3

    def test_a_request_that_was_denied_stays_denied(self, site: Site) -> None:
        limit = RateLimit("1/h", name=site.name)
        view = rate_limit(limit, block=False)(site.limited(limit))
        assert site.statuses(view, 2) == [200, 429]

    @pytest.mark.parametrize("costs", [(0, 1), (1, 0), (0, lambda request: 1), (0, 0, 1, 0)])
    def test_one_that_only_looked_is_counted_by_the_one_that_costs(
        self, site: Site, costs: tuple[Any, ...]
    ) -> None:
        limit = RateLimit("3/h", name=site.name)
        view = site.view()
        for cost in reversed(costs):
            view = rate_limit(limit, cost=cost)(view)
        request = requests.get("/")
        assert remaining(site.ask(view, request)) == [2]
        assert [decision.remaining for decision in decisions(request)] == [2]
        assert site.statuses(view, 3) == [200, 200, 429]

    def test_a_look_that_found_nothing_left_stays_a_denial(self, site: Site) -> None:
        limit = RateLimit("1/h", name=site.name)
        view = rate_limit(limit, cost=0, block=False)(site.limited(limit))
        assert site.statuses(view, 2) == [200, 429]

    def test_one_that_was_given_back_is_not_drawn_again(self, site: Site) -> None:
        limit = RateLimit("3/h", name=site.name)
        view = site.limited(limit, refund_when=lambda *_: True)
        request = requests.get("/")
        assert remaining(site.ask(view, request)) == [3]
        assert remaining(site.ask(site.limited(limit), request)) == [3]
        assert limit.peek("ip:192.0.2.1").remaining == 3

    def test_only_what_was_drawn_is_given_back(self, site: Site) -> None:
        limit = RateLimit("3/h", name=site.name)
        options = {"refund_when": lambda *_: True}
        view = rate_limit(limit, **options)(site.limited(limit, **options))
        site.get(site.limited(limit))
        assert remaining(site.get(view)) == [2]
        assert limit.peek("ip:192.0.2.1").remaining == 2


class TestMethodDecorator:
    def test_a_method_without_it_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"get is a method: .*@method_decorator\(rate_limit"):

            class Bare(View):
                @rate_limit("1/h")
                def get(self, request: HttpRequest) -> HttpResponse:
                    return HttpResponse()

    def test_dispatch_of_a_class(self, site: Site) -> None:
        made = site.class_of(get=done, post=done)
        view = method_decorator(rate_limit("2/h", name=site.name), name="dispatch")(made).as_view()
        assert iscoroutinefunction(view) == bool(site.runner)
        answers = [site.ask(view, request) for request in (requests.get("/"), requests.post("/"))]
        assert [remaining(answer) for answer in answers] == [[1], [0]]
        assert site.statuses(view, 1) == [429]

    def test_dispatch_answers_what_it_does_not_know_as_ever(self, site: Site) -> None:
        made = site.class_of(get=done)
        view = method_decorator(rate_limit("2/h", name=site.name), name="dispatch")(made).as_view()
        answer = site.ask(view, requests.options("/"))
        assert (answer.status_code, remaining(answer)) == (200, [1])
        assert answer["Allow"] == "GET, HEAD, OPTIONS"

    def test_one_method(self, site: Site) -> None:
        made = site.class_of(get=done, post=done)
        view = method_decorator(rate_limit("1/h", name=site.name), name="post")(made).as_view()
        assert site.statuses(view, 3) == [200, 200, 200]
        asked = [site.ask(view, requests.post("/")).status_code for _ in range(2)]
        assert asked == [200, 429]

    def test_an_overridden_dispatch(self, site: Site) -> None:
        class Overrides(site.class_of(get=done)):  # type: ignore[misc]
            @method_decorator(rate_limit("1/h", name=site.name))
            def dispatch(self, request: HttpRequest) -> Any:
                return super().dispatch(request)

        assert site.statuses(Overrides.as_view(), 2) == [200, 429]

    def test_the_view_of_a_class(self, site: Site) -> None:
        view = rate_limit("1/h", name=site.name)(site.class_of(get=done).as_view())
        assert view.view_class.__name__ == "Made"  # type: ignore[attr-defined]
        assert iscoroutinefunction(view) == bool(site.runner)
        assert site.statuses(view, 2) == [200, 429]

    @pytest.mark.parametrize("method", ["dispatch", "get"])
    def test_each_class_has_a_limit_of_its_own(self, site: Site, method: str) -> None:
        made = site.class_of(get=done)
        made.__qualname__ = f"Made_{site.name.replace(' ', '_')}"
        base = method_decorator(rate_limit("1/h"), name=method)(made)
        heir = type(f"Heir_{made.__qualname__}", (base,), {})
        for each in (base, heir):
            request = requests.get("/")
            assert site.ask(each.as_view(), request).status_code == 200
            [decision] = decisions(request)
            assert decision.name == f"{each.__module__}.{each.__qualname__}.{method}"
            assert site.statuses(each.as_view(), 1) == [429]

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_list_of_decorators_in_any_order(self, site: Site, order: int) -> None:
        several = [rate_limit("2/h"), passing, rate_limit("1/h", name=site.name)][::order]
        made = site.class_of(get=done)
        made.__qualname__ = f"Made_{site.name.replace(' ', '_')}"
        view = method_decorator(several, name="dispatch")(made).as_view()
        request = requests.get("/")
        assert site.ask(view, request).status_code == 200
        names = [f"{made.__module__}.{made.__qualname__}.dispatch", site.name][::order]
        assert [decision.name for decision in decisions(request)] == names
        assert site.statuses(view, 1) == [429]

    def test_decorators_upon_each_other(self, site: Site, clock: Clock) -> None:
        made = site.class_of(get=done)
        made.__qualname__ = f"Made_{site.name.replace(' ', '_')}"
        inner = method_decorator(rate_limit("1/s"), name="dispatch")(made)
        view = method_decorator(rate_limit("2/h"), name="dispatch")(inner).as_view()
        assert site.statuses(view, 2) == [200, 429]
        clock.move(1)
        assert site.statuses(view, 1) == [429]

    def test_csrf_exempt_beside_it_stays(self, site: Site) -> None:
        for several in (
            [rate_limit("9/h", name=site.name), csrf_exempt],
            [csrf_exempt, rate_limit("9/h", name=site.name)],
        ):
            made = method_decorator(several, name="dispatch")(site.class_of(get=done))
            assert made.as_view().csrf_exempt  # type: ignore[attr-defined]

    def test_a_local_class_needs_a_name(self, site: Site) -> None:
        made = site.class_of(get=done)
        made.__qualname__ = "function.<locals>.Made"
        view = method_decorator(rate_limit("1/h"), name="dispatch")(made).as_view()
        with pytest.raises(ImproperlyConfigured, match=r"needs a name=: the path .*<locals>"):
            site.get(view)

    def test_a_limit_with_a_name_knows_its_key_before_a_view_is_asked(self, name: str) -> None:
        alone = RateLimit("1/h", name=f"{name} alone")
        decorators = [
            rate_limit("2/h", name=name, key="post:username"),
            rate_limit(alone, key="get:q"),
        ]
        method_decorator(decorators, name="dispatch")(type("Made", (View,), {}))
        [named] = [limit for limit in declared if limit.name == name]
        assert (named.keys, alone.keys) == ({"post:username"}, {"get:q"})

    def test_a_key_that_is_none_is_not_kept(self, name: str) -> None:
        limit = RateLimit("1/h", name=name)
        with pytest.raises(ValueError, match="is no key"):
            rate_limit(limit, key="cookie")
        assert limit.keys == set()

    def test_no_limit_is_declared_before_a_view_is_asked(self) -> None:
        before = set(declared)
        method_decorator(rate_limit("1/h"), name="dispatch")(type("Made", (View,), {}))
        assert set(declared) == before

    def test_a_generic_view(self) -> None:
        limited = rate_limit("1/h", name="generic of test_decorator")
        generic = method_decorator(limited, name="get")(
            type("Generic", (RedirectView,), {"url": "/elsewhere"})
        )
        answers = [generic.as_view()(requests.get("/")) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [302, 429]
        assert remaining(answers[0]) == [0]


@method_decorator(rate_limit("2/h"), name="dispatch")
class Page(TemplateView):
    template_name = "django_counter/429.html"


@method_decorator(rate_limit("2/h"), name="dispatch")
class APage(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("page")


@rate_limit("2/h")
def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter(["a", "b"]))


@rate_limit("2/h")
async def astream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> Any:
        for part in ("a", "b"):
            yield part

    return StreamingHttpResponse(parts())


urlpatterns = [
    path("plain", plain),
    path("aplain", aplain),
    path("page", Page.as_view()),
    path("apage", APage.as_view()),
    path("stream", stream),
    path("astream", astream),
]


class TestThroughHandlers:
    @pytest.mark.parametrize("url", ["plain", "aplain", "page", "apage", "stream"])
    def test_a_synchronous_server(self, url: str) -> None:
        answers = [Client().get(f"/{url}") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [remaining(answer) for answer in answers] == [[1], [0], [0]]
        assert b"".join(answers[0])

    @pytest.mark.parametrize("url", ["plain", "aplain", "page", "apage", "astream"])
    def test_an_asynchronous_server(self, runner: asyncio.Runner, url: str) -> None:
        async def ask() -> list[Any]:
            return [await AsyncClient().get(f"/{url}") for _ in range(3)]

        answers = runner.run(ask())
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [remaining(answer) for answer in answers] == [[1], [0], [0]]
