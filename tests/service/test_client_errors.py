"""What a call of the client library fails with, and what it does by itself before it fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from ossicle.service.client import (
    AsyncSpeechClient,
    AuthenticationError,
    BusyError,
    CallCancelledError,
    InvalidRequestError,
    LimitError,
    OssicleError,
    RequestError,
    ServerError,
    SpeechClient,
    TimedOutError,
    UnavailableError,
    UnknownModelError,
    UnsupportedError,
)
from ossicle.service.limits import Limits
from ossicle.service.security.message_size import MAX_SETTINGS_BYTES
from ossicle.speech.v1 import speech_pb2
from scripted import Request, Response, Scripted, answers, seconds, spoken


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequestError),
        (grpc.StatusCode.NOT_FOUND, UnknownModelError),
        (grpc.StatusCode.UNIMPLEMENTED, UnsupportedError),
        (grpc.StatusCode.OUT_OF_RANGE, LimitError),
        (grpc.StatusCode.UNAUTHENTICATED, AuthenticationError),
        (grpc.StatusCode.PERMISSION_DENIED, AuthenticationError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, BusyError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TimedOutError),
        (grpc.StatusCode.CANCELLED, CallCancelledError),
        (grpc.StatusCode.INTERNAL, ServerError),
        (grpc.StatusCode.UNKNOWN, ServerError),
    ],
)
def test_each_status_has_its_exception_with_message_and_request_id(
    scripted: tuple[Scripted, str], status: grpc.StatusCode, kind: type[OssicleError]
) -> None:
    servicer, address = scripted

    def refuse(context: grpc.ServicerContext) -> speech_pb2.RecognizeResponse:
        context.set_trailing_metadata((("x-request-id", "r-7"),))
        context.abort(status, "sample_rate_hertz is 0; give 8000 to 192000")

    servicer.unary = refuse
    with SpeechClient(address) as client, pytest.raises(OssicleError) as caught:
        client.recognize(b"audio")
    assert type(caught.value) is kind
    assert str(caught.value) == "sample_rate_hertz is 0; give 8000 to 192000"
    assert caught.value.status is status
    assert caught.value.request_id == "r-7"
    assert caught.value.retry_after is None
    refused = status in {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
    assert isinstance(caught.value, RequestError) == refused


def busy(context: grpc.ServicerContext) -> None:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=seconds(2.5)))
    status = status_pb2.Status(
        code=code_pb2.RESOURCE_EXHAUSTED, message="all 64 streams are taken", details=[detail]
    )
    context.abort_with_status(rpc_status.to_status(status))


def test_a_busy_server_says_when_to_come_back(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted

    def streaming(requests: Iterator[Request], context: grpc.ServicerContext) -> list[Response]:
        busy(context)
        return []

    servicer.streaming = streaming
    with SpeechClient(address) as client, pytest.raises(BusyError) as caught:
        list(client.stream([b"audio"]))
    assert caught.value.retry_after == 2.5

    async def asynchronous() -> None:
        async with AsyncSpeechClient(address) as client:
            async for _ in client.stream([b"audio"]):
                pass

    with pytest.raises(BusyError) as caught:
        asyncio.run(asynchronous())
    assert caught.value.retry_after == 2.5


def test_a_server_that_told_of_its_end_is_shutting_down_whatever_comes_then(
    scripted: tuple[Scripted, str],
) -> None:
    servicer, address = scripted

    def streaming(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        final = spoken("so far", is_final=True, end=1.0)
        final.results[0].utterance_end = speech_pb2.UTTERANCE_END_INTERRUPTED
        yield final
        context.abort(grpc.StatusCode.UNAVAILABLE, "Stream removed")

    servicer.streaming = streaming
    with SpeechClient(address, resumption=None) as client:
        results = client.stream([b"audio"])
        assert next(results).text == "so far"
        with pytest.raises(UnavailableError, match=f"the server at {address} is shutting down"):
            list(results)


def test_unary_calls_are_repeated_while_the_server_is_unavailable(
    scripted: tuple[Scripted, str],
) -> None:
    servicer, address = scripted

    def third_time(context: grpc.ServicerContext) -> speech_pb2.RecognizeResponse:
        if servicer.calls < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        alternative = speech_pb2.SpeechRecognitionAlternative(transcript="yes")
        result = speech_pb2.SpeechRecognitionResult(alternatives=[alternative])
        return speech_pb2.RecognizeResponse(results=[result])

    servicer.unary = third_time
    with SpeechClient(address) as client:
        assert client.recognize(b"audio").text == "yes"
    assert servicer.calls == 3


def test_a_stream_that_is_not_to_go_on_fails_at_once(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted

    def unavailable(requests: Iterator[Request], context: grpc.ServicerContext) -> list[Response]:
        context.abort(grpc.StatusCode.UNAVAILABLE, "draining")

    servicer.streaming = unavailable
    with SpeechClient(address, resumption=None) as client, pytest.raises(UnavailableError):
        list(client.stream([b"audio"]))
    assert servicer.calls == 1


def test_an_unreachable_server_is_named_with_a_remedy() -> None:
    with SpeechClient("127.0.0.1:1") as client:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1.*ossicle serve"):
            client.health()
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1.*ossicle serve"):
            list(client.stream([b"audio"]))


def test_a_stream_is_given_up_after_its_timeout(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    servicer.streaming = answers
    stop = threading.Event()

    def slow() -> Iterator[bytes]:
        stop.wait(10)
        yield b"ab"

    began = time.monotonic()
    with SpeechClient(address) as client, pytest.raises(TimedOutError, match="timeout"):
        list(client.stream(slow(), timeout=0.3))
    stop.set()
    assert time.monotonic() - began < 5


def test_wrong_arguments_need_no_server(tmp_path: Path) -> None:
    with SpeechClient("127.0.0.1:1") as client:
        with pytest.raises(ValueError, match=r"'aac'.*linear16"):
            client.recognize(b"", encoding="aac")
        with pytest.raises(ValueError, match=r"'aac'.*linear16"):
            client.stream([], encoding="aac")
        with pytest.raises(FileNotFoundError, match=r"missing\.wav"):
            client.recognize(tmp_path / "missing.wav")


def test_chunks_that_are_no_audio_are_refused_with_the_remedy(
    scripted: tuple[Scripted, str],
) -> None:
    servicer, address = scripted
    servicer.streaming = answers
    with SpeechClient(address) as client, pytest.raises(TypeError, match=r"str; give bytes"):
        list(client.stream(["samples"]))  # type: ignore[list-item]


def test_a_message_that_grpc_itself_refuses_is_past_a_limit(serve: Any, tapes: Any) -> None:
    """Not busy: the same message would be refused for ever."""
    recording: dict[str, Any] = {"encoding": "linear16", "sample_rate": 16_000}
    door = 2 * 3200 + MAX_SETTINGS_BYTES
    refusal = rf"larger than max.*{door}.*as a stream"
    with serve(tapes.model, Limits(max_message_bytes=3200)) as server:
        with SpeechClient(server.address) as client, pytest.raises(LimitError, match=refusal):
            client.recognize(bytes(door), **recording)

        async def asynchronous() -> None:
            async with AsyncSpeechClient(server.address) as client:
                await client.recognize(bytes(door), **recording)

        with pytest.raises(LimitError, match=refusal):
            asyncio.run(asynchronous())
