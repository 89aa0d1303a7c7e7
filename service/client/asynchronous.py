"""The client library for programs that run on ``asyncio``.

async with AsyncSpeechClient("localhost:50051") as client:
    async for result in client.stream(chunks, encoding="linear16", sample_rate=16000):
        print(result.text)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2
from ossicle.service.values import (
    Endpointing,
    ModelList,
    Recognition,
    Result,
    SpeechContext,
    SpeechEvent,
)
from ossicle.speech.v1 import speech_pb2

from . import messages
from .access import Access, Tls
from .asynchronous_stream import AsynchronousStream, Chunks
from .replicas import Replica, Replicas, parse_addresses
from .resumption import DEFAULT_RESUMPTION, Resumption
from .stream import StreamOptions
from .unary import UnaryCall

T = TypeVar("T")


class AsyncSpeechClient:
    """Connections to Ossicle servers; use it as a context manager or await :meth:`close`.

    The methods have the options and the errors of :class:`ossicle.service.client.SpeechClient`,
    where they are described.

    Args:
        address: host and port, for example "localhost:50051"; several, in a sequence or with commas
            between them, for servers of the same models. The first is asked while it answers.
        tls: how to encrypt; None for clear text.
        token: the bearer token that the server knows this client by; None for a server that asks
            for none.
        resumption: how a stream goes on, at another server if there are several, when its own is
            gone; None if it should fail instead.

    Raises:
        OSError: a PEM file cannot be read.
        ValueError: an address is empty, a PEM file or the token is not what it should be, or the
            token would be sent in clear text to another machine.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        tls: Tls | None = None,
        token: str | None = None,
        resumption: Resumption | None = DEFAULT_RESUMPTION,
    ) -> None:
        self._access = Access(tls, token)
        self._resumption = resumption
        self._replicas = Replicas(
            [Replica.at(one, self._access.aio_channel(one)) for one in parse_addresses(address)]
        )
        self.address = self._replicas.addresses

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
        """End all calls of this client and its connections."""
        for replica in self._replicas.all:
            await replica.channel.close()

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
        metadata = self._access.metadata
        return messages.recognition(
            await self._ask(
                lambda replica, seconds: replica.speech.Recognize(
                    request, timeout=seconds, metadata=metadata
                ),
                timeout,
            )
        )

    def stream(
        self,
        chunks: Chunks,
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
        options = StreamOptions(first, self._access, self._resumption, on_event, timeout)
        return AsynchronousStream(options, self._replicas, chunks).results()

    async def list_models(self, *, timeout: float | None = 10.0) -> ModelList:
        """The server's models, with the audio they read, and its limits.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
        """
        request = speech_pb2.ListModelsRequest()
        metadata = self._access.metadata
        return messages.model_list(
            await self._ask(
                lambda replica, seconds: replica.speech.ListModels(
                    request, timeout=seconds, metadata=metadata
                ),
                timeout,
            )
        )

    async def health(self, *, timeout: float | None = 10.0) -> bool:
        """Whether a server takes requests: True once its model is loaded and until it drains.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
        """
        request = health_pb2.HealthCheckRequest()
        serving = health_pb2.HealthCheckResponse.SERVING
        response = await self._ask(
            lambda replica, seconds: replica.health.Check(request, timeout=seconds),
            timeout,
            lambda response: bool(response.status == serving),
        )
        return bool(response.status == serving)

    async def _ask(
        self,
        call: Callable[[Replica[grpc.aio.Channel], float | None], Awaitable[T]],
        timeout: float | None,
        will_do: Callable[[T], bool] = lambda answer: True,
    ) -> T:
        """The first answer of a server that will do, or any.

        Raises:
            OssicleError: no server answers, or the request is refused.
        """
        asked = UnaryCall(self._replicas, self._access, timeout, will_do)
        for replica, seconds in asked.turns():
            try:
                answer = await call(replica, seconds)
            except grpc.RpcError as error:
                asked.failed(replica, error)
                continue
            asked.answered(replica, answer)
        return asked.outcome()
