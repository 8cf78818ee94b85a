"""The way of asynchronous calls to the server: one connection for each event loop."""

import asyncio
from collections.abc import AsyncGenerator

from django_counter.backends.redis.call import Call, Reply
from django_counter.backends.redis.errors import FAILURES, Tries, fail, next_try
from django_counter.backends.redis.lane import Lane
from django_counter.backends.redis.pipeline import Pipeline
from django_counter.backends.redis.server import Server


class AsyncLane:
    """A pipeline for each event loop. It is closed when its loop ends."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pipelines: dict[asyncio.AbstractEventLoop, Pipeline] = {}

    async def call(self, call: Call) -> Reply:
        """See Lane.call(). A cancelled call may have been applied."""
        loop = asyncio.get_running_loop()
        pipeline = self._pipelines.get(loop) or await self._open(loop)
        deadline = loop.time() + self._server.timeout
        pipeline.enter()
        try:
            return await pipeline.ask(call.command, deadline)
        except FAILURES as error:
            return await self._go_on(pipeline, call, error, deadline)
        finally:
            pipeline.leave()

    async def close(self) -> None:
        """Close the connection of the running loop once its calls are answered."""
        pipeline = self._pipelines.pop(asyncio.get_running_loop(), None)
        if pipeline:
            await pipeline.drain()
            pipeline.close()

    async def _go_on(
        self, pipeline: Pipeline, call: Call, error: Exception, deadline: float
    ) -> Reply:
        tries = Tries()
        while True:
            call = next_try(call, error, tries)
            await asyncio.sleep(tries.pause)
            if tries.lost and asyncio.get_running_loop().time() >= deadline:
                fail(call, tries.lost)
            try:
                return await pipeline.ask(call.command, deadline)
            except FAILURES as failure:
                error = failure

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


class ThreadLane:
    """The synchronous lane with a thread for each call: for connections of unknown classes."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def call(self, call: Call) -> Reply:
        """See Lane.call()."""
        return await asyncio.to_thread(self._lane.call, call)

    async def close(self) -> None:
        """The idle connections are the synchronous lane's."""
