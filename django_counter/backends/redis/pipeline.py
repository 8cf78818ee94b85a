"""What the tasks of one event loop ask, gathered and written together."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Iterator, Sequence
from contextlib import contextmanager

from redis.asyncio.connection import AbstractConnection

from django_counter.backends.redis.async_connection import AsyncConnection, Waiter
from django_counter.backends.redis.call import Reply
from django_counter.backends.redis.replication import ConfirmedAsyncConnection
from django_counter.backends.redis.server import Server

# Past these bounds a caller waits for room, until its deadline.
MAX_CALLS = 10_000  # asked and not answered
MAX_UNSENT_BYTES = 1_048_576


class Pipeline:
    """The unsent calls of an event loop and the connection that takes them.

    One who asks alone is written at once; what several ask, in one write for each turn of the
    loop. One timer watches the deadlines of all.
    """

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self.deadline = 0.0  # of what send() takes in this turn, by the time of the loop
        self._connection: AsyncConnection | None = None
        self._unanswered: deque[Waiter] = deque()  # the connection's
        self._connecting: asyncio.Task[AbstractConnection] | None = None
        self._unsent: list[Waiter] = []
        self._unsent_bytes = 0
        self._flush_scheduled = False
        self._alone = True  # the last one was written by itself, and so may be the next
        self._watchdog: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._callers = 0  # who ask more than once, or wait for room
        self._left = asyncio.Event()  # by the last caller
        self.guard: AsyncGenerator[None] | None = None  # what closes it when the loop ends

    def send(self, packed: bytes) -> Awaitable[Reply]:
        """See ask(). The deadline is `self.deadline`."""
        if not self._flush_scheduled:
            self._schedule()
        unsent = self._unsent
        calls = len(unsent) + len(self._unanswered)
        if calls >= MAX_CALLS or self._unsent_bytes >= MAX_UNSENT_BYTES:  # _full()
            return self.ask(packed, self.deadline)
        reply: asyncio.Future[Reply] = asyncio.Future(loop=self._loop)
        unsent.append((packed, reply, self.deadline))
        self._unsent_bytes += len(packed)
        if not self._flush_scheduled:
            self._flush()
        return reply

    async def ask(self, packed: bytes, deadline: float) -> Reply:
        """Return the reply; raise ReplyLost once it was written, else one of DRIVER_ERRORS."""
        with self.caller():
            await self._wait_for_room(deadline)
            self._watch_by(deadline)
            [reply] = self._send_all([packed], deadline)
            return await reply

    async def ask_all(
        self, several: Sequence[bytes], deadline: float
    ) -> list[Reply | BaseException]:
        """Return for each of several its reply, or what ask() raises. Nothing comes in between."""
        with self.caller():
            await self._wait_for_room(deadline)
            self._watch_by(deadline)
            replies = self._send_all(several, deadline)
            return await asyncio.gather(*replies, return_exceptions=True)

    @contextmanager
    def caller(self) -> Iterator[None]:
        """Let drain() wait for one who is not always waiting for a reply."""
        self._callers += 1
        try:
            yield
        finally:
            self._callers -= 1
            if not self._callers:
                self._left.set()

    async def drain(self) -> None:
        """Wait until all are answered and the last caller has gone."""
        while True:
            await asyncio.sleep(0)  # a caller that was answered in this turn may ask once more
            waiters = (*self._unsent, *self._unanswered)
            if awaited := [reply for _, reply, _ in waiters if not reply.done()]:
                await asyncio.wait(awaited)
            elif self._callers:
                self._left.clear()
                await self._left.wait()
            else:
                return

    def close(self) -> None:
        """Close the connection at once."""
        if self._watchdog:
            self._watchdog.cancel()
        if self._connecting:
            self._connecting.cancel()
        if self._connection:
            self._connection.drop(ConnectionAbortedError("the event loop ends"))

    def _full(self) -> bool:
        """Say whether callers have to wait."""
        calls = len(self._unsent) + len(self._unanswered)
        return calls >= MAX_CALLS or self._unsent_bytes >= MAX_UNSENT_BYTES

    async def _wait_for_room(self, deadline: float) -> None:
        """Wait while it is full; raise TimeoutError at the deadline."""
        while self._full():
            self._room.clear()
            async with asyncio.timeout_at(deadline):
                await self._room.wait()

    def _send_all(self, several: Sequence[bytes], deadline: float) -> list[asyncio.Future[Reply]]:
        if not self._flush_scheduled:
            self._schedule()
        replies: list[asyncio.Future[Reply]] = [asyncio.Future(loop=self._loop) for _ in several]
        self._unsent += [(*each, deadline) for each in zip(several, replies, strict=True)]
        self._unsent_bytes += sum(map(len, several))
        if not self._flush_scheduled:
            self._flush()
        return replies

    def _schedule(self) -> None:
        """Flush in the next turn, unless the present caller is alone and can be written at once.

        Until then, one look at the clock is enough for all who ask.
        """
        self.deadline = self._loop.time() + self._server.timeout
        if not self._alone or self._unanswered or self._connection is None:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._watchdog is None and self._unsent:
            self._watch_by(self._unsent[0][2])
        if self._connection and self._connection.stale():
            stale, self._connection = self._connection, None
            stale.drop(ConnectionResetError("the server closed the connection"))
        if self._connection is None:
            self._connect()
        elif self._connection.writable:
            waiters = [waiter for waiter in self._unsent if not waiter[1].done()]
            self._unsent = []
            self._unsent_bytes = 0
            self._alone = len(waiters) < 2
            if waiters:
                self._connection.write(waiters)
            else:
                self._room.set()

    def _connect(self) -> None:
        if self._unsent and self._connecting is None:
            self._connecting = self._loop.create_task(self._server.aconnect())
            self._connecting.add_done_callback(self._connected)

    def _connected(self, connecting: asyncio.Task[AbstractConnection]) -> None:
        self._connecting = None
        if connecting.cancelled():
            self._fail_unsent(ConnectionAbortedError("the event loop ends"))
        elif error := connecting.exception():
            self._fail_unsent(error)
        else:
            self._connection = self._taken_over(connecting.result())
            self._unanswered = self._connection.unanswered
            self._flush()

    def _taken_over(self, connection: AbstractConnection) -> AsyncConnection:
        if confirmation := self._server.confirmation:
            return ConfirmedAsyncConnection(connection, self._changed, confirmation)
        return AsyncConnection(connection, self._changed)

    def _changed(self, connection: AsyncConnection) -> None:
        if connection is not self._connection:
            return
        if connection.lost:
            self._connection = None
            self._fail_unsent(connection.lost)
        elif self._unsent and not self._flush_scheduled:  # they waited until it is writable
            self._flush()
        elif not (self._alone or self._flush_scheduled):  # behind those who were answered now
            self._schedule()
        if self._callers and not self._full():
            self._room.set()

    def _fail_unsent(self, error: BaseException) -> None:
        unsent, self._unsent = self._unsent, []
        self._unsent_bytes = 0
        for _, reply, _ in unsent:
            if not reply.done():
                reply.set_exception(error)
        self._room.set()

    def _watch(self) -> None:
        """Fail what is past its deadline: a connection that owes a reply then is dropped."""
        self._watchdog = None
        now = self._loop.time()
        error = TimeoutError("the reply did not come in time")
        sent = self._unanswered
        if self._connection and any(deadline <= now for _, _, deadline in sent):
            self._connection.drop(error)
        for _, reply, deadline in self._unsent:  # it may be connecting yet; others have time left
            if deadline <= now and not reply.done():
                reply.set_exception(error)
        unsent = [waiter for waiter in self._unsent if not waiter[1].done()]
        deadlines = [deadline for _, _, deadline in (*sent, *unsent)]
        if deadlines:
            self._watch_by(min(deadlines))

    def _watch_by(self, deadline: float) -> None:
        """See that the watchdog looks no later than at a deadline."""
        if self._watchdog and self._watchdog.when() <= deadline:
            return
        if self._watchdog:
            self._watchdog.cancel()
        self._watchdog = self._loop.call_at(deadline, self._watch)
