"""Whom a request is counted for: `ip`, `user`, `header:X-Api-Key` and the like, as a text."""

import re
import unicodedata
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import blake2b
from typing import Any, TypeAlias

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import BadRequest, ImproperlyConfigured
from django.http import HttpRequest, UnreadablePostError
from django.http.request import HttpHeaders
from django.utils.functional import LazyObject

from django_counter.ratelimit.addresses import client_address, client_of

Identify: TypeAlias = Callable[[HttpRequest], str]

# Characters. Longer values are hashed as they come: normalising takes the square of the length.
LONGEST = 256
_ANONYMOUS = "anonymous"
_HEADER = re.compile(r"[A-Za-z0-9-]+")


class Identity:
    """How the identity of a request is found, in synchronous and asynchronous code."""

    __slots__ = ("_afind", "find")

    def __init__(
        self, find: Identify, afind: Callable[[HttpRequest], Awaitable[str]] | None = None
    ) -> None:
        self.find = find
        self._afind = afind  # where finding it may wait for a database

    def __call__(self, request: HttpRequest) -> str:
        """Return the identity. Raise what Django answers with 400 for a body it cannot read."""
        return self.find(request)

    async def aidentify(self, request: HttpRequest) -> str:
        """See __call__()."""
        return await self._afind(request) if self._afind else self.find(request)


def parse_identity(key: str | Identify) -> Identity:
    """Return how to find whom to count; raise ValueError that lists the good keys.

    - "ip": the client's address, an IPv6 one by its network.
    - "user": the user's primary key. All who are not logged in share one identity.
    - "user_or_ip": the user, or the address of one who is not logged in.
    - "session": the key of a session that the server knows. None is created: a client without one
      would get a new one, and a new budget, with each request. It is the address instead.
    - "header:X-Api-Key": the value as it is, since keys that differ in case are two keys.
    - "post:username", "get:q": the last value of a form's or a query's field, without white space
      around it, NFKC and case folded, so that no other spelling of a name is another budget.
      Accents count, though some collations ignore them.
    - A function of the request, whose result must be a str.

    Where the header or the field is missing or blank, it is the address. Identities of two kinds
    are never the same. What one found for a request is what RateLimit.reset() and the like take.
    """
    if callable(key):
        find = partial(_called, _checked(key))
        return Identity(find, sync_to_async(find))  # a project's own may use the ORM
    if isinstance(key, str):
        if key in _PLAIN:
            return _PLAIN[key]
        kind, _, name = key.partition(":")
        if kind in _FIELDS and name and (kind != "header" or _HEADER.fullmatch(name)):
            return Identity(partial(_FIELDS[kind], name))
    raise ValueError(
        f"{key!r} is no key. Good ones are 'ip', 'user', 'user_or_ip', 'session', "
        "'header:X-Api-Key', 'post:username', 'get:q' and a function of the request"
    )


def key_name(key: str | Identify) -> str:
    """Return a key as it is written, or "callable" for a function."""
    return key if isinstance(key, str) else "callable"


def identity_of(key: str, value: str) -> str:
    """Return the identity that a key finds where it meets a value.

    It is an address for "ip", a primary key or _ANONYMOUS for "user", either for "user_or_ip",
    what the function returns for "callable", and what is in the field, header or cookie for the
    others. Raise ValueError for an address that is none, and for what is no key.
    """
    if key in {"ip", "user", "user_or_ip"}:
        return _of_client(key, value)
    if key in {"callable", "session"}:
        return _bounded(key, value)
    parse_identity(key)
    kind, _, name = key.partition(":")
    if kind == "header":
        return _bounded(_field(kind, name.lower()), value.strip())
    return _bounded(_field(kind, name), _folded(value))


def _of_client(key: str, value: str) -> str:
    if key == "user_or_ip":
        try:
            return f"ip:{client_of(value)}"
        except ValueError:
            key = "user"
    if key == "ip":
        return f"ip:{client_of(value)}"
    return value if value == _ANONYMOUS else f"user:{value}"


def _ip(request: HttpRequest) -> str:
    return f"ip:{client_address(request)}"


def _user(request: HttpRequest) -> str:
    return _of_user(load_user(request)) or _ANONYMOUS


async def _auser(request: HttpRequest) -> str:
    return _of_user(await aload_user(request)) or _ANONYMOUS


