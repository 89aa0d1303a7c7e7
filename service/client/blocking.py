"""The client library for programs with threads, or without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import grpc
from grpc_health.v1 import health_pb2
from ossicle.service.values import ModelList, Result, SpeechEvent
from ossicle.speech.v1 import speech_pb2

from . import messages
from .access import Access, Tls
from .audio import Chunk
from .blocking_stream import BlockingStream
from .replicas import Replica, Replicas, parse_addresses
from .resumption import DEFAULT_RESUMPTION, Resumption
from .speech_to_text import SpeechToText
from .stream import StreamOptions
from .unary import UnaryCall

T = TypeVar("T")


class SpeechClient(SpeechToText):
    """Speech to text by Ossicle servers; use it as a context manager or call :meth:`close`.

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
            parse_addresses(address),
            lambda one, alone: self._access.channel(one, alone=alone),
        )
        self.address = self._replicas.addresses

    def close(self) -> None:
        """End all calls of this client and its connections."""
        for replica in self._replicas.all:
            replica.channel.close()

    def _recognize(
        self, request: speech_pb2.RecognizeRequest, timeout: float | None
    ) -> speech_pb2.RecognizeResponse:
        metadata = self._access.metadata
        response: speech_pb2.RecognizeResponse = self._ask(
            lambda replica, seconds: replica.speech.Recognize(
                request, timeout=seconds, metadata=metadata
            ),
            timeout,
        )
        return response

    def _stream(
        self,
        first: speech_pb2.StreamingRecognizeRequest,
        chunks: Iterable[Chunk],
        on_event: Callable[[SpeechEvent], None] | None,
        timeout: float | None,
    ) -> Iterator[Result]:
        options = StreamOptions(first, self._access, self._resumption, on_event, timeout)
        return BlockingStream(options, self._replicas, chunks).results()

    def list_models(self, *, timeout: float | None = 10.0) -> ModelList:
        """See :meth:`SpeechToText.list_models`."""
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
        """See :meth:`SpeechToText.health`."""
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
