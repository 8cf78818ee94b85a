"""The site-wide limit, and the answer to RateLimited wherever it is raised."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from django_counter.handler import DEFAULT_ALIAS
from django_counter.ratelimit.addresses import client_ip, in_networks
from django_counter.ratelimit.decisions import RateLimited
from django_counter.ratelimit.guard import Guard, arefusal, decisions_of, refusal
from django_counter.ratelimit.headers import apply_headers
from django_counter.ratelimit.identity import (
    Identify,
    aload_user,
    key_name,
    load_user,
    parse_identity,
)
from django_counter.ratelimit.limit import RateLimit
from django_counter.ratelimit.settings import current, setting

NAME = "site"


class RateLimitMiddleware:
    """Limit all views by RATE_LIMIT["DEFAULT"], but those that are exempt.

    Put it behind AuthenticationMiddleware where the limit counts users, or lets some pass. It also
    puts the headers of all decisions on the response, and answers RateLimited with 429.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)
            self.process_view: Callable[..., Any] = self._aprocess_view
        else:
            self.process_view = self._process_view

    def __call__(self, request: HttpRequest) -> Any:
        if self._async:
            return self._acall(request)
        response = self.get_response(request)
        apply_headers(response, decisions_of(request))
        return response

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        """Answer a RateLimited that a view has raised."""
        if isinstance(exception, RateLimited):
            decisions = decisions_of(request)
            if exception.decision not in decisions:
                decisions.append(exception.decision)
            return refusal(request, exception.decision)
        return None

    def _process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        guard = _guard_before(view, request)
        if guard is None:
            return None
        if setting("ALLOW_USERS") and _name_passes(load_user(request)):
            return None
        decision = guard.hit(request).decision
        return None if decision.allowed else refusal(request, decision)

    async def _aprocess_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        guard = _guard_before(view, request)
        if guard is None:
            return None
        if setting("ALLOW_USERS") and _name_passes(await aload_user(request)):
            return None
        decision = (await guard.ahit(request)).decision
        return None if decision.allowed else await arefusal(request, decision)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self.get_response(request)
        apply_headers(response, decisions_of(request))
        return response


def site_guard() -> Guard | None:
    """Return what RATE_LIMIT["DEFAULT"] puts before all views, None without one."""
    default = setting("DEFAULT")
    if not default:
        return None
    return _guard(
        default["RATE"],
        default.get("KEY", "ip"),
        default.get("ON_ERROR", "allow"),
        default.get("USING", DEFAULT_ALIAS),
    )


def _guard_before(view: Callable[..., Any], request: HttpRequest) -> Guard | None:
    """Return what stands between a view and a request, None where nothing does."""
    if not current().enabled or getattr(view, "rate_limit_exempt", False):
        return None
    guard = site_guard()
    return None if guard is None or _network_passes(request) else guard


@lru_cache(maxsize=1)  # of settings that have changed, as in tests, none may be left
def _guard(rate: str, key: str | Identify, on_error: str, using: str) -> Guard:
    limit = RateLimit(rate, name=NAME, using=using)
    limit.keys.add(key_name(key))
    return Guard(limit, parse_identity(key), on_error=on_error)


def _network_passes(request: HttpRequest) -> bool:
    networks = setting("ALLOW_NETWORKS")
    return bool(networks) and in_networks(client_ip(request), "ALLOW_NETWORKS")


def _name_passes(user: Any) -> bool:
    return user.is_authenticated and user.get_username() in setting("ALLOW_USERS")
