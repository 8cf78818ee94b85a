"""The throttle for Django Ninja, and rate_limit() on its operations, through Django's clients."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import http_sf
import pytest
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.http import HttpRequest
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path
from ninja import NinjaAPI, Router
from ninja.decorators import decorate_view
from ninja.errors import Throttled

from django_counter import CounterUnavailable, counters
from django_counter.contrib.ninja import RateLimitThrottle
from django_counter.ratelimit.decorator import rate_limit
from django_counter.ratelimit.limit import declared
from tests.ratelimit.away import AWAY
from tests.ratelimit.clocks import Clock
from tests.ratelimit.conftest import MEMORY

ADDRESS = "192.0.2.1"
MIDDLEWARE = ["django_counter.ratelimit.RateLimitMiddleware"]


def api_key(request: HttpRequest) -> str | None:
    """Authenticate, as Ninja does before it asks its throttles."""
    return request.headers.get("X-Api-Key")


def by_auth(request: HttpRequest) -> str:
    return str(request.auth)


minute = RateLimitThrottle("2/m", name="minute")
day = RateLimitThrottle("5/d", name="day")
api = NinjaAPI(urls_namespace="ninja tests")


@api.get("/minute", throttle=[minute])
def in_a_minute(request: HttpRequest) -> dict[str, int]:
    return {"decisions": len(getattr(request, "rate_limits", []))}


@api.get("/same", throttle=[minute])
def the_same(request: HttpRequest) -> str:
    return "done"


@api.get("/rates", throttle=[RateLimitThrottle("2/s", "3/h", name="two rates")])
def two_rates(request: HttpRequest) -> str:
    return "done"


@api.get("/sliding", throttle=RateLimitThrottle("2/m", name="slides", algorithm="sliding"))
def slides(request: HttpRequest) -> str:
    return "done"


@api.get("/stacked", throttle=[minute, day])
def stacked(request: HttpRequest) -> str:
    return "done"


@api.get("/key", auth=api_key, throttle=RateLimitThrottle("2/m", name="by key", key=by_auth))
def with_key(request: HttpRequest) -> str:
    return "done"


@api.get("/allow", throttle=RateLimitThrottle("2/h", name="away"))
def allow(request: HttpRequest) -> str:
    return "done"


@api.get("/deny", throttle=RateLimitThrottle("2/h", name="away", on_error="deny"))
def deny(request: HttpRequest) -> str:
    return "done"


@api.get("/raise", throttle=RateLimitThrottle("2/h", name="away", on_error="raise"))
def raises(request: HttpRequest) -> str:
    return "done"


@api.get("/local", throttle=RateLimitThrottle("2/h", name="away local", on_error="local"))
def local(request: HttpRequest) -> str:
    return "done"


@api.get("/exact", throttle=RateLimitThrottle("40/h", name="exact"))
def exact(request: HttpRequest) -> str:
    return "done"


@api.get("/async throttled", throttle=minute)
async def async_throttled(request: HttpRequest) -> str:
    return "done"


@api.get("/decorated")
@decorate_view(rate_limit("2/m", name="decorated"))
def decorated(request: HttpRequest) -> str:
    return "done"


@api.get("/async")
@decorate_view(rate_limit("2/m", "100/d", name="asynchronous"))
async def asynchronous(request: HttpRequest) -> str:
    return "done"


# The other operation of this path makes Ninja run this one in a thread.
@api.get("/mixed", throttle=minute)
def mixed(request: HttpRequest) -> str:
    return "done"


@api.post("/mixed")
@decorate_view(rate_limit("2/m", name="mixed"))
async def amixed(request: HttpRequest) -> str:
    return "done"


limited = NinjaAPI(throttle=RateLimitThrottle("2/m", name="whole api"), urls_namespace="limited")
router = Router()


@router.get("/one")
def one(request: HttpRequest) -> str:
    return "done"


@router.get("/two")
def two(request: HttpRequest) -> str:
    return "done"


limited.add_router("/", router)


@limited.exception_handler(Throttled)
def our_own_answer(request: HttpRequest, error: Throttled) -> Any:
    return limited.create_response(request, {"wait": error.wait}, status=420)


urlpatterns = [path("api/", api.urls), path("limited/", limited.urls)]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(autouse=True)
def _limits(memory: None) -> Iterator[None]:
    for limit in list(declared):
        limit.forget()
    with override_settings(MIDDLEWARE=MIDDLEWARE):
        yield


@pytest.fixture
def client() -> Client:
    return Client(REMOTE_ADDR=ADDRESS, raise_request_exception=False)


def statuses(client: Client, url: str, count: int, **extra: str) -> list[int]:
    return [client.get(f"/api/{url}", **extra).status_code for _ in range(count)]


def parsed(response: Any, header: str) -> Any:
    return http_sf.parse(response[header].encode(), tltype="list")


class TestThrottle:
    def test_it_limits_an_operation(self, client: Client) -> None:
        assert statuses(client, "minute", 4) == [200, 200, 429, 429]

    def test_operations_of_one_throttle_draw_on_one_limit(self, client: Client) -> None:
        assert statuses(client, "minute", 1) == [200]
        assert statuses(client, "same", 2) == [200, 429]

    def test_it_limits_a_whole_api(self, client: Client) -> None:
        answers = [client.get(f"/limited/{name}") for name in ("one", "two", "one")]
        assert [each.status_code for each in answers] == [200, 200, 420]

    def test_an_asynchronous_server_limits_too(self, runner: Any) -> None:
        async def ask() -> list[int]:
            client = AsyncClient()
            return [(await client.get("/api/minute")).status_code for _ in range(3)]

        assert runner.run(ask()) == [200, 200, 429]

    def test_several_rates_are_drawn_all_or_none(self, client: Client, clock: Clock) -> None:
        assert statuses(client, "rates", 3) == [200, 200, 429]
        clock.move(1)
        assert statuses(client, "rates", 2) == [200, 429]  # the denied one drew nothing

    def test_the_algorithm_is_the_one_asked_for(self, client: Client, clock: Clock) -> None:
        assert statuses(client, "sliding", 3) == [200, 200, 429]
        [decision] = client.get("/api/sliding").wsgi_request.rate_limits
        clock.move(decision.reset_after + 0.01)
        # At the start of a fixed window there would be 2.
        assert statuses(client, "sliding", 2).count(200) < 2

    def test_the_counters_are_those_of_the_alias(self) -> None:
        throttle = RateLimitThrottle("1/h", name="elsewhere", using="elsewhere")
        memory = {"BACKEND": MEMORY}
        with override_settings(COUNTERS={"default": memory, "elsewhere": memory}):
            assert throttle.allow_request(RequestFactory().get("/"))
            assert list(counters["default"].scan()) == []
            assert len(list(counters["elsewhere"].scan())) == 1

    def test_clients_are_counted_by_their_address(self, client: Client) -> None:
        assert statuses(client, "minute", 3) == [200, 200, 429]
        assert statuses(client, "minute", 1, REMOTE_ADDR="192.0.2.2") == [200]
        assert statuses(client, "minute", 1, HTTP_X_FORWARDED_FOR="192.0.2.3") == [429]

    def test_a_key_can_be_what_ninja_authenticated(self, client: Client) -> None:
        assert statuses(client, "key", 3, HTTP_X_API_KEY="a") == [200, 200, 429]
        assert statuses(client, "key", 1, HTTP_X_API_KEY="b") == [200]
        assert statuses(client, "key", 1) == [401]

    def test_disabled_limits_count_nothing(self, client: Client) -> None:
        with override_settings(RATE_LIMIT={"ENABLED": False}):
            assert client.get("/api/minute").json() == {"decisions": 0}
            assert statuses(client, "minute", 3) == [200, 200, 200]
        assert statuses(client, "minute", 3) == [200, 200, 429]

    @pytest.mark.parametrize(
        ("rates", "options", "message"),
        [
            (["often"], {}, "is no rate"),
            ([], {}, "needs a rate"),
            (["2/m"], {"key": "magic"}, "is no key"),
            (["2/m"], {"algorithm": "magic"}, "is no algorithm"),
            (["2/m"], {"on_error": "magic"}, "must be one of"),
        ],
    )
    def test_a_bad_one_is_refused_when_it_is_made(
        self, rates: list[str], options: dict[str, str], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            RateLimitThrottle(*rates, name="bad", **options)  # type: ignore[arg-type]


class TestAnswers:
    def test_a_denial_says_how_long_to_wait(self, client: Client, clock: Clock) -> None:
        statuses(client, "minute", 2)
        response = client.get("/api/minute")
        wait = response.wsgi_request.rate_limits[0].retry_after
        assert 0 < wait <= 60
        assert response["Retry-After"] == str(math.ceil(wait))
        assert response.json() == {"detail": "Too many requests."}
        clock.move(wait - 0.01)
        assert statuses(client, "minute", 1) == [429]
        clock.move(0.02)
        assert statuses(client, "minute", 1) == [200]

    def test_the_longest_wait_of_several_is_told(self, client: Client, clock: Clock) -> None:
        for _ in range(3):
            statuses(client, "stacked", 2)
            clock.move(60)
        statuses(client, "minute", 2)
        response = client.get("/api/stacked")
        waits = {each.name: each.retry_after for each in response.wsgi_request.rate_limits}
        assert 0 < waits["minute"] <= 60 < waits["day"]
        assert response["Retry-After"] == str(math.ceil(waits["day"]))

    def test_an_allowed_response_has_the_headers(self, client: Client) -> None:
        response = client.get("/api/minute")
        assert parsed(response, "RateLimit-Policy") == [("minute", {"q": 2, "w": 60})]
        [(name, parameters)] = parsed(response, "RateLimit")
        assert (name, parameters["r"]) == ("minute", 1)
        assert not response.has_header("Retry-After")

    def test_a_denied_response_has_the_headers(self, client: Client) -> None:
        statuses(client, "minute", 2)
        response = client.get("/api/minute")
        assert response.status_code == 429
        [(name, parameters)] = parsed(response, "RateLimit")
        assert (name, parameters["r"]) == ("minute", 0)

    def test_a_handler_of_the_api_can_answer(self, client: Client) -> None:
        answers = [client.get("/limited/one") for _ in range(3)]
        wait = answers[2].wsgi_request.rate_limits[0].retry_after
        assert answers[2].json() == {"wait": pytest.approx(wait)}


class TestSharedThrottle:
    def test_two_threads_do_not_hear_of_each_other(self, client: Client, clock: Clock) -> None:
        """Each asks with its own identity, and asks for its wait when both were answered."""
        throttle = RateLimitThrottle("1/h", name="shared", key="get:who")
        factory = RequestFactory()
        throttle.allow_request(factory.get("/", {"who": "denied"}))
        barrier = Barrier(2)

        def ask(who: str) -> tuple[bool, float | None]:
            request = factory.get("/", {"who": who})
            barrier.wait()
            allowed = throttle.allow_request(request)
            barrier.wait()
            expected = None if allowed else request.rate_limits[0].retry_after
            assert throttle.wait() == expected
            return allowed, throttle.wait()

        with ThreadPoolExecutor(2) as pool:
            denied, allowed = pool.map(ask, ["denied", "fresh"])
        assert denied[0] is False
        assert denied[1] > 0
        assert allowed == (True, None)

    def test_an_allowed_request_does_not_hear_of_the_one_before(self) -> None:
        throttle = RateLimitThrottle("1/h", name="in turn", key="get:who")
        factory = RequestFactory()
        answers = [throttle.allow_request(factory.get("/?who=a")) for _ in range(2)]
        assert answers == [True, False]
        assert throttle.wait() > 0
        assert throttle.allow_request(factory.get("/?who=b"))
        assert throttle.wait() is None

    def test_each_of_two_throttles_tells_its_own_wait(self) -> None:
        throttles = [
            RateLimitThrottle("1/m", name="first of two"),
            RateLimitThrottle("1/d", name="second of two"),
        ]
        for _ in range(2):
            request = RequestFactory().get("/")
            answers = [throttle.allow_request(request) for throttle in throttles]
        assert answers == [False, False]
        waits = [throttle.wait() for throttle in throttles]
        assert waits == [decision.retry_after for decision in request.rate_limits]
        assert waits[0] != waits[1]

    @pytest.mark.heavy
    def test_concurrent_requests_are_allowed_exactly_the_limit(self) -> None:
        def ask(_: int) -> list[int]:
            return statuses(Client(), "exact", 10)

        with ThreadPoolExecutor(8) as pool:
            answers = [status for each in pool.map(ask, range(8)) for status in each]
        assert (answers.count(200), answers.count(429)) == (40, 40)


class TestAsynchronousOperations:
    def test_a_throttle_refuses_to_block_the_event_loop(self, runner: Any) -> None:
        async def ask() -> None:
            await AsyncClient().get("/api/async throttled")

        with pytest.raises(SynchronousOnlyOperation, match=r"@decorate_view\(rate_limit\("):
            runner.run(ask())

    def test_a_synchronous_operation_beside_an_asynchronous_one_is_limited(
        self, runner: Any
    ) -> None:
        async def ask() -> list[int]:
            client = AsyncClient()
            return [(await client.get("/api/mixed")).status_code for _ in range(3)]

        assert runner.run(ask()) == [200, 200, 429]

    def test_rate_limit_limits_an_asynchronous_operation(self, runner: Any) -> None:
        async def ask() -> list[Any]:
            client = AsyncClient()
            return [await client.get("/api/async") for _ in range(3)]

        first, second, third = runner.run(ask())
        assert [each.status_code for each in (first, second, third)] == [200, 200, 429]
        assert first.json() == "done"
        wait = third.asgi_request.rate_limits[0].retry_after
        assert third["Retry-After"] == str(math.ceil(wait))
        assert third["Content-Type"] == "application/problem+json"

    def test_rate_limit_limits_a_synchronous_operation(self, client: Client) -> None:
        first, _, third = (client.get("/api/decorated") for _ in range(3))
        assert (first.status_code, third.status_code) == (200, 429)
        assert first.json() == "done"
        assert third.has_header("Retry-After")

    @override_settings(MIDDLEWARE=[])
    def test_rate_limit_puts_headers_on_without_the_middleware(self, client: Client) -> None:
        for remaining in (1, 0, 0):
            [(name, parameters)] = parsed(client.get("/api/decorated"), "RateLimit")
            assert (name, parameters["r"]) == ("decorated", remaining)

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_rate_limit_needs_a_name_there(self, asynchronous: bool) -> None:
        """All operations are one method of Ninja's: its path would be one limit for all."""

        def operation(request: HttpRequest) -> None: ...

        async def aoperation(request: HttpRequest) -> None: ...

        view = decorate_view(rate_limit("2/m"))(aoperation if asynchronous else operation)
        with pytest.raises(ImproperlyConfigured, match=r"rate_limit\(\) needs a name="):
            Router().get("/nameless")(view)


class TestOutages:
    @pytest.fixture(autouse=True)
    def _away(self, _limits: None) -> Iterator[None]:
        with override_settings(COUNTERS=AWAY):
            yield

    def test_allow_lets_all_pass_and_tells_no_numbers(self, client: Client) -> None:
        assert statuses(client, "allow", 3) == [200, 200, 200]
        assert not client.get("/api/allow").has_header("RateLimit")

    def test_deny_is_503_and_says_when_to_come_again(self, client: Client) -> None:
        response = client.get("/api/deny")
        assert response.status_code == 503
        assert response["Retry-After"] == "1"
        assert response["Content-Type"] == "application/problem+json"

    @override_settings(MIDDLEWARE=[])
    def test_deny_is_never_429_not_without_the_middleware_either(self, client: Client) -> None:
        assert client.get("/api/deny").status_code == 500

    def test_raise_is_an_error(self) -> None:
        with pytest.raises(CounterUnavailable, match="the server is away"):
            Client().get("/api/raise")

    def test_local_counts_in_this_process(self, client: Client) -> None:
        assert statuses(client, "local", 3) == [200, 200, 429]
