"""Whom a request is counted for."""

import asyncio
import inspect
import sys
import time
import unicodedata
from functools import partial
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.core.exceptions import BadRequest, ImproperlyConfigured, SuspiciousOperation
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParserError
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from django_counter.ratelimit.digests import digest
from django_counter.ratelimit.identity import LONGEST, Identity, parse_identity

ADDRESS = "203.0.113.9"
IP = f"ip:{ADDRESS}"
FORM = "application/x-www-form-urlencoded"
requests = RequestFactory(REMOTE_ADDR=ADDRESS)
ANYONE = SimpleNamespace(is_authenticated=False, pk=None)


def user(pk: object) -> SimpleNamespace:
    return SimpleNamespace(is_authenticated=True, pk=pk)


def request_of(user: object) -> HttpRequest:
    request = requests.get("/")
    request.user = user  # type: ignore[assignment]
    return request


def request_with_session(key: str | None) -> HttpRequest:
    request = requests.get("/")
    request.session = SessionStore(key)
    return request


def identities(key: Any, request: HttpRequest) -> set[str]:
    """Return what is found in synchronous and in asynchronous code."""
    identity = parse_identity(key)
    return {identity(request), asyncio.run(identity.aidentify(request))}


def posted(username: str, key: str = "post:username") -> str:
    return parse_identity(key)(requests.post("/", {"username": username}))


def _constant(value: str, request: HttpRequest) -> str:
    return value


class TestKeys:
    @pytest.mark.parametrize(
        "key",
        ["", "IP", "ip ", "ip:1", "user:", "users", "cookie:a", "post", "post:", "get:", "header"],
    )
    def test_an_unknown_key_is_refused_with_the_good_ones(self, key: str) -> None:
        with pytest.raises(ValueError, match=r"is no key\. Good ones are 'ip', .*'get:q'"):
            parse_identity(key)

    @pytest.mark.parametrize(
        "key", ["header:", "header:X Key", "header:é", "header:X_Api_Key", None, 5, b"ip", ["ip"]]
    )
    def test_no_key_at_all_is_refused_with_the_good_ones(self, key: Any) -> None:
        with pytest.raises(ValueError, match=r"is no key\. Good ones are 'ip', .*'get:q'"):
            parse_identity(key)

    def test_a_coroutine_function_is_refused(self) -> None:
        async def key(request: HttpRequest) -> str:
            return "a"

        with pytest.raises(ValueError, match=r"key.* must not be a coroutine function"):
            parse_identity(key)  # type: ignore[arg-type]

    def test_the_twin_has_the_same_signature(self) -> None:
        assert inspect.signature(Identity.__call__) == inspect.signature(Identity.aidentify)


class TestAddresses:
    def test_ip_is_the_address(self) -> None:
        assert identities("ip", requests.get("/")) == {IP}

    def test_ip_is_the_network_of_an_ipv6_address(self) -> None:
        assert identities("ip", requests.get("/", REMOTE_ADDR="2001:db8::1")) == {
            "ip:2001:db8::/64"
        }


class TestUsers:
    def test_user_is_the_primary_key(self) -> None:
        assert identities("user", request_of(user(42))) == {"user:42"}

    @pytest.mark.parametrize("visitor", [ANYONE, None])
    def test_all_who_are_not_logged_in_are_one(self, visitor: object) -> None:
        assert identities("user", request_of(visitor)) == {"anonymous"}

    def test_user_or_ip_is_the_user(self) -> None:
        assert identities("user_or_ip", request_of(user(42))) == {"user:42"}

    def test_user_or_ip_is_the_address_of_who_is_not_logged_in(self) -> None:
        assert identities("user_or_ip", request_of(ANYONE)) == {IP}

    @pytest.mark.parametrize("key", ["user", "user_or_ip"])
    def test_without_its_middleware_the_error_names_it(self, key: str) -> None:
        with pytest.raises(ImproperlyConfigured, match="AuthenticationMiddleware"):
            parse_identity(key)(requests.get("/"))
        with pytest.raises(ImproperlyConfigured, match="AuthenticationMiddleware"):
            asyncio.run(parse_identity(key).aidentify(requests.get("/")))

    @pytest.mark.parametrize("key", ["user", "user_or_ip"])
    def test_asynchronous_code_awaits_the_user(self, key: str) -> None:
        def load() -> None:
            raise AssertionError("asked the database in a coroutine")

        async def auser() -> object:
            return user(7)

        request = request_of(SimpleLazyObject(load))
        request.auser = auser  # type: ignore[assignment]
        assert asyncio.run(parse_identity(key).aidentify(request)) == "user:7"

    def test_a_user_set_by_hand_stands_in_asynchronous_code(self) -> None:
        async def auser() -> object:
            return ANYONE

        request = request_of(user(7))
        request.auser = auser  # type: ignore[assignment]
        assert asyncio.run(parse_identity("user").aidentify(request)) == "user:7"

    def test_a_lazy_user_without_auser_is_read(self) -> None:
        assert identities("user", request_of(SimpleLazyObject(partial(user, 7)))) == {"user:7"}


