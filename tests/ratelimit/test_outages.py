"""What becomes of requests while the counters are away."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings

from django_counter import (
    CounterError,
    CounterOutcomeUnknown,
    CounterUnavailable,
    rare_log,
)
from django_counter.exceptions import CounterConfigError, CounterTypeError
from django_counter.middleware import CounterMiddleware
from django_counter.rare_log import RareLog
from django_counter.ratelimit import RateLimit, outages, rate_limit
from django_counter.ratelimit.digests import digest
from django_counter.ratelimit.limit import declared
from django_counter.signals import rate_limit_error, rate_limited
from tests.ratelimit.clocks import Clock
from tests.ratelimit.conftest import MEMORY, Operated
from tests.ratelimit.sites import Site, decisions, done, requests

pytest_plugins = ["tests.ratelimit.site_fixtures"]

LOGGER = "django_counter.ratelimit"
UNKNOWN = CounterOutcomeUnknown("take", "key", 1)
ERRORS = {"unavailable": CounterUnavailable("away"), "unknown": UNKNOWN}
outage = SimpleNamespace(error=None, asked=[])


class Failing(CounterMiddleware):
    """A counter that is away while `outage` has an error; one unknown is applied, as may be."""

    @contextmanager
    def around(self, operation: str, keys: tuple[str, ...]) -> Iterator[None]:  # type: ignore[override]
        if operation == "close":
            yield
            return
        outage.asked.append(operation)
        if outage.error and not isinstance(outage.error, CounterOutcomeUnknown):
            raise outage.error
        yield
        if outage.error:
            raise outage.error


@pytest.fixture(autouse=True)
def failing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Counters that a test lets fail; nothing was logged or counted before."""
    entry = {
        "BACKEND": MEMORY,
        "OPTIONS": {"clock": clock},
        "MIDDLEWARE": [f"{__name__}.Failing"],
    }
    outages.forget()
    outage.error, outage.asked = None, []
    monkeypatch.setattr(outages, "_log", RareLog(outages.logger, outages.LOG_INTERVAL))
    with override_settings(COUNTERS={"default": entry}):
        yield
    outage.error = None
    outages.forget()


