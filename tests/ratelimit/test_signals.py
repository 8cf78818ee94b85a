"""What rate limits tell a project that listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.dispatch import Signal

from django_counter import signals
from django_counter.ratelimit import RateLimit, rate_limit
from django_counter.signals import rate_limited
from tests.ratelimit.sites import Site, decisions, requests

pytest_plugins = ["tests.ratelimit.site_fixtures"]
pytestmark = pytest.mark.usefixtures("memory")

Receive = Callable[..., Any]


@contextmanager
def heard(*receivers: Receive) -> Iterator[list[dict[str, Any]]]:
    """Give what is heard, before other receivers or behind them."""
    received: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        received.append(kwargs)

    connected = [*receivers, receive]
    for each in connected:
        rate_limited.connect(each)
    yield received
    for each in connected:
        rate_limited.disconnect(each)


def test_a_denied_request_is_heard(site: Site) -> None:
    limit = RateLimit("1/h", name=site.name)
    view = site.limited(limit)
    request = requests.get("/")
    with heard() as received:
        site.get(view)
        assert received == []
        site.ask(view, request)
    [denial] = received
    assert denial["request"] is request
    assert denial["limit"] is limit
    assert [denial["decision"]] == decisions(request)
    assert denial["sender"] is RateLimit
    assert denial.keys() == {"signal", "sender", "request", "limit", "decision"}


def test_repeated_denials_are_heard_too(site: Site) -> None:
    view = site.limited("1/h")
    with heard() as received:
        site.statuses(view, 4)
    assert len(received) == 3


def test_a_request_is_heard_once_for_a_limit(site: Site) -> None:
    limit = RateLimit("1/h", name=site.name)
    view = rate_limit(limit, block=False)(site.limited(limit))
    with heard() as received:
        assert site.statuses(view, 2) == [200, 429]
    assert len(received) == 1


def test_without_block_a_denial_is_heard(site: Site) -> None:
    with heard() as received:
        site.statuses(site.limited("1/h", block=False), 2)
    assert len(received) == 1


def test_a_receiver_that_fails_changes_nothing(site: Site) -> None:
    def fail(**kwargs: Any) -> None:
        raise KeyError("of the receiver")

    with heard(fail) as received:
        assert site.statuses(site.limited("1/h"), 2) == [200, 429]
    assert len(received) == 1


def test_an_asynchronous_receiver_hears_of_both_kinds(site: Site) -> None:
    received = []

    async def areceive(**kwargs: Any) -> None:
        received.append(kwargs["decision"].name)

    with heard(areceive):
        site.statuses(site.limited("1/h"), 2)
    assert received == [site.name]


def test_limits_outside_views_are_not_heard(name: str) -> None:
    limit = RateLimit("1/h", name=name)
    with heard() as received:
        assert [limit.hit("a").allowed for _ in range(2)] == [True, False]
    assert received == []


def test_there_are_no_others() -> None:
    found = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    circuits = {"circuit_opened", "circuit_closed"}  # tests/test_circuit_breaker.py
    buffers = {"increments_dropped"}  # tests/test_buffered.py
    assert found == {"rate_limited", "rate_limit_error"} | circuits | buffers
