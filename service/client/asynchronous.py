"""The client library for programs that run on ``asyncio``.

async with AsyncSpeechClient("localhost:50051") as client:
    async for result in client.stream(chunks, encoding="linear16", sample_rate=16000):
        print(result.text)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ossicle.service.values import (
    Endpointing,
    Finalize,
    ModelList,
    Recognition,
    Result,
    SpeechContext,
    SpeechEvent,
)
from ossicle.speech.v1 import speech_pb2, speech_pb2_grpc

from . import messages
from .access import Access, Tls
from .errors import from_rpc_error

T = TypeVar("T")


class AsyncSpeechClient:
    """A connection to an Ossicle server; use it as a context manager or await :meth:`close`.

    The methods have the options and the errors of :class:`ossicle.service.client.SpeechClient`,
    where they are described.

    Args:
        address: host and port, for example "localhost:50051".
        tls: how to encrypt; None for clear text.
        token: the bearer token that the server knows this client by; None for a server that asks
            for none.

    Raises:
        OSError: a PEM file cannot be read.
        ValueError: a PEM file or the token is not what it should be, or the token would be sent in
            clear text to another machine.
    """

    def __init__(self, address: str, *, tls: Tls | None = None, token: str | None = None) -> None:
        self.address = address
        self._access = Access(tls, token)
        self._channel = self._access.aio_channel(address)
        self._speech = speech_pb2_grpc.SpeechServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    async def __aenter__(self) -> AsyncSpeechClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all calls of this client and its connection."""
        await self._channel.close()

    async def recognize(
        self,
        audio: bytes | str | Path,
        *,
        encoding: str = messages.AUTO,
        sample_rate: int = 0,
        channels: int = 0,
        language: str = "",
        model: str = "",
        words: bool = False,
        alternatives: int = 1,
        speech_contexts: Sequence[SpeechContext] = (),
        decoder: str = "",
        beam_width: int = 0,
        timeout: float | None = 120.0,
    ) -> Recognition:
        """Transcribe one short recording; see :meth:`SpeechClient.recognize`.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
            ValueError: no such encoding or decoder.
            OSError: the file cannot be read.
        """
        request = speech_pb2.RecognizeRequest(
            config=messages.recognition_config(
                encoding=encoding,
                sample_rate=sample_rate,
                channels=channels,
                language=language,
                model=model,
                words=words,
                alternatives=alternatives,
                speech_contexts=speech_contexts,
                decoder=decoder,
                beam_width=beam_width,
            ),
            audio_content=messages.audio_bytes(audio),
        )
        try:
            call = self._speech.Recognize(request, timeout=timeout, metadata=self._access.metadata)
            return messages.recognition(await call)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.address, self._access) from error

    def stream(
        self,
        chunks: Iterable[bytes | Finalize] | AsyncIterable[bytes | Finalize],
        *,
        encoding: str = messages.AUTO,
        sample_rate: int = 0,
        channels: int = 0,
        language: str = "",
        model: str = "",
        words: bool = False,
        alternatives: int = 1,
        speech_contexts: Sequence[SpeechContext] = (),
        decoder: str = "",
        beam_width: int = 0,
        interim_results: bool = False,
        single_utterance: bool = False,
        endpointing: Endpointing | None = None,
        on_event: Callable[[SpeechEvent], None] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Result]:
        """Transcribe audio while it is being spoken; see :meth:`SpeechClient.stream`.

        The chunks may come from an ordinary iterable too, if reading it does not block.

        Yields:
            Any number of partial results and one final result for each utterance.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
            ValueError: no such encoding or decoder.
            TypeError: a chunk is not bytes.
        """
        first = messages.first_request(
            messages.recognition_config(
                encoding=encoding,
                sample_rate=sample_rate,
                channels=channels,
                language=language,
                model=model,
                words=words,
                alternatives=alternatives,
                speech_contexts=speech_contexts,
                decoder=decoder,
                beam_width=beam_width,
            ),
            interim_results=interim_results,
            single_utterance=single_utterance,
            endpointing=endpointing,
            voice_activity_events=on_event is not None,
        )
        return self._results(first, chunks, on_event, timeout)

    async def _results(
        self,
        first: speech_pb2.StreamingRecognizeRequest,
        chunks: Iterable[bytes | Finalize] | AsyncIterable[bytes | Finalize],
        on_event: Callable[[SpeechEvent], None] | None,
        timeout: float | None,
    ) -> AsyncIterator[Result]:
        source_errors: list[Exception] = []

        async def requests() -> AsyncIterator[speech_pb2.StreamingRecognizeRequest]:
            yield first
            try:
                if isinstance(chunks, AsyncIterable):
                    async for chunk in chunks:
                        for request in messages.chunk_requests(chunk):
                            yield request
                else:
                    for chunk in chunks:
                        for request in messages.chunk_requests(chunk):
                            yield request
            except Exception as error:
                # gRPC would tell the caller only that the call was cancelled.
                source_errors.append(error)
                call.cancel()

        call = self._speech.StreamingRecognize(
            requests(), timeout=timeout, metadata=self._access.metadata
        )
        status: list[grpc.aio.AioRpcError] = []
        call.add_done_callback(lambda call: status.append(_status_now(call)))
        try:
            async for response in call:
                event = messages.speech_event(response)
                if event is not None and on_event is not None:
                    on_event(event)
                for result in response.results:
                    yield messages.stream_result(response, result)
        except (grpc.RpcError, asyncio.CancelledError) as error:
            if source_errors:
                raise source_errors[0] from None
            if isinstance(error, asyncio.CancelledError):
                raise
            raise from_rpc_error(
                status[0] if status else error, self.address, self._access
            ) from error
        finally:
            call.cancel()

    async def list_models(self, *, timeout: float | None = 10.0) -> ModelList:
        """The server's models, with the audio they read, and its limits.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
        """
        try:
            request = speech_pb2.ListModelsRequest()
            call = self._speech.ListModels(request, timeout=timeout, metadata=self._access.metadata)
            return messages.model_list(await call)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.address, self._access) from error

    async def health(self, *, timeout: float | None = 10.0) -> bool:
        """Whether the server takes requests: True once its model is loaded and until it drains.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
        """
        try:
            request = health_pb2.HealthCheckRequest()
            response = await self._health.Check(request, timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.address, self._access) from error
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def _status_now(call: grpc.aio.Call) -> grpc.aio.AioRpcError:
    """The status of a call that has just ended, kept before gRPC may overwrite it.

    A write that was under way when the server ended the call fails after the status has come,
    and grpc.aio then reports that failure as INTERNAL in its place (grpc/grpc#36066).
    """
    return grpc.aio.AioRpcError(
        _result_now(call.code()),
        grpc.aio.Metadata(),
        _result_now(call.trailing_metadata()),
        _result_now(call.details()),
    )


def _result_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for, outside the event loop."""
    try:
        coroutine.send(None)
    except StopIteration as result:
        return cast("T", result.value)
    coroutine.close()
    raise RuntimeError("the call has ended, yet its status has to be waited for")
