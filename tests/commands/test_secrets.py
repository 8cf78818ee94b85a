"""A password in the settings and an escape sequence on the server reach no output of any verb."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from django_counter import counters
from django_counter.management.commands.counter import VERBS
from tests.commands.runs import Manage, call
from tests.contract.stores import server_cache
from tests.servers import ServerProcess, valkey_binary

SECRET = "planted-password"
ESCAPE = "\x1b[31mplanted\x1b[0m"
WORDS = {
    "list": [["list"], ["list", "--glob", "*", "--format", "csv"], ["list", "--sort", "key"]],
    "get": [["get", "text"], ["get", "nowhere"]],
    "set": [["set", "text", "1"], ["set", "text", "1", "--if-equal", "2"]],
    "incr": [["incr", "text"]],
    "delete": [["delete", "text"]],
    "reset": [["reset", "p", "--no-input"]],
    "top": [["top"]],
    "watch": [["watch", "--interval", "0.01"]],
    "limits": [["limits"], ["limits", "show", "login", "text"], ["limits", "reset", "login", "x"]],
    "export": [["export"]],
    "import": [["import", "FILE"], ["import", "FILE", "--mode", "max"]],
    "doctor": [["doctor"], ["doctor", "--format", "json"]],
    "bench": [["bench", "--seconds", "0.01"], ["bench", "--seconds", "0.01", "--async"]],
}
RUNS = [words for verb in VERBS for words in WORDS[verb]]


@pytest.fixture(scope="module")
def guarded() -> Iterator[ServerProcess]:
    """A server with a password, and with what no counter would store."""
    with ServerProcess(valkey_binary(), requirepass=SECRET) as server:
        yield server


@pytest.fixture(params=["as it should be", "wrong password", "no server", "bad URL"])
def url(request: pytest.FixtureRequest, guarded: ServerProcess) -> str:
    with redis.Redis(port=guarded.port, password=SECRET) as client:
        client.flushall()
        client.set("counter:text", ESCAPE)
        client.set(f"counter:{ESCAPE}", 1)
        client.set(f"counter:limit:login:{{{ESCAPE}", 1)
        client.rpush("counter:p:list", ESCAPE)
        client.set("counter:p:\u202e", 5)
        client.hset("counter:p:hash", ESCAPE, ESCAPE)
    port = guarded.port
    return {
        "as it should be": f"redis://:{SECRET}@127.0.0.1:{port}/0",
        "wrong password": f"redis://:{SECRET}-not@127.0.0.1:{port}/0",
        "no server": f"redis://:{SECRET}@127.0.0.1:1/0",
        "bad URL": f"redis://:{SECRET}@127.0.0.1:port/0",
    }[str(request.param)]


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_neither_is_shown(
    words: list[str], url: str, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    settings.CACHES = {"default": server_cache(url)}
    settings.COUNTERS = {"default": {}}
    settings.RATE_LIMIT = {}
    file = tmp_path / "counters.jsonl"
    file.write_text('{"key": "text", "value": 1, "ttl": null}\n')
    run = call(*(str(file) if word == "FILE" else word for word in words))
    shown = run.out + run.err
    assert SECRET not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown or "csv" in words
    counters.reset()


def test_nor_in_the_traceback_that_is_asked_for(guarded: ServerProcess) -> None:
    manage = Manage(f"redis://:{SECRET}-not@127.0.0.1:{guarded.port}/0", "counter")
    run = manage("list", "--traceback")
    assert run.code == 1
    assert "Traceback" in run.err
    assert SECRET not in run.err
