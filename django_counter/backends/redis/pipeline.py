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

    What is asked while nothing is under way is written at once; all else in one write for each
    turn of the loop. One timer watches the deadlines of all.
    """

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._connection: AsyncConnection | None = None
        self._connecting: asyncio.Task[AbstractConnection] | None = None
        self._unsent: list[Waiter] = []
        self._unsent_bytes = 0
        self._flush_scheduled = False
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
        if self._full():
            await self._wait_for_room(deadline)
        waiter = self._add(command, deadline)
        self._send()
        return await waiter.reply

    async def ask_all(
        self, commands: Sequence[Command], deadline: float
    ) -> list[Reply | BaseException]:
        """Return for each command its reply, or what ask() raises; nothing comes between them."""
        if self._full():
            await self._wait_for_room(deadline)
        waiters = [self._add(command, deadline) for command in commands]
        self._send()
        return await asyncio.gather(*(waiter.reply for waiter in waiters), return_exceptions=True)

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

    async def _wait_for_room(self, deadline: float) -> None:
        while self._full():
            self._room.clear()
            async with asyncio.timeout_at(deadline):
                await self._room.wait()

    def _add(self, command: Command, deadline: float) -> Waiter:
        waiter = Waiter(pack(command), self._loop.create_future(), deadline)
        self._unsent.append(waiter)
        self._unsent_bytes += len(waiter.packed)
        return waiter

    def _send(self) -> None:
        if self._watchdog is None:
            self._watchdog = self._loop.call_at(self._unsent[-1].deadline, self._watch)
        if self._connection and not self._connection.unanswered:
            self._flush()
        elif not self._flush_scheduled:
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
            waiters = [waiter for waiter in self._unsent if not waiter.reply.done()]
            self._unsent = []
            self._unsent_bytes = 0
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
        if not self._full():
            self._room.set()

    def _fail_unsent(self, error: BaseException) -> None:
        unsent, self._unsent = self._unsent, []
        self._unsent_bytes = 0
        for waiter in unsent:
            if not waiter.reply.done():
                waiter.reply.set_exception(error)
        self._room.set()

    def _full(self) -> bool:
        sent = len(self._connection.unanswered) if self._connection else 0
        return self._unsent_bytes >= MAX_UNSENT_BYTES or sent + len(self._unsent) >= MAX_CALLS

    def _watch(self) -> None:
        """Fail what is past its deadline: a connection that owes a reply then is dropped."""
        self._watchdog = None
        now = self._loop.time()
        error = TimeoutError("the reply did not come in time")
        if self._connection and any(w.deadline <= now for w in self._connection.unanswered):
            self._connection.drop(error)
        for waiter in self._unsent:  # it may be connecting yet; the others have time left
            if waiter.deadline <= now and not waiter.reply.done():
                waiter.reply.set_exception(error)
        sent = self._connection.unanswered if self._connection else ()
        waiting = [*sent, *(waiter for waiter in self._unsent if not waiter.reply.done())]
        if waiting:
            deadline = min(waiter.deadline for waiter in waiting)
            self._watchdog = self._loop.call_at(deadline, self._watch)
