"""The system checks: each by its id, without any network."""

from functools import partial
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from django_counter import Counter
from django_counter.backends.memory import MemoryCounter
from django_counter.backends.redis import RedisCounter
from django_counter.middleware import FallbackMiddleware

CLUSTER = "django_counter.backends.redis.cluster.ClusterConnectionFactory"
REDIS = "django_redis.cache.RedisCache"
MEMORY = "django_counter.backends.memory.MemoryCounter"
QUIET = {"SOCKET_TIMEOUT": 1}
SECRET = "planted-secret"
E001 = ["django_counter.E001"]


def cache(location: Any = f"redis://:{SECRET}@127.0.0.1:1/1", **options: Any) -> dict[str, Any]:
    return {"BACKEND": REDIS, "LOCATION": location, "OPTIONS": {**QUIET, **options}}


def default(**entry: Any) -> dict[str, Any]:
    return {"default": {"OPTIONS": {"cache": "counters"}, **entry}}


def found(**changes: Any) -> list[str]:
    """Return what the checks find where only these settings are not good."""
    caches = {"default": cache("redis://127.0.0.1:1/0"), "counters": cache()}
    return ids(**{"CACHES": caches, "COUNTERS": default(), **changes})


def ids(**changes: Any) -> list[str]:
    """Return the ids of what the checks find, in order; each has a hint and shows no secret."""
    with override_settings(**changes):
        messages = run_checks(tags=["counters"])
    for message in messages:
        assert message.hint
        assert SECRET not in str(message)
    return [str(each.id) for each in messages]


def wraps_nothing(counter: Counter) -> Counter:
    return counter


class Connecting:
    def __init__(self, options: dict[str, Any]) -> None:
        raise AssertionError("it may connect")


not_callable = "a text"
to_default = partial(FallbackMiddleware, alias="default")
to_nowhere = partial(FallbackMiddleware, alias="nowhere")


def test_good_settings_pass() -> None:
    assert found() == []


def test_without_counters_the_default_cache_is_checked(settings: Any) -> None:
    del settings.COUNTERS
    assert ids(CACHES={"default": cache()}) == ["django_counter.W003"]


@pytest.mark.parametrize(
    "counters",
    [
        ["default"],
        {"default": "django_counter.backends.redis.RedisCounter"},
        default(BACKEMD=MEMORY),
        default(BACKEND=1),
        default(KEY_PREFIX=""),
        default(KEY_PREFIX="a\n"),
        default(MIDDLEWARE="a.path"),
        default(OPTIONS={"cach": "counters"}),
        default(OPTIONS={"key_prefix": "twice"}),
    ],
)
def test_a_badly_formed_entry_is_an_error(counters: Any) -> None:
    assert found(COUNTERS=counters) == ["django_counter.E001"]


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "0.25"},
        {"timeout": -1},
        {"timeout": 0},
        {"timeout": 3601},
        {"timeout": True},
        {"replicas": -1},
        {"replicas": 1001},
        {"replicas": "1"},
        {"idempotency_window": 0},
        {"idempotency_window": "600"},
    ],
)
@pytest.mark.parametrize("backend", ["RedisCounter", "MemoryCounter"])
def test_a_value_that_the_backend_refuses_is_an_error(backend: str, options: Any) -> None:
    if backend == "RedisCounter":
        assert found(COUNTERS=default(OPTIONS={"cache": "counters", **options})) == E001
    else:
        assert found(COUNTERS=default(BACKEND=MEMORY, OPTIONS=options), DEBUG=True) == E001


@pytest.mark.parametrize(
    "counters",
    [
        cache(f"127.0.0.1:6379/{SECRET}"),
        cache("redis://checks-1/1", SOCKET_TIMEOUT="0.25"),
        cache("redis://checks-2/1", SOCKET_CONNECT_TIMEOUT="0.25"),
        cache("redis://checks-3/1", SOCKET_CONNECT_TIMEOUT=-1),
        cache(f"redis://:{SECRET}@checks-4:port/1"),
        cache("redis://checks-6/1", CONNECTION_FACTORY="nowhere.Factory"),
        cache("redis://checks-6b/1", CONNECTION_FACTORY=".Factory"),
        cache("redis://checks-6c/1", CONNECTION_FACTORY="..a.Factory"),
        cache("redis://checks-7/1", CONNECTION_FACTORY=CLUSTER.replace("Connection", "")),
        cache("redis://checks-8/1", CONNECTION_POOL_CLASS="nowhere.Pool"),
        cache("redis://checks-9/1", PARSER_CLASS="redis.connection.Nothing"),
    ],
)
def test_a_cache_that_nothing_can_connect_with_is_an_error(counters: dict[str, Any]) -> None:
    assert found(CACHES={"default": cache("redis://h/0"), "counters": counters}) == E001


