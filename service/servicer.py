"""The contract's methods."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

import grpc
from ossicle.model.decoding.decoders import DecodingConfig
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

from . import convert
from .admission import NoFreeSlot, Overloaded
from .aio_stream import AioStream
from .errors import as_service_error, draining, invalid
from .events import Final
from .intake import AudioIntake
from .limits import Limits
from .models import Models, ServedModel
from .streaming_call import StreamingCall, check_message_size
from .telemetry.call import Call, current_call
from .telemetry.stream import StreamObserver
from .telemetry.telemetry import Telemetry
from .waiting import let_go

log = logging.getLogger(__name__)

DECODING_THREADS = 8

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")


class SpeechServicer(speech_pb2_grpc.SpeechServiceServicer):
    """Answers calls; lives in one event loop, in which it must be made.

    Its calls must come through a :class:`~ossicle.service.telemetry.calls.CallObserver`, which
    names them.

    Args:
        models: what recognises.
        limits: what clients may do.
        search: how transcripts are searched for unless a client says.
        telemetry: what of the calls is watched.
        told_limits: what clients are told that they may do, where that is not the same.
        processes: that serve on the port, this one included.
    """

    def __init__(
        self,
        models: Models,
        limits: Limits,
        search: DecodingConfig,
        telemetry: Telemetry,
        told_limits: Limits | None = None,
        processes: int = 1,
    ) -> None:
        self._models = models
        self._limits = limits
        self._search = search
        self._telemetry = telemetry
        self._told_limits = told_limits or limits
        self._processes = processes
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
        return await self._answer(context, lambda call: self._recognize(request, call))

    async def StreamingRecognize(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[pb.StreamingRecognizeRequest],
        context: Context,
    ) -> None:
        """Transcribe audio while it is being spoken."""
        await self._answer(
            context, lambda call: self._stream(call).run(request_iterator, context.write)
        )

    async def ListModels(  # noqa: N802 - the contract's name
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """Say what this server can do."""
        return await self._answer(context, lambda call: self._list_models(request, call))

    async def _list_models(
        self, request: pb.ListModelsRequest, call: Call
    ) -> pb.ListModelsResponse:
        convert.refuse_unknown_fields(request)
        return convert.model_list(self._models.loaded, self._told_limits, call.request_id)

    def _stream(self, call: Call) -> StreamingCall:
        return StreamingCall(
            self._models,
            self._limits,
            self._search,
            self._pool,
            self._drain,
            lambda model: self._observer(call, model),
            call.request_id,
        )

    async def _recognize(self, request: pb.RecognizeRequest, call: Call) -> pb.RecognizeResponse:
        convert.refuse_unknown_fields(request)
        if not request.HasField("config"):
            raise invalid("config is missing; it says how to read the audio")
        with self._models.using(request.config.model) as model:
            return await self._recognize_with(model, request, call)

    async def _recognize_with(
        self, model: ServedModel, request: pb.RecognizeRequest, call: Call
    ) -> pb.RecognizeResponse:
        convert.check_config(request.config, model.info, self._models.loaded)
        decoding = await convert.checked_decoding(request.config, model, self._search)
        answer = convert.answer_settings(request.config)
        if not request.audio_content:
            raise invalid("audio_content is empty; send a recording")
        check_message_size(request.audio_content, self._limits)
        intake = AudioIntake(
            convert.audio_settings(request.config), self._limits.max_unary_seconds, self._pool
        )
        stream = AioStream(model.engine, convert.recording_session(request.config, decoding))
        observer = self._observer(call, model)
        finals = asyncio.ensure_future(_finals(stream, observer))
        try:
            await intake.feed(request.audio_content, stream)
            await intake.finish(stream)
            stream.close()
            seconds = stream.samples / model.info.sample_rate
            return convert.recording_response(
                await finals, answer, seconds, call.request_id, model.loaded
            )
        finally:
            observer.ended(stream.samples)
            stream.cancel()
            let_go(finals)
            intake.close()

    def _observer(self, call: Call, model: ServedModel) -> StreamObserver:
        call.facts["model"] = model.info.name
        rate = model.info.sample_rate
        return StreamObserver(call, rate, model.metrics, self._telemetry.log_transcripts)

    async def _answer(self, context: Context, work: Callable[[Call], Awaitable[T]]) -> T:
        """What ``work`` makes of the present call; what it raises becomes the call's status."""
        call = current_call.get()
        if call is None:
            raise RuntimeError("the call has no name; the server lacks its CallObserver")
        try:
            if self._drain.done():
                self._telemetry.metrics.refused.labels("draining").inc()
                raise draining()
            # No context manager: Python 3.12 keeps what has passed through an asynchronous one.
            return await work(call)
        except Exception as error:
            # Not here: the error knows this frame, which must not know the error when it is left.
            await self._refuse(error, context, call)

    async def _refuse(self, error: Exception, context: Context, call: Call) -> NoReturn:
        refusal = as_service_error(error)
        if isinstance(error, NoFreeSlot):
            reason = "overloaded" if isinstance(error, Overloaded) else "no_free_slot"
            self._telemetry.metrics.refused.labels(reason).inc()
            refusal.processes = self._processes
        if refusal.logged:
            call.facts["reason"] = refusal.logged
        if refusal.code is grpc.StatusCode.INTERNAL:
            log.error("%s has failed", call.method, exc_info=error)
        await refusal.abort(context, call.request_id)


async def _finals(stream: AioStream, observer: StreamObserver) -> list[Final]:
    finals = []
    async for event in stream.events():
        if isinstance(event, Final):
            observer.answered(event)
            finals.append(event)
    return finals
