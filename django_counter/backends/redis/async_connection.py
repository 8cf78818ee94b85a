"""One connection of an event loop: commands out in batches, replies in to what waits for them."""

import asyncio
import select
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hiredis import PushNotification
from redis.exceptions import InvalidResponse

from django_counter.backends.redis.call import Reply
from django_counter.backends.redis.connection import (
    INCOMPLETE,
    READABLE,
    UNPROBED_SECONDS,
    reply_reader,
)
from django_counter.backends.redis.errors import replaced, reply_lost

# A packed command, what waits for its reply, and until when by the event loop's time.
Waiter: TypeAlias = tuple[bytes, asyncio.Future[Reply], float]


class AsyncConnection(asyncio.Protocol):
    """A connected redis-py connection of a known class, its transport taken over.

    `changed` is called when replies came, when it can be written again, and when it is lost.
    """

    def __init__(self, connection: Any, changed: "Callable[[AsyncConnection], None]") -> None:
        self.unanswered: deque[Waiter] = deque()
        self.lost: Exception | None = None
        self.writable = True  # commands may be written now
        self._replaced = False  # its server may have a successor
        self._changed = changed
        # Left with its streams, the redis-py connection would close them with itself.
        self._streams = connection._reader, connection._writer
        self._transport: asyncio.Transport = connection._writer.transport
        connection._reader = connection._writer = None
        self._replies = reply_reader(connection)
        self._loop = asyncio.get_running_loop()
        self._answered = self._loop.time()
        self._poll = select.poll()
        self._poll.register(self._transport.get_extra_info("socket"), READABLE)
        self._transport.set_protocol(self)

    def write(self, waiters: Sequence[Waiter]) -> None:
        """Send the commands of these waiters, in one write."""
        self.unanswered.extend(waiters)
        self._transport.write(b"".join([packed for packed, _, _ in waiters]))

    def stale(self) -> bool:
        """Say whether it is idle and of no use: replaced, or closed before the loop hears of it."""
        if self.unanswered:
            return False
        idle = self._loop.time() - self._answered > UNPROBED_SECONDS
        return self._replaced or (idle and bool(self._poll.poll(0)))

    def drop(self, error: Exception) -> None:
        """Close at once. What was sent and not answered is lost."""
        if self.lost:
            return
        self.lost = error
        self._transport.abort()
        for _, reply, _ in self.unanswered:
            if not reply.done():
                reply.set_exception(reply_lost(error))
        self.unanswered.clear()
        self._changed(self)

    def data_received(self, data: bytes) -> None:
        """Give each reply to the first that waits; that of one that went is dropped."""
        self._replies.feed(data)
        first = self.unanswered.popleft
        try:
            for reply in iter(self._replies.gets, INCOMPLETE):
                if type(reply) is PushNotification:
                    continue
                _, waiting, _ = first()
                if isinstance(reply, Exception):
                    self._refuse(waiting, reply)
                elif not waiting.done():
                    waiting.set_result(reply)
        except (InvalidResponse, IndexError) as error:  # not the reply to any command
            self.drop(error)
        self._answered = self._loop.time()
        self._changed(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.drop(error or ConnectionResetError("the server closed the connection"))

    def pause_writing(self) -> None:
        self.writable = False  # its buffer is full

    def resume_writing(self) -> None:
        self.writable = not self._replaced
        self._changed(self)

    def _refuse(self, waiting: asyncio.Future[Reply], error: Exception) -> None:
        if replaced(error):
            self._replaced = True
            self.writable = False  # what it owes still comes
        if not waiting.done():
            waiting.set_exception(error)
