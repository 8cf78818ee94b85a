"""Runs of `manage.py counter`: in a process of its own, on a terminal, and in this process."""

import contextlib
import io
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any, NamedTuple

from django.core.management import CommandError, call_command

MANAGE = Path(__file__).parents[2] / "manage.py"
PATIENCE = 60  # seconds until a run that hangs fails


class Run(NamedTuple):
    """What came of a run. A terminal shows both streams as one."""

    code: int
    out: str
    err: str = ""


class Manage:
    """`manage.py counter` in a process of its own."""

    def __init__(self, url: str, prefix: str, settings: str = "tests.commands.settings") -> None:
        self.prefix = prefix
        self.environment = {
            **os.environ,
            "COUNTER_TEST_URL": url,
            "COUNTER_TEST_PREFIX": prefix,
            "DJANGO_SETTINGS_MODULE": settings,
            "PYTHONIOENCODING": "utf-8",
        }
        self.environment.pop("DJANGO_COLORS", None)

    def __call__(self, *words: object, given: str | None = None) -> Run:
        """Run a verb to its end."""
        with self.start(*words) as process:
            out, err = process.communicate(given, timeout=PATIENCE)
        return Run(process.returncode, out, err)

    def start(self, *words: object, **options: Any) -> "subprocess.Popen[str]":
        """Start a verb, with pipes in place of a terminal."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(
            [sys.executable, str(MANAGE), "counter", *map(str, words)],
            env=self.environment,
            text=True,
            encoding="utf-8",
            **{**pipes, **options},
        )

    def on_terminal(self, *words: object, typed: str = "") -> Run:
        """Run a verb on a terminal, and type something as soon as it asks."""
        master, slave = terminal()
        with self.start(*words, stdin=slave, stdout=slave, stderr=slave) as process:
            os.close(slave)
            shown = b""
            with contextlib.suppress(OSError):  # Linux's word for the end of a terminal
                while some := os.read(master, 65_536):
                    shown += some
                    if typed and shown.endswith(b": "):
                        os.write(master, typed.encode())
                        typed = ""
            process.wait(PATIENCE)
        os.close(master)
        return Run(process.returncode, shown.decode())


def terminal() -> tuple[int, int]:
    """Return both ends of a terminal of 80 columns and 24 lines: the user's and the program's."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    return master, slave


def call(*words: object, **options: Any) -> Run:
    """Run a verb in this process."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command("counter", *words, stdout=out, stderr=err, **options)
    except CommandError as error:
        code = error.returncode
        err.write(str(error))
    return Run(code, out.getvalue(), err.getvalue())
