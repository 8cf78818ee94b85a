"""Whole requests at a limit on a real server: exact, in one command each, and never long."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import http_sf
import pytest
import redis
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

from django_counter import CounterError, counters
from django_counter.ratelimit import RateLimit, outages, rate_limit
from tests.contract.stores import RedisStore, server_cache
from tests.ratelimit.clocks import Clock
from tests.ratelimit.sites import Site, requests
from tests.servers import ServerProcess, valkey_binary

pytest_plugins = ["tests.ratelimit.site_fixtures"]
pytestmark = [pytest.mark.usefixtures("forgotten"), pytest.mark.urls(__name__)]

CLIENTS = 64
TIMEOUT = 0.3  # seconds
HANG_GUARD = 2.0  # seconds; of a busy machine, too
HUNDRED = RateLimit("100/h", "150/d", name="hundred of test_end_to_end")


@rate_limit(HUNDRED)
def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@rate_limit(HUNDRED)
async def aview(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@method_decorator(rate_limit(HUNDRED), name="dispatch")
class ClassView(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse()


urlpatterns = [path("view", view), path("aview", aview), path("class", ClassView.as_view())]


class TestExactness:
    @pytest.fixture(autouse=True)
    def _server(self, on_valkey: RedisStore, forgotten: None, clock: Clock) -> Iterator[None]:
        yield  # on a clock that stands still: no window ends
        HUNDRED.reset("ip:127.0.0.1")

    @pytest.mark.heavy
    @pytest.mark.parametrize("url", ["view", "aview", "class"])
    def test_64_clients_at_once_are_let_in_exactly_the_limit(self, url: str) -> None:
        barrier = Barrier(CLIENTS)

        def visit(_: int) -> list[Any]:
            client = Client()
            barrier.wait()
            return [client.get(f"/{url}") for _ in range(4)]

        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = [answer for several in pool.map(visit, range(CLIENTS)) for answer in several]
        self.check(answers)

    @pytest.mark.parametrize("url", ["view", "aview", "class"])
    def test_64_tasks_at_once_are_let_in_exactly_the_limit(
        self, url: str, runner: asyncio.Runner
    ) -> None:
        async def visit() -> list[Any]:
            client = AsyncClient()
            return [await client.get(f"/{url}") for _ in range(4)]

        async def visits() -> list[Any]:
            return await asyncio.gather(*(visit() for _ in range(CLIENTS)))

        self.check([answer for several in runner.run(visits()) for answer in several])

    def check(self, answers: list[Any]) -> None:
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(200) == 100
        assert statuses.count(429) == 4 * CLIENTS - 100
        told = [answer["RateLimit"] for answer in answers if answer.status_code == 200]
        first = [http_sf.parse(each.encode(), tltype="list")[0] for each in told]
        assert sorted(parameters["r"] for _, parameters in first) == list(range(100))
        # What the second rate denied nothing of was not drawn by what the first one did.
        assert [each.remaining for each in HUNDRED.peek("ip:127.0.0.1").standings] == [0, 50]


class TestRoundTrips:
    @pytest.fixture(autouse=True)
    def _server(self, on_valkey: RedisStore) -> Iterator[None]:
        self.client = on_valkey.client
        self.marker = redis.Redis.from_url(
            on_valkey.cache["LOCATION"], single_connection_client=True
        )
        yield
        self.marker.close()

    def commands(self, operation: Callable[[], object]) -> list[str]:
        """Return the commands that clients send during an operation."""
        commands = []
        with self.client.monitor() as monitor:
            operation()
            self.marker.echo("done")
            while (command := monitor.next_command())["command"] != "ECHO done":
                if command["client_type"] != "lua":
                    commands.append(command["command"].split(" ")[0])
        return commands

    def status(self, site: Site, view: Callable[..., Any], status: int, **extra: Any) -> list[str]:
        """Return the commands of a request that has this status."""
        answers: list[int] = []
        commands = self.commands(lambda: answers.extend(site.statuses(view, 1, **extra)))
        assert answers == [status]
        return commands

    @pytest.mark.parametrize("rates", [("1/h",), ("1/h", "9/d")])
    def test_a_request_is_one_command_and_a_repeated_denial_none(
        self, site: Site, rates: tuple[str, ...]
    ) -> None:
        view = site.limited(*rates)
        site.get(view, REMOTE_ADDR="192.0.2.9")  # connected, the script loaded
        assert self.status(site, view, 200) == ["EVALSHA"]  # the first of its window
        assert self.status(site, view, 429) == ["EVALSHA"]
        for _ in range(3):
            assert self.status(site, view, 429) == []

    def test_a_request_at_one_limit_twice_is_one_command(self, site: Site) -> None:
        limit = RateLimit("9/h", name=site.name)
        view = rate_limit(limit)(site.limited(limit))
        site.get(view, REMOTE_ADDR="192.0.2.9")
        assert self.status(site, view, 200) == ["EVALSHA"]

    def test_a_refund_is_one_more(self, site: Site) -> None:
        view = site.limited("9/h", refund_when=lambda *_: True)
        site.get(view, REMOTE_ADDR="192.0.2.9")
        assert self.status(site, view, 200) == ["EVALSHA", "EVALSHA"]

    def test_without_the_deny_cache_a_denial_is_one_command(self, site: Site) -> None:
        view = site.limited("1/h")
        with override_settings(RATE_LIMIT={"DENY_CACHE": 0}):
            site.statuses(view, 2)
            assert self.status(site, view, 429) == ["EVALSHA"]

    def test_a_request_that_does_not_count_is_none(self, site: Site) -> None:
        view = site.limited("9/h", when=lambda request: False)
        assert self.status(site, view, 200) == []


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server of these tests' own, which they stop."""
    with ServerProcess(valkey_binary()) as server:
        yield server


