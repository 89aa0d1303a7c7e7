"""One call of StreamingRecognize: a reader of requests and a writer of responses."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

import grpc
from ossicle.model.decoding.decoders import DecodingConfig
from ossicle.speech.v1 import speech_pb2 as pb

from . import convert
from .aio_stream import AioStream
from .errors import ServiceError, as_service_error, draining, invalid
from .intake import AudioIntake
from .limits import Limits
from .models import Models, ServedModel
from .pace import Pace
from .telemetry.stream import StreamObserver
from .waiting import NotInTimeError, in_time, let_go

T = TypeVar("T")


class StreamingCall:
    """One call.

    Args:
        models: what recognises.
        limits: what the client may do.
        search: how transcripts are searched for unless the client says.
        pool: threads for decoding.
        drain: done once the server shuts down.
        observe: makes what is told of what comes and goes, once the model is known.
        request_id: the call's name.
    """

    def __init__(
        self,
        models: Models,
        limits: Limits,
        search: DecodingConfig,
        pool: Executor,
        drain: asyncio.Future[None],
        observe: Callable[[ServedModel], StreamObserver],
        request_id: str,
    ) -> None:
        self._models = models
        self._limits = limits
        self._search = search
        self._pool = pool
        self._drain = drain
        self._observe = observe
        self._request_id = request_id
        self._error: ServiceError | None = None
        self._ends = time.monotonic() + (limits.max_call_seconds or math.inf)
        # A burst is what a client catches up with after the network has stood still.
        self._pace = Pace(limits.max_messages_per_second, limits.queue_seconds)

    async def run(
        self,
        requests: AsyncIterator[pb.StreamingRecognizeRequest],
        write: Callable[[pb.StreamingRecognizeResponse], Awaitable[None]],
    ) -> None:
        """Answer until the stream is over.

        An error of the client, the limits or the shutdown ends the reading; what was heard so far
        is answered by its last final before the error is raised.

        Raises:
            ServiceError: the status to end with, if it is not OK.
            AudioError, EngineError: likewise.
        """
        first = await self._while_it_may_last(self._receive(requests))
        if first is None or first.WhichOneof("streaming_request") != "streaming_config":
            raise invalid("the first message must be streaming_config; send it before any audio")
        config = first.streaming_config
        if not config.HasField("config"):
            raise invalid("streaming_config.config is missing; it says how to read the audio")
        with self._models.using(config.config.model) as model:
            await self._answer(model, config, requests, write)

    async def _answer(
        self,
        model: ServedModel,
        config: pb.StreamingRecognitionConfig,
        requests: AsyncIterator[pb.StreamingRecognizeRequest],
        write: Callable[[pb.StreamingRecognizeResponse], Awaitable[None]],
    ) -> None:
        """Answer a stream that has been opened, with the model that it chose."""
        convert.check_config(config.config, model.info, self._models.loaded)
        decoding = await self._while_it_may_last(
            convert.checked_decoding(config.config, model, self._search)
        )
        session = convert.streaming_session(config, decoding)
        answer = convert.answer_settings(config.config, config)
        intake = AudioIntake(
            convert.audio_settings(config.config),
            self._limits.max_session_seconds or math.inf,
            self._pool,
        )
        stream = AioStream(model.engine, session)
        self._observer = observer = self._observe(model)
        told_model = False
        reader = asyncio.create_task(self._read(requests, intake, stream))
        try:
            async for event in stream.events():
                observer.answered(event)
                response = convert.streaming_response(event, answer, self._request_id)
                if response is not None:
                    if not told_model:
                        response.model_version.CopyFrom(convert.model_version(model.loaded))
                        told_model = True
                    await self._send(write, response)
        finally:
            observer.ended(stream.samples)
            stream.cancel()
            let_go(reader)
            intake.close()
        error, self._error = self._error, None
        try:
            if error:
                raise error
        finally:
            del error  # which knows this frame, and the frame it

    async def _send(
        self,
        write: Callable[[pb.StreamingRecognizeResponse], Awaitable[None]],
        response: pb.StreamingRecognizeResponse,
    ) -> None:
        """Write a response, which waits while the client has too many unread.

        Raises:
            ServiceError: DEADLINE_EXCEEDED if it reads none for too long.
        """
        try:
            await in_time(write(response), self._limits.idle_timeout_seconds)
        except NotInTimeError:
            raise ServiceError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"no result was read for {self._limits.idle_timeout_seconds:g} s; read them as "
                "they come",
            ) from None

    async def _read(
        self,
        requests: AsyncIterator[pb.StreamingRecognizeRequest],
        intake: AudioIntake,
        stream: AioStream,
    ) -> None:
        """Pass requests on until the client is done, something is wrong or the server drains."""
        try:
            await self._while_it_may_last(self._pass_on(requests, intake, stream))
        except Exception as error:
            self._error = as_service_error(error)
            await intake.flush(stream)
        if self._error and not stream.samples:
            stream.cancel()
        else:
            drained = self._error is not None and self._error.code is grpc.StatusCode.UNAVAILABLE
            stream.close(interrupted=drained)

    async def _pass_on(
        self,
        requests: AsyncIterator[pb.StreamingRecognizeRequest],
        intake: AudioIntake,
        stream: AioStream,
    ) -> None:
        while (request := await self._receive(requests)) is not None:
            if delay := self._pace.delay():
                await asyncio.sleep(delay)
            await self._handle(request, intake, stream)
        half_closed = time.perf_counter()
        await intake.finish(stream)
        self._observer.requested(stream.samples, half_closed)

    async def _while_it_may_last(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns; it may be cut off, in a message that holds hours too.

        Raises:
            ServiceError: UNAVAILABLE if the server drains, OUT_OF_RANGE when the call has lasted as
                long as it may.
        """
        left = None if math.isinf(self._ends) else self._ends - time.monotonic()
        try:
            return await in_time(work, left, unless=[self._drain])
        except NotInTimeError:
            if self._drain.done():
                raise draining() from None
        raise ServiceError(
            grpc.StatusCode.OUT_OF_RANGE,
            f"the stream has been open for {self._limits.max_call_seconds:g} s, as long as one "
            "may; go on in another",
        )

    async def _handle(
        self, request: pb.StreamingRecognizeRequest, intake: AudioIntake, stream: AioStream
    ) -> None:
        kind = request.WhichOneof("streaming_request")
        if kind == "audio_content":
            check_message_size(request.audio_content, self._limits)
            self._observer.received(stream.samples)
            await intake.feed(request.audio_content, stream)
        elif kind == "finalize":
            arrived = time.perf_counter()
            await stream.finalize()
            self._observer.requested(stream.samples, arrived)
        elif kind == "streaming_config":
            raise invalid(
                "streaming_config came a second time; it is the first message only: open "
                "another stream for another configuration"
            )
        else:
            raise invalid(
                "a message is empty; send audio_content or finalize, and half-close at the end"
            )

    async def _receive(
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest]
    ) -> pb.StreamingRecognizeRequest | None:
        """The next request, or None if the client has half-closed.

        Raises:
            ServiceError: DEADLINE_EXCEEDED if none comes, UNIMPLEMENTED for an unknown field.
        """
        try:
            request = await in_time(anext(requests, None), self._limits.idle_timeout_seconds)
        except NotInTimeError:
            raise ServiceError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"nothing was sent for {self._limits.idle_timeout_seconds:g} s; send audio, "
                "silence too, or half-close",
            ) from None
        if request is not None:
            convert.refuse_unknown_fields(request)
        return request


def check_message_size(audio: bytes, limits: Limits) -> None:
    """Refuse audio that is too much for one message.

    Raises:
        ServiceError: OUT_OF_RANGE.
    """
    if len(audio) > limits.max_message_bytes:
        raise ServiceError(
            grpc.StatusCode.OUT_OF_RANGE,
            f"audio_content has {len(audio)} bytes, more than the {limits.max_message_bytes} "
            "that one message may have; send it in several messages of StreamingRecognize",
        )
