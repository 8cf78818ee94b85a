"""settings.COUNTERS and what is made of it."""

import asyncio
import copy
import functools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django_redis import get_redis_connection
from fakeredis import FakeRedisConnection

from django_counter import counter, counters
from django_counter.backends.memory import MemoryCounter
from django_counter.backends.redis import RedisCounter
from django_counter.base import Counter
from django_counter.exceptions import CounterConfigError
from django_counter.handler import Counters, Definition
from django_counter.middleware import BufferedMiddleware, CounterMiddleware

MEMORY = "django_counter.backends.memory.MemoryCounter"
REDIS = "django_counter.backends.redis.RedisCounter"
HERE = "tests.test_handler"
FALLBACK = "django_counter.middleware.FallbackMiddleware"


def cache(name: str) -> dict[str, Any]:
    """Return an entry of CACHES for a server inside this process."""
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://{name}.invalid:6379/0",
        "OPTIONS": {"CONNECTION_POOL_KWARGS": {"connection_class": FakeRedisConnection}},
    }


class Named(CounterMiddleware):
    """What tests find again in the chain."""

    def __init__(self, next: Counter, name: str = "") -> None:
        super().__init__(next)
        self.name = name


outer = functools.partial(Named, name="outer")
inner = functools.partial(Named, name="inner")
without_room = functools.partial(BufferedMiddleware, max_keys=0)
a_value = 5


def as_a_function(next: Counter) -> Counter:
    return Named(next, "function")


def failing(next: Counter) -> Counter:
    raise ValueError("planted-password")


def forgetful(next: Counter) -> None:
    Named(next)


class PassingOn(MemoryCounter):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)


class Slow(MemoryCounter):
    """Takes its time to be built, and tells how often it was, and was closed."""

    built: list["Slow"] = []
    closed: list["Slow"] = []

    def __init__(self, *, key_prefix: str) -> None:
        time.sleep(0.02)
        super().__init__(key_prefix=key_prefix)
        self.built.append(self)

    def close(self) -> None:
        self.closed.append(self)


@pytest.fixture
def slow() -> Iterator[type[Slow]]:
    Slow.built, Slow.closed = [], []
    with override_settings(COUNTERS={"default": {"BACKEND": f"{HERE}.Slow"}}):
        yield Slow


def refusal(entry: Any, alias: str = "default") -> str:
    """Return why an entry of COUNTERS is refused."""
    with (
        override_settings(COUNTERS={alias: entry}),
        pytest.raises(CounterConfigError) as caught,
    ):
        counters[alias]
    assert isinstance(caught.value, ImproperlyConfigured)
    return str(caught.value)


def chain(composed: Any) -> list[str]:
    """Return the names of what a counter is wrapped in, the outermost first."""
    names = []
    while isinstance(composed, Named):
        names.append(composed.name)
        composed = composed.next
    return names


# Defaults.


def test_without_counters_default_is_a_redis_counter_on_the_default_cache() -> None:
    with override_settings(CACHES={"default": cache("defaults")}):
        del settings.COUNTERS
        assert type(counters["default"]) is RedisCounter
        assert list(counters) == ["default"]
        counter.increment("key", 5)
        client = get_redis_connection("default")
        assert client.get("counter:key") == b"5"
        assert client.keys() == [b"counter:key"]
        client.connection_pool.disconnect()
        counters.reset()


def test_an_empty_entry_has_the_defaults() -> None:
    with override_settings(CACHES={"default": cache("empty")}, COUNTERS={"default": {}}):
        assert type(counters["default"]) is RedisCounter
        counter.increment("key")
        assert get_redis_connection("default").keys() == [b"counter:key"]


def test_the_option_cache_names_the_alias_in_caches() -> None:
    entry = {"OPTIONS": {"cache": "other"}}
    caches = {"default": cache("first"), "other": cache("second")}
    with override_settings(CACHES=caches, COUNTERS={"default": entry}):
        counter.increment("key")
        assert get_redis_connection("default").keys() == []
        assert get_redis_connection("other").keys() == [b"counter:key"]


def test_the_key_prefix_stands_before_each_key() -> None:
    entry = {"KEY_PREFIX": "shop:é"}
    with override_settings(CACHES={"default": cache("prefix")}, COUNTERS={"default": entry}):
        counter.increment("key")
        assert get_redis_connection("default").keys() == ["shop:é:key".encode()]
        assert [entry.key for entry in counter.scan()] == ["key"]


