"""The way of asynchronous calls to the server: one connection for each event loop."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

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
from django_counter.backends.redis.errors import (
    DRIVER_ERRORS,
    FAILURES,
    Tries,
    fail_late,
    next_try,
)
from django_counter.backends.redis.pipeline import Pipeline
from django_counter.backends.redis.server import Server
from django_counter.exceptions import CounterError


class AsyncLane:
    """A pipeline for each event loop. It is closed when its loop ends."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pipelines: dict[asyncio.AbstractEventLoop, Pipeline] = {}

    async def call(self, call: Call[Answer]) -> Answer:
        """See Lane.call(). A cancelled call may have been applied."""
        loop = asyncio.get_running_loop()
        pipeline = self._pipelines.get(loop) or await self._open(loop)
        reply = pipeline.send(call.packed or pack(call.command))
        deadline = pipeline.deadline
        try:
            reply = await reply
        except FAILURES as error:
            reply = await self._go_on(pipeline, call, error, deadline)
        return reply if call.parse is raw else call.parse(reply, call.key)

    async def call_all(self, calls: Sequence[Call[Answer]]) -> list[Answer | CounterError]:
        """See Lane.call_all()."""
        if not calls:
            return []
        deadline = asyncio.get_running_loop().time() + self._server.timeout
        replies = await self.exchange_all(packed_together(calls), deadline)
        return [
            await self._settle(call, reply, deadline)
            for call, reply in zip(calls, replies, strict=True)
        ]

    async def send_all(self, bulk: Bulk[Answer]) -> list[Answer | CounterError]:
        """See Lane.send_all()."""
        if not bulk:
            return []
        deadline = asyncio.get_running_loop().time() + self._server.timeout
        replies = await self.exchange_all(list(map(pack, bulk.commands())), deadline)
        return [
            await self._settle(bulk.call(number), reply, deadline)
            if isinstance(reply, BaseException)
            else reply
            for number, reply in enumerate(replies)
        ]

    async def exchange(self, packed: bytes, deadline: float) -> Reply:
        """See Lane.exchange(). The deadline is by the time of the event loop."""
        pipeline = await self._pipeline()
        return await pipeline.ask(packed, deadline)

    async def exchange_all(
        self, packed: Sequence[bytes], deadline: float
    ) -> list[Reply | BaseException]:
        """See Lane.exchange_all()."""
        pipeline = await self._pipeline()
        replies: list[Reply | BaseException] = []
        try:
            for part in parts(packed):
                if replies and asyncio.get_running_loop().time() >= deadline:
                    raise TimeoutError("no time is left")
                replies += await pipeline.ask_all(part, deadline)
        except DRIVER_ERRORS as error:
            replies += [error] * (len(packed) - len(replies))
        return replies

    async def call_node(self, number: int, call: Call[Answer]) -> tuple[Answer, int]:
        """See Lane.call_node()."""
        return await self.call(call), 1

    async def close(self) -> None:
        """Close the connection of the running loop once its calls are answered."""
        pipeline = self._pipelines.pop(asyncio.get_running_loop(), None)
        if pipeline:
            await pipeline.drain()
            pipeline.close()

    async def _go_on(
        self, pipeline: Pipeline, call: Call[Answer], error: Exception, deadline: float
    ) -> Reply:
        tries = Tries()
        with pipeline.caller():
            while True:
                call = next_try(call, error, tries)
                await asyncio.sleep(tries.pause)
                if asyncio.get_running_loop().time() >= deadline:
                    fail_late(call, tries)
                try:
                    return await pipeline.ask(pack(call.command), deadline)
                except FAILURES as failure:
                    error = failure

    async def _settle(
        self, call: Call[Answer], reply: Reply | BaseException, deadline: float
    ) -> Answer | CounterError:
        try:
            if isinstance(reply, FAILURES):
                reply = await self._go_on(await self._pipeline(), call, reply, deadline)
            return call.parse(reply, call.key)
        except CounterError as error:
            return error

    async def _pipeline(self) -> Pipeline:
        loop = asyncio.get_running_loop()
        return self._pipelines.get(loop) or await self._open(loop)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> Pipeline:
        for each in list(self._pipelines):
            if each.is_closed():
                self._pipelines.pop(each, None)
        pipeline = self._pipelines[loop] = Pipeline(self._server, loop)
        pipeline.guard = self._guard(pipeline, loop)
        await anext(pipeline.guard)
        return pipeline

    async def _guard(
        self, pipeline: Pipeline, loop: asyncio.AbstractEventLoop
    ) -> AsyncGenerator[None]:
        """Close a pipeline with its loop, which ends the generators begun in it and then itself."""
        try:
            yield
        finally:
            if self._pipelines.get(loop) is pipeline:
                del self._pipelines[loop]
            pipeline.close()
            await asyncio.sleep(0)  # the transport closes its socket in the next turn
