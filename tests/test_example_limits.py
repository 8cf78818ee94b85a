"""The limits of the example site: in this process on a clock that stands, and in real processes."""

import itertools
import json
import re
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import uuid4

import http_sf
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.urls import URLPattern

from django_counter.testing import Clock, override_counters
from example_project import settings as site_settings
from example_project.links.management.commands.demo import new_password
from example_project.links.models import Link, new_slug
from example_project.links.urls import urlpatterns
from tests.test_example_project import (
    HOST,
    PATIENCE,
    Demo,
    environment,
    launch,
    search,
    start,
    until,
)

__all__ = ["environment", "launch", "start"]  # fixtures

URL = {"url": "https://example.com/page"}
SETTINGS = [
    "INSTALLED_APPS",
    "LOGIN_REDIRECT_URL",
    "LOGOUT_REDIRECT_URL",
    "MIDDLEWARE",
    "RATE_LIMIT",
    "TEMPLATES",
]
HTML = {"Accept": "text/html,*/*;q=0.8"}

# The views.


@pytest.fixture
def clock(settings: Any) -> Iterator[Clock]:
    """The site's own settings, and a clock that stands still."""
    for name in SETTINGS:
        setattr(settings, name, getattr(site_settings, name))
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a fast one
    with override_counters() as clock:
        yield clock


@pytest.fixture
def outage(clock: Clock, settings: Any) -> None:
    counter = settings.COUNTERS["default"]
    middleware = ["tests.test_example_project.unavailable"]
    settings.COUNTERS = {"default": {**counter, "MIDDLEWARE": middleware}}


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ann", password="the right one")


def attempt(password: str, username: str = "ann") -> int:
    form = {"username": username, "password": password}
    return Client().post("/login/", form, headers=HTML).status_code


def test_ten_links_a_minute_are_created(clock: Clock, db: None) -> None:
    assert [Client().post("/", URL).status_code for _ in range(11)] == [302] * 10 + [429]
    assert Link.objects.count() == 10
    clock.move(60)
    assert Client().post("/", URL).status_code == 302


def test_each_address_creates_links_of_its_own(clock: Clock, db: None) -> None:
    for number in range(20):
        address = f"192.0.2.{number % 2}"
        assert Client(REMOTE_ADDR=address).post("/", URL).status_code == 302


def test_the_page_with_the_form_is_not_counted(clock: Clock, db: None) -> None:
    assert {Client().get("/").status_code for _ in range(11)} == {200}
    assert "RateLimit" not in Client().get("/")


def test_a_browser_sees_a_page_of_the_site(clock: Clock, db: None) -> None:
    for _ in range(10):
        Client().post("/", URL)
    response = Client().post("/", URL, headers=HTML)
    assert (response.status_code, response["Content-Type"]) == (429, "text/html; charset=utf-8")
    assert "Too many requests" in response.text
    assert re.search(r"Please try again in \d+ seconds?\.|in 1.minute", response.text)
    assert '<a href="/">Short links</a>' in response.text
    assert not re.search(r"<script|<style|style=", response.text)


def test_five_failed_attempts_a_minute_are_let_in(clock: Clock, user: User) -> None:
    assert [attempt("wrong") for _ in range(6)] == [200] * 5 + [429]
    assert attempt("the right one") == 429
    assert attempt("wrong", username=" \uff21NN ") == 429  # a wide A
    assert attempt("wrong", username="ben") == 200
    clock.move(60)
    assert attempt("the right one") == 302


def test_a_successful_attempt_does_not_count(clock: Clock, user: User) -> None:
    assert [attempt("wrong") for _ in range(4)] == [200] * 4
    assert [attempt("the right one") for _ in range(3)] == [302] * 3
    assert [attempt("wrong") for _ in range(2)] == [200, 429]


def test_each_demo_has_a_password_of_its_own(clock: Clock, db: None) -> None:
    old, new = new_password(), new_password()
    assert [attempt(password, username="demo") for password in (old, new)] == [200, 302]


def test_without_counters_failed_attempts_are_limited(outage: None, db: None) -> None:
    name = uuid4().hex
    assert [attempt("wrong", username=name) for _ in range(6)] == [200] * 5 + [429]


def test_without_counters_links_are_created_and_have_no_clicks(outage: None, db: None) -> None:
    assert {Client().post("/", URL).status_code for _ in range(11)} == {302}
    assert Client().get("/api/links/").json()["links"][0]["clicks"] is None
    slug = Link.objects.all()[0].slug
    assert async_to_sync(AsyncClient().get)(f"/api/links/{slug}/").json()["clicks"] is None


