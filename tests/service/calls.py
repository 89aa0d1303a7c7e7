"""Calls of the contract as the tests make them, and what they look for in the answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from ossicle.speech.v1 import speech_pb2 as pb

SECOND = 32_000  # bytes of LINEAR16 at 16 kHz
TIMEOUT = 30


def linear16(**fields: Any) -> pb.RecognitionConfig:
    """A configuration for the `speech` fixture; fields given here go before its own."""
    settings = {"encoding": pb.AUDIO_ENCODING_LINEAR16, "sample_rate_hertz": 16_000, **fields}
    return pb.RecognitionConfig(**settings)


def start(
    config: pb.RecognitionConfig | None = None, **fields: Any
) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(
        streaming_config=pb.StreamingRecognitionConfig(config=config or linear16(), **fields)
    )


def audio(data: bytes) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(audio_content=data)


def finalize() -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(finalize=pb.Finalize())


def stream(stub: Any, *requests: pb.StreamingRecognizeRequest) -> list[Any]:
    return list(stub.StreamingRecognize(iter(requests), timeout=TIMEOUT))


def chunks(data: bytes, size: int) -> list[pb.StreamingRecognizeRequest]:
    return [audio(data[i : i + size]) for i in range(0, len(data), size)]


def results(responses: list[Any], final: bool) -> list[Any]:
    return [r.results[0] for r in responses if r.results and r.results[0].is_final is final]


def transcripts(responses: list[Any]) -> list[str]:
    return [result.alternatives[0].transcript for result in results(responses, final=True)]


def seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def events(responses: list[Any]) -> list[int]:
    return [r.speech_event_type for r in responses if r.speech_event_type]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What Ossicle has logged; gRPC's event loops sometimes log faults of their own."""
    records = (record for record in caplog.records if record.name.startswith("ossicle"))
    return [record.getMessage() for record in records]


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


class LiveStream:
    """A stream whose requests a test sends one by one."""

    def __init__(
        self, stub: Any, *requests: pb.StreamingRecognizeRequest, timeout: float = TIMEOUT
    ) -> None:
        self._requests = list(requests)
        self._more = threading.Semaphore(len(requests))
        self.call = stub.StreamingRecognize(self._iterate(), timeout=timeout)

    def _iterate(self) -> Iterator[pb.StreamingRecognizeRequest]:
        while self._more.acquire(timeout=TIMEOUT) and self._requests:
            yield self._requests.pop(0)

    def send(self, request: pb.StreamingRecognizeRequest) -> None:
        self._requests.append(request)
        self._more.release()

    def half_close(self) -> None:
        self._more.release()


def until_error(live: LiveStream) -> tuple[list[Any], Any]:
    """The responses of a stream that ends with an error, and the error."""
    responses: list[Any] = []
    try:
        for response in live.call:
            responses.append(response)  # noqa: PERF402 - kept when the iteration fails
    except grpc.RpcError as error:
        return responses, error
    raise AssertionError("the stream ended without an error")
