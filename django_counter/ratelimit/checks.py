"""System checks of settings.RATE_LIMIT and of the limits that were declared."""

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from django_counter.exceptions import CounterConfigError
from django_counter.handler import counters
from django_counter.ratelimit.declared import declared_limits
from django_counter.ratelimit.identity import parse_identity
from django_counter.ratelimit.middleware import RateLimitMiddleware
from django_counter.ratelimit.outages import check_on_error
from django_counter.ratelimit.rates import parse_rate
from django_counter.ratelimit.settings import DEFAULTS, setting


def check_rate_limit(**kwargs: Any) -> Iterator[CheckMessage]:
    """Check each key of RATE_LIMIT."""
    configured = getattr(settings, "RATE_LIMIT", {})
    known = f"It has the keys {list(DEFAULTS)}."
    if not isinstance(configured, dict):
        yield Error("RATE_LIMIT must be a dict.", hint=known, id="django_counter.E011")
        return
    for name in configured:
        if name not in DEFAULTS:
            yield Error(f"RATE_LIMIT: unknown key {name!r}.", hint=known, id="django_counter.E011")
    for name, (_, hint) in RULES.items():
        fault = _fault(name)
        if fault:
            yield Error(f"RATE_LIMIT[{name!r}]: {fault}", hint=hint, id="django_counter.E012")
    if setting("DEFAULT") and not any(map(_is_rate_limit_middleware, settings.MIDDLEWARE)):
        yield Warning(
            "RATE_LIMIT['DEFAULT'] limits nothing: MIDDLEWARE has no RateLimitMiddleware.",
            hint="Add 'django_counter.ratelimit.RateLimitMiddleware', after authentication.",
            id="django_counter.W011",
        )


def check_declared_limits(**kwargs: Any) -> Iterator[CheckMessage]:
    """Check that limits of one name are one limit, and that there is what they count in."""
    if not isinstance(getattr(settings, "RATE_LIMIT", {}), dict) or _fault("DEFAULT"):
        return  # the limit of the site is not known
    limits = declared_limits()
    names = [limit.name for limit in limits]
    for name in sorted({name for name in names if names.count(name) > 1}):
        texts = " and ".join(repr(limit) for limit in limits if limit.name == name)
        yield Error(
            f"Two rate limits are named {name!r}: {texts}.",
            hint="Give each a name of its own, or use one RateLimit in both places.",
            id="django_counter.E013",
        )
    try:
        aliases = list(counters)
    except CounterConfigError:
        return  # they are not known: E001
    for alias in sorted({limit.using for limit in limits} - {*aliases}):
        users = ", ".join(repr(limit.name) for limit in limits if limit.using == alias)
        yield Error(
            f"COUNTERS has no alias {alias!r}, which rate limits use: {users}.",
            hint=f"Add it, or set their using= to another; there are {aliases}.",
            id="django_counter.E015",
        )


def _is_rate_limit_middleware(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:
        return False  # which Django itself tells of
    return isinstance(middleware, type) and issubclass(middleware, RateLimitMiddleware)


def _fault(name: str) -> str | None:
    """Return what is wrong with RATE_LIMIT[name], if anything is."""
    check, _ = RULES[name]
    try:
        check(setting(name))
    except (ImportError, TypeError, ValueError) as error:
        return str(error)
    return None


def _switch(value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"must be True or False, not {value!r}")


def _seconds(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86_400:
        raise ValueError(f"must be from 0 to 86400 seconds, not {value!r}")


def _integer(least: int, most: int) -> Callable[[object], None]:
    def check(value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"must be an int from {least} to {most}, not {value!r}")

    return check


def _networks(value: object) -> None:
    if not isinstance(value, list | tuple | set | frozenset):
        raise TypeError(f"must be a list of networks, not {value!r}")
    for network in value:
        ipaddress.ip_network(network)


def _names(value: object) -> None:
    if not isinstance(value, list | tuple | set | frozenset):
        raise TypeError(f"must be a list of user names, not {value!r}")
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"must be a list of user names, {name!r} is none")


def _proxies(value: object) -> None:
    if isinstance(value, int):
        _integer(0, 100)(value)
    elif value is not None:
        _networks(value)


def _headers(value: object) -> None:
    if value not in ("standard", "legacy", "both"):
        raise ValueError(f"must be 'standard', 'legacy' or 'both', not {value!r}")


def _response(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"must be a dotted path, not {value!r}")
    function = import_string(value)
    if not callable(function) or iscoroutinefunction(function):
        raise TypeError(f"{value!r} is no synchronous function")


def _secret(value: object) -> None:
    if value is not None and not (isinstance(value, str) and value):
        raise TypeError("must be a str that is not empty")


def _default(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict) or not value.keys() <= {"RATE", "KEY", "ON_ERROR", "USING"}:
        raise TypeError("must be a dict of RATE, KEY, ON_ERROR and USING, and of nothing else")
    parse_rate(value.get("RATE", ""))
    parse_identity(value.get("KEY", "ip"))
    check_on_error(value.get("ON_ERROR", "allow"))
    if not isinstance(value.get("USING", ""), str):
        raise TypeError("USING must be an alias in COUNTERS")


RULES: dict[str, tuple[Callable[[Any], None], str]] = {
    "ALLOW_NETWORKS": (_networks, "Such as ['10.0.0.0/8', '2001:db8::/32']."),
    "ALLOW_USERS": (_names, "Such as ['monitoring']."),
    "DEFAULT": (_default, "Such as {'RATE': '100/m', 'KEY': 'ip'}, or None for no such limit."),
    "DENY_CACHE": (_seconds, "How long a process remembers a denial; 0 turns that off."),
    "ENABLED": (_switch, "False lets every request pass."),
    "HEADERS": (_headers, "Which headers limited responses have."),
    "IPV6_PREFIX": (_integer(1, 128), "Most providers give each client a network of 64 bits."),
    "PROCESSES": (_integer(1, 1_000_000), "How many processes share a limit in an outage."),
    "RESPONSE": (_response, "The path of a function of request and decision, or None."),
    "SECRET": (_secret, "A long random text, or None to derive one from SECRET_KEY."),
    "STATISTICS": (_switch, "False leaves the charts of the admin empty, and sends nothing."),
    "TRUSTED_PROXIES": (_proxies, "Their networks, or how many stand in front of this server."),
}
