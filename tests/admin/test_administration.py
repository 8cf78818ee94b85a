"""Administrators work on the server itself: what middleware would hide from them is seen."""

from functools import partial
from typing import Any

import pytest

from django_counter import Counter, counters
from django_counter.admin.log import log_name
from django_counter.middleware import BufferedMiddleware, FallbackMiddleware
from django_counter.ratelimit import RateLimit
from tests.admin.conftest import ALL, MEMORY, ROOT, LogIn, address, messages_of, trail
from tests.commands.runs import call
from tests.contract.stores import server_cache

fallback = partial(FallbackMiddleware, alias="local")
buffered = partial(BufferedMiddleware, interval=60.0)
LIMIT = RateLimit("1/h", name="of test_administration")
KEY = "visits"


@pytest.fixture
def in_outage(settings: Any) -> None:
    """An alias whose server is away, with another one to fall back on."""
    settings.CACHES = {"default": server_cache("redis://127.0.0.1:1/0")}
    settings.COUNTERS = {
        "default": {"MIDDLEWARE": [f"{__name__}.fallback"]},
        "local": {"BACKEND": MEMORY},
    }


@pytest.fixture
def behind_a_buffer(settings: Any) -> Counter:
    """An alias with 5 increments that wait in this process; the counters of its server."""
    settings.COUNTERS = {
        "default": {"BACKEND": MEMORY, "MIDDLEWARE": [f"{__name__}.buffered"]},
    }
    server = counters.backend("default")
    server.set(KEY, 10)
    assert counters["default"].increment(KEY, 5) == 5
    return server


@pytest.mark.parametrize(
    "words",
    [
        ("set", KEY, "1"),
        ("incr", KEY),
        ("get", KEY),
        ("delete", KEY),
        ("reset", KEY, "--no-input"),
        ("limits", "reset", LIMIT.name, "ann"),
        ("limits", "show", LIMIT.name, "ann"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_a_verb_tells_of_an_outage(in_outage: None, words: tuple[str, ...]) -> None:
    run = call(*words)
    assert run.code == 5
    assert list(counters["local"].scan()) == []


def test_an_import_tells_of_an_outage(in_outage: None, tmp_path: Any) -> None:
    file = tmp_path / "counters.jsonl"
    file.write_text('{"key": "visits", "value": 1, "ttl": null}\n')
    run = call("import", file)
    assert (run.code, run.out) == (5, "0 of 1 counters imported\n")
    assert counters["local"].entry(KEY) is None


def test_the_admin_tells_of_an_outage(in_outage: None, log_in: LogIn) -> None:
    counters["local"].set(KEY, 1)
    client = log_in(*ALL)
    form = {"name": LIMIT.name, "identity": "0" * 32}
    for answer in (
        client.get(ROOT),
        client.get(address(KEY)),
        client.post(address(KEY), {"shown": 1, "adjust": 5}),
        client.post(address(KEY, "delete"), {"post": "yes"}),
        client.post(f"{ROOT}reset/?key={KEY}"),
        client.post(f"{ROOT}limits/forgive/", form),
    ):
        assert answer.status_code == 503
    assert trail() == []
    assert counters["local"].get(KEY) == 1


def test_a_sum_is_what_the_server_has(behind_a_buffer: Counter) -> None:
    assert call("incr", KEY, "--format", "csv").out == "key,value\nvisits,11\n"
    assert behind_a_buffer.get(KEY) == 11


def test_the_log_has_the_values_of_the_server(behind_a_buffer: Counter, log_in: LogIn) -> None:
    client = log_in(*ALL)
    answer = client.post(address(KEY), {"shown": 10, "adjust": 5}, follow=True)
    assert messages_of(answer) == ["Counter visits: adjusted by +5, from 10 to 15."]
    assert trail() == [(log_name("default", KEY), "adjusted by +5, from 10 to 15.")]
    assert behind_a_buffer.get(KEY) == 15


def test_what_waits_in_the_process_is_still_sent(behind_a_buffer: Counter) -> None:
    assert call("set", KEY, 100).code == 0
    counters["default"].close()
    assert behind_a_buffer.get(KEY) == 105


def test_a_reset_ends_the_denials_of_this_process_too(settings: Any) -> None:
    settings.COUNTERS = {"default": {"BACKEND": MEMORY}}
    settings.RATE_LIMIT = {"DENY_CACHE": 60}
    LIMIT.hit("ann")
    assert not LIMIT.hit("ann").allowed
    assert call("limits", "reset", LIMIT.name, "ann").code == 0
    assert LIMIT.hit("ann").allowed
