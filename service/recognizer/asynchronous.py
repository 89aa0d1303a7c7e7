"""The recogniser for programs that run on ``asyncio``."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from ossicle.data.audio import AudioError
from ossicle.service import convert
from ossicle.service.aio_stream import AioStream
from ossicle.service.client.async_speech_to_text import AsyncSpeechToText, Chunks, one_by_one
from ossicle.service.client.audio import parts
from ossicle.service.events import Event, Final
from ossicle.service.intake import AudioIntake
from ossicle.service.values import Finalize, ModelList, Result, SpeechEvent
from ossicle.service.waiting import let_go
from ossicle.speech.v1 import speech_pb2 as pb

from .local import DEFAULT_STREAMS, Asked, LocalModel, failing_like_a_call, timed_out, told


class AsyncRecognizer(AsyncSpeechToText):
    """Speech to text in this process; use it as a context manager or await :meth:`close`.

    Loading the model takes some tenths of a second, in which the event loop waits.

    Args:
        model: name of a bundled model, or the path of a model folder; None is the default model.
        threads: of the processor, for the network; 0: one for each core.
        streams: streams and recordings at the same time.

    Raises:
        ModelError: there is no such model, or it cannot be loaded.
        ValueError: ``streams`` is not positive.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        threads: int = 0,
        streams: int = DEFAULT_STREAMS,
    ) -> None:
        self._local = LocalModel(model, threads, streams)
        self._pool = ThreadPoolExecutor(streams, "ossicle-decode")

    async def close(self) -> None:
        """End all streams and stop."""
        await asyncio.to_thread(self._local.engine.stop)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def list_models(self, *, timeout: float | None = 10.0) -> ModelList:
        """The one model; see :meth:`SpeechToText.list_models`."""
        return self._local.list_models()

    async def health(self, *, timeout: float | None = 10.0) -> bool:
        """Whether requests are taken: True until :meth:`close`."""
        return await asyncio.to_thread(self._local.ready, timeout)

    async def _recognize(
        self, request: pb.RecognizeRequest, timeout: float | None
    ) -> pb.RecognizeResponse:
        with failing_like_a_call():
            # Phrases are looked at, which may take a second.
            asked = await asyncio.to_thread(self._local.recording, request)
            stream = _FedStream(self._local, asked, request.config, self._pool)
            events = stream.events([request.audio_content], timeout)
            finals = [event async for event in events if isinstance(event, Final)]
            seconds = stream.samples / self._local.engine.info.sample_rate
            loaded = self._local.loaded
            return convert.recording_response(finals, asked.answer, seconds, "", loaded)

    async def _stream(
        self,
        first: pb.StreamingRecognizeRequest,
        chunks: Chunks,
        on_event: Callable[[SpeechEvent], None] | None,
        timeout: float | None,
    ) -> AsyncIterator[Result]:
        config = first.streaming_config
        with failing_like_a_call():
            asked = await asyncio.to_thread(self._local.streaming, config)
            stream = _FedStream(self._local, asked, config.config, self._pool)
            async with aclosing(stream.events(chunks, timeout)) as events:
                async for event in events:
                    for result in told(event, asked, on_event):
                        yield result
        if stream.source_error is not None:
            raise stream.source_error


class _FedStream:
    """A stream of the engine that a task feeds with chunks.

    Args:
        local: where to take a slot.
        asked: how to recognise.
        config: how the chunks are encoded.
        pool: threads for decoding.

    Attributes:
        source_error: what the chunks raised, which has ended the stream.

    Raises:
        AudioError: the audio is not described as any that we can read.
        EngineError: there is no free slot, or the engine was stopped.
    """

    def __init__(
        self,
        local: LocalModel,
        asked: Asked,
        config: pb.RecognitionConfig,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._config = config
        self._intake = AudioIntake(asked.audio, math.inf, pool)
        self._stream = AioStream(local.engine, asked.session)
        self._refusal: Exception | None = None
        self.source_error: BaseException | None = None
        self._left = False
        self._late = False

    @property
    def samples(self) -> int:
        """That were read so far, at the model's rate."""
        return self._stream.samples

    async def events(self, chunks: Chunks, timeout: float | None) -> AsyncGenerator[Event, None]:
        """What happens, until the stream is over.

        Raises:
            AudioError: the audio is not what it was said to be; after the events before it.
            EngineError: the engine was stopped.
            TimedOutError: it took too long.
        """
        feeding = asyncio.create_task(self._feed(chunks))
        timer = None
        if timeout is not None:
            timer = asyncio.get_running_loop().call_later(timeout, self._give_up, timed_out())
        try:
            async for event in self._stream.events():
                if self._late:  # whatever else is there to be read
                    break
                yield event
        finally:
            if timer is not None:
                timer.cancel()
            self._left = True
            let_go(feeding)
            self._stream.cancel()
            self._intake.close()
        if self._refusal is not None:
            raise self._refusal

    def _give_up(self, error: Exception) -> None:
        self._late = True
        self._refusal = error
        self._stream.cancel()

    async def _feed(self, chunks: Chunks) -> None:
        try:
            async for chunk in one_by_one(chunks):
                for part in parts(chunk, self._config):
                    if not await self._pass_on(part):
                        return
            await self._pass_on(None)
        except BaseException as error:
            if self._left:
                raise
            # Also what the source was cancelled by: who reads would wait for ever.
            self.source_error = error
            self._stream.cancel()

    async def _pass_on(self, part: bytes | Finalize | None) -> bool:
        """Give a part to the engine, None at the end of all; False if it takes no more."""
        if isinstance(part, Finalize):
            await self._stream.finalize()
            return not self._stream.ended
        try:
            if part is not None:
                await self._intake.feed(part, self._stream)
            else:
                await self._intake.finish(self._stream)
        except AudioError as error:
            # What was heard so far is answered first, if there was anything to hear.
            self._refusal = error
            if not self.samples:
                self._stream.cancel()
            part = None
        if part is None:
            self._stream.close()
        return part is not None and not self._stream.ended
