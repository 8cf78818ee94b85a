"""doctor: what it finds on healthy and on sick servers, and what it says to do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from django_counter import Counter, CounterUnavailable, counters
from django_counter.backends.redis import RedisCounter, checkup
from tests.clusters import FACTORY, Cluster
from tests.commands.runs import Manage, Run, call
from tests.contract.stores import server_cache
from tests.faults.watch import eventually
from tests.servers import ServerProcess, free_port, valkey_binary

MEMORY = "django_counter.backends.memory.MemoryCounter"
CHECKS = [
    "configuration",
    "database",
    "connection",
    "latency",
    "rights",
    "server",
    "persistence",
    "eviction",
    "memory",
    "replicas",
    "clock",
    "scripts",
    "ttl",
]


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without those of other tests, some of which have one name."""
    monkeypatch.setattr("django_counter.ratelimit.checks.declared_limits", list)


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    """A server to be spoilt."""
    with ServerProcess(valkey_binary(), appendonly="yes") as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture
def healthy(server: ServerProcess, settings: Any) -> None:
    use(settings, server.url)


def use(settings: Any, url: str, **options: str) -> None:
    cache = server_cache(url)
    cache["OPTIONS"] = {**cache["OPTIONS"], **options}
    settings.CACHES = {"counters": cache}
    settings.COUNTERS = {"default": {"OPTIONS": {"cache": "counters"}}}
    settings.RATE_LIMIT = {}


def use_restricted(
    settings: Any, server: ServerProcess, client: redis.Redis, *refused: str
) -> None:
    """Use a server as a user who may do all but some commands."""
    commands = ["+@all", *refused]
    client.acl_setuser("app", enabled=True, nopass=True, keys=["*"], commands=commands)
    use(settings, server.url.replace("//", "//app@"), PASSWORD="any")


def findings(*words: str) -> tuple[Run, dict[str, Any]]:
    run = call("doctor", "--format", "json", *words)
    return run, {each["check"]: each for each in json.loads(run.out)}


def found(check: str) -> tuple[str, str, str]:
    _, each = findings()
    return each[check]["status"], each[check]["found"], each[check]["advice"]


def test_a_healthy_server_passes_every_check(healthy: None, client: redis.Redis) -> None:
    run, each = findings()
    assert {name: one["status"] for name, one in each.items()} == dict.fromkeys(CHECKS, "ok")
    assert (run.code, run.err) == (0, "")
    assert list(counters["default"].scan()) == []
    assert "6 of 7 loaded" in each["scripts"]["found"]


@pytest.mark.parametrize("server_name", ["valkey", "redis_server"])
def test_it_examines_either_server_in_a_process(
    manage: Manage, request: pytest.FixtureRequest, server_name: str
) -> None:
    manage.environment["COUNTER_TEST_URL"] = request.getfixturevalue(server_name).url
    run = manage.on_terminal("doctor", "--no-color")
    assert run.code == 0
    assert "primary" in run.out
    assert "ok           connection     the server answers\r\n" in run.out
    # They share a database with the cache of their alias.
    assert "warning      database" in run.out
    assert "> Give the counters a cache with a database of their own." in run.out


def test_in_memory_what_is_of_a_server_is_skipped(settings: Any) -> None:
    settings.COUNTERS = {"default": {"BACKEND": MEMORY}}
    run, each = findings()
    assert run.code == 0
    assert list(each) == CHECKS
    assert each["eviction"]["status"] == "skipped"
    assert each["rights"]["status"] == "ok"
    assert "skipped      eviction" in call("doctor").out


class Derived(RedisCounter):
    pass


def test_the_server_of_a_derived_backend_is_examined(healthy: None, settings: Any) -> None:
    derived = {"BACKEND": f"{__name__}.Derived", "OPTIONS": {"cache": "counters"}}
    settings.COUNTERS = {"default": derived}
    assert found("eviction")[:2] == ("ok", "noeviction")


