"""The answers to requests that are not let in."""

import asyncio
import json
import re
import threading
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.test import RequestFactory, override_settings
from django.utils import translation

from django_counter.ratelimit import Decision, Rate, Standing
from django_counter.ratelimit.decisions import decide
from django_counter.ratelimit.response import adenied, aunavailable, denied, unavailable

PROBLEM = "application/problem+json"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
DENIED = decide("search", "0" * 32, 0.0, False, (Standing(Rate(100, 3600), 0, 90.0, 6.2),))
requests = RequestFactory()
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": False}]
OVERRIDE = {
    "429.html": "<p>Slow down, {{ request.path }}: {{ detail }} ({{ retry_after }})",
    "503.html": "{% extends 'django_counter/429.html' %}",
}


def templates_of(templates: dict[str, str]) -> list[dict[str, Any]]:
    loader = "django.template.loaders.locmem.Loader"
    named = {f"django_counter/{name}": text for name, text in templates.items()}
    processors = ["django.template.context_processors.request"]
    options = {"loaders": [(loader, named)], "context_processors": processors}
    return [{**TEMPLATES[0], "OPTIONS": options}]


def from_client(accept: str | None, method: str = "get") -> HttpRequest:
    headers = {} if accept is None else {"Accept": accept}
    return getattr(requests, method)("/a", headers=headers)  # type: ignore[no-any-return]


def refusal(response: HttpResponseBase) -> HttpResponse:
    assert isinstance(response, HttpResponse)
    return response


def denial(accept: str | None = BROWSER, decision: Decision = DENIED) -> HttpResponse:
    return refusal(denied(from_client(accept), decision))


def custom(request: HttpRequest, decision: Decision) -> HttpResponse:
    return HttpResponse(f"{request.path} {decision.name} {threading.get_ident()}", status=420)


PROGRAMS = [PROBLEM, "application/json", "application/*", "*/*", None]
PREFER_JSON = ["text/html;q=0.5, application/json", "application/json, text/plain, */*;q=0.01"]
PREFER_HTML = [BROWSER, "text/html", "text/html, application/json;q=0.9", "text/*, text/html;q=nan"]
ACCEPT_NEITHER = ["image/png", "", ";;;,/", "\ud800", "x;" * 10_000]


class TestNegotiation:
    @pytest.mark.parametrize("accept", [*PROGRAMS, *PREFER_JSON])
    def test_who_accepts_json_gets_problem_details(self, accept: str | None) -> None:
        response = denial(accept)
        assert response["Content-Type"] == PROBLEM
        assert json.loads(response.content)["status"] == 429

    @pytest.mark.parametrize("accept", [*PREFER_HTML, *ACCEPT_NEITHER])
    def test_everyone_else_gets_a_page(self, accept: str) -> None:
        assert denial(accept)["Content-Type"] == "text/html; charset=utf-8"

    def test_a_header_that_django_refuses_gets_a_page(self) -> None:
        class Request(HttpRequest):
            def get_preferred_type(self, media_types: object) -> str:
                raise ValueError("value too long")

        assert refusal(denied(Request(), DENIED))["Content-Type"] == "text/html; charset=utf-8"

    @pytest.mark.parametrize("method", ["head", "options", "post"])
    def test_any_method_is_answered(self, method: str) -> None:
        for accept in (BROWSER, PROBLEM):
            assert denied(from_client(accept, method), DENIED).status_code == 429
            assert unavailable(from_client(accept, method), 1.0).status_code == 503


class TestDenied:
    def test_the_problem(self) -> None:
        assert json.loads(denial(PROBLEM).content) == {
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "status": 429,
            "detail": "Please try again in 7 seconds.",
            "violated-policies": ["search"],
        }

    def test_it_names_the_rates_that_are_violated(self) -> None:
        standings = (Standing(Rate(10, 1), 0, 0.5, 0.5), Standing(Rate(1000, 3600), 900, 71.0, 0.0))
        problem = json.loads(denial(PROBLEM, decide("api", "", 0.0, False, standings)).content)
        assert problem["violated-policies"] == ["api 10/s"]

    @pytest.mark.parametrize("accept", [BROWSER, PROBLEM])
    def test_the_headers(self, accept: str) -> None:
        response = denial(accept)
        assert response.status_code == 429
        assert response["Retry-After"] == "7"
        assert response["Cache-Control"] == "no-store"

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.0, "1 second"),
            (59.0, "59 seconds"),
            (59.1, "1 minute"),
            (61.0, "2 minutes"),
            (3600.0, "1 hour"),
            (5400.0, "1 hour, 30 minutes"),
        ],
    )
    def test_the_wait_is_told_as_people_do(self, seconds: float, text: str) -> None:
        decision = decide("a", "", 0.0, False, (Standing(Rate(1, 60), 0, seconds, seconds),))
        detail = json.loads(denial(PROBLEM, decision).content)["detail"]
        assert detail.replace("\N{NO-BREAK SPACE}", " ") == f"Please try again in {text}."

    def test_a_function_of_the_project_replaces_it(self) -> None:
        with override_settings(RATE_LIMIT={"RESPONSE": f"{__name__}.custom"}):
            response = denial()
        assert response.status_code == 420
        assert response.content.startswith(b"/a search")


