"""How often an operation asks a server: once."""

from collections.abc import Callable

import pytest

from django_counter.base import Counter
from django_counter.values import Budget
from tests.contract.stores import ON_ONE_SERVER, RedisStore

pytestmark = pytest.mark.parametrize("variant", ON_ONE_SERVER, indirect=True, ids=str)

COMMANDS: dict[str, tuple[str, Callable[[Counter, str], object]]] = {
    "increment": ("INCRBY", lambda counter, key: counter.increment(key, 5)),
    "increment with ttl": ("EVALSHA", lambda counter, key: counter.increment(key, 5, 100)),
    "get": ("GET", lambda counter, key: counter.get(key)),
    "multi_get": ("MGET", lambda counter, key: counter.multi_get([key + c for c in "abc"])),
    "decrement": ("DECRBY", lambda counter, key: counter.decrement(key, 5)),
    "decrement with ttl": ("EVALSHA", lambda counter, key: counter.decrement(key, 5, 100)),
    "decrement_if_exists": ("EVALSHA", lambda counter, key: counter.decrement_if_exists(key)),
    "set_if_not_exists": ("SET", lambda counter, key: counter.set_if_not_exists(key, 5, 100)),
    "delete": ("DEL", lambda counter, key: counter.delete(key)),
    "take": (
        "EVALSHA",
        lambda counter, key: counter.take([Budget(key + c, 10, 100) for c in "abc"]),
    ),
    "set": ("EVALSHA", lambda counter, key: counter.set(key, 5, 100)),
    "set if_equal": ("EVALSHA", lambda counter, key: counter.set(key, 6, if_equal=5)),
    "entry": ("EVALSHA", lambda counter, key: counter.entry(key)),
}


def commands_of(store: RedisStore, operation: Callable[[], object]) -> list[str]:
    """Return the commands that clients send during an operation."""
    database = store.client.connection_pool.connection_kwargs["db"]
    with store.client.monitor() as monitor:
        store.client.echo("begin")  # connects
        operation()
        store.client.echo("end")
        seen = [""]
        while seen[-1] != "ECHO end":
            command = monitor.next_command()
            if command["db"] == database and command["client_type"] != "lua":
                seen.append(command["command"])
    return [command.split(" ")[0] for command in seen[seen.index("ECHO begin") + 1 : -1]]


@pytest.mark.parametrize(("command", "call"), COMMANDS.values(), ids=COMMANDS)
def test_an_operation_is_one_command(
    counter: Counter,
    store: RedisStore,
    key: str,
    command: str,
    call: Callable[[Counter, str], object],
) -> None:
    call(counter, key)  # connects, and makes the script known
    assert commands_of(store, lambda: call(counter, key)) == [command]


def test_multi_get_of_10000_keys_is_one_command(
    counter: Counter, store: RedisStore, key: str
) -> None:
    counter.get(key)
    keys = [f"{key}{number}" for number in range(10_000)]
    assert commands_of(store, lambda: counter.multi_get(keys)) == ["MGET"]


def test_multi_get_of_nothing_asks_nothing(counter: Counter, store: RedisStore) -> None:
    assert commands_of(store, lambda: counter.multi_get([])) == []


def test_scan_reads_a_page_at_a_time(counter: Counter, store: RedisStore, key: str) -> None:
    counter.set(key, 5)
    counter.entry(key)
    commands = commands_of(store, lambda: list(counter.scan(key)))
    assert set(commands) == {"SCAN", "EVALSHA"}
    assert commands.count("EVALSHA") == 1


@pytest.mark.parametrize(
    "call",
    [call for command, call in COMMANDS.values() if command == "EVALSHA"],
    ids=[name for name, (command, _) in COMMANDS.items() if command == "EVALSHA"],
)
def test_a_script_that_the_server_forgot_is_sent_once_more(
    counter: Counter, store: RedisStore, key: str, call: Callable[[Counter, str], object]
) -> None:
    counter.get(key)
    store.client.script_flush()
    assert commands_of(store, lambda: call(counter, key)) == ["EVALSHA", "EVAL"]
    assert commands_of(store, lambda: call(counter, key)) == ["EVALSHA"]


def test_an_increment_with_a_forgotten_script_counts_once(
    counter: Counter, store: RedisStore, key: str
) -> None:
    store.client.script_flush()
    assert counter.increment(key, 5, 100) == 5
    store.client.script_flush()
    assert counter.increment(key, 5, 100) == 10
    store.client.script_flush()
    assert counter.take([Budget(key, 1, None)], 4) == [(6, True, True)]