def _user_or_ip(request: HttpRequest) -> str:
    return _of_user(load_user(request)) or _ip(request)


async def _auser_or_ip(request: HttpRequest) -> str:
    return _of_user(await aload_user(request)) or _ip(request)


def _of_user(user: Any) -> str | None:
    return f"user:{user.pk}" if user is not None and user.is_authenticated else None


def load_user(request: HttpRequest) -> Any:
    """Return request.user; raise ImproperlyConfigured that names the middleware it is from."""
    if not hasattr(request, "user"):
        raise ImproperlyConfigured(
            "A rate limit by user needs 'django.contrib.auth.middleware.AuthenticationMiddleware' "
            "in MIDDLEWARE, before whatever limits."
        )
    return request.user


async def aload_user(request: HttpRequest) -> Any:
    """See load_user()."""
    user = load_user(request)
    # Reading a lazy one would ask the database here. One that was set by hand is no lazy one.
    if issubclass(type(user), LazyObject) and hasattr(request, "auser"):
        return await request.auser()
    return user


def _session(request: HttpRequest) -> str:
    _load_session(request).keys()
    return _of_session(request)


async def _asession(request: HttpRequest) -> str:
    await _load_session(request).akeys()
    return _of_session(request)


def _load_session(request: HttpRequest) -> Any:
    if not hasattr(request, "session"):
        raise ImproperlyConfigured(
            "A rate limit by session needs 'django.contrib.sessions.middleware.SessionMiddleware' "
            "in MIDDLEWARE, before whatever limits."
        )
    return request.session


def _of_session(request: HttpRequest) -> str:
    # A key that came in a cookie, and that no session was found for, is None by now.
    key = request.session.session_key
    return _bounded("session", key) if key else _ip(request)


def _header(name: str, request: HttpRequest) -> str:
    # Of request.headers, only how it names them in META: to make it is to go through all of META.
    value = request.META.get(HttpHeaders.to_wsgi_name(name), "").strip()
    return _of_field("header", name.lower(), value, request)


def _post(name: str, request: HttpRequest) -> str:
    return _of_field("post", name, _folded(_read(request, "POST", name)), request)


def _get(name: str, request: HttpRequest) -> str:
    return _of_field("get", name, _folded(_read(request, "GET", name)), request)


def _read(request: HttpRequest, attribute: str, name: str) -> str:
    try:
        value: str = getattr(request, attribute).get(name, "")
    except (ValueError, UnreadablePostError) as error:
        # A client who left, a stream that is closed, a Content-Length that is no number.
        raise BadRequest(f"Cannot read request.{attribute}.") from error
    return value


def _folded(value: str) -> str:
    """Return one text for all spellings that a form, or a reader, takes for the same."""
    value = value.strip()
    if len(value) > LONGEST:
        return value
    # Taken apart, as a Greek iota below a vowel comes last only then. Capitals first, as databases
    # compare by them, and a dotless i has that of an i.
    folded = unicodedata.normalize("NFKD", value).upper().casefold()
    return unicodedata.normalize("NFKC", folded).strip()


def _of_field(kind: str, name: str, value: str, request: HttpRequest) -> str:
    return _bounded(_field(kind, name), value) if value else _ip(request)


def _field(kind: str, name: str) -> str:
    # The length says where the name ends: it, and the value, may have colons.
    return f"{kind}:{len(name)}:{name}"


def _bounded(kind: str, value: str) -> str:
    if len(value) > LONGEST:
        text = value.encode("utf-8", "surrogatepass")
        return f"long {kind}:{blake2b(text, digest_size=32).hexdigest()}"
    return f"{kind}:{value}"


def _called(key: Identify, request: HttpRequest) -> str:
    identity = key(request)
    if not isinstance(identity, str):
        raise TypeError(f"{key!r} must return a str, not {type(identity).__name__}")
    return _bounded("callable", identity)


def _checked(key: Identify) -> Identify:
    if iscoroutinefunction(key):
        raise ValueError(f"{key!r} is no key: it must not be a coroutine function")
    return key


_PLAIN = {
    "ip": Identity(_ip),
    "session": Identity(_session, _asession),
    "user": Identity(_user, _auser),
    "user_or_ip": Identity(_user_or_ip, _auser_or_ip),
}
_FIELDS: dict[str, Callable[[str, HttpRequest], str]] = {
    "get": _get,
    "header": _header,
    "post": _post,
}