class TestOutages:
    @pytest.fixture(autouse=True)
    def _connected(self, server: ServerProcess, runner: asyncio.Runner) -> Iterator[None]:
        outages.forget()
        entry = {"OPTIONS": {"timeout": TIMEOUT}}
        with override_settings(
            CACHES={"default": server_cache(server.url)}, COUNTERS={"default": entry}
        ):
            yield
            server.resume()
            runner.run(counters["default"].aclose())

    @pytest.mark.parametrize(
        ("on_error", "status"), [("allow", 200), ("deny", 503), ("local", 200)]
    )
    def test_a_server_that_hangs_costs_a_request_about_the_timeout(
        self, site: Site, server: ServerProcess, on_error: str, status: int
    ) -> None:
        view = site.limited("9/h", on_error=on_error)
        assert site.statuses(view, 1) == [200]
        server.pause()
        for _ in range(2):  # on the connection that is there, and on a new one
            with within(TIMEOUT + HANG_GUARD):
                assert site.statuses(view, 1) == [status]

    def test_asynchronous_requests_wait_side_by_side(
        self, server: ServerProcess, runner: asyncio.Runner, name: str
    ) -> None:
        site = Site(runner, name)
        view = site.limited("99/h")
        site.get(view)

        async def together() -> list[Any]:
            return await asyncio.gather(*(view(requests.get("/")) for _ in range(20)))

        server.pause()
        with within(TIMEOUT + HANG_GUARD):
            assert [answer.status_code for answer in runner.run(together())] == [200] * 20

    def test_when_it_goes_on_the_real_budget_counts_again(
        self, site: Site, server: ServerProcess
    ) -> None:
        view = site.limited("4/h")
        assert site.statuses(view, 2) == [200, 200]
        server.pause()
        assert site.statuses(view, 1) == [200]
        server.resume()
        statuses = site.statuses(view, 3)
        # The one with an unknown outcome may have been drawn when the server went on.
        assert statuses in ([200, 200, 429], [200, 429, 429])

    def test_a_server_that_is_gone(self, site: Site, server: ServerProcess) -> None:
        views = {
            on_error: site.limited("2/h", name=f"{site.name} {on_error}", on_error=on_error)
            for on_error in outages.ON_ERROR
        }
        for view in views.values():
            assert site.statuses(view, 1) == [200]
        server.kill()
        try:
            assert site.statuses(views["allow"], 3) == [200] * 3
            assert site.statuses(views["deny"], 3) == [503] * 3
            assert site.statuses(views["local"], 3) == [200, 200, 429]
            with pytest.raises(CounterError):
                site.get(views["raise"])
        finally:
            server.start()
        for view in views.values():
            assert site.statuses(view, 3) == [200, 200, 429]  # a new server, which knows nothing
