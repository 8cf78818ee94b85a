"""A throttle for Django REST framework."""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.translation import gettext_lazy as _
from python_ipware import IpWare
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

from django_counter.handler import DEFAULT_ALIAS
from django_counter.ratelimit.decisions import Decision
from django_counter.ratelimit.guard import Guard, decisions_of
from django_counter.ratelimit.headers import apply_headers, retry_after_seconds
from django_counter.ratelimit.identity import Identity, parse_identity
from django_counter.ratelimit.limit import RateLimit
from django_counter.ratelimit.outages import check_on_error
from django_counter.ratelimit.settings import current

if TYPE_CHECKING:
    # Its import imports DEFAULT_THROTTLE_CLASSES: what is below.
    from rest_framework.views import APIView

Rates = str | Sequence[str]

_USER_OR_IP = parse_identity("user_or_ip")
_IDENT = IpWare(precedence=("IDENT",), proxy_count=0)  # reads an address out of a text


class Unavailable(APIException):  # type: ignore[misc]  # the framework is untyped
    """The counters are away, and on_error is "deny". DRF's handler makes a Retry-After of wait."""

    status_code = 503
    default_detail = _("Temporarily unavailable.")
    default_code = "unavailable"

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.wait = retry_after_seconds(wait)


class RateLimitThrottle(BaseThrottle):  # type: ignore[misc]
    """Limit views by exact counters, for all processes: users by themselves, others by address.

    The limit is `rate`; or what DEFAULT_THROTTLE_RATES has for `scope`; or, without either, for the
    `throttle_scope` of the view. None there, and a view without a scope, are not limited. All
    views of one scope draw on one limit. A class with a `rate` and no scope is a scope of its own.
    """

    rate: Rates | None = None  # such as "100/h"; several are drawn all or none
    scope: str | None = None
    algorithm = "fixed"
    using = DEFAULT_ALIAS
    on_error = "allow"  # or "deny" (503), "raise", "local"

    _retry_after: float | None = None  # a throttle is made for each request

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse what is wrong with a class when it is defined, not at its first request."""
        super().__init_subclass__(**kwargs)
        try:
            check_on_error(cls.on_error)
        except ValueError as error:
            raise ImproperlyConfigured(f"{cls.__qualname__}: {error}") from error
        if cls.rate is not None:
            cls.get_limit(None)

    @classmethod
    def get_limit(cls, throttle_scope: str | None) -> RateLimit | None:
        """Return the limit of a view with this scope, None if it has none."""
        if cls.rate is not None:
            return cls._limit(cls.scope or cls._path(), cls.rate)
        scope = cls.scope or throttle_scope
        if not scope:
            return None
        rates = api_settings.DEFAULT_THROTTLE_RATES or {}
        if scope not in rates:
            raise ImproperlyConfigured(
                f"{cls.__qualname__}: DEFAULT_THROTTLE_RATES has no scope {scope!r}, "
                f"it has {list(rates)}"
            )
        return None if rates[scope] is None else cls._limit(scope, rates[scope])

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count a request; put the headers of its limits on the view's response, whatever it is."""
        limit = self.get_limit(getattr(view, "throttle_scope", None))
        identity = self.get_identity(request, view) if limit and current().enabled else None
        if limit is None or identity is None:
            return True
        http_request = request._request
        guard = Guard(limit, Identity(lambda _: identity), on_error=self.on_error)
        decision = guard.hit(http_request).decision
        _add_headers(view, decisions_of(http_request))
        if decision.allowed:
            return True
        if decision.degraded == "deny":
            raise Unavailable(decision.retry_after)
        self._retry_after = decision.retry_after
        return False

    def wait(self) -> float | None:
        """Return in how many seconds the request that was denied could be allowed."""
        return self._retry_after

    def get_identity(self, request: Request, view: "APIView") -> str | None:
        """Return whom to count, None for one who is not limited. Meant to be overridden.

        The address is found as RATE_LIMIT["TRUSTED_PROXIES"] says, if NUM_PROXIES is None.
        """
        client = HttpRequest()
        client.user = request.user
        client.META = request.META
        if api_settings.NUM_PROXIES is not None:
            address = _IDENT.get_client_ip({"IDENT": self.get_ident(request)}, strict=True)[0]
            client.META = {"REMOTE_ADDR": str(address or request.META.get("REMOTE_ADDR"))}
        return _USER_OR_IP(client)

    @classmethod
    def _limit(cls, name: str, rates: Rates) -> RateLimit:
        try:
            texts = tuple(rates) if isinstance(rates, list | tuple) else (rates,)
            return _limit(texts, name, cls.algorithm, cls.using)
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"{cls.__qualname__}, scope {name!r}: {error}") from error

    @classmethod
    def _path(cls) -> str:
        if "<" in cls.__qualname__:
            raise ImproperlyConfigured(
                f"{cls.__qualname__} needs a scope: made in a function, its path is not its own"
            )
        return f"{cls.__module__}.{cls.__qualname__}"


def check_throttles(**kwargs: Any) -> Iterator[CheckMessage]:
    """Check the limits of the views that have a URL."""
    if not hasattr(settings, "ROOT_URLCONF"):
        return
    for throttle, scope in dict.fromkeys(_throttles(get_resolver().url_patterns)):
        try:
            throttle.get_limit(scope)
        except ImproperlyConfigured as error:
            hint = "Set REST_FRAMEWORK['DEFAULT_THROTTLE_RATES'], such as {'search': '100/h'}."
            yield Error(str(error), hint=hint, id="django_counter.E014")


def _throttles(
    patterns: Sequence[URLPattern | URLResolver],
) -> Iterator[tuple[type[RateLimitThrottle], str | None]]:
    """Yield the throttles of views, with the views' scopes."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _throttles(pattern.url_patterns)
            continue
        # What as_view() was called with stands before the attributes of the class.
        view = getattr(pattern.callback, "cls", None)
        given = getattr(pattern.callback, "initkwargs", {})
        scope = given.get("throttle_scope", getattr(view, "throttle_scope", None))
        for throttle in given.get("throttle_classes", getattr(view, "throttle_classes", ())):
            if isinstance(throttle, type) and issubclass(throttle, RateLimitThrottle):
                yield throttle, scope


@functools.cache
def _limit(rates: tuple[str, ...], name: str, algorithm: str, using: str) -> RateLimit:
    return RateLimit(*rates, name=name, algorithm=algorithm, using=using)


def _add_headers(view: "APIView", decisions: Sequence[Decision]) -> None:
    """Let the view put headers on its response: it does so with its `headers`, errors included."""
    bare = HttpResponse()
    del bare["Content-Type"]
    apply_headers(bare, decisions)
    view.headers.update(bare.items())
