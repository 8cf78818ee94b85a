"""The settings and the rights that docs/guarantees.md recommends work on real servers."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks

from django_counter import CounterConfigError
from django_counter.backends.redis import RedisCounter
from tests.clusters import Cluster
from tests.faults.operations import ALL, Caller, make
from tests.faults.watch import admin_of, patiently
from tests.sentinels import Watched
from tests.servers import ServerProcess
from tests.test_docs import ROOT, blocks

pytest_plugins = ["tests.faults.fixtures"]

PAGE = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
WAYS = ["one node", "Unix socket", "Sentinel", "cluster", "TLS"]
SECRET = "planted-secret"


def settings_of(way: str) -> dict[str, Any]:
    """Return the names that a block of the page defines."""
    python = [block.code for block in blocks(PAGE) if block.language == "python"]
    names: dict[str, Any] = {}
    exec(dict(zip(WAYS, python, strict=True))[way], names)
    return names


@pytest.mark.parametrize("way", WAYS)
def test_the_settings_pass_the_checks(way: str, settings: Any) -> None:
    names = settings_of(way)
    settings.CACHES, settings.COUNTERS = names["CACHES"], names["COUNTERS"]
    assert run_checks(tags=["counters"]) == []


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`place(way, cache)` puts servers of the suite in place of those of the page."""

    def place(way: str, cache: dict[str, Any]) -> None:
        server = request.getfixturevalue
        if way == "one node":
            cache["LOCATION"] = server("valkey").url
        elif way == "Unix socket":
            path = str(server("valkey").unix_socket)
            cache["LOCATION"] = cache["LOCATION"].replace("/run/redis/redis.sock", path)
        elif way == "Sentinel":
            watched = server("watched")
            watched.promote(watched.first)
            cache["OPTIONS"]["SENTINELS"] = [("127.0.0.1", watched.sentinel.port)]
        elif way == "cluster":
            nodes: Cluster = server("cluster")
            cache["LOCATION"] = nodes.location[:2]
        else:
            cache["LOCATION"] = f"rediss://127.0.0.1:{server('tls_port')}/0"
            root = str(server("authority").root)
            cache["OPTIONS"]["CONNECTION_POOL_KWARGS"]["ssl_ca_certs"] = root

    return place


@pytest.mark.parametrize("way", WAYS)
def test_the_settings_connect(
    call: Caller, make_counter: Callable[..., RedisCounter], place: Callable[..., Any], way: str
) -> None:
    cache = settings_of(way)["CACHES"]["counters"]
    place(way, cache)
    counter = make_counter(cache["LOCATION"], timeout=10, **cache["OPTIONS"])
    patiently(lambda: call(counter, "scan"))  # connects to all, which has a time of its own
    for operation in ALL.values():
        call(counter, "set", "key", 10)
        assert make(call, counter, operation) == operation.result
        call(counter, "delete", "other")


def rules() -> list[str]:
    """Return the rules of the user that the page recommends, but for the name and password."""
    [line] = [line for line in PAGE.splitlines() if line.startswith("ACL SETUSER")]
    return line.split()[5:]


# The connections of make_counter() have names.
def allow(server: ServerProcess, counter: RedisCounter, rules: list[str]) -> None:
    """Let a user called "counters" do so much, to the keys of one counter."""
    known = [rule.replace("~counter:", f"~{counter.alias}:") for rule in rules]
    with admin_of(server) as admin:
        admin.execute_command(
            "ACL", "SETUSER", "counters", "reset", "on", f">{SECRET}", *known, "+client|setname"
        )
        admin.script_flush()


def use(call: Caller, counter: RedisCounter) -> None:
    """Do all that a counter can."""
    for operation in ALL.values():
        call(counter, "set", "key", 10)
        assert make(call, counter, operation) == operation.result
        call(counter, "delete", "other")
    assert call(counter, "increment", "once", idempotency_key="order-17") == 1


@pytest.fixture
def limited_user(
    make_counter: Callable[..., RedisCounter], own_server: ServerProcess
) -> RedisCounter:
    return make_counter(own_server.url, USERNAME="counters", PASSWORD=SECRET)


def test_the_rights_are_enough(
    call: Caller, limited_user: RedisCounter, own_server: ServerProcess
) -> None:
    allow(own_server, limited_user, rules())
    use(call, limited_user)


def test_an_increment_that_needs_no_get_asks_for_no_right_to_it(
    call: Caller, limited_user: RedisCounter, own_server: ServerProcess
) -> None:
    """Refused behind the change, it would be reported as not applied."""
    allow(own_server, limited_user, [*rules(), "-get"])
    assert [call(limited_user, "increment", "key", 1, 60) for _ in range(2)] == [1, 2]


def test_replicas_need_the_right_named_for_them(
    call: Caller, make_counter: Callable[..., RedisCounter], watched: Watched
) -> None:
    watched.promote(watched.first)
    counter = make_counter(watched.first.url, replicas=1, USERNAME="counters", PASSWORD=SECRET)
    allow(watched.first, counter, rules())
    with pytest.raises(CounterConfigError, match="WAIT"):
        use(call, counter)
    allow(watched.first, counter, [*rules(), "+wait"])
    patiently(lambda: call(counter, "delete", "key"))  # once the other one follows
    use(call, counter)


def test_each_of_the_rights_is_needed(
    limited_user: RedisCounter, own_server: ServerProcess
) -> None:
    for rule in (rule for rule in rules() if rule.startswith("+")):
        allow(own_server, limited_user, [each for each in rules() if each != rule])
        with pytest.raises(CounterConfigError):
            use(Caller(None), limited_user)
        limited_user.close()


def test_a_cluster_needs_the_rights_named_for_it(
    make_counter: Callable[..., RedisCounter], cluster: Cluster
) -> None:
    counter = make_counter(cluster.location, USERNAME="counters", PASSWORD=SECRET)
    for node in cluster.nodes:
        allow(node, counter, [*rules(), "+cluster|slots", "+asking"])
    use(Caller(None), counter)
    asyncio.run(counter.aclose())
