"""watch: what moves, how fast, and the picture of it."""

import os
import signal
from typing import Any

import pyte
import pytest

from django_counter import (
    Counter,
    CounterConfigError,
    CounterOutcomeUnknown,
    CounterUnavailable,
)
from django_counter.management.text import width
from django_counter.management.verbs import watch
from django_counter.ratelimit import RateLimit
from tests.commands.picture import NO_BREAK, PICTURE
from tests.commands.runs import Manage, call, terminal

UNAVAILABLE = CounterUnavailable("scan: the server cannot be reached")


class Moments:
    """Stands in for the time module: each sleep moves counters, the last one is Ctrl-C."""

    def __init__(self, *moves: Any) -> None:
        self.moves = list(moves)
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if not self.moves:
            raise KeyboardInterrupt
        self.moves.pop(0)()

    def monotonic(self) -> float:
        return self.now

    def strftime(self, format: str) -> str:
        return "12:00:00"


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Moments:
    moments = Moments()
    monkeypatch.setattr(watch, "time", moments)
    return moments


def words(line: str) -> list[str]:
    return line.split()[:3]


def test_a_token_bucket_is_left_out(counter: Counter, moments: Moments) -> None:
    limit = RateLimit("5/h", name="bursts", algorithm="token_bucket")

    def move() -> None:
        counter.increment("visits")
        limit.hit("ann")

    moments.moves = [move]
    shown = call("watch").out
    assert "1 counters" in shown
    assert "bursts" not in shown


def test_the_fastest_growing_come_first_and_then_what_falls(
    counter: Counter, moments: Moments
) -> None:
    for key in ("slow", "fast", "falling", "still"):
        counter.set(key, 1000)

    def move() -> None:
        counter.increment("slow", 10)
        counter.increment("fast", 3000)
        counter.increment("new", 20)
        counter.decrement("falling", 200)

    moments.moves = [move]
    run = call("watch", "--interval", "2")
    assert run.code == 0
    shown = run.out.splitlines()
    start = shown.index(next(line for line in shown if line.startswith("KEY")))
    assert [words(line) for line in shown[start + 1 : start + 5]] == [
        ["fast", "4,000", "+1,500.0"],
        ["new", "20", "+10.0"],
        ["slow", "1,010", "+5.0"],
        ["falling", "800", "-100.0"],
    ]
    assert moments.slept == [2, 2]
    assert "5 counters  every 2s  12:00:00" in run.out
    assert "\x1b" not in run.out


def test_it_takes_a_prefix_and_says_where_nothing_moves(counter: Counter, moments: Moments) -> None:
    counter.set("clicks:a", 1)
    moments.moves = [lambda: counter.increment("visits:a")]
    run = call("watch", "clicks:")
    assert "default  'clicks:'  1 counters" in run.out
    assert "Nothing moved." in run.out
    assert "visits" not in run.out


def test_a_long_or_hostile_key_keeps_the_columns(counter: Counter, moments: Moments) -> None:
    moments.moves = [lambda: counter.increment("k" * 200), lambda: counter.increment("\u202eab")]
    run = call("watch")
    assert r"\u202eab" in run.out
    assert all(len(line) <= 80 for line in run.out.splitlines())


