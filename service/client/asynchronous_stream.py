"""A stream of the client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import grpc
import grpc.aio
from ossicle.service.values import Result
from ossicle.service.waiting import let_go
from ossicle.speech.v1 import speech_pb2

from .async_speech_to_text import Chunks, one_by_one
from .audio import parts
from .ended_call import status_now
from .errors import OssicleError
from .replicas import Replicas
from .stream import ResumableStream, StreamOptions


class AsynchronousStream(ResumableStream[grpc.aio.Channel]):
    """One stream.

    Args:
        options: how to run it.
        replicas: the servers to choose from.
        chunks: what to send; read in a task of its own, as fast as the server takes it.
    """

    def __init__(
        self, options: StreamOptions, replicas: Replicas[grpc.aio.Channel], chunks: Chunks
    ) -> None:
        super().__init__(options, replicas)
        self._chunks = chunks
        self._call: grpc.aio.Call | None = None
        self._change = asyncio.Event()

    async def results(self) -> AsyncIterator[Result]:
        """The results, until the stream is over.

        Raises:
            OssicleError: it has failed for good.
            Exception: what the chunks raised.
        """
        source = asyncio.create_task(self._read_source())
        try:
            while True:
                async with aclosing(self._converse()) as results:
                    async for result in results:
                        yield result
                if self._failure is None:
                    return
                await asyncio.sleep(self._wait_for_next())
        except OssicleError:
            for result in self._conversation.give_up():
                yield result
            raise
        finally:
            self._over = True
            let_go(source)

    async def _converse(self) -> AsyncGenerator[Result, None]:
        """The results of one connection; a failure that ends it is kept."""
        opening = self._connect()
        self._failure = None
        call = self._replica.speech.StreamingRecognize(
            self._requests(opening, self._connection),
            timeout=self._remaining(),
            metadata=self._access.metadata,
        )
        self._call = call
        status: list[grpc.aio.AioRpcError] = []
        call.add_done_callback(lambda call: status.append(status_now(call)))
        try:
            async for response in call:
                for result in self._take(response):
                    yield result
        except (grpc.RpcError, asyncio.CancelledError) as error:
            if self._source_error is not None:
                raise self._source_error from None
            if isinstance(error, asyncio.CancelledError):
                raise
            if not status:
                self._has_failed(error)
            # Else only a write came too late: all that the server said has been read.
            elif status[0].code() is not grpc.StatusCode.OK:
                self._has_failed(status[0])
        finally:
            call.cancel()
            self._connection += 1
            self._tell_change()

    async def _requests(
        self, opening: speech_pb2.StreamingRecognizeRequest, connection: int
    ) -> AsyncIterator[speech_pb2.StreamingRecognizeRequest]:
        """What to send on a connection, while it is the present one."""
        conversation = self._conversation
        yield opening
        while True:
            await self._until(
                lambda: (
                    connection != self._connection or conversation.waiting or conversation.all_sent
                )
            )
            if connection != self._connection:
                return
            request = conversation.next_request()
            self._tell_change()
            if request is not None:
                yield request
            elif conversation.all_sent:
                return

    async def _read_source(self) -> None:
        conversation = self._conversation
        try:
            async for chunk in one_by_one(self._chunks):
                for part in parts(chunk, self._config):
                    await self._until(lambda: not conversation.waiting)
                    conversation.add(part)
                    self._tell_change()
        except BaseException as error:
            if self._over:
                raise
            # Also what the source was cancelled by: who reads would wait for ever.
            self._source_error = error
            if self._call is not None:
                self._call.cancel()
        else:
            conversation.end()
            self._tell_change()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._change.wait()

    def _tell_change(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
