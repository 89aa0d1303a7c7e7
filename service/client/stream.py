"""What the streams of both clients have in common: which server is asked, and until when."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc
from ossicle.service.values import Result, SpeechEvent, SpeechEventKind
from ossicle.speech.v1 import speech_pb2

from .access import Access
from .conversation import Conversation
from .errors import OssicleError, TimedOutError, UnavailableError, from_rpc_error
from .replicas import Replicas
from .resumption import Attempts, Resumption, is_passing

log = logging.getLogger(__name__)

C = TypeVar("C")


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is to be run.

    Attributes:
        first: the message that opens it.
        access: how to connect.
        resumption: how to go on when its server does not; None not to.
        on_event: told of events.
        timeout: seconds until it is given up; None for never.
    """

    first: speech_pb2.StreamingRecognizeRequest
    access: Access
    resumption: Resumption | None
    on_event: Callable[[SpeechEvent], None] | None
    timeout: float | None


class ResumableStream(Generic[C]):
    """One stream over as many connections as it takes.

    Args:
        options: how to run it.
        replicas: the servers to choose from.
    """

    def __init__(self, options: StreamOptions, replicas: Replicas[C]) -> None:
        resumption = options.resumption
        self._conversation = Conversation(options.first, resumption.keep_bytes if resumption else 0)
        self._attempts = Attempts(resumption, replicas.count) if resumption else None
        self._config = options.first.streaming_config.config
        self._access = options.access
        self._on_event = options.on_event
        self._replicas = replicas
        self._replica = replicas.preferred
        timeout = options.timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._failure: OssicleError | None = None
        self._connection = 0  # the number of the present one
        self._interrupted = False  # by its server, which is shutting down
        self._source_error: BaseException | None = None
        self._over = False

    def _connect(self) -> speech_pb2.StreamingRecognizeRequest:
        """The first message for the present server.

        Raises:
            UnavailableError: the audio that it needs was not kept.
        """
        if self._source_error is not None:
            raise self._source_error
        opening = self._conversation.connect()
        if opening is None:
            failure = self._failure
            assert failure is not None
            raise UnavailableError(
                f"{failure.message}; the stream cannot go on at another server, because its audio "
                "was too much to keep: give Resumption more keep_bytes",
                failure.status,
                failure.request_id,
            ) from failure
        self._connection += 1
        self._interrupted = False
        return opening

    def _remaining(self) -> float | None:
        """Seconds until the stream is given up."""
        return seconds_left(self._deadline)

    def _take(self, response: speech_pb2.StreamingRecognizeResponse) -> list[Result]:
        """The results of a response; its events are told."""
        settled = self._conversation.settled
        told = list(self._conversation.receive(response))
        self._interrupted |= any(
            result.utterance_end == speech_pb2.UTTERANCE_END_INTERRUPTED
            for result in response.results
        )
        if self._attempts:
            self._attempts.answered(self._conversation.settled > settled)
        self._replicas.prefer(self._replica)
        results = []
        for item in told:
            if isinstance(item, Result):
                results.append(item)
                continue
            if item.kind is SpeechEventKind.MODEL_CHANGED:
                log.warning(
                    "from %g s on, a stream is recognised by another version of its model: that of "
                    "the server at %s, where it goes on",
                    item.offset,
                    self._replica.address,
                )
            if self._on_event is not None:
                self._on_event(item)
        return results

    def _has_failed(self, error: grpc.RpcError) -> bool:
        """Whether the end of a connection is a failure of the stream; it is kept if so."""
        address = self._replica.address
        failure = from_rpc_error(error, address, self._access)
        if self._conversation.complete and is_passing(failure):
            return False
        if is_passing(failure) and self._interrupted and not failure.request_id:
            # gRPC loses the status where a write was under way; the last final has told as much.
            failure = UnavailableError(
                f"the server at {address} is shutting down; connect again", failure.status
            )
        if is_passing(failure) and self._remaining() == 0.0:
            # gRPC may report what the end of the time made of a write that was under way.
            failure = TimedOutError(
                f"no answer from {address} within the timeout of this call", failure.status
            )
        failure.__cause__ = error
        self._failure = failure
        return True

    def _wait_for_next(self) -> float:
        """Turn to the next server.

        Returns:
            Seconds to wait before it is asked.

        Raises:
            OssicleError: the failure, if there should be no other attempt.
        """
        failure = self._failure
        assert failure is not None
        if self._attempts and self._attempts.another_connection(failure):
            self._replica = self._replicas.another(self._replica, failure.processes)
            return 0.0
        wait = self._attempts.wait_after(failure) if self._attempts else None
        if wait is not None:
            self._replica = self._replicas.after(self._replica)
            left = self._remaining()
            return wait if left is None else min(wait, left)
        # An error knows the frame that raises it: what that knows would stay in memory with it.
        self._failure = None
        try:
            raise failure
        finally:
            del failure


def seconds_left(deadline: float | None) -> float | None:
    """Seconds until a moment of the monotonic clock; None for never."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
