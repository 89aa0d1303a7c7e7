"""The contract's methods."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
from ossicle.model.decoding.decoders import DecodingConfig
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

from . import convert
from .aio_stream import AioStream
from .engine import Engine
from .errors import as_service_error, draining, invalid
from .intake import AudioIntake
from .limits import Limits
from .session import Final
from .streaming_call import StreamingCall, check_message_size

log = logging.getLogger(__name__)

DECODING_THREADS = 8

Context = grpc.aio.ServicerContext[Any, Any]


class SpeechServicer(speech_pb2_grpc.SpeechServiceServicer):
    """Answers calls; lives in one event loop, in which it must be made.

    Args:
        engine: what recognises.
        limits: what clients may do.
        search: how transcripts are searched for unless a client says.
    """

    def __init__(self, engine: Engine, limits: Limits, search: DecodingConfig) -> None:
        self._engine = engine
        self._limits = limits
        self._search = search
        self._pool = ThreadPoolExecutor(DECODING_THREADS, "ossicle-decode")
        self._drain: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def drain(self) -> None:
        """Admit no more calls, and end each live stream after its last final."""
        if not self._drain.done():
            self._drain.set_result(None)

    def close(self) -> None:
        """Release the threads; no call may be live any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def Recognize(  # noqa: N802 - the contract's name
        self, request: pb.RecognizeRequest, context: Context
    ) -> pb.RecognizeResponse:
        """Transcribe one short recording."""
        async with self._call(context, "Recognize") as request_id:
            return await self._recognize(request, request_id)

    async def StreamingRecognize(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[pb.StreamingRecognizeRequest],
        context: Context,
    ) -> None:
        """Transcribe audio while it is being spoken."""
        async with self._call(context, "StreamingRecognize") as request_id:
            call = StreamingCall(
                self._engine, self._limits, self._search, self._pool, self._drain, request_id
            )
            await call.run(request_iterator, context.write)

    async def ListModels(  # noqa: N802 - the contract's name
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """Say what this server can do."""
        async with self._call(context, "ListModels") as request_id:
            convert.refuse_unknown_fields(request)
            return convert.model_list(self._engine.info, self._limits, request_id)

    async def _recognize(
        self, request: pb.RecognizeRequest, request_id: str
    ) -> pb.RecognizeResponse:
        convert.refuse_unknown_fields(request)
        if not request.HasField("config"):
            raise invalid("config is missing; it says how to read the audio")
        convert.check_config(request.config, self._engine.info)
        decoding = convert.decoding_config(request.config, self._engine.decoding, self._search)
        answer = convert.answer_settings(request.config)
        if not request.audio_content:
            raise invalid("audio_content is empty; send a recording")
        check_message_size(request.audio_content, self._limits)
        intake = AudioIntake(
            convert.audio_settings(request.config), self._limits.max_unary_seconds, self._pool
        )
        stream = AioStream(self._engine, convert.recording_session(request.config, decoding))
        finals = asyncio.ensure_future(_finals(stream))
        try:
            await intake.feed(request.audio_content, stream)
            await intake.finish(stream)
            stream.close()
            return convert.recording_response(
                await finals, answer, stream.samples / self._engine.info.sample_rate, request_id
            )
        finally:
            stream.cancel()
            finals.cancel()
            intake.close()

    @asynccontextmanager
    async def _call(self, context: Context, method: str) -> AsyncIterator[str]:
        """Name a call, log its end and turn what it raises into its status."""
        request_id = uuid.uuid4().hex
        try:
            if self._drain.done():
                raise draining()
            yield request_id
        except asyncio.CancelledError:
            log.info("%s %s: the client has left", request_id, method)
            raise
        except Exception as error:
            refusal = as_service_error(error)
            unexpected = refusal.code is grpc.StatusCode.INTERNAL
            log.log(
                logging.ERROR if unexpected else logging.INFO,
                "%s %s: %s: %s",
                request_id,
                method,
                refusal.code.name,
                refusal.message,
                exc_info=error if unexpected else None,
            )
            await refusal.abort(context, request_id)
        log.info("%s %s: OK", request_id, method)


async def _finals(stream: AioStream) -> list[Final]:
    return [event async for event in stream.events() if isinstance(event, Final)]
