"""One connection of a lane: a command out, its reply in."""

import select
import socket
import ssl
import struct
from time import monotonic
from typing import Any, Protocol

import hiredis
from redis import exceptions as driver

from django_counter.backends.redis.call import Reply
from django_counter.backends.redis.errors import DRIVER_ERRORS, ReplyLost

# How long ago a connection may have been used, to be used again without a look at its socket.
UNPROBED_SECONDS = 0.001
READ_BYTES = 400  # most replies are shorter, and Python keeps memory for objects of this size
READ_MORE_BYTES = 65_536
ONE_WRITE_BYTES = 65_536  # the kernel's buffers are larger: it takes as much at once
INCOMPLETE = object()  # what a reader gives when it has no whole reply
READABLE = select.POLLIN | getattr(select, "POLLRDHUP", 0)

# Error replies that redis-py raises as connection errors: nothing was lost, nothing applied.
_REPLIES = (driver.ResponseError, driver.BusyLoadingError, driver.AuthenticationError)


class Connection(Protocol):
    """What a lane needs of a connection."""

    used: float  # when it was last taken, by time.monotonic()

    def ask(self, packed: bytes, deadline: float, wait: bool) -> Reply | Exception:
        """Send a command and return its reply, an error reply as an exception.

        Raise one of DRIVER_ERRORS where it was not sent, and ReplyLost, closed, once it was.
        With `wait`, poll until the deadline before the first read. Without it, only the socket's
        own timeout bounds that read, so that a whole timeout must be left.
        """

    def send(self, packed: bytes, deadline: float) -> None:
        """Send commands, or raise one of DRIVER_ERRORS: of several, some may be sent then."""

    def receive_all(self, replies: list[Reply | Exception], count: int, deadline: float) -> None:
        """Add that many replies to a list, each as it comes; raise one of DRIVER_ERRORS."""

    def stale(self) -> bool:
        """Say whether an idle connection was closed, or has something to read."""

    def close(self) -> None:
        """Close the connection. It is not used again."""


class SocketConnection:
    """A connected redis-py connection of a known class, whose socket is used directly."""

    __slots__ = ("_connection", "_poll", "_reader", "_socket", "_tls", "used")

    def __init__(self, connection: Any, timeout: float) -> None:
        self._connection = connection  # owns the socket
        self._socket: socket.socket = connection._sock
        self._tls = isinstance(self._socket, ssl.SSLSocket)
        self._reader = reply_reader(connection)
        self._poll = select.poll()
        self._poll.register(self._socket, READABLE)
        self.used = monotonic()
        if not self._tls:  # OpenSSL reads on after the kernel's timeout
            # The kernel keeps the time: Python's own timeouts poll before each call.
            self._socket.settimeout(None)
            limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1_000_000))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def ask(self, packed: bytes, deadline: float, wait: bool) -> Reply | Exception:
        if self._tls or len(packed) > ONE_WRITE_BYTES:
            self.send(packed, deadline)
        else:
            self._socket.sendall(packed)
        try:
            if wait:
                self._wait(deadline)
            data = self._socket.recv(READ_BYTES)
            while True:
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                self._reader.feed(data)
                while (reply := self._reader.gets()) is not INCOMPLETE:
                    if type(reply) is not hiredis.PushNotification:
                        return reply
                self._wait(deadline)
                data = self._socket.recv(READ_MORE_BYTES)
        except DRIVER_ERRORS as error:
            self.close()
            raise ReplyLost from error

    def send(self, packed: bytes, deadline: float) -> None:
        if not self._tls and len(packed) <= ONE_WRITE_BYTES:
            self._socket.sendall(packed)
            return
        # sendall() would give each of the writes that this takes the whole time.
        unsent = memoryview(packed)
        while unsent:
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError("it could not be sent in time")
            self._socket.settimeout(left)
            unsent = unsent[self._socket.send(unsent) :]
        if not self._tls:
            self._socket.settimeout(None)

    def receive_all(self, replies: list[Reply | Exception], count: int, deadline: float) -> None:
        while len(replies) < count:
            self._wait(deadline)
            data = self._socket.recv(READ_MORE_BYTES)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._reader.feed(data)
            came = list(iter(self._reader.gets, INCOMPLETE))
            if hiredis.PushNotification in {*map(type, came)}:
                came = [each for each in came if type(each) is not hiredis.PushNotification]
            replies += came

    def stale(self) -> bool:
        return bool(self._poll.poll(0))

    def close(self) -> None:
        self._connection.disconnect()

    def _wait(self, deadline: float) -> None:
        """Wait until something of the reply is there, or raise TimeoutError."""
        left = deadline - monotonic()
        # What TLS holds decrypted is not seen by a poll: the read waits itself.
        if left > 0 and self._tls:
            self._socket.settimeout(left)
        elif left <= 0 or not self._poll.poll(left * 1000):
            raise TimeoutError("the reply did not come in time")


class DriverConnection:
    """A connected redis-py connection of any other class, through its public methods."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.used = monotonic()

    def ask(self, packed: bytes, deadline: float, wait: bool) -> Reply | Exception:
        self.send(packed, deadline)
        try:
            return self._receive(deadline)
        except DRIVER_ERRORS as error:
            self.close()
            raise ReplyLost from error

    def send(self, packed: bytes, deadline: float) -> None:
        self._connection.send_packed_command([packed])

    def receive_all(self, replies: list[Reply | Exception], count: int, deadline: float) -> None:
        while len(replies) < count:
            replies.append(self._receive(deadline))

    def stale(self) -> bool:
        try:
            return bool(self._connection.can_read(timeout=0))
        except driver.RedisError:
            return True

    def close(self) -> None:
        self._connection.disconnect()

    def _receive(self, deadline: float) -> Reply | Exception:
        if monotonic() >= deadline:
            raise TimeoutError("the reply did not come in time")
        try:
            reply: Reply = self._connection.read_response()
        except _REPLIES as error:
            return error
        return reply


def reply_reader(connection: Any) -> hiredis.Reader:
    """Return a reader of bytes that gives error replies as redis-py's exceptions."""
    return hiredis.Reader(
        protocolError=driver.InvalidResponse,
        replyError=connection._parser.parse_error,
        notEnoughData=INCOMPLETE,
    )
