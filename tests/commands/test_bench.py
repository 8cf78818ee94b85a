"""bench: what it measures, and that it leaves nothing."""

import json
from typing import Any

import pytest
import redis

from django_counter import Counter, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from django_counter.management.verbs import bench
from tests.clusters import Cluster
from tests.commands.runs import Manage, call
from tests.contract.stores import cluster_cache

MEMORY = "django_counter.backends.memory.MemoryCounter"
WAYS = pytest.mark.parametrize("way", [(), ("--threads", "3"), ("--async",)], ids=" ".join)


def clients(out: str) -> list[str]:
    rows = json.loads(out)
    for row in rows:
        assert row["per_second"] > 0
        assert 0 < row["p50_us"] <= row["p90_us"] <= row["p99_us"]
    return [row["client"] for row in rows]


@WAYS
def test_it_measures_both_clients_and_leaves_no_counter(
    counter: Counter, way: tuple[str, ...]
) -> None:
    run = call("bench", "--seconds", "0.12", "--format", "json", *way)
    assert (run.code, run.err) == (0, "")
    assert clients(run.out) == ["django-counter", "redis-py"]
    assert list(counter.scan()) == []


@WAYS
def test_in_memory_there_is_no_redis_py(settings: Any, way: tuple[str, ...]) -> None:
    settings.COUNTERS = {"default": {"BACKEND": MEMORY}}
    run = call("bench", "--seconds", "0.02", "--format", "json", *way)
    assert clients(run.out) == ["django-counter"]


class Derived(RedisCounter):
    pass


def test_a_derived_backend_is_measured_beside_redis_py(counter: Counter, settings: Any) -> None:
    settings.COUNTERS = {"default": {"BACKEND": f"{__name__}.Derived"}}
    run = call("bench", "--seconds", "0.02", "--format", "json")
    assert clients(run.out) == ["django-counter", "redis-py"]


def test_a_table_has_whole_numbers_and_a_bar_runs_meanwhile(manage: Manage) -> None:
    run = manage.on_terminal("bench", "--seconds", "0.3")
    assert run.code == 0
    assert "measuring" in run.out
    assert "redis-py" in run.out


@pytest.mark.parametrize("way", [(), ("--async",)])
def test_an_outage_ends_it(counter: Counter, monkeypatch: Any, way: tuple[str, ...]) -> None:
    def increment(key: str) -> int:
        raise CounterUnavailable("gone")

    async def aincrement(key: str) -> int:
        raise CounterUnavailable("gone")

    monkeypatch.setattr(counter, "increment", increment)
    monkeypatch.setattr(counter, "aincrement", aincrement)
    run = call("bench", "--seconds", "5", *way)
    assert (run.code, run.out) == (5, "")
    assert "gone" in run.err


@pytest.mark.parametrize("way", [(), ("--async",)])
def test_a_server_that_dies_is_told_and_keeps_nothing_for_ever(
    counter: Counter, raw: redis.Redis, key_prefix: str, monkeypatch: Any, way: tuple[str, ...]
) -> None:
    increment = counter.increment

    def dies(key: str) -> int:
        increment(key)
        monkeypatch.setattr(counter, "delete", away)
        raise CounterUnavailable("it has died")

    async def adies(key: str) -> int:
        return dies(key)

    def away(key: str) -> None:
        raise CounterUnavailable("it is dead")

    monkeypatch.setattr(counter, "increment", dies)
    monkeypatch.setattr(counter, "aincrement", adies)
    run = call("bench", "--seconds", "5", *way)
    assert run.code == 5
    assert "it has died" in run.err
    left = list(raw.scan_iter(f"{key_prefix}:bench:*"))
    assert len(left) == 2
    assert all(0 < raw.ttl(name) <= 610 for name in left)


def test_a_failure_of_redis_py_is_said_without_its_words(
    counter: Counter, monkeypatch: Any
) -> None:
    def driver_increment(cache: str, name: str) -> Any:
        raise redis.ConnectionError("redis://:secret@somewhere")

    monkeypatch.setattr(bench, "driver_increment", driver_increment)
    run = call("bench", "--seconds", "0.01")
    assert run.code == 5
    assert "redis-py failed: ConnectionError" in run.err
    assert "secret" not in run.err
    assert list(counter.scan()) == []


@pytest.mark.heavy
@WAYS
def test_a_cluster_is_measured_by_synchronous_calls(
    settings: Any, cluster: Cluster, way: tuple[str, ...]
) -> None:
    settings.CACHES = {"counters": cluster_cache(cluster)}
    settings.COUNTERS = {"default": {"OPTIONS": {"cache": "counters"}}}
    run = call("bench", "--seconds", "0.12", "--format", "json", *way)
    if "--async" in way:
        assert run.code == 1
        assert "measure it without --async" in run.err
    else:
        assert clients(run.out) == ["django-counter", "redis-py"]