@pytest.mark.parametrize("error", [UNAVAILABLE, CounterOutcomeUnknown("scan", "", None)])
def test_it_goes_on_through_an_outage(
    counter: Counter, moments: Moments, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    scan = counter.scan

    def go() -> None:
        monkeypatch.setattr(counter, "scan", away)

    def away(prefix: str) -> Any:
        raise error

    def come_back() -> None:
        monkeypatch.setattr(counter, "scan", scan)
        counter.increment("key", 100)

    moments.moves = [go, come_back]
    run = call("watch", "--interval", "2")
    assert run.code == 0
    assert str(error) in run.out
    row = next(line for line in run.out.splitlines() if line.startswith("key"))
    assert words(row) == ["key", "100", "+25.0"]  # of both intervals


@pytest.mark.parametrize("error", [UNAVAILABLE, CounterOutcomeUnknown("scan", "", None)])
def test_it_waits_for_a_server_that_is_away_from_the_beginning(
    counter: Counter, moments: Moments, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    counter.set("key", 1000)
    scan = counter.scan

    def away(prefix: str) -> Any:
        raise error

    monkeypatch.setattr(counter, "scan", away)
    moments.moves = [
        lambda: monkeypatch.setattr(counter, "scan", scan),
        lambda: counter.increment("key", 100),
    ]
    run = call("watch", "--interval", "2")
    assert run.code == 0
    assert str(error) in run.out.splitlines()[2]
    assert "1 counters" in run.out.splitlines()[4]
    row = next(line for line in run.out.splitlines() if line.startswith("key"))
    assert words(row) == ["key", "1,100", "+50.0"]  # not from 0


def test_wrong_settings_end_it_at_once(
    counter: Counter, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(prefix: str) -> Any:
        raise CounterConfigError("wrong password")

    monkeypatch.setattr(counter, "scan", refused)
    assert call("watch").code == 1
    assert moments.slept == []


@pytest.mark.parametrize("columns", [80, 61, 60, 27, 26, 20])
def test_no_line_is_wider_than_the_terminal(
    counter: Counter, moments: Moments, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    moments.moves = [
        lambda: counter.increment("k" * 200, 2**62),
        lambda: counter.increment("日" * 90),
        lambda: None,
    ]
    monkeypatch.setattr(watch, "_size", lambda console: (columns, 24))
    run = call("watch")
    lines = run.out.splitlines()
    assert all(width(line) <= columns for line in lines)
    assert any("PER SECOND" in line for line in lines) == (columns >= 27)
    assert ("█" in run.out) == (columns >= 61)


def test_the_picture_in_the_readme_is_what_is_drawn(counter: Counter, moments: Moments) -> None:
    moments.moves = [lambda: counter.increment("key")]
    heading = next(line for line in call("watch").out.splitlines() if line.startswith("KEY"))
    assert heading.replace(" ", NO_BREAK) in PICTURE.read_text("utf-8")


def test_on_a_terminal_it_redraws_and_ctrl_c_is_0(manage: Manage, counter: Counter) -> None:
    screen = watched(manage, counter)
    text = "\n".join(screen.display)
    assert text.count("PER SECOND") == 1
    assert 15 <= text.count("clicks:") <= 22
    assert "\u2588" in text


def test_a_terminal_without_these_signs_gets_others(manage: Manage, counter: Counter) -> None:
    manage.environment["PYTHONIOENCODING"] = "ascii"
    screen = watched(manage, counter, "über" * 20)
    text = "\n".join(screen.display)
    assert r"\xfcber" in text
    assert "~ " in text
    assert "##" in text
    assert all(line.startswith(("KEY", "clicks:", r"\xfc")) for line in screen.display[2:20])


def watched(manage: Manage, counter: Counter, *keys: str) -> pyte.Screen:
    """Return the screen of a terminal after some pictures and Ctrl-C."""
    for number in range(40):
        counter.set(f"clicks:{number}", number)
    screen = pyte.Screen(80, 24)
    stream = pyte.ByteStream(screen)
    master, slave = terminal()
    with manage.start(
        "watch", "--interval", "0.05", stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        shown = b""
        while shown.count(b"PER SECOND") < 3:
            for number in range(40):
                counter.increment(f"clicks:{number}", number + 1)
            for key in keys:
                counter.increment(key, 1000)
            shown += os.read(master, 65_536)
        process.send_signal(signal.SIGINT)
        try:
            while some := os.read(master, 65_536):
                shown += some
        except OSError:
            pass
        process.wait()
    os.close(master)
    stream.feed(shown)
    assert process.returncode == 0
    assert b"Traceback" not in shown
    return screen
