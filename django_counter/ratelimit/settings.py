"""settings.RATE_LIMIT, with what it leaves out."""

from functools import cache
from typing import Any, NamedTuple

from django.conf import settings

DEFAULTS: dict[str, Any] = {
    "ALLOW_NETWORKS": (),  # addresses that the site-wide limit passes by
    "ALLOW_USERS": (),  # user names that it passes by
    "DEFAULT": None,  # the site-wide limit: {"RATE": "100/m", "KEY": "ip"}
    "DENY_CACHE": 1.0,  # seconds; 0 = off
    "ENABLED": True,
    "HEADERS": "standard",  # or "legacy", "both"
    "IPV6_PREFIX": 64,  # bits that identify a client
    "PROCESSES": 1,  # that share a limit while the counters are away and on_error is "local"
    "RESPONSE": None,  # dotted path of a function(request, decision) -> HttpResponse
    "SECRET": None,  # the key of the digests of identities; None = derived from SECRET_KEY
    "STATISTICS": True,  # whether decisions are added up, for the admin
    "TRUSTED_PROXIES": None,  # networks, or how many proxies stand in front
}


def setting(name: str) -> Any:
    """Return RATE_LIMIT[name], or its default."""
    return _settings()[name]


class Current(NamedTuple):
    """The settings that every limited request asks for."""

    enabled: bool
    statistics: bool
    deny_cache: float  # seconds
    headers: str
    trusted_proxies: Any


@cache
def current() -> Current:
    """Return them as they are now."""
    return Current(
        enabled=setting("ENABLED"),
        statistics=setting("STATISTICS"),
        deny_cache=setting("DENY_CACHE"),
        headers=setting("HEADERS"),
        trusted_proxies=setting("TRUSTED_PROXIES"),
    )


def forget() -> None:
    """Read RATE_LIMIT anew: it has changed."""
    _settings.cache_clear()
    current.cache_clear()


@cache  # a look at Django's settings costs microseconds, and a hit takes several
def _settings() -> dict[str, Any]:
    return {**DEFAULTS, **getattr(settings, "RATE_LIMIT", {})}
