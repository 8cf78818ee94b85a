"""The identity that a key finds, from what a person knows of it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.test import RequestFactory

from django_counter import counters
from django_counter.contrib.ninja import RateLimitThrottle
from django_counter.ratelimit import RateLimit, parse_identity, rate_limit
from django_counter.ratelimit.declared import declared_limits, keys_of
from django_counter.ratelimit.digests import Digest, digest
from django_counter.ratelimit.identity import identity_of
from django_counter.ratelimit.limit import declared
from django_counter.ratelimit.middleware import site_guard
from tests.ratelimit.clocks import Clock
from tests.ratelimit.sites import done


class User:
    is_authenticated = True
    pk = 7


class Session(dict[str, str]):
    session_key = "abc"


def request(method: str = "get", **found: Any) -> HttpRequest:
    made: HttpRequest = getattr(RequestFactory(), method)("/", found.pop("data", {}), **found)
    made.user = User()  # type: ignore[assignment]
    made.session = Session()  # type: ignore[assignment]
    return made


def anonymous() -> HttpRequest:
    made = request(REMOTE_ADDR="2001:db8::1")
    made.user = AnonymousUser()
    return made


@pytest.mark.parametrize(
    ("key", "value", "asked"),
    [
        ("ip", "192.0.2.1", lambda: request(REMOTE_ADDR="192.0.2.1")),
        ("ip", "2001:db8::9", lambda: request(REMOTE_ADDR="2001:db8::1")),
        ("ip", "::ffff:192.0.2.1", lambda: request(REMOTE_ADDR="192.0.2.1")),
        ("ip", "unknown", lambda: request(REMOTE_ADDR="")),
        ("user", "7", request),
        ("user", "anonymous", anonymous),
        ("user_or_ip", "7", request),
        ("user_or_ip", "2001:db8::2", anonymous),
        ("session", "abc", request),
        ("header:X-Api-Key", " Mine ", lambda: request(HTTP_X_API_KEY="Mine")),
        ("header:X-Api-Key", "k" * 300, lambda: request(HTTP_X_API_KEY="k" * 300)),
        ("post:name", " ÄNN", lambda: request("post", data={"name": "änn"})),
        ("get:q", "\uff31", lambda: request(data={"q": "q"})),
    ],
)
def test_it_is_what_a_request_with_that_value_has(
    key: str, value: str, asked: Callable[[], HttpRequest]
) -> None:
    assert identity_of(key, value) == parse_identity(key)(asked())


def test_of_a_function_it_is_its_result() -> None:
    assert identity_of("callable", "blue") == parse_identity(lambda request: "blue")(request())


@pytest.mark.parametrize(("key", "value"), [("ip", "ann"), ("cookie", "x"), ("header:", "x")])
def test_what_is_no_key_or_address_is_refused(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"ann|cookie|header"):
        identity_of(key, value)


def test_a_limit_knows_by_what_views_count_it(settings: Any, name: str) -> None:
    view = rate_limit("5/m", key="user", name=name)(done)
    called = rate_limit("5/m", key=lambda request: "all", name=f"{name} called")(done)
    throttle = RateLimitThrottle("5/m", key="ip", name=f"{name} ninja")
    settings.RATE_LIMIT = {"DEFAULT": {"RATE": "9/m", "KEY": "user_or_ip"}}
    guard = site_guard()
    assert (view, called, guard) != (None, None, None)
    keys = {limit.name: limit.keys for limit in list(declared)}
    assert keys[name] == {"user"}
    assert keys[f"{name} called"] == {"callable"}
    assert throttle.limit.keys == {"ip"}
    assert guard is not None
    assert guard.limit.keys == {"user_or_ip"}


def test_the_limit_of_the_site_may_count_by_a_function(settings: Any, name: str) -> None:
    settings.RATE_LIMIT = {"DEFAULT": {"RATE": "8/m", "KEY": lambda request: "all"}}
    guard = site_guard()
    assert guard is not None
    assert guard.limit.keys == {"callable"}


def test_limits_of_one_kind_share_their_keys() -> None:
    first = RateLimit("7/h", name="commands-shared")
    second = RateLimit("7/h", name="commands-shared")
    first.keys.add("ip")
    second.keys.add("user")
    assert keys_of(first) == keys_of(second) == ["ip", "user"]
    assert [limit.name for limit in declared_limits()].count("commands-shared") == 1


def test_limits_may_be_made_while_others_are_listed(name: str) -> None:
    made = [RateLimit("7/h", name=name) for _ in range(3)]
    for _ in declared:
        made.append(RateLimit("7/h", name=name))
    assert set(made) <= set(declared)


def test_a_digest_is_its_own() -> None:
    assert digest(Digest(digest("ann"))) == digest("ann")
    assert type(digest(Digest("0" * 32))) is str


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n"])
def test_a_digest_has_32_hexadecimal_digits(text: str) -> None:
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        Digest(text)


def test_a_limit_takes_a_digest_in_place_of_an_identity(memory: None, name: str) -> None:
    limit = RateLimit("1/h", name=name)
    told = Digest(limit.hit("ann").identity)
    assert not limit.peek(told).allowed
    limit.reset(told)
    assert limit.peek("ann").allowed


@pytest.mark.parametrize("algorithm", ["fixed", "sliding", "token_bucket"])
def test_a_counter_tells_where_its_rate_stands(memory: None, name: str, algorithm: str) -> None:
    limit = RateLimit("2/h", "5/d", name=name, algorithm=algorithm)
    limit.hit("ann", 2)
    found = [limit.standing(entry) for entry in counters["default"].scan(limit.prefix)]
    assert {(str(each.rate), each.remaining) for each in found if each} == {("2/h", 0), ("5/d", 3)}


def test_what_is_no_counter_of_now_tells_nothing(memory: None, clock: Clock, name: str) -> None:
    limit = RateLimit("2/h", name=name)
    limit.hit("ann")
    (entry,) = counters["default"].scan(limit.prefix)
    assert limit.standing(entry._replace(key=f"{limit.prefix}no digest}}:2/h:1")) is None
    clock.move(3600)
    assert limit.standing(entry) is None
