"""Views of both kinds behind limits, and what asks them."""

import asyncio
from collections.abc import Callable
from typing import Any

import http_sf
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.test import RequestFactory
from django.views import View

from django_counter.ratelimit import Decision, RateLimit, rate_limit

ADDRESS = "192.0.2.1"
Respond = Callable[[HttpRequest], HttpResponseBase]
requests = RequestFactory(REMOTE_ADDR=ADDRESS)


def done(request: HttpRequest) -> HttpResponse:
    return HttpResponse("done")


class Site:
    """Views of one kind, synchronous or not, and what asks them."""

    def __init__(self, runner: asyncio.Runner | None, name: str) -> None:
        self.runner = runner
        self.name = name

    def view(self, respond: Respond = done) -> Callable[..., Any]:
        """Return a view of this kind that responds as a function says."""

        def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return respond(request)

        async def aview(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return respond(request)

        return aview if self.runner else view

    def limited(self, rate: str | RateLimit, *rates: str, **options: Any) -> Callable[..., Any]:
        """Return such a view behind a limit."""
        respond = options.pop("respond", done)
        if not isinstance(rate, RateLimit):
            options.setdefault("name", self.name)
        return rate_limit(rate, *rates, **options)(self.view(respond))

    def ask(self, view: Callable[..., Any], request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        answer = view(request, *args, **kwargs)
        return self.runner.run(answer) if self.runner else answer

    def get(self, view: Callable[..., Any], **extra: Any) -> Any:
        return self.ask(view, requests.get("/", **extra))

    def statuses(self, view: Callable[..., Any], count: int, **extra: Any) -> list[int]:
        return [self.get(view, **extra).status_code for _ in range(count)]

    def class_of(self, **methods: Respond) -> type[View]:
        """Return a class-based view with these methods."""
        views = {name: self.view(respond) for name, respond in methods.items()}
        return type(
            "Made", (View,), {name: of_instance(name, view) for name, view in views.items()}
        )


def of_instance(name: str, view: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that does what a view does."""

    def method(self: View, *args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    async def amethod(self: View, *args: Any, **kwargs: Any) -> Any:
        return await view(*args, **kwargs)

    chosen = amethod if iscoroutinefunction(view) else method
    chosen.__name__ = name
    return chosen


def parsed(response: HttpResponseBase, header: str) -> Any:
    return http_sf.parse(response[header].encode(), tltype="list")


def remaining(response: HttpResponseBase) -> list[int]:
    return [item[1]["r"] for item in parsed(response, "RateLimit")]


def decisions(request: HttpRequest) -> list[Decision]:
    return request.rate_limits  # type: ignore[attr-defined,no-any-return]
