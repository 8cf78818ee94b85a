"""Servers that answer with an error: each is the exception that says what may be concluded."""

import contextlib
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import redis

from django_counter import CounterConfigError, CounterError, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from tests.faults.operations import ALL, CHANGING, Caller, Operation, make
from tests.faults.watch import admin_of, eventually
from tests.servers import ServerProcess, free_port, redis_binary, valkey_binary

pytest_plugins = ["tests.faults.fixtures"]

SECRET = "planted-secret"
every_change = pytest.mark.parametrize("change", CHANGING.values(), ids=CHANGING.keys())


@pytest.fixture(scope="module", params=["valkey", "redis-server"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server whose state these tests change and mend."""
    binary = valkey_binary() if request.param == "valkey" else redis_binary()
    if binary is None:
        pytest.skip("redis-server is not installed")
    with ServerProcess(binary, dbfilename="dump.rdb", busy_reply_threshold="1") as server:
        yield server


@pytest.fixture
def chief(server: ServerProcess) -> Iterator[redis.Redis]:
    """A client of that server, connected before its state changes."""
    with admin_of(server) as client:
        client.ping()
        yield client
        client.replicaof("NO", "ONE")


@pytest.fixture
def counter(make_counter: Callable[..., RedisCounter], server: ServerProcess) -> RedisCounter:
    return make_counter(server.url)


class State(NamedTuple):
    """Settings that bring a server into a state, and out of it."""

    settings: dict[str, str | int]
    usual: dict[str, str | int]
    cause: type[Exception]
    words: str


STATES = {
    "out of memory": State(
        {"maxmemory": 1}, {"maxmemory": 0}, redis.exceptions.OutOfMemoryError, "maxmemory"
    ),
    "too few replicas": State(
        {"min-replicas-to-write": 1},
        {"min-replicas-to-write": 0},
        redis.exceptions.ResponseError,
        "too few replicas",
    ),
}


@pytest.fixture(params=STATES.values(), ids=STATES.keys())
def state(request: pytest.FixtureRequest, chief: redis.Redis) -> Iterator[State]:
    state = request.param
    yield state
    for name, value in state.usual.items():
        chief.config_set(name, value)


def enter(chief: redis.Redis, state: State) -> None:
    for name, value in state.settings.items():
        chief.config_set(name, value)


@pytest.mark.fault("out of memory", "too few replicas")
@pytest.mark.parametrize(
    "change", [CHANGING["increment"], CHANGING["take"]], ids=["plain", "script"]
)
def test_a_server_that_refuses_writes_is_unavailable_until_it_is_well(
    call: Caller, counter: RedisCounter, chief: redis.Redis, state: State, change: Operation
) -> None:
    call(counter, "set", "key", 10)
    enter(chief, state)
    with pytest.raises(CounterUnavailable, match=state.words) as caught:
        make(call, counter, change)
    assert isinstance(caught.value.__cause__, state.cause)
    for name, value in state.usual.items():
        chief.config_set(name, value)
    assert make(call, counter, change) == change.result


@pytest.mark.fault("out of memory", "too few replicas")
def test_a_server_that_refuses_writes_is_read(
    call: Caller, counter: RedisCounter, chief: redis.Redis, state: State
) -> None:
    call(counter, "set", "key", 10)
    enter(chief, state)
    assert call(counter, "get", "key") == 10
    assert call(counter, "entry", "key") == ("key", 10, None)


@pytest.mark.fault("cannot save")
def test_a_server_that_cannot_save_is_unavailable(
    call: Caller, counter: RedisCounter, server: ServerProcess, chief: redis.Redis
) -> None:
    call(counter, "get", "key")
    dump = server.folder / "dump.rdb"
    dump.mkdir()
    chief.config_set("save", "3600 1")
    try:
        chief.bgsave()
        assert eventually(lambda: chief.info("persistence")["rdb_last_bgsave_status"] == "err")
        with pytest.raises(CounterUnavailable, match="save to disk"):
            call(counter, "increment", "key")
    finally:
        dump.rmdir()
        chief.config_set("save", "")


@pytest.mark.fault("read-only replica")
@every_change
def test_a_read_only_replica_is_unavailable_and_works_once_promoted(
    call: Caller, counter: RedisCounter, chief: redis.Redis, change: Operation
) -> None:
    call(counter, "set", "key", 10)
    chief.replicaof("127.0.0.1", free_port())
    with pytest.raises(CounterUnavailable, match="read-only") as caught:
        make(call, counter, change)
    assert isinstance(caught.value.__cause__, redis.exceptions.ReadOnlyError)
    chief.replicaof("NO", "ONE")
    assert make(call, counter, change) == change.result


@pytest.mark.fault("replica cut off")
def test_a_replica_that_is_cut_off_is_unavailable(
    call: Caller, counter: RedisCounter, chief: redis.Redis
) -> None:
    call(counter, "get", "key")
    chief.config_set("replica-serve-stale-data", "no")
    chief.replicaof("127.0.0.1", free_port())
    try:
        with pytest.raises(CounterUnavailable, match="cut off"):
            call(counter, "get", "key")
    finally:
        chief.config_set("replica-serve-stale-data", "yes")


@pytest.mark.fault("busy with a script")
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not connected"])
def test_a_server_busy_with_a_script_is_unavailable(
    call: Caller,
    counter: RedisCounter,
    server: ServerProcess,
    chief: redis.Redis,
    connected: bool,
) -> None:
    if connected:
        call(counter, "get", "key")

    def loop_for_ever() -> None:
        with admin_of(server) as client, contextlib.suppress(redis.ResponseError):
            client.eval("while true do end", 0)

    thread = threading.Thread(target=loop_for_ever)
    thread.start()
    try:
        assert eventually(lambda: is_busy(chief))
        with pytest.raises(CounterUnavailable, match="busy"):
            call(counter, "increment", "key")
    finally:
        chief.script_kill()
        thread.join()
    assert call(counter, "increment", "key") == 1


def is_busy(chief: redis.Redis) -> bool:
    try:
        chief.ping()
    except redis.ResponseError:
        return True
    return False


@pytest.mark.fault("too many clients")
def test_a_server_at_its_maxclients_is_unavailable(
    call: Caller, counter: RedisCounter, chief: redis.Redis
) -> None:
    before = chief.config_get("maxclients")["maxclients"]
    chief.config_set("maxclients", 1)
    try:
        with pytest.raises(CounterUnavailable):
            call(counter, "increment", "key")
    finally:
        chief.config_set("maxclients", before)
    assert call(counter, "increment", "key") == 1


@pytest.mark.fault("loading")
def test_a_server_that_loads_its_data_is_unavailable(
    call: Caller, make_counter: Callable[..., RedisCounter], server_binary: str
) -> None:
    slow = {"key_load_delay": "2000", "loading_process_events_interval_bytes": "1024"}
    with ServerProcess(server_binary) as server:
        with admin_of(server) as client:
            client.mset({f"key-{number}": number for number in range(20_000)})
            client.save()
        server.stop()
        server.options |= slow
        server.start()
        with pytest.raises(CounterUnavailable, match="loading") as caught:
            call(make_counter(server.url), "increment", "key")
    assert isinstance(caught.value.__cause__, redis.exceptions.BusyLoadingError)


@pytest.mark.fault("no such database")
def test_a_database_out_of_range_is_a_configuration_error(
    call: Caller, make_counter: Callable[..., RedisCounter], server: ServerProcess
) -> None:
    with pytest.raises(CounterConfigError, match="database"):
        call(make_counter(f"redis://127.0.0.1:{server.port}/99"), "increment", "key")


CREDENTIALS = {
    "missing": {},
    "wrong": {"PASSWORD": f"not-the-{SECRET}"},
    "of no user": {"USERNAME": "nobody", "PASSWORD": f"not-the-{SECRET}"},
}


@pytest.mark.fault("wrong credentials")
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS.keys())
def test_wrong_credentials_are_a_configuration_error(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    server: ServerProcess,
    chief: redis.Redis,
    credentials: dict[str, str],
    protocol: int,
) -> None:
    chief.config_set("requirepass", SECRET)
    try:
        counter = make_counter(
            server.url, CONNECTION_POOL_KWARGS={"protocol": protocol}, **credentials
        )
        with pytest.raises(CounterConfigError, match="credentials") as caught:
            call(counter, "increment", "key")
    finally:
        chief.config_set("requirepass", "")
    check_no_secret(caught.value)


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_right_password_opens_the_server(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    server: ServerProcess,
    chief: redis.Redis,
    protocol: int,
) -> None:
    chief.config_set("requirepass", SECRET)
    try:
        counter = make_counter(
            server.url, PASSWORD=SECRET, CONNECTION_POOL_KWARGS={"protocol": protocol}
        )
        assert call(counter, "increment", "key") == 1
    finally:
        chief.config_set("requirepass", "")


RIGHTS = {
    "of no command": (["-@all", "+hello", "+client", "+ping"], "increment", ["key"]),
    "of no script": (["+@all", "-evalsha", "-eval"], "increment", ["key", 1, 60]),
    "of no command in a script": (["+@all", "-incrby"], "increment", ["key", 1, 60]),
    "of no key": (["+@all", "resetkeys", "~elsewhere:*"], "get", ["key"]),
}


@pytest.mark.fault("missing rights")
@pytest.mark.parametrize("rights", RIGHTS.values(), ids=RIGHTS.keys())
def test_missing_rights_are_a_configuration_error(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    server: ServerProcess,
    chief: redis.Redis,
    rights: tuple[list[str], str, list[Any]],
) -> None:
    rules, operation, arguments = rights
    chief.execute_command("ACL", "SETUSER", "app", "reset", "on", f">{SECRET}", "~*", *rules)
    counter = make_counter(server.url, USERNAME="app", PASSWORD=SECRET)
    chief.incr(f"{counter.alias}:key")
    with pytest.raises(CounterConfigError, match="ACL") as caught:
        call(counter, operation, *arguments)
    check_no_secret(caught.value)


def test_a_call_whose_token_may_not_be_stored_is_not_applied(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    server: ServerProcess,
    chief: redis.Redis,
) -> None:
    rules = ["~*", "+@all", "-set"]
    chief.execute_command("ACL", "SETUSER", "app", "reset", "on", f">{SECRET}", *rules)
    counter = make_counter(server.url, USERNAME="app", PASSWORD=SECRET)
    with pytest.raises(CounterConfigError, match="ACL"):
        call(counter, "increment", "key", idempotency_key="order 17")
    assert call(counter, "get", "key") == 0


def test_a_repeat_is_answered_by_a_server_that_refuses_writes(
    call: Caller, counter: RedisCounter, chief: redis.Redis, state: State
) -> None:
    assert call(counter, "increment", "key", idempotency_key="order 17") == 1
    enter(chief, state)
    assert call(counter, "increment", "key", idempotency_key="order 17") == 1
    with pytest.raises(CounterUnavailable, match=state.words):
        call(counter, "increment", "key", idempotency_key="order 18")


@pytest.mark.fault("no HELLO")
@pytest.mark.parametrize("operation", ["increment", "get"])
def test_a_server_without_hello_is_a_configuration_error_that_keeps_the_password(
    call: Caller, make_counter: Callable[..., RedisCounter], server_binary: str, operation: str
) -> None:
    with ServerProcess(server_binary, requirepass=SECRET, rename_command='HELLO ""') as server:
        counter = make_counter(server.url, PASSWORD=SECRET, CONNECTION_POOL_KWARGS={"protocol": 3})
        with pytest.raises(CounterConfigError) as caught:
            call(counter, operation, "key")
    check_no_secret(caught.value)


def test_an_unreachable_server_keeps_the_password(
    call: Caller, make_counter: Callable[..., RedisCounter]
) -> None:
    counter = make_counter(f"redis://user:{SECRET}@127.0.0.1:{free_port()}/0")
    with pytest.raises(CounterUnavailable) as caught:
        call(counter, "increment", "key")
    check_no_secret(caught.value)


def check_no_secret(error: CounterError) -> None:
    shown = [str(error), repr(error), "".join(traceback.format_exception(error))]
    assert not any(SECRET in each for each in shown)


@pytest.mark.fault("scripts forgotten")
@every_change
def test_a_flushed_script_cache_is_not_noticed(
    call: Caller, counter: RedisCounter, chief: redis.Redis, change: Operation
) -> None:
    call(counter, "set", "key", 10)
    chief.script_flush()
    assert make(call, counter, change) == change.result


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decoded", [False, True], ids=["bytes", "decode_responses"])
def test_all_operations_work_whatever_the_alias_says_of_replies(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    server: ServerProcess,
    protocol: int,
    decoded: bool,
) -> None:
    options = {"protocol": protocol, "decode_responses": decoded}
    check_all(call, make_counter(server.url, CONNECTION_POOL_KWARGS=options))


def test_all_operations_work_over_a_unix_socket(
    call: Caller, make_counter: Callable[..., RedisCounter], server: ServerProcess
) -> None:
    check_all(call, make_counter(f"unix://{server.unix_socket}?db=0"))


def check_all(call: Caller, counter: RedisCounter) -> None:
    for operation in ALL.values():
        call(counter, "set", "key", 10)
        assert make(call, counter, operation) == operation.result
        call(counter, "delete", "other")
