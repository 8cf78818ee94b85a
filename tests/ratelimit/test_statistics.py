"""What processes add up of their decisions, and send."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
import redis
from django.test import override_settings

from django_counter import (
    CounterConfigError,
    CounterError,
    CounterOutcomeUnknown,
    CounterPartlyApplied,
    CounterTypeError,
    CounterUnavailable,
    counter,
    counters,
)
from django_counter.middleware import CounterMiddleware
from django_counter.ratelimit import RateLimit, outages
from django_counter.ratelimit import statistics as module
from django_counter.ratelimit.digests import digest
from django_counter.ratelimit.statistics import Statistics, identity_key, minute_key
from django_counter.testing import override_counters
from tests.contract.stores import PATIENCE, RedisStore, wait_until
from tests.ratelimit.clocks import Clock
from tests.ratelimit.conftest import MEMORY, Operated
from tests.servers import ServerProcess

LOGGER = "django_counter.ratelimit"
outage: list[CounterError] = []
asked: list[tuple[str, ...]] = []


class Failing(CounterMiddleware):
    """A counter whose increments fail while `outage` has an error."""

    @contextmanager
    def around(self, operation: str, keys: tuple[str, ...]) -> Iterator[None]:  # type: ignore[override]
        asked.append(keys)
        if outage and operation == "multi_increment":
            raise outage[0]
        yield


@pytest.fixture
def statistics(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Statistics]:
    """Statistics that are on, and are sent when a test says so: nothing starts a thread."""
    monkeypatch.setattr(Statistics, "_start", lambda self: None)
    statistics = Statistics()
    monkeypatch.setattr("django_counter.ratelimit.limit.statistics", statistics)
    monkeypatch.setattr("django_counter.apps.statistics", statistics)
    entry = {
        "BACKEND": MEMORY,
        "OPTIONS": {"clock": clock},
        "MIDDLEWARE": [f"{__name__}.Failing"],
    }
    on = {"STATISTICS": True}
    with override_settings(COUNTERS={"default": entry, "other": entry}, RATE_LIMIT=on):
        yield statistics
        statistics.forget()
    outage.clear()
    asked.clear()


def stored(alias: str = "default") -> dict[str, int]:
    """Return what was sent, without the prefix that all of it has."""
    found = counters[alias].scan(module.PREFIX)
    return {entry.key.removeprefix(module.PREFIX): entry.value for entry in found}


def minute(clock: Clock) -> int:
    return int(clock() // 60)


def test_allowed_and_denied_hits_are_sent_by_minute(
    statistics: Statistics, operated: Operated, clock: Clock, name: str
) -> None:
    limit = RateLimit("2/h", name=name)
    first = minute(clock)
    operated(limit).hit("a")
    clock.move(60)
    operated(limit).hit("a")
    operated(limit).hit("a")
    assert stored() == {}
    statistics.send()
    assert stored() == {
        f"{{{name}}}:allowed:{first}": 1,
        f"{{{name}}}:allowed:{first + 1}": 1,
        f"{{{name}}}:denied:{first + 1}": 1,
        f"{{{name}}}:identity:{digest('a')}": 1,
    }


def test_a_denial_from_the_memory_of_the_process_counts(
    statistics: Statistics, operated: Operated, clock: Clock, name: str
) -> None:
    limit = RateLimit("1/h", name=name)
    for _ in range(5):
        operated(limit).hit("a")
    statistics.send()
    assert counter.get(minute_key(name, False, minute(clock))) == 4
    assert counter.get(identity_key(name, digest("a"))) == 4


def test_a_hit_counts_once_whatever_it_costs(
    statistics: Statistics, clock: Clock, name: str
) -> None:
    RateLimit("9/h", name=name).hit("a", 5)
    statistics.send()
    assert counter.get(minute_key(name, True, minute(clock))) == 1


def test_what_is_sent_is_added_and_ends(statistics: Statistics, clock: Clock, name: str) -> None:
    limit = RateLimit("1/h", name=name)
    for _ in range(3):
        limit.hit("a")
        statistics.send()
    assert counter.get(minute_key(name, False, minute(clock))) == 2
    ttls = {entry.key: entry.ttl for entry in counter.scan(module.PREFIX)}
    assert set(ttls.values()) == {module.MINUTES_TTL, module.IDENTITIES_TTL}
    assert ttls[identity_key(name, digest("a"))] == module.IDENTITIES_TTL
    clock.move(module.MINUTES_TTL)
    assert stored() == {}


def test_each_alias_gets_its_own(statistics: Statistics, clock: Clock, name: str) -> None:
    RateLimit("1/h", name=name).hit("a")
    RateLimit("1/h", name=f"{name} other", using="other").hit("a")
    statistics.send()
    assert list(stored()) == [f"{{{name}}}:allowed:{minute(clock)}"]
    assert list(stored("other")) == [f"{{{name} other}}:allowed:{minute(clock)}"]


def test_no_key_of_a_limit_is_one_of_another() -> None:
    assert not identity_key("a:identity", "b").startswith(identity_key("a", ""))


def test_what_is_no_decision_on_a_hit_does_not_count(
    statistics: Statistics, operated: Operated, name: str
) -> None:
    limit = operated(RateLimit("1/h", name=name))
    limit.peek("a")
    limit.hit("a", 0)
    limit.refund("a")
    limit.reset("a")
    statistics.send()
    assert stored() == {}


@pytest.mark.parametrize("switched", [{"STATISTICS": False}, {"ENABLED": False}])
def test_nothing_is_counted_while_it_is_off(
    statistics: Statistics, switched: dict[str, Any], name: str
) -> None:
    with override_settings(RATE_LIMIT=switched):
        limit = RateLimit("1/h", name=name)
        for _ in range(3):
            limit.hit("a")
    statistics.send()
    assert stored() == {}


class Away(CounterMiddleware):
    def take(self, *args: Any, **kwargs: Any) -> Any:
        raise CounterUnavailable("away")


def test_a_hit_that_the_counters_did_not_decide_does_not_count(
    statistics: Statistics, name: str
) -> None:
    limit = RateLimit("1/h", name=name)
    away = {"default": {"BACKEND": MEMORY, "MIDDLEWARE": [f"{__name__}.Away"]}}
    with override_settings(COUNTERS=away):
        decisions = [outages.hit(limit, "a", 1, "local") for _ in range(3)]
        assert [decision.allowed for decision in decisions] == [True, False, False]
        statistics.send()
        assert stored() == {}


@pytest.mark.parametrize("error", [CounterUnavailable("away"), CounterConfigError("no rights")])
def test_what_was_surely_not_counted_is_sent_again(
    statistics: Statistics, error: CounterError, clock: Clock, name: str
) -> None:
    limit = RateLimit("1/h", name=name)
    for _ in range(3):
        limit.hit("a")
    outage.append(error)
    asked.clear()
    statistics.send()
    assert len(asked) == 1, "of an alias that is away, the others are not tried"
    limit.hit("a")
    statistics.send()
    outage.clear()
    statistics.send()
    assert stored() == {
        f"{{{name}}}:allowed:{minute(clock)}": 1,
        f"{{{name}}}:denied:{minute(clock)}": 3,
        f"{{{name}}}:identity:{digest('a')}": 3,
    }


@pytest.mark.parametrize(
    "error", [CounterOutcomeUnknown("increment", "a", 1), CounterTypeError("a list")]
)
def test_what_may_have_been_counted_is_not_sent_again(
    statistics: Statistics, error: CounterError, name: str
) -> None:
    RateLimit("1/h", name=name).hit("a")
    outage.append(error)
    statistics.send()
    outage.clear()
    statistics.send()
    assert stored() == {}


def test_of_what_is_sent_each_has_its_own_fate(
    statistics: Statistics, clock: Clock, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = RateLimit("1/h", name=name)
    for _ in range(2):
        limit.hit("a")

    def partly(values: dict[str, int], ttl: float) -> Any:
        first, *others = values
        error = CounterPartlyApplied({first: 1}, dict.fromkeys(others, CounterUnavailable("away")))
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(counters["default"], "multi_increment", partly)
        statistics.send()
    statistics.send()
    assert stored() == {
        f"{{{name}}}:denied:{minute(clock)}": 1,
        f"{{{name}}}:identity:{digest('a')}": 1,
    }


def test_one_alias_that_is_away_does_not_hold_another_up(statistics: Statistics, name: str) -> None:
    RateLimit("1/h", name=name, using="other").hit("a")
    RateLimit("1/h", name=name).hit("a")
    counters["other"].multi_increment = lambda *_: fail()  # type: ignore[method-assign]
    statistics.send()
    assert len(stored()) == 1
    assert stored("other") == {}


def fail() -> Any:
    raise CounterUnavailable("away")


def test_an_outage_is_logged_rarely_and_without_a_key(
    statistics: Statistics, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    RateLimit("1/h", name=name).hit("a")
    outage.append(CounterUnavailable(f"increment of {name}"))
    for _ in range(5):
        statistics.send()
    [record] = [each for each in caplog.records if each.name == LOGGER]
    assert record.getMessage() == "Statistics wait to be sent: CounterUnavailable"


def test_what_waits_is_bounded(
    statistics: Statistics, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_MINUTES", 3)
    monkeypatch.setattr(module, "MAX_IDENTITIES", 4)
    for number in range(5):
        limit = RateLimit("1/h", name=f"{name} {number}")
        for _ in range(3):
            limit.hit("a")
    outage.append(CounterUnavailable("away"))
    statistics.send()
    outage.clear()
    statistics.send()
    sent = stored()
    assert len([key for key in sent if ":identity:" in key]) == 4
    assert len(sent) == 3 + 4
    assert sent[f"{{{name} 0}}:identity:{digest('a')}"] == 2, "what is there already goes on"


def test_the_identities_denied_most_are_sent(
    statistics: Statistics, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SENT_IDENTITIES", 2)
    limit = RateLimit("1/h", name=name)
    for number, identity in enumerate("abcd"):
        for _ in range(2 + number):
            limit.hit(identity)
    statistics.send()
    sent = {key.rpartition(":")[2]: value for key, value in stored().items() if "identity" in key}
    assert sent == {digest("d"): 4, digest("c"): 3}


def test_other_settings_get_nothing_of_those_before(statistics: Statistics, name: str) -> None:
    RateLimit("1/h", name=name).hit("a")
    with override_settings(COUNTERS={"default": {"BACKEND": MEMORY}}):
        statistics.send()
        assert stored() == {}


def test_counters_of_tests_have_no_statistics(statistics: Statistics, name: str) -> None:
    with override_counters():
        RateLimit("1/h", name=name).hit("a")
        statistics.send()
        assert stored() == {}


def test_threads_at_once_lose_no_hit(statistics: Statistics, clock: Clock, name: str) -> None:
    limit = RateLimit("100000/h", name=name)
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda _: limit.hit("a"), range(400)):
            pass
        sending = [pool.submit(statistics.send) for _ in range(4)]
        hits = [pool.submit(limit.hit, "a") for _ in range(400)]
        for each in (*sending, *hits):
            each.result()
    statistics.send()
    assert stored() == {f"{{{name}}}:allowed:{minute(clock)}": 800}


# The thread.


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statistics]:
    """Statistics with a thread, and nothing left to do after it."""
    monkeypatch.setattr(module, "INTERVAL", 0.001)
    monkeypatch.setattr(module.atexit, "register", lambda function: None)
    monkeypatch.setattr(module.os, "register_at_fork", lambda **functions: None)
    statistics = Statistics()
    with override_settings(
        COUNTERS={"default": {"BACKEND": MEMORY, "MIDDLEWARE": [f"{__name__}.Failing"]}}
    ):
        yield statistics
        statistics.forget()
    outage.clear()


def test_a_thread_sends_what_comes_and_goes_on(running: Statistics, name: str) -> None:
    for number in (1, 2):
        running.minute("default", name, 0.0).allowed.add()
        wait_until(lambda number=number: counter.get(minute_key(name, True, 0)) == number)


def test_the_thread_tries_again_by_itself(running: Statistics, name: str) -> None:
    outage.append(CounterUnavailable("away"))
    asked.clear()
    running.minute("default", name, 0.0).allowed.add()
    wait_until(lambda: len(asked) > 2)
    outage.clear()
    wait_until(lambda: counter.get(minute_key(name, True, 0)) == 1)


def test_the_thread_ends_when_no_more_comes_and_comes_again(
    running: Statistics, clock: Clock, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_counter.ratelimit.limit.statistics", running)
    limit = RateLimit("100/h", name=name)
    with override_settings(RATE_LIMIT={"STATISTICS": True}):
        for _ in range(3):
            limit.hit("a")
            assert running._sender.running
            wait_until(lambda: not running._sender.running)
    assert counter.get(minute_key(name, True, minute(clock))) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_breaks_is_followed_by_another(
    running: Statistics, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(running._sender, "_send", lambda: 1 // 0)
        running.minute("default", name, 0.0).allowed.add()
        for thread in threading.enumerate():
            if thread.name == "django_counter statistics":
                thread.join(PATIENCE)
    assert not running._sender.running
    running.minute("default", name, 0.0).allowed.add()
    wait_until(lambda: counter.get(minute_key(name, True, 0)) == 2)


def test_without_a_thread_a_hit_is_decided_all_the_same(
    running: Statistics,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        running.minute("default", name, 0.0).allowed.add()
    assert "can't start new thread" in caplog.text
    running.minute("default", name, 0.0).allowed.add()
    wait_until(lambda: counter.get(minute_key(name, True, 0)) == 2)


def run(code: str, server: ServerProcess) -> None:
    """Run a program whose counters are on a server, its statistics on."""
    settings = f"""