def test_aliases_with_different_prefixes_share_nothing_but_the_server() -> None:
    entries = {"default": {}, "other": {"KEY_PREFIX": "other"}}
    with override_settings(CACHES={"default": cache("shared")}, COUNTERS=entries):
        counters["default"].increment("key")
        assert counters["other"].get("key") == 0
        assert list(counters["other"].scan()) == []


def test_a_prefix_with_glob_characters_is_taken_literally() -> None:
    entries = {"default": {"KEY_PREFIX": "a*"}, "other": {"KEY_PREFIX": "abc"}}
    with override_settings(CACHES={"default": cache("glob")}, COUNTERS=entries):
        counters["other"].increment("other")
        counters["default"].increment("key")
        assert [entry.key for entry in counters["default"].scan()] == ["key"]


# Refusals.


def test_an_unknown_alias_is_named_with_those_there_are() -> None:
    entries = {"default": {"BACKEND": MEMORY}, "quotas": {"BACKEND": MEMORY}}
    with (
        override_settings(COUNTERS=entries),
        pytest.raises(CounterConfigError, match=r"no alias 'qotas'.*\['default', 'quotas'\]"),
    ):
        counters["qotas"]


def test_the_proxy_says_that_there_is_no_default() -> None:
    with (
        override_settings(COUNTERS={"quotas": {"BACKEND": MEMORY}}),
        pytest.raises(CounterConfigError, match="no alias 'default'"),
    ):
        counter.get("key")


def test_counters_is_a_dict() -> None:
    with (
        override_settings(COUNTERS=["default"]),
        pytest.raises(CounterConfigError, match="COUNTERS must be a dict, not list"),
    ):
        counters["default"]


@pytest.mark.parametrize("entry", [None, "default", MEMORY, []])
def test_an_entry_is_a_dict(entry: Any) -> None:
    assert refusal(entry).startswith("COUNTERS['default']: must be a dict, not ")


def test_an_unknown_key_is_named() -> None:
    words = refusal({"BACKEND": MEMORY, "PREFIX": "a"}, "quotas")
    assert words.startswith("COUNTERS['quotas']: unknown key 'PREFIX'")
    assert "'KEY_PREFIX'" in words


def test_an_unknown_option_is_named() -> None:
    words = refusal({"BACKEND": REDIS, "OPTIONS": {"cach": "default"}})
    assert words.startswith("COUNTERS['default']: unknown option 'cach'")
    assert "'cache'" in words


def test_the_key_prefix_is_no_option() -> None:
    words = refusal({"BACKEND": MEMORY, "OPTIONS": {"key_prefix": "a"}})
    assert words.startswith("COUNTERS['default']: unknown option 'key_prefix'")


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("BACKEND", MemoryCounter, "a dotted path"),
        ("BACKEND", None, "a dotted path"),
        ("KEY_PREFIX", None, "a text"),
        ("KEY_PREFIX", b"a", "a text"),
        ("MIDDLEWARE", "django_counter.middleware.LoggingMiddleware", "a list of dotted paths"),
        ("MIDDLEWARE", None, "a list of dotted paths"),
        ("OPTIONS", None, "a dict"),
        ("OPTIONS", ["clock"], "a dict"),
    ],
)
def test_a_value_of_another_type_is_named(name: str, value: Any, right: str) -> None:
    words = refusal({"BACKEND": MEMORY, name: value})
    assert words == f"COUNTERS['default']: {name} must be {right}, not {type(value).__name__}"


@pytest.mark.parametrize("prefix", ["", "a\n", "x" * 513, "\ud800"])
def test_a_key_prefix_has_the_rules_of_a_key(prefix: str) -> None:
    words = refusal({"BACKEND": MEMORY, "KEY_PREFIX": prefix})
    assert words.startswith("COUNTERS['default']: KEY_PREFIX")


@pytest.mark.parametrize("path", ["nowhere.Backend", "Backend", f"{HERE}.Missing", ""])
def test_an_unimportable_backend_is_named(path: str) -> None:
    words = refusal({"BACKEND": path})
    assert words.startswith(f"COUNTERS['default']: cannot import the backend {path!r}: ")