def test_a_factory_of_others_is_not_asked_for_it_may_connect() -> None:
    counters = cache("redis://checks-5/1", CONNECTION_FACTORY=f"{__name__}.Connecting")
    assert found(CACHES={"default": cache("redis://h/0"), "counters": counters}) == []


def test_the_text_names_the_entry_and_the_option() -> None:
    with override_settings(
        CACHES={"default": cache("redis://h/1")}, COUNTERS={"default": {"OPTIONS": {"timeout": 0}}}
    ):
        [clears, error] = run_checks(tags=["counters"])
    assert clears.id == "django_counter.W003"
    assert error.msg == (
        "COUNTERS['default']: option 'timeout' must be a number from 0.001 to 3600, not 0"
    )


@pytest.mark.parametrize("path", ["nowhere.Counter", "tests.test_checks.Nothing", "plain"])
def test_a_backend_that_cannot_be_imported_is_an_error(path: str) -> None:
    assert found(COUNTERS=default(BACKEND=path)) == ["django_counter.E002"]


@pytest.mark.parametrize(
    "path",
    [
        "nowhere.middleware",
        "tests.test_checks.not_callable",
        "django_counter.middleware.FallbackMiddleware",
    ],
)
def test_a_middleware_that_cannot_be_used_is_an_error(path: str) -> None:
    middleware = ["tests.test_checks.wraps_nothing", path]
    assert found(COUNTERS=default(MIDDLEWARE=middleware)) == ["django_counter.E003"]


def test_a_fallback_to_an_alias_that_there_is_not_is_an_error() -> None:
    path = f"{__name__}.to_nowhere"
    middleware = [f"{__name__}.wraps_nothing", path]
    counters = {**default(MIDDLEWARE=middleware), "local": {"OPTIONS": {"cache": "counters"}}}
    assert found(COUNTERS=counters) == ["django_counter.E007"]
    with override_settings(COUNTERS=counters):
        error = next(each for each in run_checks(tags=["counters"]) if each.is_serious())
    assert error.msg == (
        f"COUNTERS['default']: COUNTERS has no alias 'nowhere', the fallback of {path!r}"
    )
    assert error.hint == "Set its alias= to one of ['default', 'local']."


def test_a_fallback_to_another_alias_passes() -> None:
    entry = {"OPTIONS": {"cache": "counters"}}
    counters = {"default": entry, "first": {**entry, "MIDDLEWARE": [f"{__name__}.to_default"]}}
    assert found(COUNTERS=counters) == []


@pytest.mark.parametrize("alias", ["nowhere", ["counters"], None])
def test_an_unknown_cache_is_an_error(alias: Any) -> None:
    assert found(COUNTERS=default(OPTIONS={"cache": alias})) == ["django_counter.E004"]