def test_a_user_sees_a_name_and_may_log_out(clock: Clock, user: User) -> None:
    client = Client()
    assert "Log in" in client.get("/").text
    client.post("/login/", {"username": "ann", "password": "the right one"})
    page = client.get("/").text
    assert "<span>ann</span>" in page
    assert "Log out" in page
    assert client.post("/logout/")["Location"] == "/"
    assert "<span>ann</span>" not in client.get("/").text


@pytest.mark.parametrize("click", ["/{}/", "/a/{}/"], ids=["sync", "async"])
def test_a_click_loads_no_session(
    click: str, clock: Clock, user: User, django_assert_num_queries: Any
) -> None:
    slug = Link.objects.create(**URL).slug
    client: Any = AsyncClient() if "/a/" in click else Client()
    client.force_login(user)
    get = async_to_sync(client.get) if "/a/" in click else client.get
    with django_assert_num_queries(1):
        response = get(click.format(slug))
    assert response.status_code == 302
    assert not response.cookies
    assert "RateLimit" not in response


def test_the_api_lists_the_newest_links_with_their_clicks(clock: Clock, db: None) -> None:
    slug = Link.objects.create(**URL).slug
    Client().get(f"/{slug}/")
    (link,) = Client().get("/api/links/").json()["links"]
    assert (link["slug"], link["url"], link["clicks"]) == (slug, URL["url"], 1)


def test_the_api_shows_where_each_rate_stands(clock: Clock, db: None) -> None:
    response = Client().get("/api/links/", headers={"X-Api-Key": "some"})
    assert values("q", response["RateLimit-Policy"]) == {"api 5/s": 5, "api 100/h": 100}
    assert values("r", response["RateLimit"]) == {"api 5/s": 4, "api 100/h": 99}
    assert response["X-RateLimit-Limit"] == "5"


def test_each_api_key_has_a_limit_of_its_own(clock: Clock, db: None) -> None:
    def statuses(key: str, count: int) -> list[int]:
        headers = {"X-Api-Key": key}
        return [Client().get("/api/links/", headers=headers).status_code for _ in range(count)]

    assert statuses("one", 6) == [200] * 5 + [429]
    assert statuses("two", 1) == [200]
    clock.move(1)
    assert statuses("one", 1) == [200]


def test_the_async_view_shows_one_link(clock: Clock, db: None) -> None:
    slug = Link.objects.create(**URL).slug
    response = async_to_sync(AsyncClient().get)(f"/api/links/{slug}/")
    assert (response.json()["url"], response.json()["clicks"]) == (URL["url"], 0)
    assert values("r", response["RateLimit"]) == {"link": 99}


def test_the_async_view_is_limited(clock: Clock, db: None) -> None:
    get = async_to_sync(AsyncClient().get)
    responses = [get("/api/links/nowhere/") for _ in range(101)]
    assert [response.status_code for response in responses] == [404] * 100 + [429]
    assert responses[-1]["Content-Type"] == "application/problem+json"


def test_the_api_page_says_how_to_ask(clock: Clock, db: None) -> None:
    page = Client().get("/api/").text
    assert 'curl -i -H "X-Api-Key: my-key" http://testserver/api/links/' in page


def test_no_new_slug_is_an_address_of_the_site() -> None:
    routes = [str(each.pattern) for each in urlpatterns if isinstance(each, URLPattern)]
    words = {route.partition("/")[0] for route in routes} | {site_settings.STATIC_URL.strip("/")}
    assert {"", "a", "api", "links", "login", "logout", "static"} <= words
    assert len(new_slug()) not in {len(word) for word in words if not word.startswith("<")}


# The whole site in real processes.


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str


class Visitor:
    """A client with an address of its own on loopback, and cookies."""

    def __init__(self, demo: Demo, address: str = HOST) -> None:
        self.port = demo.port
        self.address = address
        self.cookies: dict[str, str] = {}

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self._request("GET", path, headers or {})

    def post(self, path: str, form: dict[str, str]) -> Answer:
        """Fill in the form of a page, as a browser does."""
        if "csrftoken" not in self.cookies:
            self.get(path)
        form = {**form, "csrfmiddlewaretoken": self.cookies["csrftoken"]}
        headers = {**HTML, "Content-Type": "application/x-www-form-urlencoded"}
        return self._request("POST", path, headers, urlencode(form))

    def _request(
        self, method: str, path: str, headers: dict[str, str], body: str | None = None
    ) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        with closing(
            HTTPConnection(HOST, self.port, PATIENCE, source_address=(self.address, 0))
        ) as connection:
            connection.request(method, path, body, {**headers, "Cookie": cookie})
            response = connection.getresponse()
            for each in response.headers.get_all("Set-Cookie", []):
                self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(each).items()}
            return Answer(response.status, dict(response.headers), response.read().decode())


