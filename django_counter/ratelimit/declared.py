"""The rate limits of the project."""

from django.conf import settings
from django.urls import get_resolver

from django_counter.ratelimit.limit import RateLimit, alike, declared
from django_counter.ratelimit.middleware import site_guard


def declared_limits() -> list[RateLimit]:
    """Return the limits by name, one of each kind: the site's, those of views, and all others.

    A limit is known once its module was imported; those of the URLs are imported first.
    """
    site_guard()
    if hasattr(settings, "ROOT_URLCONF"):
        get_resolver().url_patterns  # noqa: B018 - imports the views, which declare limits
    kinds = {limit.kind: limit for limit in declared}
    return [kinds[kind] for kind in sorted(kinds)]


def keys_of(limit: RateLimit) -> list[str]:
    """Return by what views count this limit, under whichever RateLimit of its kind."""
    return sorted({key for each in alike(limit) for key in each.keys})
