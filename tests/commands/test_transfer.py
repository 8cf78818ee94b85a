"""export and import: every counter, its value and its ttl, and files that are not right."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import call_command

from django_counter import (
    Counter,
    CounterOutcomeUnknown,
    CounterUnavailable,
)
from django_counter.management.loading import AT_ONCE, Load, spans
from django_counter.management.records import LINE_MAX
from django_counter.values import TTL_MAX, Entry
from tests.commands.runs import Manage, Run, call
from tests.commands.test_verbs import HOSTILE

DEEP = '{"key": "k", "value": ' + "[" * 2000 + "]" * 2000 + ', "ttl": null}'


def line(key: Any = "k", value: Any = 1, ttl: Any = None) -> str:
    return json.dumps({"key": key, "value": value, "ttl": ttl})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "counters.jsonl"


def write(file: Path, *lines: str) -> str:
    file.write_text("".join(f"{each}\n" for each in lines), "utf-8")
    return str(file)


def stored(counter: Counter) -> dict[str, int]:
    return {entry.key: entry.value for entry in counter.scan()}


# Export.


def test_what_is_exported_comes_back_the_same(manage: Manage, counter: Counter, file: Path) -> None:
    values = {"a": 2**63 - 1, "b": -(2**63), "über 名前": 0, "\u202e": 5, "\\": -1}
    for key, value in values.items():
        counter.set(key, value)
    counter.set("ending", 7, 3600)
    exported = manage("export")
    assert exported.code == 0
    assert exported.err == "6 counters exported.\n"
    file.write_text(exported.out, "utf-8")
    for entry in list(counter.scan()):
        counter.delete(entry.key)
    imported = manage("import", file)
    assert (imported.code, imported.out, imported.err) == (0, "6 of 6 counters imported\n", "")
    assert stored(counter) == {**values, "ending": 7}
    ending = counter.entry("ending")
    assert ending is not None
    assert ending.ttl is not None
    assert 3500 < ending.ttl <= 3600


@pytest.mark.parametrize("prefix", HOSTILE)
def test_export_takes_a_literal_prefix(counter: Counter, prefix: str) -> None:
    for key in ("a", "x", "axb", *HOSTILE):
        counter.set(key, 1)
    keys = [json.loads(line)["key"] for line in call("export", prefix).out.splitlines()]
    assert sorted(keys) == sorted(key for key in HOSTILE if key.startswith(prefix))


def test_export_writes_each_counter_once_and_none_that_has_ended(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [Entry("a", 1, None), Entry("b", 2, 0.0), Entry("a", 1, None), Entry("c", 3, 0.001)]
    monkeypatch.setattr(counter, "scan", lambda prefix: iter(entries))
    run = call("export")
    assert [json.loads(line)["key"] for line in run.out.splitlines()] == ["a", "c"]
    assert run.err == "2 counters exported.\n"


FOR_EVER = 10**14  # milliseconds, 3170 years: more than these commands could give


def test_what_other_clients_let_live_too_long_comes_back(
    counter: Counter, raw: redis.Redis, key_prefix: str, file: Path
) -> None:
    raw.set(f"{key_prefix}:k", 5, px=FOR_EVER)
    file.write_text(call("export").out)
    assert json.loads(file.read_text())["ttl"] == TTL_MAX
    counter.delete("k")
    assert call("import", file).code == 0
    entry = counter.entry("k")
    assert entry is not None
    assert entry.ttl == pytest.approx(TTL_MAX, rel=0.01)


def test_max_takes_what_other_clients_let_live_too_long(
    counter: Counter, raw: redis.Redis, key_prefix: str, file: Path
) -> None:
    raw.set(f"{key_prefix}:k", 5, px=FOR_EVER)
    run = call("import", write(file, line("k", 9)), "--mode", "max")
    assert run.code == 0
    entry = counter.entry("k")
    assert entry is not None
    assert entry.value == 9
    assert entry.ttl == pytest.approx(TTL_MAX, rel=0.01)


def test_both_show_a_bar_on_a_terminal(manage: Manage, counter: Counter, file: Path) -> None:
    counter.set("key", 1)
    assert "exporting: 1 counters" in manage.on_terminal("export").out
    imported = manage.on_terminal("import", write(file, line())).out
    assert "checking: 1 lines" in imported
    assert "importing: 100%" in imported


# What import does.


def test_set_replaces_value_and_ttl(counter: Counter, file: Path) -> None:
    counter.set("a", 5, 3600)
    counter.set("b", 5)
    assert call("import", write(file, line("a", 1), line("b", 2, 60))).code == 0
    assert counter.entry("a") == Entry("a", 1, None)
    found = counter.entry("b")
    assert found is not None
    assert found.value == 2
    assert found.ttl is not None


def test_add_adds_and_gives_its_ttl_to_what_it_creates(counter: Counter, file: Path) -> None:
    counter.set("a", 5)
    source = write(file, line("a", -2, 60), line("b", 2, 60))
    assert call("import", source, "--mode", "add").code == 0
    assert counter.entry("a") == Entry("a", 3, None)
    found = counter.entry("b")
    assert found is not None
    assert found.value == 2
    assert found.ttl is not None


def test_max_keeps_the_larger_value_and_the_ttl_that_is_there(counter: Counter, file: Path) -> None:
    counter.set("larger", 5)
    counter.set("smaller", 1, 3600)
    counter.set("smaller for ever", 1)
    lines = [line(key, 3, 60) for key in ("larger", "smaller", "smaller for ever", "missing")]
    assert call("import", write(file, *lines), "--mode", "max").code == 0
    found = {entry.key: (entry.value, entry.ttl and entry.ttl > 60) for entry in counter.scan()}
    assert found == {
        "larger": (5, None),
        "smaller": (3, True),
        "smaller for ever": (3, None),
        "missing": (3, False),
    }


def test_max_goes_on_where_another_was_faster(
    counter: Counter, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter.set("k", 1)
    aset, aentry = counter.aset, counter.aentry
    moves = [lambda: counter.set("k", 2), lambda: counter.delete("k")]

    async def moved_set(*arguments: Any, **options: Any) -> bool:
        if moves:
            moves.pop(0)()
        return await aset(*arguments, **options)

    async def moved_entry(key: str) -> Any:
        if len(moves) == 1:
            moves.pop(0)()
        return await aentry(key)

    monkeypatch.setattr(counter, "aset", moved_set)
    monkeypatch.setattr(counter, "aentry", moved_entry)
    assert call("import", write(file, line("k", 9)), "--mode", "max").code == 0
    assert moves == []
    assert counter.get("k") == 9


def test_a_dry_run_writes_nothing(counter: Counter, file: Path) -> None:
    run = call("import", write(file, line()), "--dry-run")
    assert (run.code, run.out) == (0, "1 counters could be imported; nothing was written\n")
    assert stored(counter) == {}


def test_stdin_and_pipes_are_read_too(manage: Manage, counter: Counter, tmp_path: Path) -> None:
    assert manage("import", "-", given=line("a")).code == 0
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with manage.start("import", pipe) as process:
        pipe.write_text(line("b"))
        process.communicate()
    assert process.returncode == 0
    assert stored(counter) == {"a": 1, "b": 1}


def test_an_empty_file_is_nothing_to_do(counter: Counter, file: Path) -> None:
    assert call("import", write(file)).out == "0 of 0 counters imported\n"


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_file_that_cannot_be_read_is_said(counter: Counter, tmp_path: Path, name: str) -> None:
    run = call("import", tmp_path / name)
    assert run.code == 2
    assert "cannot read" in run.err


# Files that are not right.

WRONG = {
    "a text": (b"clicks", "must be JSON"),
    "an array": (b"[1]", "must be a JSON object of just key, value, ttl"),
    "a number": (b"12", "must be a JSON object"),
    "null": (b"null", "must be a JSON object"),
    "a field too few": (b'{"key": "k", "value": 1}', "just key, value, ttl"),
    "a field too many": (b'{"key": "k", "value": 1, "ttl": null, "x": 1}', "just key, value, ttl"),
    "another field": (b'{"key": "k", "value": 1, "TTL": null}', "just key, value, ttl"),
    "a field twice": (b'{"key": "k", "value": 1, "value": 2, "ttl": null}', "each field once"),
    "value true": (line(value=True).encode(), "value must be an int"),
    "value 1.0": (line(value=1.0).encode(), "value must be an int"),
    "value 1e400": (b'{"key": "k", "value": 1e400, "ttl": null}', "value must be an int"),
    "value in quotes": (line(value="1").encode(), "value must be an int"),
    "value null": (line(value=None).encode(), "value must be an int"),
    "value a list": (line(value=[1]).encode(), "value must be an int"),
    "value above": (line(value=2**63).encode(), "value must be from -2**63 to 2**63 - 1"),
    "value below": (line(value=-(2**63) - 1).encode(), "value must be from -2**63"),
    "a long value": (b'{"key": "k", "value": ' + b"9" * 4000 + b', "ttl": null}', "value must be"),
    "value 1_000": (b'{"key": "k", "value": 1_000, "ttl": null}', "must be JSON"),
    "value 007": (b'{"key": "k", "value": 007, "ttl": null}', "must be JSON"),
    "arabic digits": ('{"key": "k", "value": ١٢, "ttl": null}'.encode(), "must be JSON"),
    "NaN": (b'{"key": "k", "value": NaN, "ttl": null}', "JSON, which has no NaN"),
    "Infinity": (b'{"key": "k", "value": 1, "ttl": -Infinity}', "JSON, which has no -Infinity"),
    "ttl 0": (line(ttl=0).encode(), "ttl must be from 0.001 s"),
    "ttl below 0": (line(ttl=-1).encode(), "ttl must be from 0.001 s"),
    "ttl of 101 years": (line(ttl=101 * 365.25 * 86_400).encode(), "ttl must be from 0.001 s"),
    "ttl 1e400": (b'{"key": "k", "value": 1, "ttl": 1e400}', "ttl must be from 0.001 s"),
    "ttl true": (line(ttl=True).encode(), "ttl must be seconds"),
    "ttl in quotes": (line(ttl="60").encode(), "ttl must be seconds"),
    "key a number": (line(key=5).encode(), "key must be a str"),
    "key null": (line(key=None).encode(), "key must be a str"),
    "key empty": (line(key="").encode(), "key must not be empty"),
    "key with an escape": (line(key="a\x1b[31mb").encode(), "key must not contain control"),
    "key with a new line": (line(key="a\r\nb").encode(), "key must not contain control"),
    "key too long": (line(key="k" * 513).encode(), "key must be at most 512 bytes"),
    "a lone surrogate": (b'{"key": "\\ud800", "value": 1, "ttl": null}', "encodable in UTF-8"),
    "no UTF-8": (b'{"key": "\xff", "value": 1, "ttl": null}', "must be UTF-8, byte 10 is not"),
    "UTF-16": (line().encode("utf-16"), "must be UTF-8"),
    "a blank line": (b"", "it is blank"),
    "spaces": (b"   ", "it is blank"),
    "two on a line": (f"{line()} {line('b')}".encode(), "must be JSON: Extra data"),
    "deep": (DEEP.encode(), "must be"),
    "deeper": (b"[" * 4000, "must be"),
    "an escape in the open": (b'{"key": "\x1b[31m", "value": 1, "ttl": null}', "must be JSON"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_line_is_named_and_nothing_is_written(
    counter: Counter, file: Path, wrong: str
) -> None:
    content, words = WRONG[wrong]
    file.write_bytes(f"{line('fine')}\n".encode() + content + f"\n{line('also fine')}\n".encode())
    run = call("import", file)
    assert (run.code, run.out) == (1, "")
    assert run.err.startswith("line 2: ")
    assert words in run.err
    assert "nothing was written, lines that are wrong: 1" in run.err
    assert "\x1b" not in run.err
    assert stored(counter) == {}


def test_a_byte_order_mark_is_refused_in_words(counter: Counter, file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + line().encode())
    run = call("import", file)
    assert run.code == 1
    assert "line 1: must begin without a byte order mark" in run.err


def test_a_key_that_comes_twice_is_refused(counter: Counter, file: Path) -> None:
    run = call("import", write(file, line("a", 1), line("b"), line("a", 1)))
    assert run.code == 1
    assert "line 3: must have a key of its own, 'a' stands further up" in run.err
    assert stored(counter) == {}


def test_a_line_of_4_kb_is_the_longest(counter: Counter, file: Path) -> None:
    blank = " " * (LINE_MAX - len(line()) - 1)
    assert call("import", write(file, line() + blank)).code == 0
    run = call("import", write(file, line("b"), line("c") + blank + " ", "nothing of this is read"))
    assert run.code == 1
    assert "line 2: must be at most 4096 bytes long" in run.err
    assert "lines that are wrong: 1" in run.err
    assert stored(counter) == {"k": 1}


def test_a_file_without_an_end_takes_no_memory(manage: Manage, counter: Counter) -> None:
    with open("/dev/zero", "rb") as zeros, manage.start("import", "/dev/stdin", stdin=zeros) as it:
        _, err = it.communicate()
    assert it.returncode == 1
    assert "line 1: must be at most 4096 bytes long" in err


def test_many_wrong_lines_are_not_all_shown(counter: Counter, file: Path) -> None:
    run = call("import", write(file, *["x"] * 30))
    assert run.err.count("must be JSON") == 20
    assert "lines that are wrong: 30" in run.err


def test_a_file_that_changes_after_the_check_is_noticed(
    counter: Counter, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_after_change(self: Load, records: Any) -> None:
        file.write_text("x\n")
        list(records)

    monkeypatch.setattr(Load, "run", run_after_change)
    run = call("import", write(file, line()))
    assert run.code == 1
    assert "the file has changed since it was checked: line 1" in run.err


# Servers that fail in the middle.


def failing_at(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, failures: dict[str, Exception]
) -> None:
    increment = counter.aincrement

    async def aincrement(key: str, value: int = 1, ttl: Any = None) -> int:
        if key in failures:
            raise failures[key]
        return await increment(key, value, ttl)

    monkeypatch.setattr(counter, "aincrement", aincrement)


def import_numbers(file: Path, count: int) -> Run:
    source = write(file, *(line(str(number)) for number in range(1, count + 1)))
    return call("import", source, "--mode", "add")


def test_an_outage_in_the_middle_is_reported_by_line(
    counter: Counter, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = {str(number): CounterUnavailable("gone") for number in range(600, 3000)}
    failing_at(counter, monkeypatch, failures)
    run = import_numbers(file, 3000)
    assert run.code == 5
    applied = len(stored(counter))
    assert run.out == f"{applied} of 3000 counters imported\n"
    assert "Surely not applied: lines 600" in run.err
    assert "Not sent: the lines after" in run.err
    assert applied < 600 + AT_ONCE


def test_an_unknown_outcome_is_reported_by_line(
    counter: Counter, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = CounterOutcomeUnknown("increment", "5", 1)
    failing_at(counter, monkeypatch, {"5": unknown, "6": CounterUnavailable("gone")})
    run = import_numbers(file, 10)
    assert run.code == 1
    assert "May have been applied: lines 5." in run.err
    assert "manage.py counter get 5" in run.err


def test_a_line_whose_counter_refuses_it_leaves_the_others(
    counter: Counter, file: Path, raw: redis.Redis, key_prefix: str
) -> None:
    raw.set(f"{key_prefix}:2", "\x1b[31mtext")
    counter.set("3", 2**63 - 1)
    run = import_numbers(file, 4)
    assert run.code == 1
    assert run.out == "2 of 4 counters imported\n"
    assert "line 2: " in run.err
    assert "line 3: " in run.err
    assert "Surely not applied: lines 2-3." in run.err
    assert "\x1b" not in run.err
    assert counter.get("4") == 1


def test_many_lines_that_are_refused_are_not_all_explained(
    counter: Counter, file: Path, raw: redis.Redis, key_prefix: str
) -> None:
    for number in range(1, 31):
        raw.set(f"{key_prefix}:{number}", "text")
    run = import_numbers(file, 30)
    assert run.out == "0 of 30 counters imported\n"
    assert run.err.count("is not a counter") == 20
    assert "Surely not applied: lines 1-30." in run.err


def test_ctrl_c_reports_what_is_known(
    counter: Counter, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    increment = counter.aincrement

    async def aincrement(key: str, value: int = 1, ttl: Any = None) -> int:
        if key == "600":
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        return await increment(key, value, ttl)

    monkeypatch.setattr(counter, "aincrement", aincrement)
    out, err = io.StringIO(), io.StringIO()
    source = write(file, *(line(str(number)) for number in range(1, 2001)))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(KeyboardInterrupt):
        call_command("counter", "import", source, "--mode", "add")
    assert "counters imported" in out.getvalue()
    assert "May have been applied: lines " in err.getvalue()


@pytest.mark.parametrize(
    ("lines", "words"), [([], ""), ([5], "5"), ([3, 1, 2, 7, 9, 8], "1-3, 7-9"), ([1, 3], "1, 3")]
)
def test_lines_are_named_by_their_spans(lines: list[int], words: str) -> None:
    assert spans(lines) == words


# Size.

MEASURED = """
import re, sys
from pathlib import Path
from django.core.management import execute_from_command_line
try:
    execute_from_command_line(["manage.py", "counter", *sys.argv[1:]])