class TestPage:
    def test_it_says_what_to_do(self) -> None:
        page = denial().content.decode()
        assert "<title>Too many requests</title>" in page
        assert "<h1>Too many requests</h1>" in page
        assert "<p>Please try again in 7 seconds.</p>" in page

    def test_a_strict_content_security_policy_lets_it_be(self) -> None:
        page = denial().content.decode()
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:|https?:", page)

    def test_its_stylesheet_is_a_static_file(self) -> None:
        [path] = re.findall(
            r'<link rel="stylesheet" href="/static/([^"]+)">', denial().content.decode()
        )
        assert finders.find(path)

    def test_it_does_without_a_stylesheet_that_was_not_collected(self, tmp_path: Path) -> None:
        storage = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
        storages = {"staticfiles": {"BACKEND": storage}}
        with override_settings(STORAGES=storages, STATIC_ROOT=tmp_path, DEBUG=False):
            response = denial()
        assert response.status_code == 429
        assert b"stylesheet" not in response.content

    def test_it_has_the_language_and_direction_of_the_reader(self) -> None:
        assert b'<html lang="en-us" dir="ltr">' in denial().content
        with translation.override("ar"):
            assert b'<html lang="ar" dir="rtl">' in denial().content

    def test_dark_mode(self) -> None:
        assert b'<meta name="color-scheme" content="light dark">' in denial().content
        css = files("django_counter") / "static/django_counter/refusal.css"
        assert "prefers-color-scheme: dark" in css.read_text()

    def test_a_project_overrides_it_by_template(self) -> None:
        with override_settings(TEMPLATES=templates_of(OVERRIDE)):
            assert denial().content == b"<p>Slow down, /a: Please try again in 7 seconds. (7)"
            response = refusal(unavailable(from_client(BROWSER), 2.0))
            assert response.content == b"<p>Slow down, /a: Please try again in 2 seconds. (2)"

    @pytest.mark.parametrize("templates", [[], TEMPLATES])
    def test_it_is_plain_text_where_no_engine_finds_it(self, templates: Any) -> None:
        with override_settings(TEMPLATES=templates):
            response = denial()
        assert response.status_code == 429
        assert response["Content-Type"] == "text/plain; charset=utf-8"
        assert response["Retry-After"] == "7"
        assert response.content == b"Too many requests\nPlease try again in 7 seconds.\n"


class TestUnavailable:
    def test_the_problem(self) -> None:
        response = refusal(unavailable(from_client(PROBLEM), 0.2))
        assert response.status_code == 503
        assert response["Retry-After"] == "1"
        assert json.loads(response.content) == {
            "type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
            "title": "Request cannot be satisfied due to temporary server capacity constraints",
            "status": 503,
            "detail": "Please try again in 1 second.",
        }

    def test_the_page(self) -> None:
        response = refusal(unavailable(from_client(BROWSER), 5.0))
        assert response.status_code == 503
        assert response["Retry-After"] == "5"
        assert b"<h1>Temporarily unavailable</h1>" in response.content


class TestTwins:
    @pytest.mark.parametrize("accept", [BROWSER, PROBLEM])
    def test_they_answer_the_same(self, accept: str) -> None:
        request = from_client(accept)
        for twin, plain in (
            (adenied(request, DENIED), denied(request, DENIED)),
            (aunavailable(request, 3.0), unavailable(request, 3.0)),
        ):
            response = refusal(asyncio.run(twin))
            assert response.content == refusal(plain).content
            assert response.headers == plain.headers
            assert response.status_code == plain.status_code

    def test_a_page_is_rendered_where_it_may_use_the_orm(self) -> None:
        async def thread_of_page() -> tuple[bytes, int]:
            request = from_client(BROWSER)
            request.user = SimpleNamespace(thread=threading.get_ident)  # type: ignore[assignment]
            return refusal(await adenied(request, DENIED)).content, threading.get_ident()

        page = {"429.html": "{{ request.user.thread }}"}
        with override_settings(TEMPLATES=templates_of(page)):
            content, loop_thread = asyncio.run(thread_of_page())
        assert int(content) != loop_thread

    def test_so_is_the_response_of_the_project(self) -> None:
        with override_settings(RATE_LIMIT={"RESPONSE": f"{__name__}.custom"}):
            response = refusal(asyncio.run(adenied(from_client(PROBLEM), DENIED)))
        assert int(response.content.split()[-1]) != threading.get_ident()
