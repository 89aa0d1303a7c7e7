"""The recogniser for programs with threads, or without."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from ossicle.data.audio import AudioError
from ossicle.service import convert
from ossicle.service.aio_stream import MAX_UNREAD_EVENTS
from ossicle.service.client.audio import Chunk, parts
from ossicle.service.client.speech_to_text import SpeechToText
from ossicle.service.engine import Engine
from ossicle.service.events import Event, Final
from ossicle.service.values import Finalize, ModelList, Result, SpeechEvent
from ossicle.speech.v1 import speech_pb2 as pb

from .local import DEFAULT_STREAMS, Asked, LocalModel, failing_like_a_call, timed_out, told

# A caller looks up this often, so that Ctrl-C is noticed on every system.
_WAIT_SECONDS = 0.5


class Recognizer(SpeechToText):
    """Speech to text in this process; use it as a context manager or call :meth:`close`.

    All streams and recordings are recognised together, as one batch; each takes some 10 MB. For
    many files at once, :func:`ossicle.service.transcribe.transcribe` is faster.

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

    def close(self) -> None:
        """End all streams and stop."""
        self._local.engine.stop()

    def list_models(self, *, timeout: float | None = 10.0) -> ModelList:
        """The one model; see :meth:`SpeechToText.list_models`."""
        return self._local.list_models()

    def health(self, *, timeout: float | None = 10.0) -> bool:
        """Whether requests are taken: True until :meth:`close`."""
        return self._local.ready(timeout)

    def _recognize(
        self, request: pb.RecognizeRequest, timeout: float | None
    ) -> pb.RecognizeResponse:
        with failing_like_a_call():
            asked = self._local.recording(request)
            stream = _FedStream(self._local.engine, asked, request.config, timeout)
            events = stream.events([request.audio_content])
            finals = [event for event in events if isinstance(event, Final)]
            seconds = stream.samples / self._local.engine.info.sample_rate
            loaded = self._local.loaded
            return convert.recording_response(finals, asked.answer, seconds, "", loaded)

    def _stream(
        self,
        first: pb.StreamingRecognizeRequest,
        chunks: Iterable[Chunk],
        on_event: Callable[[SpeechEvent], None] | None,
        timeout: float | None,
    ) -> Iterator[Result]:
        config = first.streaming_config
        with failing_like_a_call():
            asked = self._local.streaming(config)
            stream = _FedStream(self._local.engine, asked, config.config, timeout)
            for event in stream.events(chunks):
                yield from told(event, asked, on_event)
        if stream.source_error is not None:
            raise stream.source_error


class _FedStream:
    """A stream of the engine that a thread feeds with chunks.

    Memory is bounded on both sides: the thread waits while too much audio waits for the engine or
    too many events for the reader.

    Args:
        engine: where to take a slot.
        asked: how to recognise.
        config: how the chunks are encoded.
        timeout: seconds until the stream is given up, None for never.

    Attributes:
        samples: that were read so far, at the model's rate.
        source_error: what the chunks raised, which has ended the stream.

    Raises:
        AudioError: the audio is not described as any that we can read.
        EngineError: there is no free slot, or the engine was stopped.
    """

    def __init__(
        self, engine: Engine, asked: Asked, config: pb.RecognitionConfig, timeout: float | None
    ) -> None:
        self._config = config
        self._decoder = asked.decoder()
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._events: deque[Event] = deque()
        self._any = False  # of the audio was read
        self._refusal: Exception | None = None
        self._ended = False
        # Guards what the threads share, and tells when it has changed.
        self._changed = threading.Condition()
        self.samples = 0
        self.source_error: BaseException | None = None
        self._stream = engine.open(asked.session, self._take, self._end)

    def events(self, chunks: Iterable[Chunk]) -> Iterator[Event]:
        """What happens, until the stream is over.

        Raises:
            AudioError: the audio is not what it was said to be; after the events before it.
            EngineError: the engine was stopped.
            TimedOutError: it took too long.
        """
        threading.Thread(
            target=self._feed, args=[chunks], name="ossicle-source", daemon=True
        ).start()
        try:
            while (event := self._next_event()) is not None:
                yield event
        finally:
            self._stream.cancel()
            self._end(None)
        if self._refusal is not None:
            raise self._refusal

    def _next_event(self) -> Event | None:
        """The next event, None at the end of the stream."""
        with self._changed:
            while (left := self._left()) and not (self._events or self._ended):
                self._changed.wait(left)
            if not self._events:
                return None
            self._changed.notify_all()
            return self._events.popleft()

    def _left(self) -> float:
        """Seconds to wait at once.

        Raises:
            TimedOutError: none are left, whatever there is to be read.
        """
        if self._deadline is None:
            return _WAIT_SECONDS
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise timed_out()
        return min(left, _WAIT_SECONDS)

    def _take(self, events: list[Event]) -> None:
        with self._changed:
            self._events.extend(events)
            self._changed.notify_all()

    def _end(self, error: Exception | None) -> None:
        with self._changed:
            self._ended = True
            self._refusal = self._refusal or error
            self._changed.notify_all()

    def _feed(self, chunks: Iterable[Chunk]) -> None:
        try:
            for chunk in chunks:
                for part in parts(chunk, self._config):
                    if not self._pass_on(part):
                        return
            self._pass_on(None)
        except BaseException as error:
            # Also that of `sys.exit`: who reads would wait for ever.
            self.source_error = error
            self._stream.cancel()
            self._end(None)
        finally:
            self._decoder.close()

    def _pass_on(self, part: bytes | Finalize | None) -> bool:
        """Give a part to the engine, None at the end of all; False if it takes no more."""
        if isinstance(part, Finalize):
            if self._wait_for_room():
                self._stream.finalize()
            return not self._ended
        try:
            if part is not None:
                self._any = True
                blocks = self._decoder.feed_blocks(part)
            else:
                blocks = self._decoder.finish_blocks() if self._any else iter(())
            for block in blocks:
                if not self._wait_for_room():
                    return False
                self._stream.write(block)
                self.samples += len(block)
        except AudioError as error:
            # What was heard so far is answered first, if there was anything to hear.
            self._refusal = error
            if not self.samples:
                self._stream.cancel()
                self._end(error)
            part = None
        if part is None:
            self._stream.close()
        return part is not None

    def _wait_for_room(self) -> bool:
        """Block until more can be taken; False if the stream is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._events) < MAX_UNREAD_EVENTS)
        while not self._ended:
            if self._stream.wait_for_room(_WAIT_SECONDS):
                return not self._ended
        return False
