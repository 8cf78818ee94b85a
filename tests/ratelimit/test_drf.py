"""The throttle for Django REST framework, in views of DRF, through its own test client."""

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple

import http_sf
import pytest
from django.core.checks.registry import registry
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, modify_settings, override_settings
from django.urls import include, path
from django.utils.decorators import method_decorator
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import action, api_view, throttle_classes
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.test import APIClient
from rest_framework.throttling import BaseThrottle, SimpleRateThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_counter import CounterUnavailable, counters
from django_counter.contrib import drf as throttles
from django_counter.contrib.drf import RateLimitThrottle, check_throttles
from django_counter.ratelimit import RateLimit
from django_counter.ratelimit.decorator import rate_limit
from django_counter.ratelimit.digests import digest
from django_counter.ratelimit.limit import declared
from django_counter.signals import rate_limited
from tests.ratelimit.away import AWAY
from tests.ratelimit.clocks import Clock
from tests.ratelimit.conftest import MEMORY

ADDRESS = "192.0.2.1"
RATES: dict[str, Any] = {
    "burst": "2/m",
    "listed": ["2/s", "3/h"],
    "off": None,
}


class User(NamedTuple):
    pk: str
    is_authenticated: bool = True


class ByHeader(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[User, None] | None:
        name = request.headers.get("X-User")
        return (User(name), None) if name else None


class TwoAnHour(RateLimitThrottle):
    rate = "2/h"


class TwoRates(RateLimitThrottle):
    rate = ("2/s", "3/h")
    scope = "two rates"


class Burst(RateLimitThrottle):
    scope = "burst"


class Sliding(RateLimitThrottle):
    rate = "2/m"
    scope = "sliding"
    algorithm = "sliding"


class Five(RateLimitThrottle):
    rate = "5/d"
    scope = "five"


class OfGuests(RateLimitThrottle):
    rate = "1/h"
    scope = "guests"

    def get_identity(self, request: Request, view: APIView) -> str | None:
        return None if request.user else super().get_identity(request, view)


class Denying(RateLimitThrottle):
    rate = "2/h"
    scope = "denying"
    on_error = "deny"


class Raising(Denying):
    on_error = "raise"


class Allowing(Denying):
    on_error = "allow"


class Elsewhere(RateLimitThrottle):
    rate = "2/h"
    scope = "elsewhere"
    using = "elsewhere"


class Local(Denying):
    scope = "local"
    on_error = "local"


class Exact(RateLimitThrottle):
    rate = "40/h"
    scope = "exact"


class View(APIView):
    authentication_classes: ClassVar = [ByHeader]

    def get(self, request: Request) -> Response:
        return Response({"decisions": len(getattr(request, "rate_limits", []))})

    def post(self, request: Request) -> HttpResponse:
        return HttpResponse("a,b", content_type="text/csv")


@api_view(["GET"])
@throttle_classes([TwoAnHour])
def function_view(request: Request) -> Response:
    return Response()


class Decorated(View):
    @method_decorator(rate_limit("2/m", key="ip", name="burst"))
    def get(self, request: Request) -> Response:
        return super().get(request)


@api_view(["GET"])
@rate_limit("2/m", key="ip", name="burst")
def decorated_function(request: Request) -> Response:
    return Response({"decisions": len(request.rate_limits)})


class Things(ViewSet):
    throttle_classes: ClassVar = [RateLimitThrottle]
    throttle_scope: ClassVar = None  # @action() may only name what the class has

    @action(detail=False, throttle_scope="burst")
    def limited(self, request: Request) -> Response:
        return Response()


def plain_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def throttled(*throttles: Callable[[], BaseThrottle]) -> Any:
    return View.as_view(throttle_classes=throttles)


def scoped(request: HttpRequest, scope: str) -> HttpResponse:
    attributes = {"throttle_scope": scope, "throttle_classes": [RateLimitThrottle]}
    return type("Scoped", (View,), attributes).as_view()(request)


things = SimpleRouter()
things.register("things", Things, basename="thing")

urlpatterns = [
    path("plain/", plain_view),
    path("hour/", throttled(TwoAnHour)),
    path("rates/", throttled(TwoRates)),
    path("burst/", throttled(Burst)),
    path("same/", throttled(Burst)),
    path("sliding/", throttled(Sliding)),
    path("stacked/", throttled(Burst, Five)),
    path("twice/", throttled(Burst, Burst)),
    path("guests/", throttled(OfGuests)),
    path("deny/", throttled(Denying)),
    path("raise/", throttled(Raising)),
    path("allow/", throttled(Allowing)),
    path("local/", throttled(Local)),
    path("exact/", throttled(Exact)),
    path("elsewhere/", throttled(Elsewhere)),
    path("no scope/", throttled(RateLimitThrottle)),
    path("function/", function_view),
    path("router/", include(things.urls)),
    path("scope/<str:scope>/", scoped),
    path("decorated/", rate_limit("9/h", name="outer")(throttled(TwoAnHour))),
    path("method/", Decorated.as_view(throttle_classes=[Burst])),
    path("decorated function/", decorated_function),
    path("both/", rate_limit("2/m", key="ip", name="burst")(throttled(Burst))),
]

pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(autouse=True)
def _rates(memory: None) -> Iterator[None]:
    for limit in list(declared):
        limit.forget()
    settings = {"DEFAULT_THROTTLE_RATES": RATES, "UNAUTHENTICATED_USER": None}
    with override_settings(REST_FRAMEWORK=settings):
        yield
    throttles._limit.cache_clear()  # a limit that a test has changed is no second one of its name


@pytest.fixture
def client() -> APIClient:
    return APIClient(REMOTE_ADDR=ADDRESS, raise_request_exception=False)


def drf(**settings: Any) -> override_settings:
    """Return other settings of REST framework."""
    common = {"DEFAULT_THROTTLE_RATES": RATES, "UNAUTHENTICATED_USER": None}
    return override_settings(REST_FRAMEWORK={**common, **settings})


def statuses(client: APIClient, url: str, count: int, **extra: str) -> list[int]:
    return [client.get(url, **extra).status_code for _ in range(count)]


def parsed(response: Any, header: str) -> Any:
    return http_sf.parse(response[header].encode(), tltype="list")


class TestLimits:
    def test_the_rate_of_a_throttle_limits_its_view(self, client: APIClient) -> None:
        assert statuses(client, "/hour/", 4) == [200, 200, 429, 429]

    def test_a_function_is_limited(self, client: APIClient) -> None:
        assert statuses(client, "/function/", 3) == [200, 200, 429]

    def test_an_action_is_limited_by_its_scope(self, client: APIClient) -> None:
        assert statuses(client, "/router/things/limited/", 3) == [200, 200, 429]

    def test_an_asynchronous_server_limits_too(self, runner: Any) -> None:
        async def ask() -> list[int]:
            client = AsyncClient()
            return [(await client.get("/hour/")).status_code for _ in range(3)]

        assert runner.run(ask()) == [200, 200, 429]

    def test_a_class_with_a_rate_and_no_scope_is_one_limit_in_all_views(
        self, client: APIClient
    ) -> None:
        assert statuses(client, "/hour/", 2) == [200, 200]
        assert statuses(client, "/function/", 1) == [429]

    def test_several_rates_are_drawn_all_or_none(self, client: APIClient, clock: Clock) -> None:
        assert statuses(client, "/rates/", 3) == [200, 200, 429]
        clock.move(1)
        assert statuses(client, "/rates/", 2) == [200, 429]  # the denied one drew nothing
        clock.move(1)
        assert statuses(client, "/rates/", 1) == [429]  # by the second rate

    def test_the_algorithm_is_that_of_the_class(self, client: APIClient, clock: Clock) -> None:
        assert statuses(client, "/sliding/", 3) == [200, 200, 429]
        response = client.get("/sliding/")
        clock.move(response.wsgi_request.rate_limits[0].reset_after + 0.01)
        # At the start of a fixed window there would be 2.
        assert statuses(client, "/sliding/", 2).count(200) < 2

    def test_the_counters_are_those_of_the_alias(self, client: APIClient) -> None:
        memory = {"BACKEND": MEMORY}
        with override_settings(COUNTERS={"default": memory, "elsewhere": memory}):
            assert statuses(client, "/elsewhere/", 3) == [200, 200, 429]
            assert list(counters["default"].scan()) == []
            assert len(list(counters["elsewhere"].scan())) == 1

    def test_each_of_several_throttles_is_asked(self, client: APIClient, clock: Clock) -> None:
        assert statuses(client, "/stacked/", 3) == [200, 200, 429]
        assert [d.name for d in client.get("/stacked/").wsgi_request.rate_limits] == [
            "burst",
            "five",
        ]
        clock.move(60)  # DRF goes on asking after the first refusal: 4 of 5 are drawn
        assert statuses(client, "/stacked/", 2) == [200, 429]

    def test_a_request_counts_once_for_a_limit(self, client: APIClient) -> None:
        assert statuses(client, "/twice/", 3) == [200, 200, 429]

    def test_a_request_that_the_decorator_counted_is_not_counted_again(
        self, client: APIClient
    ) -> None:
        assert statuses(client, "/both/", 3) == [200, 200, 429]

    def test_a_request_that_a_throttle_counted_is_not_counted_by_a_decorated_method(
        self, client: APIClient
    ) -> None:
        assert client.get("/method/").data == {"decisions": 1}
        assert statuses(client, "/method/", 2) == [200, 429]

    @pytest.mark.parametrize("url", ["/method/", "/decorated function/"])
    def test_the_middleware_sees_the_decisions_of_what_is_decorated(
        self, client: APIClient, url: str
    ) -> None:
        site = {"DEFAULT": {"RATE": "9/m"}}
        middleware = ["django_counter.ratelimit.RateLimitMiddleware"]
        with override_settings(MIDDLEWARE=middleware, RATE_LIMIT=site):
            response = client.get(url)
        assert response.data == {"decisions": 2}
        assert [item[0] for item in parsed(response, "RateLimit")] == ["site", "burst"]

    def test_a_limit_is_made_once(self) -> None:
        assert Burst.get_limit(None) is Burst.get_limit("anything")
        assert RateLimitThrottle.get_limit("burst") is Burst.get_limit(None)
        limit = RateLimitThrottle.get_limit("listed")
        assert limit is RateLimitThrottle.get_limit("listed")
        assert repr(limit) == repr(RateLimit("2/s", "3/h", name="listed"))

    def test_disabled_limits_count_nothing(self, client: APIClient) -> None:
        with override_settings(RATE_LIMIT={"ENABLED": False}):
            response = client.get("/hour/")
            assert statuses(client, "/hour/", 3) == [200, 200, 200]
        assert response.data == {"decisions": 0}
        assert not response.has_header("RateLimit")
        assert statuses(client, "/hour/", 3) == [200, 200, 429]

    @pytest.mark.heavy
    def test_concurrent_requests_are_allowed_exactly_the_limit(self) -> None:
        def ask(_: int) -> list[int]:
            return statuses(APIClient(), "/exact/", 10)

        with ThreadPoolExecutor(8) as pool:
            answers = [status for each in pool.map(ask, range(8)) for status in each]
        assert (answers.count(200), answers.count(429)) == (40, 40)

    def test_a_denial_sends_the_signal(self, client: APIClient) -> None:
        received: list[Any] = []

        def receive(**kwargs: Any) -> None:
            received.append((kwargs["request"].path, kwargs["limit"].name))

        rate_limited.connect(receive)
        try:
            statuses(client, "/burst/", 3)
        finally:
            rate_limited.disconnect(receive)
        assert received == [("/burst/", "burst")]


class TestSettings:
    @pytest.mark.parametrize("first", ["rest_framework.views", "django_counter.contrib.drf"])
    def test_it_can_be_the_default_throttle(self, first: str) -> None:
        """REST framework imports its default throttles while its views are imported."""
        program = f"""
from django.conf import settings
settings.configure(REST_FRAMEWORK={{
    "DEFAULT_THROTTLE_CLASSES": ["django_counter.contrib.drf.RateLimitThrottle"],
}})
import django
django.setup()
import {first}
from rest_framework.views import APIView
print(APIView.throttle_classes)
"""
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        assert done.stdout == "[<class 'django_counter.contrib.drf.RateLimitThrottle'>]\n"


class TestScopes:
    def test_a_throttle_has_the_rate_of_its_scope(self, client: APIClient) -> None:
        assert statuses(client, "/burst/", 3) == [200, 200, 429]

    def test_views_of_one_scope_draw_on_one_limit(self, client: APIClient) -> None:
        assert statuses(client, "/burst/", 1) == [200]
        assert statuses(client, "/same/", 2) == [200, 429]
        assert statuses(client, "/scope/burst/", 1) == [429]

    def test_a_view_names_its_scope(self, client: APIClient) -> None:
        assert statuses(client, "/scope/burst/", 3) == [200, 200, 429]
        assert statuses(client, "/scope/listed/", 3) == [200, 200, 429]

    def test_a_view_without_a_scope_is_not_limited(self, client: APIClient) -> None:
        response = client.get("/no scope/")
        assert response.status_code == 200
        assert response.data == {"decisions": 0}

    def test_a_scope_whose_rate_is_none_is_not_limited(self, client: APIClient) -> None:
        response = client.get("/scope/off/")
        assert response.status_code == 200
        assert response.data == {"decisions": 0}

    def test_changed_settings_count_at_once(self, client: APIClient) -> None:
        assert statuses(client, "/burst/", 3) == [200, 200, 429]
        with drf(DEFAULT_THROTTLE_RATES={"burst": "1/h"}):
            assert statuses(client, "/burst/", 2) == [200, 429]
        assert statuses(client, "/burst/", 1) == [429]

    def test_a_scope_that_the_settings_do_not_have_is_refused(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"'lost', it has .'burst', 'listed'"):
            RateLimitThrottle.get_limit("lost")

    @pytest.mark.parametrize(
        ("scope", "message"),
        [
            ("bad", "scope 'bad': 'often' is no rate. Good"),
            ("bad name %", "is no name"),
            ("number", "scope 'number': 5 is no rate. Good"),
        ],
    )
    def test_a_bad_scope_is_refused(self, scope: str, message: str) -> None:
        rates = {"bad": "often", "bad name %": "2/m", "number": 5}
        with drf(DEFAULT_THROTTLE_RATES=rates), pytest.raises(ImproperlyConfigured, match=message):
            RateLimitThrottle.get_limit(scope)

    def test_without_rates_no_scope_is_known(self) -> None:
        words = r"'burst', it has \[\]"
        with drf(DEFAULT_THROTTLE_RATES=None), pytest.raises(ImproperlyConfigured, match=words):
            RateLimitThrottle.get_limit("burst")

    @pytest.mark.parametrize("rate", ["often", (), ("1/s", "1/s"), 5])
    def test_a_bad_rate_is_refused_where_the_class_is_defined(self, rate: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"^Bad, scope 'bad': "):
            type("Bad", (RateLimitThrottle,), {"rate": rate, "scope": "bad"})

    @pytest.mark.parametrize(
        ("attribute", "message"), [("algorithm", "is no algorithm"), ("on_error", "must be one of")]
    )
    def test_other_bad_attributes_are_refused_too(self, attribute: str, message: str) -> None:
        attributes = {"rate": "1/s", "scope": "bad", attribute: "magic"}
        with pytest.raises(ImproperlyConfigured, match=rf"^Bad\b.*{message}"):
            type("Bad", (RateLimitThrottle,), attributes)

    def test_a_class_made_in_a_function_needs_a_scope(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"<locals>.Inner needs a scope"):

            class Inner(RateLimitThrottle):
                rate = "2/h"


class TestAnswers:
    def test_a_denial_says_how_long_to_wait(self, client: APIClient, clock: Clock) -> None:
        statuses(client, "/hour/", 2)
        response = client.get("/hour/")
        wait = response.wsgi_request.rate_limits[0].retry_after
        assert 0 < wait <= 3600
        assert response["Retry-After"] == str(math.ceil(wait))
        assert f"available in {math.ceil(wait)} second" in response.data["detail"]
        clock.move(wait - 0.01)
        assert statuses(client, "/hour/", 1) == [429]
        clock.move(0.02)
        assert statuses(client, "/hour/", 1) == [200]

    def test_wait_is_exact_seconds(self, client: APIClient) -> None:
        statuses(client, "/hour/", 3)
        view = View()
        view.headers = {}
        throttle = TwoAnHour()
        assert throttle.wait() is None
        request = View().initialize_request(client.get("/plain/").wsgi_request)
        assert throttle.allow_request(request, view) is False
        assert throttle.wait() == request.rate_limits[0].retry_after
        assert throttle.wait() % 1 != 0

    def test_an_allowed_response_has_the_headers(self, client: APIClient) -> None:
        response = client.get("/burst/")
        assert parsed(response, "RateLimit-Policy") == [("burst", {"q": 2, "w": 60})]
        [(name, parameters)] = parsed(response, "RateLimit")
        assert (name, parameters["r"]) == ("burst", 1)
        assert 0 < parameters["t"] <= 60
        assert response["Content-Type"] == "application/json"
        assert not response.has_header("Retry-After")

    def test_a_denied_response_has_the_headers(self, client: APIClient) -> None:
        statuses(client, "/stacked/", 2)
        response = client.get("/stacked/")
        assert response.status_code == 429
        assert parsed(response, "RateLimit-Policy") == [
            ("five", {"q": 5, "w": 86400}),
            ("burst", {"q": 2, "w": 60}),
        ]
        remaining = {name: each["r"] for name, each in parsed(response, "RateLimit")}
        assert remaining == {"burst": 0, "five": 2}
        assert response["Content-Type"] == "application/json"

    def test_a_response_to_an_error_has_the_headers(self, client: APIClient) -> None:
        response = client.put("/burst/")
        assert response.status_code == 405
        assert [name for name, _ in parsed(response, "RateLimit")] == ["burst"]

    def test_a_response_that_is_not_of_the_framework_has_the_headers(
        self, client: APIClient
    ) -> None:
        response = client.post("/burst/")
        assert response["Content-Type"] == "text/csv"
        assert [name for name, _ in parsed(response, "RateLimit")] == ["burst"]

    def test_the_headers_are_those_of_the_settings(self, client: APIClient) -> None:
        with override_settings(RATE_LIMIT={"HEADERS": "legacy"}):
            response = client.get("/burst/")
        assert response["X-RateLimit-Remaining"] == "1"
        assert not response.has_header("RateLimit")

    def test_the_decorator_outside_shows_all_limits(self, client: APIClient) -> None:
        response = client.get("/decorated/")
        names = {name for name, _ in parsed(response, "RateLimit")}
        assert names == {"outer", f"{__name__}.TwoAnHour"}


class TestIdentities:
    def test_users_are_counted_by_their_primary_key(self, client: APIClient) -> None:
        assert statuses(client, "/burst/", 3, HTTP_X_USER="7") == [200, 200, 429]
        assert statuses(client, "/burst/", 1, HTTP_X_USER="8") == [200]
        elsewhere = {"HTTP_X_USER": "7", "REMOTE_ADDR": "192.0.2.99"}
        assert statuses(client, "/burst/", 1, **elsewhere) == [429]

    def test_others_are_counted_by_their_address(self, client: APIClient) -> None:
        assert statuses(client, "/burst/", 3) == [200, 200, 429]
        assert statuses(client, "/burst/", 1, REMOTE_ADDR="192.0.2.2") == [200]

    @pytest.mark.parametrize("extra", [{}, {"HTTP_X_USER": "7"}])
    def test_an_identity_is_the_one_of_user_or_ip(
        self, client: APIClient, extra: dict[str, str]
    ) -> None:
        decision = client.get("/burst/", **extra).wsgi_request.rate_limits[0]
        assert decision.identity == digest("user:7" if extra else f"ip:{ADDRESS}")

    def test_one_who_has_no_identity_is_not_limited(self, client: APIClient) -> None:
        assert statuses(client, "/guests/", 3, HTTP_X_USER="7") == [200, 200, 200]
        assert statuses(client, "/guests/", 2) == [200, 429]

    @pytest.mark.parametrize("proxies", [None, 0])
    def test_a_spoofed_header_gives_no_new_budget(
        self, client: APIClient, proxies: int | None
    ) -> None:
        with drf(NUM_PROXIES=proxies):
            answers = [
                client.get("/burst/", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}").status_code
                for number in range(3)
            ]
        assert answers == [200, 200, 429]

    def test_behind_proxies_what_they_appended_counts(self, client: APIClient) -> None:
        def ask(spoofed: str, address: str) -> int:
            forwarded = f"{spoofed}, {address}, 10.0.0.1"
            return client.get("/burst/", HTTP_X_FORWARDED_FOR=forwarded).status_code

        with drf(NUM_PROXIES=2):
            assert [ask(f"203.0.113.{number}", "198.51.100.7") for number in range(3)] == [
                200,
                200,
                429,
            ]
            assert ask("203.0.113.1", "198.51.100.8") == 200

    @pytest.mark.parametrize(
        "others",
        [
            ["2001:db8::1", "2001:db8::2", "[2001:db8::3]:80"],
            ["198.51.100.7", "::ffff:198.51.100.7", "198.51.100.7:443"],
            ["not an address", "", "\x00"],
        ],
        ids=["one network", "one address", "no address: REMOTE_ADDR"],
    )
    def test_addresses_of_one_client_are_one_behind_a_proxy(
        self, client: APIClient, others: list[str]
    ) -> None:
        with drf(NUM_PROXIES=1):
            answers = [
                client.get("/burst/", HTTP_X_FORWARDED_FOR=other).status_code for other in others
            ]
            direct = client.get("/burst/")
        assert answers == [200, 200, 429]
        expected = 429 if others[0] == "not an address" else 200
        assert direct.status_code == expected

    def test_without_a_number_the_trusted_proxies_of_limits_hold(self, client: APIClient) -> None:
        with override_settings(RATE_LIMIT={"TRUSTED_PROXIES": 1}):
            answers = [
                client.get("/burst/", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}").status_code
                for number in range(3)
            ]
        assert answers == [200, 200, 200]


class TestOutages:
    @pytest.fixture(autouse=True)
    def _away(self, _rates: None) -> Iterator[None]:
        with override_settings(COUNTERS=AWAY):
            yield

    def test_allow_lets_all_pass_and_tells_no_numbers(self, client: APIClient) -> None:
        assert statuses(client, "/allow/", 3) == [200, 200, 200]
        assert not client.get("/allow/").has_header("RateLimit")

    def test_deny_is_503_and_says_when_to_come_again(self, client: APIClient) -> None:
        response = client.get("/deny/")
        assert response.status_code == 503
        assert response["Retry-After"] == "1"
        assert response.data == {"detail": "Temporarily unavailable."}
        assert response.data["detail"].code == "unavailable"

    def test_raise_is_an_error(self, client: APIClient) -> None:
        assert client.get("/raise/").status_code == 500
        with pytest.raises(CounterUnavailable, match="the server is away"):
            APIClient().get("/raise/")

    def test_local_counts_in_this_process(self, client: APIClient) -> None:
        assert statuses(client, "/local/", 3) == [200, 200, 429]


class TestCheck:
    def found(self, *views: Any, **rates: Any) -> list[str]:
        """Return what the check finds wrong in views."""
        patterns = tuple(path(f"{number}/", view) for number, view in enumerate(views))
        with drf(DEFAULT_THROTTLE_RATES=rates), override_settings(ROOT_URLCONF=patterns):
            errors = list(check_throttles())
        assert {error.id for error in errors} <= {"django_counter.E014"}
        assert all("DEFAULT_THROTTLE_RATES" in error.hint for error in errors)
        return [error.msg for error in errors]

    def test_it_finds_no_fault_in_good_limits(self) -> None:
        assert list(check_throttles()) == []

    def test_it_finds_the_bad_rate_of_a_throttle(self) -> None:
        [message] = self.found(throttled(Burst), throttled(Burst), burst="often")
        assert message.startswith("Burst, scope 'burst': 'often' is no rate.")

    def test_it_finds_a_scope_that_has_no_rate(self) -> None:
        class Scoped(View):
            throttle_scope = "lost"
            throttle_classes: ClassVar = [RateLimitThrottle]

        [message] = self.found(Scoped.as_view(), burst="2/m")
        assert message == (
            "RateLimitThrottle: DEFAULT_THROTTLE_RATES has no scope 'lost', it has ['burst']"
        )

    def test_it_finds_the_scope_of_an_action(self) -> None:
        [message] = self.found(include(things.urls))
        assert "has no scope 'burst'" in message

    def test_it_leaves_other_throttles_and_views_alone(self) -> None:
        class Other(SimpleRateThrottle):
            rate = "2/m"

        others = throttled(Other, lambda: Other())
        assert self.found(plain_view, others, throttled(), burst="often") == []

    def test_it_needs_no_urls(self, settings: Any) -> None:
        del settings.ROOT_URLCONF
        assert list(check_throttles()) == []


def test_the_throttles_are_checked_where_the_framework_is_installed() -> None:
    assert check_throttles not in registry.registered_checks
    with modify_settings(INSTALLED_APPS={"append": "rest_framework"}):
        assert check_throttles in registry.registered_checks
    registry.registered_checks.remove(check_throttles)
