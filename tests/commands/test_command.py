"""The command itself: its index, Django's options, aliases, exit codes, and how it ends."""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_counter import (
    Counter,
    CounterConfigError,
    CounterOutcomeUnknown,
    CounterUnavailable,
)
from django_counter.management.commands.counter import VERBS
from tests.commands.runs import Manage, call
from tests.wrapped import WrappedMemory

MEMORY = "django_counter.backends.memory.MemoryCounter"


class Failing(WrappedMemory):
    """Raises in place of each operation but close()."""

    error: Exception

    @contextmanager
    def around(self, operation: str, keys: tuple[str, ...]) -> Iterator[None]:
        if operation != "close":
            raise self.error
        yield


@pytest.fixture
def failing(settings: Any) -> type[Failing]:
    """Counters that fail with the error set here."""
    path = f"{__name__}.Failing"
    settings.COUNTERS = {"default": {"BACKEND": path}, "other": {"BACKEND": path}}
    return Failing


@pytest.fixture
def memory(settings: Any) -> None:
    settings.COUNTERS = {"default": {"BACKEND": MEMORY}, "other": {"BACKEND": MEMORY}}


def test_the_index_has_every_verb(manage: Manage) -> None:
    run = manage("--help")
    assert (run.code, run.err) == (0, "")
    for name, verb in VERBS.items():
        assert f"    {name} " in run.out
        assert verb.HELP.split()[0] in run.out
    assert "5 server unreachable" in run.out


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("counter", verb, "--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--using ALIAS" in shown
    assert VERBS[verb].NOTES in shown
    assert all(len(line) <= 100 for line in shown.splitlines())


def test_djangos_options_are_accepted_after_the_verb(manage: Manage) -> None:
    manage.environment["DJANGO_SETTINGS_MODULE"] = "nowhere"
    words = ["--no-color", "--traceback", "-v", "0", "--skip-checks", "--pythonpath", "."]
    run = manage("set", "key", 1, *words, "--settings", "tests.commands.settings")
    assert (run.code, run.err) == (0, "")


def test_djangos_options_before_the_verb_count(memory: None) -> None:
    assert call("--verbosity", "0", "list").err == ""
    assert "\x1b[" in call("--force-color", "incr", "key").out


def test_colours_are_for_terminals(memory: None) -> None:
    assert "\x1b[" not in call("incr", "key").out
    assert "\x1b[" in call("incr", "key", "--force-color").out
    assert "\x1b[" not in call("incr", "key", "--force-color", "--format", "csv").out


def test_a_program_calls_it_with_options_by_name(memory: None) -> None:
    out = io.StringIO()
    call_command("counter", "incr", "key", by=5, format="csv", using="other", stdout=out)
    assert out.getvalue() == "key,value\nkey,5\n"


def test_a_program_gets_errors_with_the_exit_code(memory: None) -> None:
    with pytest.raises(CommandError, match="no counter 'key'") as caught:
        call_command("counter", "get", "key")
    assert caught.value.returncode == 3


def test_without_a_verb_it_says_what_is_missing(manage: Manage) -> None:
    run = manage()
    assert run.code == 2
    assert "VERB" in run.err


@pytest.mark.parametrize("words", [("list",), ("set", "key", "1"), ("limits",), ("doctor",)])
def test_an_unknown_alias_is_answered_with_those_there_are(
    memory: None, words: tuple[str, ...]
) -> None:
    run = call(*words, "--using", "elsewhere")
    assert (run.code, run.out) == (2, "")
    assert "no alias 'elsewhere', it has 'default', 'other'" in run.err


def test_counters_in_memory_are_said_to_be_this_process_s(memory: None) -> None:
    assert "this sees its own only" in call("list").err
    assert call("limits").err.count("this sees its own only") == 1
    assert call("list", "-v", "0").err == ""


def test_an_outage_is_exit_code_5(failing: type[Failing]) -> None:
    failing.error = CounterUnavailable("no server")
    run = call("get", "key")
    assert run.code == 5
    assert "no server. Find out more: manage.py counter doctor" in run.err


def test_an_unknown_outcome_says_what_is_unknown_and_how_to_look(failing: type[Failing]) -> None:
    failing.error = CounterOutcomeUnknown("increment", "some key", 1)
    run = call("incr", "some key")
    assert run.code == 1
    assert "increment of 'some key' with value 1 was sent and not confirmed" in run.err
    assert "manage.py counter get 'some key'" in run.err


def test_where_to_look_is_said_as_the_shell_takes_it(failing: type[Failing]) -> None:
    failing.error = CounterOutcomeUnknown("increment", "-k", 1)
    run = call("incr", "--using", "other", "--", "-k")
    assert "manage.py counter get --using other -- -k" in run.err
    failing.error = CounterUnavailable("no server")
    run = call("get", "--using", "other", "key")
    assert "manage.py counter doctor --using other" in run.err


def test_a_configuration_error_is_exit_code_1(failing: type[Failing]) -> None:
    failing.error = CounterConfigError("bad credentials")
    run = call("get", "key")
    assert run.code == 1
    assert "bad credentials. Find out more: manage.py counter doctor" in run.err


def test_a_server_that_is_not_there_is_exit_code_5(manage: Manage, counter: Counter) -> None:
    manage.environment["COUNTER_TEST_URL"] = "redis://127.0.0.1:1/0"
    run = manage("list")
    assert (run.code, run.out) == (5, "")
    assert "the server cannot be reached at 127.0.0.1:1" in run.err
    assert "Traceback" not in run.err


def test_a_reader_who_goes_ends_it_quietly(manage: Manage, counter: Counter) -> None:
    for number in range(3000):
        counter.increment(f"{'x' * 100}{number}")
    reading, writing = os.pipe()
    with manage.start("list", stdout=writing) as process:
        os.close(writing)
        os.read(reading, 10)
        os.close(reading)
        _, err = process.communicate()
    assert (process.returncode, err) == (1, "")


def test_ctrl_c_ends_it_in_a_word(manage: Manage, counter: Counter) -> None:
    with manage.start("bench", "--seconds", "60") as process:
        while not any(entry.value for entry in counter.scan("bench:")):
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "", "Interrupted.\n")
    assert list(counter.scan("bench:")) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [(("list",), 0), (("import", "-"), 0), (("doctor",), 0), (("reset", "key"), 2)],
)
@pytest.mark.parametrize("stream", [0, 1, 2])
def test_a_closed_stream_is_an_empty_one(
    manage: Manage, counter: Counter, words: tuple[str, ...], code: int, stream: int
) -> None:
    counter.set("key", 1)
    with manage.start(*words, preexec_fn=lambda: os.close(stream)) as process:
        out, err = process.communicate("")
    assert process.returncode == code
    assert "Error:" not in err.replace("CommandError:", "")
    if stream == 0 and code == 0:
        assert out


def test_a_full_disk_is_said(manage: Manage, counter: Counter) -> None:
    counter.set("key", 1)
    with open("/dev/full", "w") as full, manage.start("export", stdout=full) as process:
        _, err = process.communicate()
    assert process.returncode == 1
    assert "No space left on device" in err
    assert "Traceback" not in err


def test_what_a_terminal_cannot_show_is_escaped(manage: Manage, counter: Counter) -> None:
    counter.set("über", 1)
    manage.environment["PYTHONIOENCODING"] = "ascii"
    run = manage("list")
    assert run.code == 0
    assert r"\xfcber" in run.out


def test_a_key_that_begins_with_a_minus_stands_after_two(manage: Manage, counter: Counter) -> None:
    assert manage("incr", "--", "-key").code == 0
    assert counter.get("-key") == 1
