"""How long a limited view waits for counters that are away, by the names that users give that."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median
from time import perf_counter
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_counter.ratelimit import rate_limit
from tests import sentinels
from tests.faults.watch import admin_of
from tests.servers import ServerProcess, free_port, valkey_binary

TIMEOUT = 0.25  # seconds
FIRST = 0.3  # seconds that the first request may wait
OPEN = 0.002  # seconds that one may while the circuit is open
CALLS = 20  # after that many failures the circuit opens
REDIS = "django_redis.cache.RedisCache"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def hanging(stack: ExitStack) -> dict[str, Any]:
    server = stack.enter_context(ServerProcess(valkey_binary()))
    server.pause()
    return {"LOCATION": server.url}


def loading(stack: ExitStack) -> dict[str, Any]:
    server = stack.enter_context(ServerProcess(valkey_binary()))
    with admin_of(server) as client:
        client.mset({f"key-{number}": number for number in range(20_000)})
        client.save()
    server.stop()
    slow = {"key_load_delay": "2000", "loading_process_events_interval_bytes": "1024"}
    server.options |= slow
    server.start()
    return {"LOCATION": server.url}


def refused(stack: ExitStack) -> dict[str, Any]:
    return {"LOCATION": f"redis://127.0.0.1:{free_port()}/0"}


def no_sentinel(stack: ExitStack) -> dict[str, Any]:
    nowhere = {"SENTINELS": [("127.0.0.1", free_port()) for _ in range(3)]}
    return {"LOCATION": sentinels.URL, "OPTIONS": sentinels.options_of() | nowhere}


def hanging_sentinel(stack: ExitStack) -> dict[str, Any]:
    sentinel = stack.enter_context(ServerProcess(valkey_binary(), arguments=["--sentinel"]))
    sentinel.pause()
    return {"LOCATION": sentinels.URL, "OPTIONS": sentinels.options_of(sentinel)}


def unresolvable(stack: ExitStack) -> dict[str, Any]:
    return {"LOCATION": "redis://counters.invalid:6379/0"}


@pytest.mark.figure("outage")
@pytest.mark.parametrize(
    "away",
    [hanging, loading, refused, no_sentinel, hanging_sentinel, unresolvable],
    ids=lambda away: away.__name__.replace("_", " "),
)
def test_a_limited_view_waits_no_longer_than_its_timeout(
    away: Callable[[ExitStack], dict[str, Any]],
    settings: Any,
    stack: ExitStack,
    record_property: Callable[[str, object], None],
) -> None:
    cache = {"BACKEND": REDIS, **away(stack)}
    cache["LOCATION"] += f"?client_name={away.__name__}"  # django-redis keeps its pools by URL
    settings.CACHES = {"default": cache}
    middleware = ["django_counter.middleware.CircuitBreakerMiddleware"]
    settings.COUNTERS = {"default": {"OPTIONS": {"timeout": TIMEOUT}, "MIDDLEWARE": middleware}}

    @rate_limit("1000/h", key="ip", name=f"outage-{away.__name__}")
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("done")

    first = seconds_of(view)
    for _ in range(CALLS):
        seconds_of(view)
    while_open = [seconds_of(view) for _ in range(100)]
    told = f"first {first:.3f} s, then {median(while_open) * 1000:.2f} ms"
    if away is unresolvable:
        told += " (no limit on the first: the system's resolver keeps its own time)"
    record_property("figure", told)
    assert away is unresolvable or first <= FIRST
    assert median(while_open) <= OPEN
    assert threading.active_count() < 10


def seconds_of(view: Callable[[HttpRequest], HttpResponse]) -> float:
    """Return how long a request took, which is let in."""
    request = RequestFactory().get("/")
    before = perf_counter()
    response = view(request)
    taken = perf_counter() - before
    assert response.status_code == 200
    return taken