class TestSessions:
    def test_session_is_the_key_of_a_known_session(self) -> None:
        session = SessionStore()
        session["a"] = 1
        session.save()
        key = session.session_key
        assert identities("session", request_with_session(key)) == {f"session:{key}"}

    def test_a_made_up_session_is_none(self) -> None:
        found = {parse_identity("session")(request_with_session("forged" * 5)) for _ in range(3)}
        assert found == {IP}
        request = request_with_session("forged" * 5)
        assert asyncio.run(parse_identity("session").aidentify(request)) == IP

    def test_no_session_is_created(self) -> None:
        request = request_with_session(None)
        assert identities("session", request) == {IP}
        assert request.session.session_key is None

    def test_without_its_middleware_the_error_names_it(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="SessionMiddleware"):
            parse_identity("session")(requests.get("/"))


class TestHeaders:
    def test_a_header_is_its_value(self) -> None:
        request = requests.get("/", headers={"x-api-key": " Abc "})
        assert identities("header:X-Api-Key", request) == {"header:9:x-api-key:Abc"}

    def test_the_case_of_the_name_does_not_matter(self) -> None:
        request = requests.get("/", headers={"x-api-key": "a"})
        assert identities("header:x-api-key", request) == identities("header:X-API-KEY", request)

    def test_the_case_of_the_value_does(self) -> None:
        found = [requests.get("/", headers={"x-api-key": value}) for value in ("a", "A")]
        assert len({parse_identity("header:X-Api-Key")(request) for request in found}) == 2

    @pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"x-api-key": " \t"}])
    def test_without_it_it_is_the_address(self, headers: dict[str, str]) -> None:
        assert identities("header:X-Api-Key", requests.get("/", headers=headers)) == {IP}


class TestFields:
    def test_a_field_of_a_form(self) -> None:
        request = requests.post("/", {"username": "alice"})
        assert identities("post:username", request) == {"post:8:username:alice"}

    def test_a_field_of_a_query(self) -> None:
        assert identities("get:q", requests.get("/?q=cats")) == {"get:1:q:cats"}

    def test_the_last_of_several_values_counts_as_in_forms(self) -> None:
        assert identities("get:q", requests.get("/?q=a&q=b")) == {"get:1:q:b"}

    @pytest.mark.parametrize(
        "spelling",
        [
            "alice",
            "ALICE",
            "\uff21lice",
            " alice\n",
            "\u3000alice\u00a0",
            "alic\uff45",
            "\uff41\uff4c\uff49\uff43\uff45",
        ],
    )
    def test_all_spellings_of_a_name_are_one(self, spelling: str) -> None:
        assert posted(spelling) == posted("alice")

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Zoë", "Zoe\u0308"),
            ("STRASSE", "straße"),
            ("ﬁle", "FILE"),
            ("\u210b", "h"),
            ("Σίσυφος", "σίσυφοσ"),
        ],
    )
    def test_unicode_spellings_of_a_name_are_one(self, one: str, other: str) -> None:
        assert posted(one) == posted(other)

    @pytest.mark.parametrize("before", ["", "a"])
    def test_letters_that_differ_in_case_alone_are_one(self, before: str) -> None:
        cases = (str.upper, str.lower, str.title, str.casefold)
        for letter in map(chr, range(sys.maxunicode + 1)):
            if others := {case(letter) for case in cases} - {letter}:
                found = {posted(before + each) for each in (letter, *others)}
                assert len(found) == 1, f"U+{ord(letter):04X}"

    @given(st.text(max_size=40))
    def test_normal_forms_of_any_name_are_one(self, name: str) -> None:
        forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")}
        assert len({posted(form) for form in forms}) == 1

    def test_white_space_around_a_long_name_does_not_make_another(self) -> None:
        assert posted("alice" + " " * 2 * LONGEST) == posted("alice")

    @pytest.mark.parametrize("name", ["", " ", "\u3000"])
    def test_without_a_value_it_is_the_address(self, name: str) -> None:
        assert posted(name) == IP

    def test_without_the_field_it_is_the_address(self) -> None:
        assert identities("post:username", requests.get("/?username=alice")) == {IP}
        assert identities("get:q", requests.post("/", {"q": "a"})) == {IP}
        json = requests.post("/", {"username": "a"}, content_type="application/json")
        assert identities("post:username", json) == {IP}


