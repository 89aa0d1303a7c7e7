"""The client library for programs with threads, or without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import grpc
from grpc_health.v1 import health_pb2
from ossicle.service.values import (
    Endpointing,
    Finalize,
    ModelList,
    Recognition,
    Result,
    SpeechContext,
    SpeechEvent,
)
from ossicle.speech.v1 import speech_pb2

from . import messages
from .access import Access, Tls
from .blocking_stream import BlockingStream
from .replicas import Replica, Replicas, parse_addresses
from .resumption import DEFAULT_RESUMPTION, Resumption
from .stream import StreamOptions
from .unary import UnaryCall

T = TypeVar("T")


class SpeechClient:
    """Connections to Ossicle servers; use it as a context manager or call :meth:`close`.

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
            [Replica.at(one, self._access.channel(one)) for one in parse_addresses(address)]
        )
        self.address = self._replicas.addresses

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
        """End all calls of this client and its connections."""
        for replica in self._replicas.all:
            replica.channel.close()

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
        metadata = self._access.metadata
        return messages.recognition(
            self._ask(
                lambda replica, seconds: replica.speech.Recognize(
                    request, timeout=seconds, metadata=metadata
                ),
                timeout,
            )
        )

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

        The chunks are read in a thread of their own, as fast as the server takes them, and not
        while there is none. Their end ends the stream after its last final result; leaving the
        loop early cancels it. An exception that ``chunks`` raises ends the stream and is raised
        here.

        If its server is gone or shuts down, the stream goes on at another, or at the same once it
        is back: nothing is lost and nothing comes twice, and all times stay those of the stream.
        Meanwhile the loop waits; partial results may then become shorter before they grow again.

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
        options = StreamOptions(first, self._access, self._resumption, on_event, timeout)
        return BlockingStream(options, self._replicas, chunks).results()

    def list_models(self, *, timeout: float | None = 10.0) -> ModelList:
        """The server's models, with the audio they read, and its limits.

        Args:
            timeout: seconds until the call is given up, None for never.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
        """
        request = speech_pb2.ListModelsRequest()
        metadata = self._access.metadata
        return messages.model_list(
            self._ask(
                lambda replica, seconds: replica.speech.ListModels(
                    request, timeout=seconds, metadata=metadata
                ),
                timeout,
            )
        )

    def health(self, *, timeout: float | None = 10.0) -> bool:
        """Whether a server takes requests: True once its model is loaded and until it drains.

        Args:
            timeout: seconds until the call is given up, None for never.

        Raises:
            OssicleError: the call failed; see :mod:`ossicle.service.client.errors`.
        """
        request = health_pb2.HealthCheckRequest()
        serving = health_pb2.HealthCheckResponse.SERVING
        response = self._ask(
            lambda replica, seconds: replica.health.Check(request, timeout=seconds),
            timeout,
            lambda response: bool(response.status == serving),
        )
        return bool(response.status == serving)

    def _ask(
        self,
        call: Callable[[Replica[grpc.Channel], float | None], T],
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
                answer = call(replica, seconds)
            except grpc.RpcError as error:
                asked.failed(replica, error)
                continue
            asked.answered(replica, answer)
        return asked.outcome()
