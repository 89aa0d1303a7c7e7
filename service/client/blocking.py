"""The client library for programs with threads, or without."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import grpc
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


class SpeechClient:
    """A connection to an Ossicle server; use it as a context manager or call :meth:`close`.

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
        self._channel = self._access.channel(address)
        self._speech = speech_pb2_grpc.SpeechServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    def __enter__(self) -> SpeechClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all calls of this client and its connection."""
        self._channel.close()

    def recognize(
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
        """Transcribe one short recording; a server that cannot be reached is tried five times.

        Args:
            audio: the recording as bytes, or the path of a file.
            encoding: "auto" reads the header of a container format; headerless samples need
                "linear16", "mulaw" or "alaw".
            sample_rate: Hz; needed for headerless samples, 0 takes the header's.
            channels: interleaved channels; 0 takes the header's, or one for headerless samples.
            language: BCP-47 tag; "" is the language of the model.
            model: a name of :meth:`list_models`; "" is the default model.
            words: return each word with its time and confidence.
            alternatives: readings of an utterance at most, 1 to 10; a greedy search has one.
            speech_contexts: phrases to expect; they need a beam search.
            decoder: "beam" or "greedy"; "" is the choice of the server.
            beam_width: hypotheses that a beam search keeps; 0 is the choice of the server.
            timeout: seconds until the call is given up, None for never.

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
            return messages.recognition(
                self._speech.Recognize(request, timeout=timeout, metadata=self._access.metadata)
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.address, self._access) from error

    def stream(
        self,
        chunks: Iterable[bytes | Finalize],
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

        The chunks are read in a thread of their own, as fast as the server takes them. Their end
        ends the stream after its last final result; leaving the loop early cancels it. An
        exception that ``chunks`` raises ends the stream and is raised here.

        Args:
            chunks: bytes of audio, cut anywhere; a :class:`Finalize` between them asks for a
                final result now.
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
            endpointing: when an utterance ends; None for the server's defaults.
            on_event: is called when speech begins and ends and when the one utterance is over.
            timeout: seconds until the stream is given up, None for never.

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

    def _results(
        self,
        first: speech_pb2.StreamingRecognizeRequest,
        chunks: Iterable[bytes | Finalize],
        on_event: Callable[[SpeechEvent], None] | None,
        timeout: float | None,
    ) -> Iterator[Result]:
        source_errors: list[Exception] = []
        started = threading.Event()

        def requests() -> Iterator[speech_pb2.StreamingRecognizeRequest]:
            yield first
            try:
                for chunk in chunks:
                    yield from messages.chunk_requests(chunk)
            except Exception as error:
                # gRPC would log it, and tell the caller only that the call was cancelled.
                source_errors.append(error)
                started.wait()
                call.cancel()

        call = self._speech.StreamingRecognize(
            requests(), timeout=timeout, metadata=self._access.metadata
        )
        started.set()
        try:
            for response in call:
                event = messages.speech_event(response)
                if event is not None and on_event is not None:
                    on_event(event)
                for result in response.results:
                    yield messages.stream_result(response, result)
        except grpc.RpcError as error:
            if source_errors:
                raise source_errors[0] from None
            raise from_rpc_error(error, self.address, self._access) from error
        finally:
            call.cancel()

    def list_models(self, *, timeout: float | None = 10.0) -> ModelList:
        """The server's models, with the audio they read, and its limits.

        Args:
            timeout: seconds until the call is given up, None for never.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
        """
        try:
            request = speech_pb2.ListModelsRequest()
            return messages.model_list(
                self._speech.ListModels(request, timeout=timeout, metadata=self._access.metadata)
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.address, self._access) from error

    def health(self, *, timeout: float | None = 10.0) -> bool:
        """Whether the server takes requests: True once its model is loaded and until it drains.

        Args:
            timeout: seconds until the call is given up, None for never.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
        """
        try:
            response = self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.address, self._access) from error
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)
