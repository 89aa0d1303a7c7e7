"""What one does with speech in a program that runs on ``asyncio``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
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

Chunks = Iterable[Chunk] | AsyncIterable[Chunk]
Self = TypeVar("Self", bound="AsyncSpeechToText")


class AsyncSpeechToText(ABC):
    """Speech to text: use it as a context manager or await :meth:`close`.

    :class:`ossicle.service.AsyncSpeechClient` asks a server,
    :class:`ossicle.service.AsyncRecognizer` does it in this process. The methods have the options
    and the errors of :class:`ossicle.service.client.SpeechToText`, where they are described.
    """

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None:
        """End all calls and release what they need."""

    async def recognize(
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
        """Transcribe one recording; see :meth:`SpeechToText.recognize`."""
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
        return messages.recognition(await self._recognize(request, timeout))

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
        """Transcribe audio while it is being spoken; see :meth:`SpeechToText.stream`.

        The chunks may come from an ordinary iterable too, if reading it does not block.

        Yields:
            Any number of partial results and one final result for each utterance.
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
    async def list_models(self, *, timeout: float | None = 10.0) -> ModelList:
        """The models, with the audio they read, and the limits."""

    @abstractmethod
    async def health(self, *, timeout: float | None = 10.0) -> bool:
        """Whether requests are taken: of a server once its model is loaded and until it drains."""

    @abstractmethod
    async def _recognize(
        self, request: speech_pb2.RecognizeRequest, timeout: float | None
    ) -> speech_pb2.RecognizeResponse:
        """The answer to a recording; errors as of :meth:`recognize`."""

    @abstractmethod
    def _stream(
        self,
        first: speech_pb2.StreamingRecognizeRequest,
        chunks: Chunks,
        on_event: Callable[[SpeechEvent], None] | None,
        timeout: float | None,
    ) -> AsyncIterator[Result]:
        """The results of the stream that ``first`` opens; errors as of :meth:`stream`."""


async def one_by_one(chunks: Chunks) -> AsyncIterator[Chunk]:
    """The chunks, from an iterable of either kind."""
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
    else:
        for chunk in chunks:
            yield chunk