finally:
    # getrusage() has what the parent took too, before exec.
    peak = re.search("VmHWM:.*?([0-9]+) kB", Path("/proc/self/status").read_text())
    print(int(peak[1]) // 1024, file=sys.stderr)
"""
COUNT = 50_000
MEGABYTES = 100


def measured(manage: Manage, *words: str, **streams: Any) -> int:
    """Return the megabytes that a verb took at most."""
    environment = {name: value for name, value in manage.environment.items() if "COV" not in name}
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, *words],
        env=environment,
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        check=True,
        **streams,
    )
    return int(ended.stderr.split()[-1])


@pytest.mark.heavy
def test_many_counters_each_way_take_little_memory(
    manage: Manage, counter: Counter, raw: redis.Redis, key_prefix: str, file: Path
) -> None:
    for start in range(0, COUNT, 10_000):
        pipeline = raw.pipeline(transaction=False)
        for number in range(start, start + 10_000):
            name = f"{key_prefix}:clicks:page-{number:07d}"
            pipeline.set(name, number, px=number % 2 * 86_400_000 or None)
        pipeline.execute()
    with file.open("wb") as target:
        assert measured(manage, "export", stdout=target) < MEGABYTES
    manage.environment["COUNTER_TEST_PREFIX"] = f"{key_prefix}-again"
    assert measured(manage, "import", str(file), stdout=subprocess.DEVNULL) < MEGABYTES
    assert measured(manage, "list", stdout=subprocess.DEVNULL) < MEGABYTES
    names = list(raw.scan_iter(f"{key_prefix}-again:*", count=10_000))
    assert len(set(names)) == COUNT
    values = raw.mget(names)
    assert all(int(name[-7:]) == int(value) for name, value in zip(names, values, strict=True))
    assert all((raw.ttl(name) > 80_000) == bool(int(name[-7:]) % 2) for name in names[:1000])
    raw.delete(*names, *(name.replace(b"-again:", b":") for name in names))