@pytest.mark.parametrize("path", ["nowhere.Middleware", f"{HERE}.Missing", ""])
def test_an_unimportable_middleware_is_named(path: str) -> None:
    words = refusal({"BACKEND": MEMORY, "MIDDLEWARE": [f"{HERE}.Named", path]})
    assert words.startswith(f"COUNTERS['default']: cannot import the middleware {path!r}: ")


def test_what_is_not_callable_is_named() -> None:
    words = f"COUNTERS['default']: the backend '{HERE}.a_value' is not callable"
    assert refusal({"BACKEND": f"{HERE}.a_value"}) == words
    words = f"COUNTERS['default']: the middleware '{HERE}.a_value' is not callable"
    assert refusal({"BACKEND": MEMORY, "MIDDLEWARE": [f"{HERE}.a_value"]}) == words


def test_a_callable_whose_arguments_nobody_knows_is_no_counter() -> None:
    assert refusal({"BACKEND": "builtins.dict"}) == (
        "COUNTERS['default']: builtins.dict is no counter"
    )


@pytest.mark.parametrize("middleware", [Named, None, 5])
def test_a_middleware_that_is_no_path_is_refused(middleware: Any) -> None:
    words = refusal({"BACKEND": MEMORY, "MIDDLEWARE": [middleware]})
    assert words.startswith("COUNTERS['default']: ")


def test_a_middleware_that_refuses_its_parameters_is_an_error_of_its_entry() -> None:
    words = refusal({"BACKEND": MEMORY, "MIDDLEWARE": [f"{HERE}.without_room"]})
    assert words.startswith("COUNTERS['default']: a buffer needs")


def test_a_backend_that_passes_its_options_on_has_those_of_the_next() -> None:
    entry = {"BACKEND": f"{HERE}.PassingOn", "OPTIONS": {"clock": lambda: 5.0}}
    with override_settings(COUNTERS={"default": entry}):
        assert counters["default"].increment("key") == 1


def test_a_middleware_that_returns_none_is_named() -> None:
    words = refusal({"BACKEND": MEMORY, "MIDDLEWARE": [f"{HERE}.forgetful"]})
    assert words.startswith("COUNTERS['default']: middleware ")
    assert "forgetful" in words
    assert "returned None" in words


def test_an_unknown_cache_is_named() -> None:
    words = refusal({"BACKEND": REDIS, "OPTIONS": {"cache": "nowhere"}})
    assert words.startswith("COUNTERS['default']: CACHES has no cache 'nowhere'")


def test_a_cache_that_is_no_name_is_named() -> None:
    words = refusal({"BACKEND": REDIS, "OPTIONS": {"cache": None}})
    assert words == "COUNTERS['default']: CACHES has no cache None"


def test_a_cache_without_a_location_is_named() -> None:
    with override_settings(CACHES={"default": {**cache("x"), "LOCATION": ""}}):
        words = refusal({"BACKEND": REDIS})
    assert words.startswith("COUNTERS['default']: CACHES['default']: ")


def test_a_cache_that_is_not_of_django_redis_is_named() -> None:
    local = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    with override_settings(CACHES={"default": local}):
        words = refusal({"BACKEND": REDIS})
    assert words.startswith("COUNTERS['default']: CACHES['default'] is not a cache of django-redis")


@pytest.mark.parametrize("timeout", [0, -1, 0.0001, "5", float("inf"), float("nan")])
def test_a_bad_timeout_is_named(timeout: Any) -> None:
    with override_settings(CACHES={"default": cache("timeout")}):
        words = refusal({"BACKEND": REDIS, "OPTIONS": {"timeout": timeout}})
    assert words.startswith("COUNTERS['default']: option 'timeout' must be ")


def test_a_bad_option_is_named_by_the_entry() -> None:
    words = refusal({"BACKEND": MEMORY, "OPTIONS": {"clock": 5}})
    assert words.startswith("COUNTERS['default']: option 'clock' must be a callable")


def test_a_cache_that_is_no_alias_is_named_by_the_entry() -> None:
    words = refusal({"BACKEND": REDIS, "OPTIONS": {"cache": []}})
    assert words == "COUNTERS['default']: CACHES has no cache []"


def broken(following: Counter) -> Counter:
    raise ValueError("not this password: planted")