import os, sys
from django.conf import settings
options = {{"SOCKET_TIMEOUT": 10, "SOCKET_CONNECT_TIMEOUT": 10}}
cache = {{"BACKEND": "django_redis.cache.RedisCache", "LOCATION": {server.url!r}}}
settings.configure(SECRET_KEY="s", CACHES={{"default": {{**cache, "OPTIONS": options}}}})
from django_counter.ratelimit import RateLimit
limit = RateLimit("1000/h", name=sys.argv[1])
"""
    subprocess.run(
        [sys.executable, "-c", settings + code, f"of {os.getpid()}"], check=True, timeout=60
    )


@pytest.fixture
def sent(valkey: ServerProcess) -> Iterator[Callable[[], int]]:
    """What tells how many hits the server was told of."""
    with redis.Redis(port=valkey.port) as client:

        def sum_up() -> int:
            keys = list(client.scan_iter(f"counter:statistics:{{of {os.getpid()}}}:allowed:*"))
            return sum(int(client.get(key) or 0) for key in keys)

        before = sum_up()
        yield lambda: sum_up() - before


def test_the_end_of_a_process_sends_the_rest(
    valkey: ServerProcess, sent: Callable[[], int]
) -> None:
    run("[limit.hit('a') for _ in range(7)]", valkey)
    assert sent() == 7


def test_a_forked_process_sends_its_own_and_nothing_of_its_parent(
    valkey: ServerProcess, sent: Callable[[], int]
) -> None:
    forking = """
[limit.hit('a') for _ in range(3)]
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    [limit.hit('a') for _ in range(20)]
"""
    run(forking, valkey)
    assert sent() == 23


def test_with_statistics_a_decision_is_still_one_command(
    on_valkey: RedisStore, clock: Clock, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Statistics, "_start", lambda self: None)
    statistics = Statistics()
    monkeypatch.setattr("django_counter.ratelimit.limit.statistics", statistics)
    limit = RateLimit("100/h", name=name)
    with override_settings(RATE_LIMIT={"STATISTICS": True}):
        limit.hit("a")
        before = calls(on_valkey)
        for _ in range(50):
            limit.hit("a")
        assert calls(on_valkey) - before == 50
        statistics.send()
        assert calls(on_valkey) - before == 51
    assert counter.get(minute_key(name, True, minute(clock))) == 51


def calls(store: RedisStore) -> int:
    """Return how many scripts were run on the server."""
    return int(store.client.info("commandstats")["cmdstat_evalsha"]["calls"])