def test_eviction_is_a_problem(healthy: None, client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    run, each = findings()
    assert run.code == 4
    assert each["eviction"]["status"] == "problem"
    assert "allkeys-lru" in each["eviction"]["found"]
    assert "maxmemory-policy noeviction" in each["eviction"]["advice"]
    assert "there are problems" in run.err


def test_memory_that_runs_out_is_a_problem(healthy: None, client: redis.Redis) -> None:
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", used + 100_000)
    status, words, advice = found("memory")
    assert status == "problem"
    assert "left of" in words
    assert "maxmemory" in advice
    client.config_set("maxmemory", used + 500_000_000)
    assert found("memory")[0] == "ok"


def test_a_full_server_refuses_what_it_is_asked(healthy: None, client: redis.Redis) -> None:
    client.config_set("maxmemory", 1)
    status, words, advice = found("rights")
    assert status == "problem"
    assert "the server is at its maxmemory" in words
    assert advice == "Mend what the server says."


def test_without_an_aof_counters_may_be_lost(healthy: None, client: redis.Redis) -> None:
    client.config_set("appendonly", "no")
    status, words, _ = found("persistence")
    assert (status, "no AOF" in words) == ("warning", True)


def test_too_few_replicas_are_a_problem(
    healthy: None, server: ServerProcess, client: redis.Redis, settings: Any
) -> None:
    options = {"cache": "counters", "replicas": 1, "timeout": 0.25}
    settings.COUNTERS = {"default": {"OPTIONS": options}}
    _, each = findings()
    assert each["replicas"]["status"] == "problem"
    assert each["replicas"]["found"] == "0 connected, 1 must confirm a change"
    assert each["rights"]["status"] == "warning"
    assert each["rights"]["found"].startswith("cannot tell, not confirmed were set_if_not_exists")
    with ServerProcess(valkey_binary()) as other, redis.Redis(port=other.port) as replica:
        replica.replicaof("127.0.0.1", server.port)
        assert eventually(lambda: client.wait(1, 100) == 1)
        settings.COUNTERS = {"default": {"OPTIONS": options | {"timeout": 5}}}
        _, each = findings()
        assert each["replicas"]["found"] == "1 connected, 1 must confirm a change"
        assert {each[name]["status"] for name in ("rights", "replicas")} == {"ok"}


def test_a_replica_is_a_problem(healthy: None, client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", 1)
    run, each = findings()
    assert run.code == 4
    assert "a replica" in each["server"]["found"]
    assert each["rights"]["status"] == "problem"


def test_budgets_without_a_ttl_are_a_problem(healthy: None) -> None:
    for number in range(3):
        counters["default"].set(f"limit:login:{number}", 1)
    counters["default"].set("limit:login:ends", 1, 60)
    counters["default"].set("credits", 1)
    status, words, advice = found("ttl")
    assert status == "problem"
    assert words.count("'limit:login:") == 3
    assert "ends" not in words
    assert "more" not in words
    assert "counter delete" in advice
    counters["default"].set("limit:login:4", 1)
    assert "and more" in found("ttl")[1]


def test_a_server_that_is_away_is_exit_code_5(settings: Any) -> None:
    use(settings, "redis://127.0.0.1:1/0")
    run, each = findings()
    assert run.code == 5
    assert list(each) == ["configuration", "database", "connection"]
    assert each["connection"]["status"] == "unreachable"
    assert "the server cannot be reached" in run.err


def test_options_of_tls_without_it_are_a_problem_and_all_that_is_told(settings: Any) -> None:
    use(settings, "redis://127.0.0.1:2/0", CONNECTION_POOL_KWARGS={"ssl_ca_certs": "/nowhere"})
    run, each = findings()
    assert run.code == 4
    assert list(each) == ["configuration", "database", "connection"]
    assert "ssl_ca_certs" in each["connection"]["found"]


def test_settings_that_cannot_be_composed_are_a_problem(settings: Any) -> None:
    settings.COUNTERS = {"default": {"OPTIONS": {"cach": "default"}}}
    run, each = findings()
    assert run.code == 4
    assert each["configuration"]["status"] == "problem"
    assert "unknown option 'cach'" in each["connection"]["found"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"COUNTERS": []}, "COUNTERS must be a dict, not list"),
        ({"COUNTERS": {"default": {"OPTIONS": {"cache": None}}}}, "CACHES has no cache None"),
        ({"CACHES": {"default": server_cache("")}}, "has no LOCATION"),
    ],
)
def test_settings_that_are_wrong_end_in_no_traceback(
    settings: Any, changes: dict[str, Any], words: str
) -> None:
    settings.COUNTERS = {"default": {}}
    for name, value in changes.items():
        setattr(settings, name, value)
    run = call("doctor", "--format", "json")
    assert run.code == 4
    first = json.loads(run.out)[0]
    assert (first["check"], first["status"]) == ("configuration", "problem")
    assert words in first["found"]