def test_an_error_that_may_show_a_password_is_named_by_its_type() -> None:
    words = refusal({"BACKEND": MEMORY, "MIDDLEWARE": [f"{__name__}.broken"]})
    assert "broken" in words
    assert words.endswith(" failed with a ValueError")


def test_what_django_redis_refuses_is_named_by_the_entry() -> None:
    refused = cache("refused")
    refused["OPTIONS"]["SOCKET_TIMEOUT"] = "0.25"
    with override_settings(CACHES={"default": refused}):
        words = refusal({"BACKEND": REDIS})
    assert words == (
        "COUNTERS['default']: CACHES['default']: Socket timeout should be float or integer"
    )


def test_a_middleware_that_wants_more_is_named() -> None:
    words = refusal({"BACKEND": MEMORY, "MIDDLEWARE": [FALLBACK]})
    assert words.startswith(
        f"COUNTERS['default']: the middleware {FALLBACK!r} is called with the next counter alone: "
    )
    assert words.endswith("argument: 'alias'")


def test_a_middleware_that_fails_is_named_without_its_words() -> None:
    words = refusal({"BACKEND": MEMORY, "MIDDLEWARE": [f"{HERE}.failing"]})
    assert words.startswith("COUNTERS['default']: middleware <function failing at ")
    assert words.endswith("> failed with a ValueError")


def test_a_callable_whose_arguments_nobody_knows_may_be_a_middleware() -> None:
    assert Definition("default", middleware=["builtins.type"]).import_middleware() == [type]


def test_a_refused_entry_does_not_refuse_another() -> None:
    entries = {"default": {"BACKEND": "nowhere.Backend"}, "good": {"BACKEND": MEMORY}}
    with override_settings(COUNTERS=entries):
        with pytest.raises(CounterConfigError):
            counters["default"]
        assert counters["good"].increment("key") == 1
        with pytest.raises(CounterConfigError):
            counters["default"]


# Composition.


def test_without_middleware_a_counter_is_the_backend_itself() -> None:
    with override_settings(COUNTERS={"default": {"BACKEND": MEMORY, "MIDDLEWARE": []}}):
        assert type(counters["default"]) is MemoryCounter


@pytest.mark.parametrize("kind", [list, tuple])
def test_the_first_middleware_is_the_outermost(kind: type) -> None:
    paths = [f"{HERE}.outer", f"{HERE}.as_a_function", f"{HERE}.inner"]
    with override_settings(COUNTERS={"default": {"BACKEND": MEMORY, "MIDDLEWARE": kind(paths)}}):
        assert chain(counters["default"]) == ["outer", "function", "inner"]
        assert counters["default"].increment("key") == 1


def test_a_middleware_may_stand_twice() -> None:
    paths = [f"{HERE}.inner", f"{HERE}.inner"]
    with override_settings(COUNTERS={"default": {"BACKEND": MEMORY, "MIDDLEWARE": paths}}):
        assert chain(counters["default"]) == ["inner", "inner"]


def test_a_counter_is_composed_once() -> None:
    with override_settings(COUNTERS={"default": {"BACKEND": MEMORY}}):
        assert counters["default"] is counters["default"]


def test_a_counter_is_composed_once_for_all_threads(slow: type[Slow]) -> None:
    barrier = threading.Barrier(16)

    def ask() -> Counter:
        barrier.wait()
        return counters["default"]

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(ask) for _ in range(16)]
    assert len(slow.built) == 1
    assert {id(each.result()) for each in asked} == {id(slow.built[0])}


def test_nothing_is_composed_before_its_first_use(slow: type[Slow]) -> None:
    assert list(counters) == ["default"]
    assert slow.built == []
    counter.get("key")
    assert len(slow.built) == 1


def test_each_alias_is_a_counter_of_its_own() -> None:
    entries = {"default": {"BACKEND": MEMORY}, "quotas": {"BACKEND": MEMORY}}
    with override_settings(COUNTERS=entries):
        counters["quotas"].increment("key", 5)
        assert counters["default"].get("key") == 0
        assert list(counters) == ["default", "quotas"]


local = Counters()


def with_a_fallback(next: Counter) -> Counter:
    named = Named(next, "fallback")
    named.fallback = local["quotas"]  # type: ignore[attr-defined]
    return named


