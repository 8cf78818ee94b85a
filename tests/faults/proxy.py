"""A proxy before a server that loses, delays and cuts what passes through it."""

import contextlib
import random
import selectors
import socket
import struct
import threading
import time
from collections import deque
from enum import Enum, auto
from types import TracebackType

import hiredis

# What a client says of itself when it connects: never disturbed, never counted.
HANDSHAKE = {b"HELLO", b"AUTH", b"CLIENT", b"SELECT", b"PING", b"READONLY"}
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: closing discards and resets


class Fault(Enum):
    """What becomes of a command."""

    CUT_BEFORE = auto()  # it is not delivered, the connection is closed
    CUT_AFTER = auto()  # it is delivered and run, then the connection is closed
    RESET_AFTER = auto()  # the same, with a reset
    CUT_INSIDE = auto()  # it is run, half of its reply arrives, then the connection is closed
    LOSE = auto()  # it is run, its reply and all later ones vanish, the connection stays open
    HANG = auto()  # it is not delivered, nor is anything after it; the connection stays open
    DELAY = auto()  # its reply comes later, by `pause`
    DRIP = auto()  # its reply comes byte by byte, a `pause` between them


APPLIED = (Fault.CUT_AFTER, Fault.RESET_AFTER, Fault.CUT_INSIDE, Fault.LOSE)
NOT_APPLIED = (Fault.CUT_BEFORE, Fault.HANG)


class Proxy:
    """A proxy on loopback that lives as long as its `with` block.

    Each command takes the next of `faults`; without one it passes. With `chance`, that share of
    the replies is lost, each with its connection.
    """

    def __init__(self, port: int) -> None:
        self.faults: deque[Fault] = deque()
        self.pause = 0.01  # seconds
        self.chance = 0.0
        self.refusing = False  # connections are closed as soon as they are made
        self.commands: list[list[bytes]] = []  # what was asked, without handshakes
        self.accepted = 0
        self._random = random.Random(1)
        self._target = port
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._alarm, self._bell = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> "Proxy":
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._alarm, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bell.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    if not self._alarm.recv(1):
                        return
                    self._cut_all()
                elif key.fileobj.fileno() != -1:  # closed by the one before
                    key.data()

    def _cut_all(self) -> None:
        for link in {key.data.__self__ for key in self._selector.get_map().values() if key.data}:
            if isinstance(link, Link):
                link.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.accepted += 1
        if self.refusing:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            client.close()
            return
        link = Link(self, client, server)
        for end in (client, server):
            end.settimeout(5)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(client, selectors.EVENT_READ, link.from_client)
        self._selector.register(server, selectors.EVENT_READ, link.from_server)

    def cut_all(self) -> None:
        """Close the connections that hang."""
        self._bell.send(b"x")

    def forget(self, end: socket.socket) -> None:
        """Close one end of a link."""
        if end.fileno() != -1:
            self._selector.unregister(end)
            end.close()

    def unlucky(self, replies: int) -> bool:
        """Say whether one of that many replies is to be lost."""
        return self._random.random() > (1 - self.chance) ** replies


class Link:
    """A client's connection and its own to the server."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.server = server
        self.fault: Fault | None = None
        self._asked = hiredis.Reader()
        self._answered = hiredis.Reader()

    def from_client(self) -> None:
        data = self._read(self.client)
        if data:
            self._take(data)
        if not data or self.fault is Fault.CUT_BEFORE:
            self.close()
        elif self.fault is not Fault.HANG:
            self._send(self.server, data)

    def from_server(self) -> None:
        data = self._read(self.server)
        if not data:
            self.close()
        elif self.fault is Fault.LOSE:
            return
        elif self.fault in (Fault.CUT_AFTER, Fault.RESET_AFTER, Fault.CUT_INSIDE):
            if self.fault is Fault.CUT_INSIDE:
                self._send(self.client, data[: max(len(data) // 2, 1)])
            elif self.fault is Fault.RESET_AFTER:
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.close()
        elif self.proxy.chance and self.proxy.unlucky(self._count(data)):
            self.close()
        else:
            self._deliver(data)

    def close(self) -> None:
        self.proxy.forget(self.client)
        self.proxy.forget(self.server)

    def _take(self, data: bytes) -> None:
        """Note the commands that came, and what becomes of them."""
        self._asked.feed(data)
        while (command := self._asked.gets()) is not False:
            if command[0] in HANDSHAKE:
                continue
            self.proxy.commands.append(command)
            if self.proxy.faults and self.fault is None:
                self.fault = self.proxy.faults.popleft()

    def _deliver(self, data: bytes) -> None:
        fault, self.fault = self.fault, None
        if fault is Fault.DELAY:
            time.sleep(self.proxy.pause)
        size = 1 if fault is Fault.DRIP else len(data)
        for start in range(0, len(data), size):
            if start:
                time.sleep(self.proxy.pause)
            if not self._send(self.client, data[start : start + size]):
                return

    def _count(self, data: bytes) -> int:
        self._answered.feed(data)
        count = 0
        while self._answered.gets() is not False:
            count += 1
        return count

    def _read(self, end: socket.socket) -> bytes:
        with contextlib.suppress(OSError):
            return end.recv(65_536)
        return b""

    def _send(self, end: socket.socket, data: bytes) -> bool:
        try:
            end.sendall(data)
        except OSError:
            self.close()
            return False
        return True