def test_a_check_that_fails_is_a_problem(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def declared_limits() -> None:
        raise ModuleNotFoundError("nowhere")

    settings.COUNTERS = {"default": {"BACKEND": MEMORY}}
    settings.DEBUG = True
    monkeypatch.setattr("django_counter.ratelimit.checks.declared_limits", declared_limits)
    run, each = findings()
    assert run.code == 4
    assert each["configuration"]["found"] == "the checks end in ModuleNotFoundError"
    assert each["rights"]["status"] == "ok"


def test_a_wrong_password_is_a_problem_and_not_shown(
    settings: Any, server: ServerProcess, client: redis.Redis
) -> None:
    client.config_set("requirepass", "right")
    use(settings, server.url, PASSWORD="planted-secret")
    run, each = findings()
    assert run.code == 4
    assert each["connection"]["status"] == "problem"
    assert "credentials" in each["connection"]["found"]
    assert list(each)[-1] == "connection", "nothing is said of what nobody could look at"
    assert "planted-secret" not in run.out + run.err


def test_rights_that_are_missing_are_named(
    settings: Any, server: ServerProcess, client: redis.Redis
) -> None:
    use_restricted(settings, server, client, "-incrby", "-info", "-time")
    run, each = findings()
    assert run.code == 4
    assert each["rights"]["status"] == "problem"
    assert each["rights"]["found"].startswith("increment")
    assert "ACL does not let" in each["rights"]["found"]
    assert "docs/commands.md" in each["rights"]["advice"]
    assert each["eviction"]["found"] == "cannot tell: no right to INFO"
    assert each["clock"]["found"] == "cannot tell: no right to TIME"


def test_without_the_right_to_read_the_other_rights_are_told(
    settings: Any, server: ServerProcess, client: redis.Redis
) -> None:
    use_restricted(settings, server, client, "-get")
    _, each = findings()
    assert each["connection"]["status"] == "problem"
    assert "ACL does not let" in each["connection"]["found"]
    assert "get" in each["rights"]["found"]


@pytest.mark.parametrize(
    "refused",
    [
        ["-del"],
        ["-set", "-del"],
        ["-evalsha", "-eval", "-del"],
        ["-set", "-evalsha", "-eval", "-del"],
        ["-pttl", "-del"],
    ],
    ids=" ".join,
)
def test_whatever_it_may_not_do_it_leaves_nothing_without_a_ttl(
    settings: Any, server: ServerProcess, client: redis.Redis, refused: list[str]
) -> None:
    use_restricted(settings, server, client, *refused)
    status, words, _ = found("rights")
    assert status == "problem"
    assert "delete" in words
    assert [key for key in client.scan_iter() if client.pttl(key) == -1] == []


def test_what_was_not_tried_is_said(
    settings: Any, server: ServerProcess, client: redis.Redis
) -> None:
    use_restricted(settings, server, client, "-set", "-evalsha", "-eval")
    assert "not tried: increment, decrement" in found("rights")[1]


def test_without_the_right_to_scan_the_ttls_cannot_be_told(
    settings: Any, server: ServerProcess, client: redis.Redis
) -> None:
    use_restricted(settings, server, client, "-scan")
    assert found("ttl")[1].startswith("cannot tell: scan")


def test_the_rights_in_the_documentation_are_enough(
    settings: Any, server: ServerProcess, client: redis.Redis
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    rule = next(line for line in text.splitlines() if line.startswith("ACL SETUSER"))
    words = rule.replace(">PASSWORD", "nopass").split()
    client.execute_command(*words)
    use(settings, server.url.replace("//", "//counters@"), PASSWORD="any")
    _, each = findings()
    assert {name: one["status"] for name, one in each.items()} == dict.fromkeys(CHECKS, "ok")


# What no server here is brought to say.


@pytest.mark.parametrize(
    ("check", "information", "status", "words"),
    [
        ("server", {"redis_version": "6.0.16", "role": "master"}, "problem", "redis 6.0.16"),
        ("server", {"redis_version": "8.2.1"}, "ok", "redis 8.2.1, primary"),
        ("persistence", {"loading": 1}, "problem", "loading"),
        ("persistence", {"rdb_last_bgsave_status": "err"}, "problem", "snapshot failed"),
        ("persistence", {"aof_last_write_status": "err"}, "problem", "AOF failed"),
        ("eviction", {}, "warning", "cannot tell"),
    ],
)
def test_what_info_says_is_judged(
    check: str, information: dict[str, Any], status: str, words: str
) -> None:
    answer = checkup.FROM_INFORMATION[check](information)
    assert answer[0] == status
    assert words in answer[1]


def test_a_clock_that_is_off_is_a_warning(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "time", lambda: 1000.0)
    status, _, advice = found("clock")
    assert status == "warning"
    assert "NTP" in advice


@pytest.mark.parametrize(
    ("error", "words"),
    [(redis.ResponseError("x"), "an error"), (redis.ConnectionError("redis://:x@y"), "no answer")],
)
def test_other_failures_are_told_without_their_words(
    healthy: None, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def time(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(redis.Redis, "time", time)
    assert found("clock") == ("warning", f"cannot tell: {words} to TIME", "Try again.")


def test_an_outage_after_the_connection_is_seen(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def multi_get(keys: list[str]) -> dict[str, int]:
        raise CounterUnavailable("multi_get of 'key': the server did not answer")

    monkeypatch.setattr(counter, "multi_get", multi_get)
    assert found("rights")[1] == "multi_get: the server did not answer"


def use_cluster(settings: Any, location: list[str], **options: str) -> None:
    use(settings, "", CONNECTION_FACTORY=FACTORY, **options)
    settings.CACHES["counters"]["LOCATION"] = location


def of_connection() -> tuple[int, list[str]]:
    """Return the exit code, and what is said of the connection, last of all."""
    run = call("doctor", "--format", "json")
    checks = [(each["check"], each["found"]) for each in json.loads(run.out)]
    assert checks[-1][0] == "connection"
    return run.code, [found for check, found in checks if check == "connection"]


@pytest.mark.heavy
def test_of_a_cluster_it_examines_each_primary(settings: Any, cluster: Cluster) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    use_cluster(settings, [nowhere, *cluster.location])
    run = call("doctor", "--format", "json")
    found = [each["found"] for each in json.loads(run.out) if each["check"] == "eviction"]
    assert sorted(found) == sorted(
        f"127.0.0.1:{node.port}: noeviction" for node in cluster.masters()
    )
    counters["default"].close()


@pytest.fixture
def lame() -> Iterator[tuple[Cluster, str]]:
    """A cluster whose first third of the slots is gone, and the address of what had them."""
    with Cluster(valkey_binary(), node_timeout=1000) as cluster:
        first = cluster.masters()[0]
        cluster.replica_of(first).kill()
        first.kill()
        yield cluster, f"127.0.0.1:{first.port}"


def left(cluster: Cluster) -> list[ServerProcess]:
    """Return the nodes that still run."""
    return [node for node in cluster.nodes if node.process]


@pytest.mark.heavy
def test_a_cluster_that_is_down_is_told_with_what_is_missing(
    settings: Any, lame: tuple[Cluster, str]
) -> None:
    cluster, place = lame
    assert eventually(lambda: not any(map(cluster.is_well, left(cluster))))
    use_cluster(settings, cluster.location)
    code, found = of_connection()
    assert code == 5
    assert len(found) == 3
    gone = f"{place} with the slots 0-5460: the server cannot be reached at {place}"
    assert [each for each in found if "the cluster is down" not in each] == [gone]


@pytest.mark.heavy
def test_of_a_cluster_that_goes_on_without_a_part_this_is_told(
    settings: Any, lame: tuple[Cluster, str]
) -> None:
    cluster, place = lame
    for node in left(cluster):
        node.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
    assert eventually(lambda: all(map(cluster.is_well, left(cluster))))
    use_cluster(settings, cluster.location)
    gone = f"{place} with the slots 0-5460: the server cannot be reached at {place}"
    assert of_connection() == (5, [gone])


@pytest.fixture
def node() -> Iterator[ServerProcess]:
    """A cluster of one node, without slots yet."""
    options = {"cluster_enabled": "yes", "cluster_port": str(free_port())}
    with ServerProcess(valkey_binary(), cluster_require_full_coverage="no", **options) as node:
        yield node


def give(node: ServerProcess, *ranges: int) -> None:
    """Give ranges of slots to a node, and wait until it serves them."""
    node.command("CLUSTER", "ADDSLOTSRANGE", *ranges)
    assert eventually(lambda: b"cluster_state:ok" in node.command("CLUSTER", "INFO"))


def test_slots_that_no_node_has_are_named(settings: Any, node: ServerProcess) -> None:
    give(node, 0, 99, 101, 16380)
    use_cluster(settings, [node.url])
    missing = "no node with the slots 100-100, 16381-16383: the cluster is down"
    assert of_connection() == (5, [missing])


def test_slots_that_the_prefix_keeps_all_counters_from_are_not_missed(
    settings: Any, node: ServerProcess
) -> None:
    slot = key_slot(b"{shop}")
    give(node, slot, slot)
    use_cluster(settings, [node.url])
    settings.COUNTERS["default"]["KEY_PREFIX"] = "{shop}"
    assert call("doctor").code == 0


def test_without_the_right_to_ask_for_the_slots_that_is_told(
    settings: Any, node: ServerProcess
) -> None:
    give(node, 0, 16383)
    node.command("ACL", "SETUSER", "app", "on", "nopass", "~*", "+@all", "-cluster|slots")
    use_cluster(settings, [node.url.replace("//", "//app@")], PASSWORD="any")
    run, each = findings()
    assert run.code == 4
    assert "ACL does not let" in each["connection"]["found"]
    assert each["eviction"]["status"] == "skipped"
