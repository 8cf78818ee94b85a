"""What the tasks of one event loop ask, gathered and written together."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from redis.asyncio.connection import AbstractConnection

from django_counter.backends.redis.async_connection import AsyncConnection, Waiter
from django_counter.backends.redis.call import Command, Reply, pack
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
        self._connection: AsyncConnection | None = None
        self._connecting: asyncio.Task[AbstractConnection] | None = None
        self._unsent: list[Waiter] = []
        self._unsent_bytes = 0
        self._flush_scheduled = False
        self._alone = True  # the last one was written by itself, and so may be the next
        self._watchdog: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._callers = 0
        self._left = asyncio.Event()  # by the last caller
        self.guard: AsyncGenerator[None] | None = None  # what closes it when the loop ends

    def enter(self) -> None:
        """Note a caller, who may ask several times."""
        self._callers += 1

    def leave(self) -> None:
        """Note that a caller has gone."""
        self._callers -= 1
        if not self._callers:
            self._left.set()

    async def ask(self, command: Command, deadline: float) -> Reply:
        """Return the reply; raise ReplyLost once it was written, else one of DRIVER_ERRORS."""
        if self.full():
            await self.wait_for_room(deadline)
        return await self.send(command, deadline)

    def send(self, command: Command, deadline: float) -> asyncio.Future[Reply]:
        """See ask(). There must be room."""
        reply = self._add(command, deadline)
        if not self._flush_scheduled:
            self._write_soon(deadline)
        return reply

    async def ask_all(
        self, commands: Sequence[Command], deadline: float
    ) -> list[Reply | BaseException]:
        """Return for each command its reply, or what ask() raises; nothing comes between them."""
        if self.full():
            await self.wait_for_room(deadline)
        replies = [self._add(command, deadline) for command in commands]
        if not self._flush_scheduled:
            self._write_soon(deadline)
        return await asyncio.gather(*replies, return_exceptions=True)

    async def drain(self) -> None:
        """Wait until the last caller has gone."""
        if self._callers:
            self._left.clear()
            await self._left.wait()

    def close(self) -> None:
        """Close the connection at once."""
        if self._watchdog:
            self._watchdog.cancel()
        if self._connecting:
            self._connecting.cancel()
        if self._connection:
            self._connection.drop(ConnectionAbortedError("the event loop ends"))

    def full(self) -> bool:
        """Say whether callers have to wait."""
        sent = len(self._connection.unanswered) if self._connection else 0
        return self._unsent_bytes >= MAX_UNSENT_BYTES or sent + len(self._unsent) >= MAX_CALLS

    async def wait_for_room(self, deadline: float) -> None:
        """Wait while it is full; raise TimeoutError at the deadline."""
        while self.full():
            self._room.clear()
            async with asyncio.timeout_at(deadline):
                await self._room.wait()

    def _add(self, command: Command, deadline: float) -> asyncio.Future[Reply]:
        packed = pack(command)
        reply = self._loop.create_future()
        self._unsent.append((packed, reply, deadline))
        self._unsent_bytes += len(packed)
        return reply

    def _write_soon(self, deadline: float) -> None:
        if self._watchdog is None:
            self._watchdog = self._loop.call_at(deadline, self._watch)
        if self._alone and self._connection and not self._connection.unanswered:
            self._flush()
        else:
            self._flush_soon()

    def _flush_soon(self) -> None:
        self._flush_scheduled = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._connection and self._connection.stale():
            stale, self._connection = self._connection, None
            stale.drop(ConnectionResetError("the server closed the connection"))
        if self._connection is None:
            self._connect()
        elif self._connection.writable():
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
            self._connection = AsyncConnection(connecting.result(), self._changed)
            self._flush()

    def _changed(self, connection: AsyncConnection) -> None:
        if connection is not self._connection:
            return
        if connection.lost:
            self._connection = None
            self._fail_unsent(connection.lost)
        elif self._unsent and not self._flush_scheduled:  # they waited until it is writable
            self._flush()
        elif not (self._alone or self._flush_scheduled):  # behind those who were answered now
            self._flush_soon()
        if not self.full():
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
        sent = self._connection.unanswered if self._connection else ()
        if self._connection and any(deadline <= now for _, _, deadline in sent):
            self._connection.drop(error)
        for _, reply, deadline in self._unsent:  # it may be connecting yet; others have time left
            if deadline <= now and not reply.done():
                reply.set_exception(error)
        unsent = [waiter for waiter in self._unsent if not waiter[1].done()]
        deadlines = [deadline for _, _, deadline in (*sent, *unsent)]
        if deadlines:
            self._watchdog = self._loop.call_at(min(deadlines), self._watch)