def test_a_program_is_let_in_until_the_limit_and_again_after_retry_after(
    start: Callable[..., Demo],
) -> None:
    visitor = Visitor(start())
    key = {"X-Api-Key": uuid4().hex}
    allowed, denied = until_denied(lambda: visitor.get("/api/links/", key))
    denied_at = time.monotonic()
    assert {answer.status for answer in allowed} == {200}
    assert {"RateLimit-Policy", "RateLimit"} <= allowed[0].headers.keys() & denied.headers.keys()
    assert json.loads(denied.text)["violated-policies"] == ["api 5/s"]
    assert denied.headers["Retry-After"] == "1"
    until(lambda: time.monotonic() > denied_at + 1)
    assert visitor.get("/api/links/", key).status == 200


def test_the_eleventh_link_in_a_minute_is_refused_with_a_page(start: Callable[..., Demo]) -> None:
    demo = start()
    (visitor, first) = early(
        (Visitor(demo, address) for address in loopback()), lambda each: each.post("/", URL)
    )
    answers = [first, *(visitor.post("/", URL) for _ in range(10))]
    assert [answer.status for answer in answers] == [302] * 10 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert "Please try again in" in answers[-1].text
    assert '<a href="/">Short links</a>' in answers[-1].text
    assert visitor.get("/").status == 200
    assert demo.create("https://example.com/") != ""


def test_the_sixth_failed_attempt_is_refused(start: Callable[..., Demo]) -> None:
    visitor = Visitor(start())

    def fail(name: str) -> Answer:
        return visitor.post("/login/", {"username": name, "password": "wrong"})

    name, first = early((uuid4().hex for _ in itertools.count()), fail)
    answers = [first, *(fail(name) for _ in range(5))]
    assert [answer.status for answer in answers] == [200] * 5 + [429]


def test_the_printed_password_logs_in_and_its_use_does_not_count(
    start: Callable[..., Demo],
) -> None:
    demo = start()
    password = search(r"Log in as demo with the password (\S+)", demo.output.read_text())
    for _ in range(6):
        visitor = Visitor(demo)
        answer = visitor.post("/login/", {"username": "demo", "password": password})
        assert answer.status == 302
        assert values("r", answer.headers["RateLimit"]) == {"login": 5}
    assert "<span>demo</span>" in visitor.get("/").text


@pytest.mark.heavy
def test_four_workers_admit_exactly_100_of_50_concurrent_clients(
    start: Callable[..., Demo],
) -> None:
    demo = start("--workers=4")
    path = "/api/links/django/"
    visitor, first = early(
        (Visitor(demo, address) for address in loopback()), lambda each: each.get(path)
    )
    with ThreadPoolExecutor(50) as threads:
        others = threads.map(lambda _: visitor.get(path), range(400))
        answers = [first, *others]
    assert Tally(answer.status for answer in answers) == {200: 100, 429: 301}
    assert all(("Retry-After" in answer.headers) == (answer.status == 429) for answer in answers)


def until_denied(request: Callable[[], Answer]) -> tuple[list[Answer], Answer]:
    allowed: list[Answer] = []
    while (answer := request()).status != 429:
        allowed.append(answer)
    return allowed, answer


def early(who: Iterator[Any], request: Callable[[Any], Answer]) -> tuple[Any, Answer]:
    """Return one whose window has just begun, so that it does not end in a test; and its answer."""
    for each in who:
        answer = request(each)
        if min(values("t", answer.headers["RateLimit"]).values()) > 40:
            return each, answer
    raise AssertionError


def loopback() -> Iterator[str]:
    return (f"127.0.0.{number}" for number in range(2, 255))


def values(parameter: str, field: str) -> dict[str, int]:
    """Return a parameter of each item in a field of rate limits."""
    items = http_sf.parse(field.encode(), tltype="list")
    return {name: parameters[parameter] for name, parameters in items}