class TestCallables:
    def test_a_function_of_the_request(self) -> None:
        assert identities(lambda request: request.path, requests.get("/a")) == {"callable:/a"}

    @pytest.mark.parametrize("result", [None, 5, b"a", ["a"]])
    def test_another_result_than_a_str_names_the_function(self, result: object) -> None:
        def tenant(request: HttpRequest) -> object:
            return result

        with pytest.raises(
            TypeError, match=f"tenant.* must return a str, not {type(result).__name__}"
        ):
            parse_identity(tenant)(requests.get("/"))  # type: ignore[arg-type]


class TestHostileInput:
    @pytest.mark.parametrize(
        "value", ["\0", "\ud800", "{alice}", "a\r\nb", "\ufdfa" * LONGEST, "%00"]
    )
    def test_any_text_has_an_identity_and_a_digest(self, value: str) -> None:
        key = parse_identity(lambda request: value)
        assert len(digest(key(requests.get("/")))) == 32
        request = requests.get("/")
        request.GET = {"q": value}  # type: ignore[assignment]
        assert len(digest(parse_identity("get:q")(request))) == 32

    @pytest.mark.parametrize("key", ["post:username", "header:X-Api-Key"])
    def test_a_mebibyte_is_hashed_not_normalised(self, key: str) -> None:
        value = "\u0315\u0301" * 2**19
        request = requests.post("/", {"username": value}, headers={"x-api-key": value})
        start = time.perf_counter()
        found = parse_identity(key)(request)
        assert time.perf_counter() - start < 1  # normalising it takes hours
        assert len(found) < 2 * LONGEST
        assert found.startswith("long ")

    def test_long_values_that_differ_are_two(self) -> None:
        assert posted("a" * 2000) != posted("a" * 2001)

    def test_kinds_and_names_cannot_be_forged(self) -> None:
        request = requests.post(
            "/?a=b:c",
            {"a": "b:c", "a:b": "c", "1:a": "b:c"},
            headers={"a": "b:c"},
        )
        keys = ["post:a", "post:a:b", "post:1:a", "get:a", "header:a", "ip"]
        found = [parse_identity(key)(request) for key in keys]
        assert len(set(found)) == len(keys)
        for forged in [*found, "user:42", "anonymous"]:
            others = {*found, "user:42", "anonymous"}
            assert posted(forged) not in others
            assert parse_identity(partial(_constant, forged))(request) not in others

    @given(st.text(alphabet=st.characters(), max_size=300))
    def test_any_field_has_an_identity(self, value: str) -> None:
        request = requests.get("/")
        request.GET = {"q": value}  # type: ignore[assignment]
        found = parse_identity("get:q")(request)
        assert found == IP or found.startswith(("get:1:q:", "long get:1:q:"))

    def test_a_query_of_any_bytes_has_an_identity(self) -> None:
        assert parse_identity("get:q")(requests.get("/?q=%ff%00%c3")).startswith("get:1:q:")

    @pytest.mark.parametrize("error", [OSError("gone"), ValueError("I/O on closed file")])
    def test_a_body_that_breaks_off_is_a_bad_request(self, error: Exception) -> None:
        class Broken(BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                raise error

        request = requests.post("/", b"username=a", content_type=FORM)
        request._stream = Broken()
        with pytest.raises(BadRequest, match=r"request\.POST"):
            parse_identity("post:username")(request)

    def test_a_broken_form_is_a_bad_request_of_django(self) -> None:
        request = requests.post("/", b"--", content_type="multipart/form-data")
        with pytest.raises(MultiPartParserError):
            parse_identity("post:username")(request)

    @pytest.mark.parametrize(
        "limits", [{"DATA_UPLOAD_MAX_MEMORY_SIZE": 5}, {"DATA_UPLOAD_MAX_NUMBER_FIELDS": 1}]
    )
    def test_too_large_a_form_is_a_bad_request_of_django(self, limits: dict[str, int]) -> None:
        request = requests.post("/", b"username=a&b=c", content_type=FORM)
        with override_settings(**limits), pytest.raises(SuspiciousOperation):
            parse_identity("post:username")(request)