@pytest.mark.fault("not django-redis")
@pytest.mark.parametrize(
    "other",
    [
        {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://h/1"},
        {"BACKEND": "nowhere.Cache", "LOCATION": "redis://h/1"},
        cache(CLIENT_CLASS="django_redis.client.ShardClient"),
    ],
)
def test_a_cache_that_is_not_of_django_redis_is_an_error(other: dict[str, Any]) -> None:
    caches = {"default": cache("redis://127.0.0.1:1/0"), "counters": other}
    assert found(CACHES=caches) == ["django_counter.E005"]


@pytest.mark.parametrize("location", ["", [], None, [""], [None], 5])
def test_a_cache_without_a_location_is_an_error(location: Any) -> None:
    caches = {"default": cache("redis://127.0.0.1:1/0"), "counters": cache(location)}
    assert found(CACHES=caches) == ["django_counter.E006"]
    del caches["counters"]["LOCATION"]
    assert found(CACHES=caches) == ["django_counter.E006"]


class OfRedis(RedisCounter):
    pass


class OfMemory(MemoryCounter):
    pass


def test_a_derived_backend_is_checked_too() -> None:
    of_redis = default(BACKEND=f"{__name__}.OfRedis", OPTIONS={"cache": "nowhere"})
    assert found(COUNTERS=of_redis) == ["django_counter.E004"]
    of_memory = default(BACKEND=f"{__name__}.OfMemory", OPTIONS={})
    assert found(COUNTERS=of_memory, DEBUG=False) == ["django_counter.W001"]


def a_function(key_prefix: str) -> Counter:
    raise AssertionError


def test_a_backend_that_is_no_class_is_not_looked_into() -> None:
    assert found(COUNTERS=default(BACKEND=f"{__name__}.a_function", OPTIONS={})) == []


def test_memory_is_a_warning_unless_debugging() -> None:
    counters = default(BACKEND=MEMORY, OPTIONS={})
    assert found(COUNTERS=counters, DEBUG=False) == ["django_counter.W001"]
    assert found(COUNTERS=counters, DEBUG=True) == []


def test_one_url_with_two_options_is_a_warning() -> None:
    caches = {"default": cache("redis://h/0"), "counters": cache(), "third": cache(USERNAME="me")}
    assert found(CACHES=caches) == ["django_counter.W002"]


@pytest.mark.fault("cache.clear() on the counters")
@pytest.mark.parametrize(
    "same", ["redis://h:6379/1", "redis://h?db=1", ["redis://h/1", "redis://replica/1"]]
)
def test_counters_that_the_default_cache_clears_are_a_warning(same: Any) -> None:
    caches = {"default": cache("redis://h/1"), "counters": cache(same)}
    assert found(CACHES=caches) == ["django_counter.W003"]


@pytest.mark.parametrize("other", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", ""])
def test_loopback_has_several_names(other: str) -> None:
    caches = {"default": cache("redis://localhost/1"), "counters": cache(f"redis://{other}/1")}
    assert found(CACHES=caches) == ["django_counter.W003"]


@pytest.mark.parametrize("place", [{}, {"LOCATION": "snowflake"}])
def test_a_cache_in_memory_clears_no_database(place: dict[str, str]) -> None:
    in_memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", **place}
    caches = {"default": in_memory, "counters": cache("redis://127.0.0.1/0")}
    assert found(CACHES=caches) == []


@pytest.mark.parametrize("engine", ["cache", "cached_db"])
def test_counters_that_clearing_sessions_deletes_are_a_warning(engine: str) -> None:
    sessions = {
        "SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}",
        "SESSION_CACHE_ALIAS": "counters",
    }
    assert found(**sessions) == ["django_counter.W003"]


def test_sessions_outside_the_caches_are_no_matter() -> None:
    assert found(SESSION_CACHE_ALIAS="counters") == []


@pytest.mark.parametrize(
    ("counters", "ids"),
    [
        (cache("redis://h/1", SOCKET_TIMEOUT=None), ["django_counter.W004"]),
        ({"BACKEND": REDIS, "LOCATION": "bad"}, ["django_counter.W004", *E001]),
    ],
)
def test_no_timeout_is_a_warning(counters: dict[str, Any], ids: list[str]) -> None:
    caches = {"default": cache("redis://h/0"), "counters": counters}
    assert found(CACHES=caches) == ids


def test_a_timeout_may_stand_elsewhere() -> None:
    in_url = cache("redis://h/1?socket_timeout=1", SOCKET_TIMEOUT=None)
    in_pool = cache(SOCKET_TIMEOUT=None, CONNECTION_POOL_KWARGS={"socket_timeout": 1})
    for counters in (in_url, in_pool):
        assert found(CACHES={"default": cache("redis://h/0"), "counters": counters}) == []
    without = {"default": cache("redis://h/0"), "counters": cache(SOCKET_TIMEOUT=None)}
    own = default(OPTIONS={"cache": "counters", "timeout": 1})
    assert found(CACHES=without, COUNTERS=own) == []


@pytest.mark.parametrize(
    "retrying",
    [
        cache(CONNECTION_POOL_KWARGS={"retry_on_timeout": True}),
        cache("redis://h/1?retry_on_timeout=yes"),
    ],
)
def test_retries_are_a_warning(retrying: dict[str, Any]) -> None:
    caches = {"default": cache("redis://h/0"), "counters": retrying}
    assert found(CACHES=caches) == ["django_counter.W005"]
