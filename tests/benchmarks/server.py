"""The server, on the core of its clients; the floor; and what the server itself tells."""

import ast
import os
import re
import socket
from collections.abc import Callable
from itertools import cycle
from typing import Any

import hiredis

from tests.servers import ServerProcess, redis_binary, valkey_binary

RECEIVE = 1 << 18  # bytes
MARKER = b"this is all"


def pin() -> int:
    """Keep this process and those that it starts, the server too, on one core; return which."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def new_server() -> ServerProcess:
    """Return the redis-server of this machine, or else the embedded Valkey, not yet started."""
    return ServerProcess(redis_binary() or valkey_binary(), appendonly="no")


def pack(*words: str | bytes | int) -> bytes:
    """Return a command as it is sent."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    packed = b"*%d\r\n" % len(parts)
    return packed + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class Wire:
    """A raw blocking socket with a hiredis reader: the floor under any client in Python."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = hiredis.Reader()

    def asking(self, *packed: bytes, replies: int = 1) -> Callable[[], Any]:
        """Return the function that sends a packed command, the next of several each time."""
        send, receive = self.socket.sendall, self.socket.recv
        feed, parsed = self.reader.feed, self.reader.gets
        turn = _turn(packed)

        def ask() -> Any:
            send(turn())
            feed(receive(RECEIVE))
            reply = parsed()
            while reply is False:
                feed(receive(RECEIVE))
                reply = parsed()
            return reply

        def ask_for_several() -> Any:
            reply = ask()
            for _ in range(replies - 1):
                reply = parsed()
                while reply is False:
                    feed(receive(RECEIVE))
                    reply = parsed()
            return reply

        return ask if replies == 1 else ask_for_several

    def ask(self, *words: str | bytes | int) -> Any:
        """Send one command and return its reply."""
        reply = self.asking(pack(*words))()
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def info(self, section: str) -> dict[str, str]:
        """Return a section of INFO."""
        lines = self.ask("INFO", section).decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)


def trips(wire: Wire, call: Callable[[], object], calls: int) -> float:
    """Return the round trips of one call: how often the server read from its clients."""
    before = int(wire.info("stats")["total_reads_processed"])
    for _ in range(calls):
        call()
    after = int(wire.info("stats")["total_reads_processed"])
    return (after - before - 1) / calls  # one for INFO


def sent(port: int, call: Callable[[], object]) -> list[bytes]:
    """Return, packed, the commands that a call sends."""
    listener, other = Wire(port), Wire(port)
    listener.ask("MONITOR")
    call()
    other.ask("ECHO", MARKER)
    commands: list[bytes] = []
    while True:
        line = listener.reader.gets()
        if line is False:
            listener.reader.feed(listener.socket.recv(RECEIVE))
            continue
        source, _, rest = line.partition(b"] ")
        words = [ast.literal_eval(f"b{word}") for word in _WORD.findall(rest.decode("latin-1"))]
        if words == [b"ECHO", MARKER]:
            return commands
        if not source.endswith(b" lua"):
            commands.append(pack(*words))


_WORD = re.compile(r'"(?:[^"\\]|\\.)*"')


def _turn(values: tuple[bytes, ...]) -> Callable[[], bytes]:
    if len(values) == 1:
        only = values[0]
        return lambda: only
    return cycle(values).__next__
