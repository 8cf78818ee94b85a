"""A Django site of one view, as it is and under each of the libraries that limit it."""

import os
from collections.abc import Callable, Iterable
from functools import wraps
from time import time
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django_ratelimit.decorators import ratelimit
from limits import RateLimitItemPerDay, strategies
from limits.storage import RedisStorage
from rest_framework.decorators import api_view, throttle_classes
from rest_framework.throttling import SimpleRateThrottle

from django_counter.ratelimit import RateLimit, rate_limit
from tests.benchmarks.server import Wire, sent

LIMIT = 1_000_000  # a day


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("found")


def asking_raw(view: Callable[[HttpRequest], HttpResponse]) -> Any:
    """Ask over a raw socket what a limit of ours asks, of one client, before a view."""
    port = int(os.environ["BENCH_PORT"])
    limit = RateLimit(f"{LIMIT}/d", name="raw")
    limit.hit("client")
    commands = sent(port, lambda: limit.hit("client"))
    ask = Wire(port).asking(next(each for each in commands if b"limit:raw" in each))

    @wraps(view)
    def limited(request: HttpRequest) -> HttpResponse:
        ask()
        return view(request)

    return limited


def limited_by_limits(view: Callable[[HttpRequest], HttpResponse]) -> Any:
    """Limit a view as the documentation of limits does, and tell what is left."""
    limiter = strategies.FixedWindowRateLimiter(RedisStorage(os.environ["BENCH_REDIS_URL"]))
    item = RateLimitItemPerDay(LIMIT)

    @wraps(view)
    def limited(request: HttpRequest) -> HttpResponse:
        client = request.META["REMOTE_ADDR"]
        allowed = limiter.hit(item, "site", client)
        stats = limiter.get_window_stats(item, "site", client)
        response = view(request) if allowed else HttpResponse(status=429)
        response["X-RateLimit-Limit"] = str(item.amount)
        response["X-RateLimit-Remaining"] = str(stats.remaining)
        response["X-RateLimit-Reset"] = str(int(stats.reset_time - time()))
        return response

    return limited


class Throttle(SimpleRateThrottle):
    """One by address: the one that REST framework has is for those who are not logged in."""

    scope = "bench"
    rate = f"{LIMIT}/day"

    def get_cache_key(self, request: Any, view: Any) -> str:
        return f"throttle_{self.get_ident(request)}"


@api_view()
def drf(request: Any) -> HttpResponse:
    return HttpResponse("found")


@api_view()
@throttle_classes([Throttle])
def drf_throttled(request: Any) -> HttpResponse:
    return HttpResponse("found")


# What each view is compared with: itself without its limit.
WITHOUT = {
    "raw": "plain",
    "ours": "plain",
    "django-ratelimit": "plain",
    "limits": "plain",
    "drf-limited": "drf",
}
urlpatterns = [
    path("plain", plain),
    path("raw", asking_raw(plain)),
    path("ours", rate_limit(f"{LIMIT}/d", key="ip", name="site")(plain)),
    path("django-ratelimit", ratelimit(group="site", key="ip", rate=f"{LIMIT}/d")(plain)),
    path("limits", limited_by_limits(plain)),
    path("drf", drf),
    path("drf-limited", drf_throttled),
]


def with_clients(handler: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Take the address from a header, so that one machine is many clients."""

    def handle(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["REMOTE_ADDR"] = environ["HTTP_X_CLIENT"]
        return handler(environ, start_response)

    return handle


application = with_clients(get_wsgi_application())