def test_a_middleware_may_ask_for_another_alias() -> None:
    entries = {
        "default": {"BACKEND": MEMORY, "MIDDLEWARE": [f"{HERE}.with_a_fallback"]},
        "quotas": {"BACKEND": MEMORY},
    }
    composed: list[Counter] = []
    # A daemon: where it waits for itself, it does so for ever.
    thread = threading.Thread(target=lambda: composed.append(local["default"]), daemon=True)
    with override_settings(COUNTERS=entries):
        thread.start()
        thread.join(2)
    assert not thread.is_alive()
    assert chain(composed[0]) == ["fallback"]


# The proxy, and changed settings.


def test_counter_stands_for_the_default_alias() -> None:
    with override_settings(COUNTERS={"default": {"BACKEND": MEMORY}}):
        assert counter.increment("key", 5) == 5
        assert counters["default"].get("key") == 5
        assert counter == counters["default"]


async def count_twice() -> int:
    await counter.aincrement("key")
    return await counter.aincrement("key")


def test_counter_has_the_twins() -> None:
    with override_settings(COUNTERS={"default": {"BACKEND": MEMORY}}):
        assert asyncio.run(count_twice()) == 2


def test_overridden_counters_are_composed_anew() -> None:
    first = counters["default"]
    with override_settings(COUNTERS={"default": {"BACKEND": MEMORY}}):
        second = counters["default"]
        assert second is not first
        second.increment("key")
    assert counters["default"] not in (first, second)
    assert counter.get("key") == 0


@pytest.mark.parametrize("composed", [False, True], ids=["at first use", "later"])
def test_counter_can_be_patched_and_is_whole_afterwards(composed: bool) -> None:
    with override_settings(COUNTERS={"default": {"BACKEND": MEMORY}}):
        if composed:
            assert counter.get("key") == 0
        for target in (counter, counters["default"], MemoryCounter):
            with mock.patch.object(target, "get", return_value=7):
                assert counter.get("key") == 7
            assert counter.get("key") == 0


def test_counter_has_what_its_middleware_adds() -> None:
    with override_settings(
        COUNTERS={"default": {"BACKEND": MEMORY, "MIDDLEWARE": [f"{HERE}.outer"]}}
    ):
        assert counter.name == "outer"


def test_overridden_caches_are_connected_anew() -> None:
    with override_settings(COUNTERS={"default": {}}, CACHES={"default": cache("before")}):
        counter.increment("key", 5)
        with override_settings(CACHES={"default": cache("after")}):
            assert counter.get("key") == 0
            counter.increment("key", 7)
        assert counter.get("key") == 5


def test_another_overridden_setting_changes_nothing() -> None:
    first = counters["default"]
    with override_settings(USE_TZ=False):
        assert counters["default"] is first


def test_reset_closes_what_was_composed(slow: type[Slow]) -> None:
    counter.get("key")
    counters.reset()
    assert slow.closed == slow.built
    counter.get("key")
    assert len(slow.built) == 2


def test_reset_composes_nothing(slow: type[Slow]) -> None:
    counters.reset()
    assert slow.built == []


# Without the middleware.


def test_the_backend_is_the_very_counter_that_the_middleware_wrap() -> None:
    entry = {"BACKEND": MEMORY, "MIDDLEWARE": [f"{HERE}.outer"]}
    with override_settings(COUNTERS={"default": entry}):
        bare = counters.backend("default")
        assert type(bare) is MemoryCounter
        assert counters["default"].next is bare
        assert counters.backend("default") is bare


def test_the_backend_is_there_where_its_middleware_cannot_be_imported() -> None:
    entry = {"BACKEND": MEMORY, "MIDDLEWARE": ["nowhere.middleware"]}
    with override_settings(COUNTERS={"default": entry}):
        assert counters.backend("default").increment("key") == 1
        with pytest.raises(CounterConfigError, match="cannot import the middleware"):
            counters["default"]


def test_reset_closes_a_backend_that_was_never_wrapped(slow: type[Slow]) -> None:
    bare = counters.backend("default")
    counters.reset()
    assert slow.closed == [bare]
    assert counters.backend("default") is not bare


def test_the_settings_are_not_changed() -> None:
    entries = {"default": {"BACKEND": MEMORY, "MIDDLEWARE": [f"{HERE}.outer"], "OPTIONS": {}}}
    before = copy.deepcopy(entries)
    with override_settings(COUNTERS=entries):
        counter.get("key")
    assert entries == before
