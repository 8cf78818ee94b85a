"""The way of synchronous calls to the server: a stack of idle connections."""

import os
from collections import deque
from time import monotonic, sleep

from django_counter.backends.redis.call import Call, Reply
from django_counter.backends.redis.connection import UNPROBED_SECONDS, Connection
from django_counter.backends.redis.errors import (
    DRIVER_ERRORS,
    FAILURES,
    ReplyLost,
    Tries,
    fail,
    next_try,
    read_only,
)
from django_counter.backends.redis.server import Server


class Lane:
    """Idle connections that all threads share.

    A connection is off the stack while it is used, and comes back only after its whole reply was
    read. Whatever interrupts a call, a signal's exception too, its connection is not used again.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._idle: deque[Connection] = deque()
        self._pid = os.getpid()

    def call(self, call: Call) -> Reply:
        """Return the reply; raise a CounterError. What may have been applied is not sent again."""
        deadline = monotonic() + self._server.timeout
        try:
            return self._exchange(call, deadline)
        except FAILURES as error:
            return self._go_on(call, error, deadline)

    def close(self) -> None:
        """Close the idle connections."""
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def _go_on(self, call: Call, error: Exception, deadline: float) -> Reply:
        tries = Tries()
        while True:
            call = next_try(call, error, tries)
            sleep(tries.pause)
            if monotonic() >= deadline:
                fail(call, tries.lost or TimeoutError("no time is left"))
            try:
                return self._exchange(call, deadline, wait=True)
            except FAILURES as failure:
                error = failure

    def _exchange(self, call: Call, deadline: float, wait: bool = False) -> Reply:
        connection = self._pop() or self._server.connect(deadline)
        try:
            connection.send(call.command)
        except DRIVER_ERRORS:  # half a command cannot run
            connection.close()
            connection = self._server.connect(deadline)
            connection.send(call.command)
        try:
            if wait:  # less is left than the timeout of the connection
                connection.wait(deadline)
            reply = connection.receive(deadline)
        except DRIVER_ERRORS as error:
            connection.close()
            raise ReplyLost from error
        connection.released = monotonic()
        self._idle.append(connection)
        if isinstance(reply, Exception):
            if read_only(reply):
                self.close()
            raise reply
        return reply

    def _pop(self) -> Connection | None:
        """Return an idle connection, dropping those that the server has closed meanwhile."""
        if self._pid != os.getpid():  # a fork: these connections are the parent's
            self._idle = deque()
            self._pid = os.getpid()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if monotonic() - connection.released < UNPROBED_SECONDS or not connection.stale():
                return connection
            connection.close()
