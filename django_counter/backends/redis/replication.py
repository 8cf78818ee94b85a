"""Changes that count as made only once replicas have them too: the option `replicas`."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from django_counter.backends.redis.async_connection import AsyncConnection, Waiter
from django_counter.backends.redis.call import Command, Reply, pack
from django_counter.backends.redis.connection import Connection
from django_counter.backends.redis.errors import DRIVER_ERRORS, ReplyLost, reply_lost
from django_counter.backends.redis.topology import CLUSTER_SLOTS
from django_counter.exceptions import CounterConfigError

MAX_REPLICAS = 1000

# Asked on each new connection: that WAIT is refused must be known before a change is made.
WAIT_FOR_NONE: Command = ("WAIT", "0", "0")

_SLOTS = pack(CLUSTER_SLOTS.command)  # asked of nodes that may have no replica, or be one


def checked_replicas(replicas: int) -> int:
    """Return the option `replicas`; refuse what is no number of them."""
    if type(replicas) is not int or not 0 <= replicas <= MAX_REPLICAS:
        raise CounterConfigError(
            f"option 'replicas' must be an int from 0 to {MAX_REPLICAS}, not {replicas!r}"
        )
    return replicas


def has_no_wait(error: ResponseError) -> bool:
    """Say whether the server never lets this user WAIT; other errors the next command gets too."""
    return isinstance(error, NoPermissionError) or "unknown command" in str(error)


class Confirmation:
    """That at least `replicas` replicas have a change, as the reply of a WAIT says."""

    def __init__(self, replicas: int, timeout: float) -> None:
        self._replicas = replicas
        # 0 milliseconds would be without end.
        self.wait = pack(("WAIT", str(replicas), str(max(1, int(timeout * 1000)))))

    def given(self, outcome: Reply | BaseException) -> bool:
        """Say whether WAIT's reply, or what came in its place, is that confirmation."""
        return isinstance(outcome, int) and outcome >= self._replicas

    def missing(self, outcome: Reply | BaseException) -> TimeoutError:
        """Return the error for what was sent and not confirmed."""
        error = TimeoutError(f"fewer than {self._replicas} replicas have confirmed it")
        error.__cause__ = outcome if isinstance(outcome, BaseException) else None
        return error


class ConfirmedConnection:
    """A connection with a WAIT behind all that it sends, whose reply decides on the others."""

    def __init__(self, connection: Connection, confirmation: Confirmation) -> None:
        self.used = connection.used
        self._connection = connection
        self._confirmation = confirmation
        self._owes = False  # the reply of a WAIT was not read

    def ask(self, packed: bytes, deadline: float, wait: bool) -> Reply | Exception:
        if packed == _SLOTS:
            return self._connection.ask(packed, deadline, wait)
        self.send(packed, deadline)
        replies: list[Reply | Exception] = []
        try:
            self._connection.receive_all(replies, 1, deadline)
            if isinstance(replies[0], Exception):  # it changed nothing
                self._owes = len(replies) == 1
                self.used = 0.0  # so that the lane looks whether it is stale
                return replies[0]
            self._connection.receive_all(replies, 2, deadline)
        except DRIVER_ERRORS as error:
            self.close()
            raise ReplyLost from (self._confirmation.missing(error) if replies else error)
        [reply] = self._decided(replies, replies.pop())
        return reply

    def send(self, packed: bytes, deadline: float) -> None:
        self._connection.send(packed + self._confirmation.wait, deadline)

    def receive_all(self, replies: list[Reply | Exception], count: int, deadline: float) -> None:
        came: list[Reply | Exception] = []
        try:
            self._connection.receive_all(came, count - len(replies) + 1, deadline)
        except DRIVER_ERRORS as error:
            replies += self._decided(came, error)
            raise
        replies += self._decided(came, came.pop())

    def stale(self) -> bool:
        return self._owes or self._connection.stale()

    def close(self) -> None:
        self._connection.close()

    def _decided(
        self, replies: list[Reply | Exception], outcome: Reply | Exception
    ) -> list[Reply | Exception]:
        """Return the replies as they are, or without confirmation the refusals among them."""
        if self._confirmation.given(outcome):
            return replies
        error = self._confirmation.missing(outcome)
        return [each if isinstance(each, Exception) else reply_lost(error) for each in replies]


class ConfirmedAsyncConnection(AsyncConnection):
    """See ConfirmedConnection: a WAIT behind each write."""

    def __init__(
        self,
        connection: Any,
        changed: Callable[[AsyncConnection], None],
        confirmation: Confirmation,
    ) -> None:
        super().__init__(connection, changed)
        self._confirmation = confirmation

    def write(self, waiters: Sequence[Waiter]) -> None:
        sent: list[Waiter] = []
        held = []  # what waits, and where the reply is kept until WAIT's
        for packed, waiting, deadline in waiters:
            reply = waiting
            if packed != _SLOTS:
                reply = self._loop.create_future()
                reply.add_done_callback(partial(_refused, waiting))
                held.append((waiting, reply))
            sent.append((packed, reply, deadline))
        if held:
            outcome: asyncio.Future[Reply] = self._loop.create_future()
            outcome.add_done_callback(partial(self._decided, held))
            first = min(deadline for _, _, deadline in waiters)
            sent.append((self._confirmation.wait, outcome, first))
        super().write(sent)

    def _decided(
        self,
        held: list[tuple[asyncio.Future[Reply], asyncio.Future[Reply]]],
        outcome: asyncio.Future[Reply],
    ) -> None:
        found = outcome.exception() or outcome.result()
        given = self._confirmation.given(found)
        for waiting, reply in held:
            if waiting.done():  # refused, lost, or cancelled
                continue
            if given:
                waiting.set_result(reply.result())
            else:
                waiting.set_exception(reply_lost(self._confirmation.missing(found)))


def _refused(waiting: asyncio.Future[Reply], reply: asyncio.Future[Reply]) -> None:
    """Give an error at once to the call that waits: it needs no confirmation."""
    error = reply.exception()
    if error and not waiting.done():
        waiting.set_exception(error)
