"""What one does with speech, whoever recognises it: a server, or this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TypeVar

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
from .audio import Audio, Chunk, recording_bytes

Self = TypeVar("Self", bound="SpeechToText")


class SpeechToText(ABC):
    """Speech to text: use it as a context manager or call :meth:`close`.

    :class:`ossicle.service.SpeechClient` asks a server, :class:`ossicle.service.Recognizer` does it
    in this process; what takes the one takes the other. It may be used from several threads.
    :class:`ossicle.service.client.async_speech_to_text.AsyncSpeechToText` has the same methods for
    ``asyncio``. All times are seconds from the start of the recording or of the stream.
    """

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """End all calls and release what they need."""

    def recognize(
        self,
        audio: Audio,
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
        """Transcribe one recording.

        A server takes short ones, of two minutes unless it was told otherwise, and one that cannot
        be reached is tried five times.

        Args:
            audio: the path of a file, its bytes, or samples (N,) or (N, C) as a numpy array:
                floating-point ones from -1 to 1, or 16-bit integers.
            encoding: "auto" reads the header of a container format; headerless samples in bytes
                need "linear16", "mulaw" or "alaw".
            sample_rate: Hz; needed for samples, 0 takes the header's.
            channels: interleaved channels; 0 takes the header's or the array's, or one for
                headerless samples.
            language: BCP-47 tag; "" is the language of the model.
            model: a name of :meth:`list_models`; "" is the default model.
            words: return each word with its time and confidence.
            alternatives: readings of an utterance at most, 1 to 10; a greedy search has one.
            speech_contexts: phrases to expect; they need a beam search.
            decoder: "beam" or "greedy"; "" is the model's choice, or its server's.
            beam_width: hypotheses that a beam search keeps; 0 leaves the choice likewise.
            timeout: seconds until the call is given up, None for never.

        Raises:
            OssicleError: it cannot be transcribed; see :mod:`ossicle.service.client.errors`.
            ValueError: no such encoding or decoder, or an array without a rate.
            TypeError: it is neither a path nor bytes nor samples.
            OSError: the file cannot be read.
        """
        config = messages.recognition_config(
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
        )
        content = recording_bytes(audio, config)
        request = speech_pb2.RecognizeRequest(config=config, audio_content=content)
        return messages.recognition(self._recognize(request, timeout))

    def stream(
        self,
        chunks: Iterable[Chunk],
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
    ) -> Iterator[Result]:
        """Transcribe audio while it is being spoken.

        The chunks are read in a thread of their own, as fast as they are recognised, and not
        while there is none. Their end ends the stream after its last final result; leaving the
        loop early cancels it. An exception that ``chunks`` raises ends the stream and is raised
        here.

        If its server is gone or shuts down, the stream goes on at another, or at the same once it
        is back: nothing is lost and nothing comes twice, and all times stay those of the stream.
        Meanwhile the loop waits; partial results may then become shorter before they grow again.

        Args:
            chunks: bytes of audio, cut anywhere, or arrays of samples, (N,) or (N, C), with
                ``encoding="linear16"``; a :class:`Finalize` between them asks for a final result
                now.
            encoding: as for :meth:`recognize`.
            sample_rate: as for :meth:`recognize`.
            channels: as for :meth:`recognize`.
            language: as for :meth:`recognize`.
            model: as for :meth:`recognize`.
            words: return each word with its time and confidence.
            alternatives: as for :meth:`recognize`; partial results have one.
            speech_contexts: as for :meth:`recognize`.
            decoder: as for :meth:`recognize`.
            beam_width: as for :meth:`recognize`.
            interim_results: return partial results while an utterance lasts.
            single_utterance: end after the first final result.
            endpointing: when an utterance ends; None for the defaults.
            on_event: is called when speech begins and ends and when the one utterance is over.
            timeout: seconds until the stream is given up, None for never.

        Yields:
            Any number of partial results and one final result for each utterance.

        Raises:
            OssicleError: the stream failed; see :mod:`ossicle.service.client.errors`.
            ValueError: no such encoding or decoder, or an array in a stream of another encoding.
            TypeError: a chunk is neither bytes nor samples.
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
        return self._stream(first, chunks, on_event, timeout)

    @abstractmethod
    def list_models(self, *, timeout: float | None = 10.0) -> ModelList:
        """The models, with the audio they read, and the limits.

        Args:
            timeout: seconds until the call is given up, None for never.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
        """

    @abstractmethod
    def health(self, *, timeout: float | None = 10.0) -> bool:
        """Whether requests are taken: of a server once its model is loaded and until it drains.

        Args:
            timeout: seconds until the call is given up, None for never.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
        """

    @abstractmethod
    def _recognize(
        self, request: speech_pb2.RecognizeRequest, timeout: float | None
    ) -> speech_pb2.RecognizeResponse:
        """The answer to a recording; errors as of :meth:`recognize`."""

    @abstractmethod
    def _stream(
        self,
        first: speech_pb2.StreamingRecognizeRequest,
        chunks: Iterable[Chunk],
        on_event: Callable[[SpeechEvent], None] | None,
        timeout: float | None,
    ) -> Iterator[Result]:
        """The results of the stream that ``first`` opens; errors as of :meth:`stream`."""
