"""System checks of settings.COUNTERS and of the caches it names, without any network."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string
from django_redis.cache import RedisCache
from redis.connection import parse_url

from django_counter.backends.memory import MemoryCounter
from django_counter.backends.redis import RedisCounter
from django_counter.backends.redis.server import DEFAULT_TIMEOUT
from django_counter.exceptions import CounterConfigError
from django_counter.handler import Definition, Middleware, counters, definition
from django_counter.middleware import FallbackMiddleware

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
RETRIES = ("retry", "retry_on_error", "retry_on_timeout")


def check_counters(**kwargs: Any) -> Iterator[CheckMessage]:
    """Check every alias of COUNTERS."""
    try:
        definitions = [definition(alias) for alias in counters]
    except CounterConfigError as error:
        yield Error(str(error), hint="See the settings in the README.", id="django_counter.E001")
        return
    for each in definitions:
        yield from _check_definition(each)


def _check_definition(each: Definition) -> Iterator[CheckMessage]:
    try:
        yield from _check_fallbacks(each, each.import_middleware())
    except CounterConfigError as error:
        hint = "Name a callable that takes the next counter and returns one."
        yield Error(str(error), hint=hint, id="django_counter.E003")
    try:
        backend = each.import_backend()
    except CounterConfigError as error:
        hint = "Leave BACKEND out for Redis, or name a class of your own."
        yield Error(str(error), hint=hint, id="django_counter.E002")
        return
    try:
        each.check_options(backend)
    except CounterConfigError as error:
        yield Error(str(error), hint="See the settings in the README.", id="django_counter.E001")
        return
    if each.is_of(MemoryCounter) and not settings.DEBUG:
        yield Warning(
            str(each.error("counts in the memory of each process by itself")),
            hint="Use RedisCounter wherever more than one process counts.",
            id="django_counter.W001",
        )
    found = list(_check_cache(each)) if each.is_of(RedisCounter) else []
    yield from found
    if not any(message.is_serious() for message in found) and _connects_late(each, backend):
        yield from _check_values(each)


def _check_fallbacks(each: Definition, middleware: Sequence[Middleware]) -> Iterator[CheckMessage]:
    """Look into each partial, as the documentation has it: to call one may connect."""
    for path, wrap in zip(each.middleware, middleware, strict=True):
        if not isinstance(wrap, partial) or wrap.func is not FallbackMiddleware:
            continue
        alias = wrap.keywords["alias"]
        if alias not in counters:
            yield Error(
                str(each.error(f"COUNTERS has no alias {alias!r}, the fallback of {path!r}")),
                hint=f"Set its alias= to one of {list(counters)}.",
                id="django_counter.E007",
            )


def _check_values(each: Definition) -> Iterator[CheckMessage]:
    """Let the backend itself refuse its options and what it is to connect with."""
    try:
        each.build().close()
    except CounterConfigError as error:
        yield Error(str(error), hint="See the settings in the README.", id="django_counter.E001")


def _connects_late(each: Definition, backend: object) -> bool:
    """Return whether making the counter surely connects to nobody: not before the first call."""
    if backend is not RedisCounter:
        return backend is MemoryCounter
    cache: dict[str, Any] = settings.CACHES[each.options.get("cache", "default")]
    default = getattr(settings, "DJANGO_REDIS_CONNECTION_FACTORY", "django_redis.")
    factory = str(cache.get("OPTIONS", {}).get("CONNECTION_FACTORY", default))
    if factory.startswith(("django_redis.", "django_counter.")):
        return True
    try:
        import_string(factory)
    except (ImportError, TypeError, ValueError):
        return True  # it is never made, and the backend says why
    return False


def _check_cache(each: Definition) -> Iterator[CheckMessage]:
    alias = each.options.get("cache", "default")
    if not isinstance(alias, str) or alias not in settings.CACHES:
        yield Error(
            str(each.error(f"CACHES has no cache {alias!r}")),
            hint=f"Set OPTIONS['cache'] to one of {list(settings.CACHES)}.",
            id="django_counter.E004",
        )
        return
    cache = settings.CACHES[alias]
    if not _is_django_redis(cache):
        yield Error(
            str(each.error(f"CACHES[{alias!r}] is not a cache of django-redis")),
            hint="Its BACKEND must be django_redis.cache.RedisCache, with one server.",
            id="django_counter.E005",
        )
        return
    if not _url(cache):
        yield Error(
            str(each.error(f"CACHES[{alias!r}] has no LOCATION")),
            hint="Set it to the URL of the server, such as redis://127.0.0.1:6379/1.",
            id="django_counter.E006",
        )
        return
    for other in _same_url(alias):
        yield Warning(
            str(
                each.error(
                    f"CACHES[{alias!r}] and CACHES[{other!r}] have one LOCATION, two OPTIONS"
                )
            ),
            hint="django-redis connects both with the OPTIONS of the first one used. Give each "
            "a LOCATION of its own: another database, or a query string such as ?cache=counters.",
            id="django_counter.W002",
        )
    for other in sorted(_flushers() & settings.CACHES.keys()):
        flushed = settings.CACHES[other]
        if "://" in _url(flushed) and _database(flushed) == _database(cache):
            yield Warning(
                str(each.error(f"cache.clear() on CACHES[{other!r}] deletes these counters")),
                hint="Give the counters a cache with a database of their own.",
                id="django_counter.W003",
            )
    if "timeout" not in each.options and not _has_timeout(cache):
        yield Warning(
            str(each.error(f"CACHES[{alias!r}] has no socket timeout")),
            hint=f"Set its OPTIONS['SOCKET_TIMEOUT'], in seconds. Until then calls of counters may "
            f"take {DEFAULT_TIMEOUT:g} s, those of the cache as long as redis-py lets them.",
            id="django_counter.W004",
        )
    if any(_connection_options(cache).get(name) for name in RETRIES):
        yield Warning(
            str(each.error(f"CACHES[{alias!r}] has retries turned on")),
            hint="Counters do not use them, they would count twice. What else uses this cache "
            "may send a command twice.",
            id="django_counter.W005",
        )


def _is_django_redis(cache: dict[str, Any]) -> bool:
    try:
        backend = import_string(cache["BACKEND"])
    except ImportError:
        return False
    client = cache.get("OPTIONS", {}).get("CLIENT_CLASS", "")
    return issubclass(backend, RedisCache) and not client.endswith("ShardClient")


def _same_url(alias: str) -> Iterator[str]:
    mine = settings.CACHES[alias]
    for other, cache in settings.CACHES.items():
        if _url(cache) == _url(mine) and cache.get("OPTIONS", {}) != mine.get("OPTIONS", {}):
            yield other


def _flushers() -> set[str]:
    """Return the caches that a project may clear without a thought of counters."""
    in_cache = "cache" in settings.SESSION_ENGINE.rpartition(".")[2]
    return {"default", settings.SESSION_CACHE_ALIAS} if in_cache else {"default"}


def _url(cache: dict[str, Any]) -> str:
    """Return where the primary server is. It may hold a password: never print it."""
    location = cache.get("LOCATION")
    locations = location.split(",") if isinstance(location, str) else location
    first = next(iter(locations), "") if isinstance(locations, list | tuple | set) else ""
    return first.strip() if isinstance(first, str) else ""


def _connection_options(cache: dict[str, Any]) -> dict[str, Any]:
    """Return what redis-py's connections are made with; the URL goes before all else."""
    options = cache.get("OPTIONS", {})
    try:
        from_url = parse_url(_url(cache))  # type: ignore[no-untyped-call]
    except ValueError:
        from_url = {}
    return {**options.get("CONNECTION_POOL_KWARGS", {}), **from_url}


def _database(cache: dict[str, Any]) -> tuple[object, ...]:
    options = _connection_options(cache)
    host = options.get("host", "localhost")
    address = ("localhost" if host in LOOPBACK else host), options.get("port", 6379)
    return options.get("path") or address, options.get("db", 0)


def _has_timeout(cache: dict[str, Any]) -> bool:
    in_options = cache.get("OPTIONS", {}).get("SOCKET_TIMEOUT")
    return bool(in_options or _connection_options(cache).get("socket_timeout"))
