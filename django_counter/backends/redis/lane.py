"""The way of synchronous calls to the server: a stack of idle connections."""

from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic, sleep
from typing import Any

from django_counter.backends.redis.bulk import Bulk
from django_counter.backends.redis.call import (
    Answer,
    Call,
    Reply,
    pack,
    packed_together,
    parts,
    raw,
)
from django_counter.backends.redis.connection import UNPROBED_SECONDS, Connection
from django_counter.backends.redis.errors import (
    DRIVER_ERRORS,
    FAILURES,
    Tries,
    fail_late,
    next_try,
    raise_if_of_handler,
    replaced,
    reply_lost,
)
from django_counter.backends.redis.fork import fork_mark
from django_counter.backends.redis.server import Server
from django_counter.exceptions import CounterError


class Lane:
    """Idle connections that all threads share.

    A connection is off the stack while it is used, and comes back only after its whole reply was
    read. Whatever interrupts a call, a signal's exception too, its connection is not used again.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._idle: deque[Connection] = deque()
        self._mark = fork_mark()

    def call(self, call: Call[Answer]) -> Answer:
        """Return the answer; raise a CounterError. What may have been applied is not sent again."""
        deadline = monotonic() + self._server.timeout
        try:
            reply = self.exchange(call.packed or pack(call.command), deadline)
        except FAILURES as error:
            reply = self._go_on(call, error, deadline)
        return reply if call.parse is raw else call.parse(reply, call.key)

    def call_all(self, calls: Sequence[Call[Answer]]) -> list[Answer | CounterError]:
        """Return for each of several calls its answer, or its error; they leave in one write."""
        if not calls:
            return []
        deadline = monotonic() + self._server.timeout
        replies = self.exchange_all(packed_together(calls), deadline)
        return [
            self._settle(call, reply, deadline) for call, reply in zip(calls, replies, strict=True)
        ]

    def send_all(self, bulk: Bulk[Answer]) -> list[Answer | CounterError]:
        """See call_all(): the replies are the answers."""
        count = len(bulk)
        if not count:
            return []
        deadline = monotonic() + self._server.timeout
        replies: list[Any] = self._exchange(bulk.packed(), count, deadline)
        if not any(issubclass(kind, Exception) for kind in {*map(type, replies)}):
            return replies
        return [
            self._settle(bulk.call(number), reply, deadline)
            if isinstance(reply, Exception)
            else reply
            for number, reply in enumerate(replies)
        ]

    def together(self, prefix: str, keys: list[str]) -> list[list[str]]:
        """Return the keys in groups that one command may name."""
        return [keys]

    def call_node(self, number: int, call: Call[Answer]) -> tuple[Answer, int]:
        """Return the answer of one of the servers that have keys, and how many they are."""
        return self.call(call), 1

    def close(self) -> None:
        """Close the idle connections."""
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def exchange(self, packed: bytes, deadline: float, *, wait: bool = False) -> Reply:
        """Return the reply to a packed command; raise one of FAILURES.

        Without `wait`, the deadline must be at least the timeout away.
        """
        connection = self._pop()
        if connection is None:
            connection, wait = self._server.connect(deadline), True
        try:
            reply = connection.ask(packed, deadline, wait)
        except DRIVER_ERRORS as error:  # half a command cannot run
            connection.close()
            raise_if_of_handler(error)
            connection = self._server.connect(deadline)
            reply = connection.ask(packed, deadline, True)
        self._idle.append(connection)
        if isinstance(reply, Exception):
            if replaced(reply):
                self.close()
            raise reply
        return reply

    def exchange_all(self, packed: Sequence[bytes], deadline: float) -> list[Reply | Exception]:
        """Return for each packed command its reply, or one of FAILURES.

        They leave in one write, or in several where that would be too long a one.
        """
        several = ((b"".join(part), len(part)) for part in parts(packed))
        return self._exchange(several, len(packed), deadline)

    def _exchange(
        self, several: Iterable[tuple[bytes, int]], count: int, deadline: float
    ) -> list[Reply | Exception]:
        """See exchange_all(): for each part its bytes, and how many commands it has."""
        replies: list[Reply | Exception] = []
        sent = 0
        try:
            connection = self._pop() or self._server.connect(deadline)
        except FAILURES as error:
            return [error] * count
        try:
            for part, commands in several:
                if sent and monotonic() >= deadline:
                    raise TimeoutError("no time is left")
                sent += commands
                connection.send(part, deadline)
                connection.receive_all(replies, sent, deadline)
        except DRIVER_ERRORS as error:
            connection.close()
            replies += [reply_lost(error)] * (sent - len(replies))
            return replies + [error] * (count - sent)
        self._idle.append(connection)
        return replies

    def _go_on(self, call: Call[Answer], error: Exception, deadline: float) -> Reply:
        tries = Tries()
        while True:
            call = next_try(call, error, tries)
            sleep(tries.pause)
            if monotonic() >= deadline:
                fail_late(call, tries)
            try:
                return self.exchange(pack(call.command), deadline, wait=True)
            except FAILURES as failure:
                error = failure

    def _settle(
        self, call: Call[Answer], reply: Reply | Exception, deadline: float
    ) -> Answer | CounterError:
        try:
            if isinstance(reply, FAILURES):
                if replaced(reply):
                    self.close()
                reply = self._go_on(call, reply, deadline)
            return call.parse(reply, call.key)
        except CounterError as error:
            return error

    def _pop(self) -> Connection | None:
        """Return an idle connection, dropping those that the server has closed meanwhile."""
        if not self._mark[0]:  # a fork: these connections are the parent's
            self._idle = deque()
            self._mark = fork_mark()
        now = monotonic()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if now - connection.used < UNPROBED_SECONDS or not connection.stale():
                connection.used = now
                return connection
            connection.close()