@pytest.fixture(params=ERRORS.values(), ids=ERRORS.keys())
def away(request: pytest.FixtureRequest) -> CounterError:
    outage.error = request.param
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The monotonic clock of the log, as a test moves it."""
    moved = SimpleNamespace(now=1000.0)
    fake = SimpleNamespace(monotonic=lambda: moved.now)
    monkeypatch.setattr(rare_log, "time", fake)
    return moved


@contextmanager
def heard(signal: Any) -> Iterator[list[dict[str, Any]]]:
    """Give what a signal sends."""
    received: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        received.append(kwargs)

    signal.connect(receive)
    yield received
    signal.disconnect(receive)


class TestAllow:
    def test_all_are_let_in(self, site: Site, away: CounterError) -> None:
        assert site.statuses(site.limited("1/h"), 3) == [200, 200, 200]

    def test_it_is_the_default(self, site: Site, away: CounterError) -> None:
        named, default = site.limited("1/h", on_error="allow"), site.limited("1/h")
        assert site.statuses(named, 2) == site.statuses(default, 2) == [200, 200]

    def test_no_numbers_are_made_up(self, site: Site, away: CounterError) -> None:
        request = requests.get("/")
        response = site.ask(site.limited("1/h"), request)
        assert not {"RateLimit", "RateLimit-Policy", "Retry-After"} & set(response.headers)
        [decision] = decisions(request)
        assert (decision.allowed, decision.degraded, decision.limit) == (True, "allow", 1)

    def test_a_known_denial_still_holds(self, site: Site) -> None:
        view = site.limited("1/h")
        assert site.statuses(view, 2) == [200, 429]
        outage.error = UNKNOWN
        assert site.statuses(view, 1) == [429]

    @pytest.mark.parametrize("error", [CounterConfigError("wrong"), CounterTypeError("a list")])
    def test_any_error_of_counters_is_an_outage(self, site: Site, error: CounterError) -> None:
        outage.error = error
        assert site.statuses(site.limited("1/h"), 2) == [200, 200]

    def test_other_errors_are_none(self, site: Site) -> None:
        outage.error = KeyError("a fault")
        with pytest.raises(KeyError, match="a fault"):
            site.get(site.limited("1/h"))


class TestDeny:
    def test_nobody_is_let_in(self, site: Site, away: CounterError) -> None:
        assert site.statuses(site.limited("9/h", on_error="deny"), 3) == [503, 503, 503]

    @pytest.mark.parametrize(
        ("accept", "content_type"),
        [("application/json", "application/problem+json"), ("text/html", "text/html")],
    )
    def test_it_says_when_to_come_again(
        self, site: Site, away: CounterError, accept: str, content_type: str
    ) -> None:
        view = site.limited("9/h", on_error="deny")
        response = site.get(view, headers={"Accept": accept})
        assert response.status_code == 503
        assert response["Retry-After"] == "1"
        assert response["Content-Type"].startswith(content_type)
        assert "RateLimit" not in response

    def test_the_answer_to_denials_of_a_project_is_not_asked(
        self, site: Site, away: CounterError
    ) -> None:
        with override_settings(RATE_LIMIT={"RESPONSE": f"{__name__}.never"}):
            assert site.statuses(site.limited("9/h", on_error="deny"), 1) == [503]

    def test_a_cost_of_0_is_denied_too(self, site: Site, away: CounterError) -> None:
        assert site.statuses(site.limited("9/h", cost=0, on_error="deny"), 1) == [503]

    def test_without_block_the_view_runs(self, site: Site, away: CounterError) -> None:
        request = requests.get("/")
        view = site.limited("9/h", on_error="deny", block=False)
        assert site.ask(view, request).status_code == 200
        [decision] = decisions(request)
        assert (decision.allowed, decision.remaining, decision.degraded) == (False, 0, "deny")

    def test_it_is_heard_as_a_denial(self, site: Site, away: CounterError) -> None:
        with heard(rate_limited) as denials:
            site.get(site.limited("9/h", on_error="deny"))
        assert [each["decision"].degraded for each in denials] == ["deny"]


def slow_down(request: HttpRequest, decision: object) -> HttpResponse:
    return HttpResponse("slow down", status=429)


def never(request: HttpRequest, decision: object) -> None:
    raise AssertionError("an outage is no denial")


class TestRaise:
    def test_the_error_goes_on(self, site: Site, away: CounterError) -> None:
        with pytest.raises(type(away)) as raised:
            site.get(site.limited("9/h", on_error="raise"))
        assert raised.value is away

    def test_it_is_heard_but_not_logged(
        self, site: Site, away: CounterError, caplog: pytest.LogCaptureFixture
    ) -> None:
        with heard(rate_limit_error) as errors, pytest.raises(CounterError):
            site.get(site.limited("9/h", on_error="raise"))
        assert len(errors) == 1
        assert caplog.messages == []


class TestLocal:
    def test_the_whole_limit_counts_in_a_single_process(
        self, site: Site, away: CounterError
    ) -> None:
        assert site.statuses(site.limited("3/h", on_error="local"), 5) == [200] * 3 + [429] * 2

    @pytest.mark.parametrize(("processes", "share"), [(2, 5), (3, 3), (4, 2), (10, 1), (99, 1)])
    def test_each_process_has_its_share(
        self, site: Site, away: CounterError, processes: int, share: int
    ) -> None:
        with override_settings(RATE_LIMIT={"PROCESSES": processes}):
            view = site.limited("10/h", on_error="local")
            assert site.statuses(view, share + 1) == [200] * share + [429]

    def test_a_denial_says_when_to_come_again(
        self, site: Site, away: CounterError, clock: Clock
    ) -> None:
        view = site.limited("1/m", on_error="local")
        site.get(view)
        denied = site.get(view)
        assert (denied.status_code, "RateLimit" in denied) == (429, False)
        assert 0 < int(denied["Retry-After"]) <= 60
        clock.move(int(denied["Retry-After"]))
        assert site.statuses(view, 2) == [200, 429]

    def test_so_does_an_answer_that_a_project_makes(self, site: Site, away: CounterError) -> None:
        with override_settings(RATE_LIMIT={"RESPONSE": f"{__name__}.slow_down"}):
            view = site.limited("1/m", on_error="local")
            site.get(view)
            denied = site.get(view)
        assert denied.content == b"slow down"
        assert 0 < int(denied["Retry-After"]) <= 60

    def test_another_secret_is_another_digest(self, site: Site, away: CounterError) -> None:
        view = site.limited("9/h", on_error="local")
        digests = set()
        for secret in ("one", "other"):
            with override_settings(RATE_LIMIT={"SECRET": secret}):
                for _ in range(3):  # the third is of a client that is remembered
                    request = requests.get("/")
                    site.ask(view, request)
                    digests |= {each.identity for each in decisions(request)}
        assert len(digests) == 2

    @pytest.mark.parametrize("processes", [1, 2])
    def test_a_request_counts_once(self, site: Site, away: CounterError, processes: int) -> None:
        options = {"on_error": "local"}
        limit = RateLimit(f"{2 * processes}/h", name=site.name)
        other = rate_limit("99/h", name=f"{site.name} too", **options)
        view = rate_limit(limit, **options)(other(site.limited(limit, **options)))
        with override_settings(RATE_LIMIT={"PROCESSES": processes}):
            assert site.statuses(view, 3) == [200, 200, 429]

    def test_identities_have_their_own(self, site: Site, away: CounterError) -> None:
        view = site.limited("1/h", on_error="local")
        assert site.statuses(view, 2) == [200, 429]
        assert site.statuses(view, 2, REMOTE_ADDR="192.0.2.2") == [200, 429]

    def test_limits_have_their_own(self, site: Site, away: CounterError) -> None:
        one = site.limited("1/h", on_error="local")
        other = site.limited("1/h", name=f"{site.name} too", on_error="local")
        assert site.statuses(one, 2) == site.statuses(other, 2) == [200, 429]

    @pytest.mark.parametrize("algorithm", ["fixed", "sliding", "token_bucket"])
    def test_every_algorithm_goes_on(self, site: Site, away: CounterError, algorithm: str) -> None:
        with override_settings(RATE_LIMIT={"PROCESSES": 2}):
            view = site.limited("4/h", on_error="local", algorithm=algorithm)
            assert site.statuses(view, 3) == [200, 200, 429]

    def test_every_rate_has_its_share(self, site: Site, away: CounterError, clock: Clock) -> None:
        with override_settings(RATE_LIMIT={"PROCESSES": 2}):
            view = site.limited("4/s", "6/h", on_error="local")
            assert site.statuses(view, 3) == [200, 200, 429]
            clock.move(1)
            assert site.statuses(view, 2) == [200, 429]

    def test_rates_whose_shares_are_one_are_one(self, site: Site, away: CounterError) -> None:
        with override_settings(RATE_LIMIT={"PROCESSES": 9}):
            assert site.statuses(site.limited("4/h", "6/60m", on_error="local"), 2) == [200, 429]

    def test_a_cost_above_the_share_takes_the_share(self, site: Site, away: CounterError) -> None:
        with override_settings(RATE_LIMIT={"PROCESSES": 5}):
            view = site.limited("10/h", cost=9, on_error="local")
            assert site.statuses(view, 2) == [200, 429]

    def test_a_refund_goes_to_it_and_to_nobody_else(self, site: Site, away: CounterError) -> None:
        """Nobody knows whether the hit was drawn from the counters, too."""
        view = site.limited(
            "1/h", on_error="local", refund_when=lambda request, _: "good" in request.GET
        )
        for _ in range(3):
            assert site.ask(view, requests.get("/?good")).status_code == 200
        assert site.statuses(view, 2) == [200, 429]
        assert "refund" not in outage.asked

    def test_a_refund_of_a_cost_above_the_share_is_of_the_share(
        self, site: Site, away: CounterError
    ) -> None:
        options = {"on_error": "local", "refund_when": lambda *_: True}
        with override_settings(RATE_LIMIT={"PROCESSES": 5}):
            view = site.limited("10/h", cost=9, **options)
            assert site.statuses(view, 3) == [200, 200, 200]

    def test_threads_share_it(
        self, name: str, away: CounterError, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def slow(limit: RateLimit, processes: int) -> outages._LocalLimit:
            time.sleep(0.02)
            return make(limit, processes)

        make = outages._LocalLimit
        monkeypatch.setattr(outages, "_LocalLimit", slow)
        limit = RateLimit("16/h", name=name)
        barrier = Barrier(16)

        def client(_: int) -> int:
            barrier.wait()
            return sum(outages.hit(limit, "a", 1, "local").allowed for _ in range(4))

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(client, range(16))) == 16

    def test_a_share_is_no_limit_of_its_own(self, name: str, away: CounterError) -> None:
        limit = RateLimit("16/h", name=name)
        outages.hit(limit, "a", 1, "local")
        assert [each for each in declared if each.name == name] == [limit]

    def test_a_share_can_be_forgotten(self, name: str, away: CounterError) -> None:
        limit = RateLimit("1/h", name=name)
        outages.hit(limit, "a", 1, "local")
        outages.forget()
        assert outages.hit(limit, "a", 1, "local").allowed


class TestAfterwards:
    @pytest.mark.parametrize("on_error", ["allow", "deny", "local"])
    def test_the_real_budget_counts_again(self, site: Site, on_error: str) -> None:
        view = site.limited("3/h", on_error=on_error)
        assert site.statuses(view, 1) == [200]
        outage.error = ERRORS["unavailable"]
        site.statuses(view, 9)
        outage.error = None
        assert site.statuses(view, 3) == [200, 200, 429]

    def test_an_unknown_outcome_counts_as_taken(self, site: Site) -> None:
        view = site.limited("3/h", refund_when=lambda *_: True)
        outage.error = UNKNOWN
        assert site.statuses(view, 2) == [200, 200]
        assert outage.asked == ["take", "take"]  # neither made again nor given back
        outage.error = None
        assert RateLimit("3/h", name=site.name).peek("ip:192.0.2.1").remaining == 1


class TestRefunds:
    @pytest.fixture
    def view(self, site: Site) -> Callable[..., Any]:
        """A view during which the counters go away."""

        def respond(request: HttpRequest) -> Any:
            outage.error = ERRORS[request.GET["error"]]
            return done(request)

        return site.limited("2/h", refund_when=lambda *_: True, respond=respond, on_error="raise")

    @pytest.mark.parametrize("error", ERRORS)
    def test_a_refund_that_fails_is_no_error(
        self,
        site: Site,
        view: Callable[..., Any],
        error: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        request = requests.get(f"/?error={error}")
        with heard(rate_limit_error) as errors:
            response = site.ask(view, request)
        assert response.status_code == 200
        assert [each["error"] for each in errors] == [ERRORS[error]]
        assert caplog.messages == [
            f"A rate limit could not give a hit back: {type(ERRORS[error]).__name__}"
        ]

    def test_it_is_not_told_as_given_back(self, site: Site, view: Callable[..., Any]) -> None:
        request = requests.get("/?error=unavailable")
        response = site.ask(view, request)
        assert [decision.remaining for decision in decisions(request)] == [1]
        assert "r=1" in response["RateLimit"]


class TestLog:
    def test_an_outage_is_logged_at_most_once_a_second(
        self,
        site: Site,
        away: CounterError,
        seconds: SimpleNamespace,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        view = site.limited("9/h")
        site.statuses(view, 5)
        assert len(caplog.messages) == 1
        seconds.now += 0.999
        site.statuses(view, 2)
        assert len(caplog.messages) == 1
        seconds.now += 0.001
        site.statuses(view, 2)
        assert len(caplog.messages) == 2

    def test_all_limits_together(
        self,
        site: Site,
        away: CounterError,
        seconds: SimpleNamespace,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        site.get(site.limited("9/h"))
        site.get(site.limited("9/h", name=f"{site.name} too", on_error="deny"))
        assert len(caplog.messages) == 1

    @pytest.mark.parametrize("on_error", ["allow", "deny", "local"])
    def test_it_says_what_and_not_who(
        self,
        site: Site,
        away: CounterError,
        on_error: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        site.get(site.limited("9/h", on_error=on_error))
        [record] = caplog.records
        assert (record.name, record.levelname) == (LOGGER, "ERROR")
        assert record.getMessage() == (
            f"The rate limit {site.name!r} cannot be asked at 'default', on_error is {on_error!r}: "
            f"{type(away).__name__}: {away}"
        )

    @pytest.mark.parametrize("kind", [CounterUnavailable, CounterConfigError])
    def test_the_key_is_told_without_the_identity(
        self, site: Site, kind: type[CounterError], caplog: pytest.LogCaptureFixture
    ) -> None:
        digested = digest("ip:192.0.2.1")
        outage.error = kind(f"take of 'limit:a:{{{digested}}}:9/h:1': no such right")
        site.get(site.limited("9/h"))
        assert caplog.messages == [
            f"The rate limit {site.name!r} cannot be asked at 'default', on_error is 'allow': "
            f"{kind.__name__}: take of 'limit:a:{{...}}:9/h:1': no such right"
        ]

    def test_no_outage_is_not_logged(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        site.statuses(site.limited("1/h", refund_when=lambda *_: True), 3)
        assert caplog.messages == []


class TestSignal:
    @pytest.mark.parametrize("on_error", ["allow", "deny", "local"])
    def test_each_request_is_heard(self, site: Site, away: CounterError, on_error: str) -> None:
        limit = RateLimit("9/h", name=site.name)
        with heard(rate_limit_error) as errors:
            site.statuses(site.limited(limit, on_error=on_error), 3)
        assert [each["limit"] for each in errors] == [limit] * 3
        assert [each["error"] for each in errors] == [away] * 3
        assert {each["sender"] for each in errors} == {RateLimit}

    def test_a_receiver_that_fails_changes_nothing(
        self, site: Site, away: CounterError, caplog: pytest.LogCaptureFixture
    ) -> None:
        def receive(**kwargs: object) -> None:
            raise KeyError("of the receiver")

        rate_limit_error.connect(receive)
        assert site.statuses(site.limited("9/h"), 1) == [200]
        rate_limit_error.disconnect(receive)

    def test_no_outage_is_not_heard(self, site: Site) -> None:
        with heard(rate_limit_error) as errors:
            site.statuses(site.limited("1/h"), 3)
        assert errors == []


class TestOperations:
    """The functions that throttles of other frameworks share with views."""

    @pytest.mark.parametrize("on_error", ["", "Allow", "fail", None])
    def test_another_way_is_refused(self, on_error: Any) -> None:
        with pytest.raises(ValueError, match=r"one of \['allow', 'deny', 'raise', 'local'\]"):
            outages.check_on_error(on_error)

    @pytest.mark.parametrize("on_error", outages.ON_ERROR)
    def test_without_an_outage_all_are_alike(
        self, operated: Operated, name: str, on_error: str
    ) -> None:
        outages.check_on_error(on_error)
        limit = RateLimit("2/h", name=name)
        decided = [outages.hit(operated(limit), "a", 1, on_error) for _ in range(3)]
        assert [each.allowed for each in decided] == [True, True, False]
        assert {each.degraded for each in decided} == {None}

    def test_a_refund_says_whether_it_was_made(self, name: str, runner: asyncio.Runner) -> None:
        limit = RateLimit("2/h", name=name)
        decision = limit.hit("a", 2)
        assert outages.refund(limit, "a", 1, decision)
        assert runner.run(outages.arefund(limit, "a", 1, decision))
        outage.error = ERRORS["unavailable"]
        assert not outages.refund(limit, "a", 1, decision)
        assert not runner.run(outages.arefund(limit, "a", 1, decision))
