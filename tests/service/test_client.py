"""The client library against gRPC servers on the loopback interface.

`Scripted` is a real server whose handlers do what a test tells them, for answers that the real
one gives only in rare moments (busy, draining, faulty); what it is sent is kept for inspection.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from ossicle.service import client as client_library
from ossicle.service.client import (
    AsyncSpeechClient,
    AuthenticationError,
    BusyError,
    CallCancelledError,
    Endpointing,
    Finalize,
    InvalidRequestError,
    LimitError,
    OssicleError,
    RequestError,
    ServerError,
    SpeechClient,
    SpeechEvent,
    SpeechEventKind,
    TimedOutError,
    UnavailableError,
    UnknownModelError,
    UnsupportedError,
)
from ossicle.speech.v1 import speech_pb2, speech_pb2_grpc

Request = speech_pb2.StreamingRecognizeRequest
Response = speech_pb2.StreamingRecognizeResponse


def seconds(value: float) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(value), nanos=round((value % 1) * 1e9))


def spoken(text: str, *, is_final: bool, end: float = 0.0) -> Response:
    alternative = speech_pb2.SpeechRecognitionAlternative(transcript=text)
    if is_final:
        alternative.confidence = 0.5
    result = speech_pb2.StreamingRecognitionResult(
        alternatives=[alternative],
        is_final=is_final,
        stability=0.0 if is_final else 0.25,
        result_end_offset=seconds(end),
    )
    return Response(results=[result], audio_processed=seconds(end), request_id="r-1")


class Scripted(speech_pb2_grpc.SpeechServiceServicer):
    """Answers with what `unary` and `streaming` return."""

    def __init__(self) -> None:
        self.received: list[Request | speech_pb2.RecognizeRequest] = []
        self.calls = 0
        self.unary: Callable[[grpc.ServicerContext], speech_pb2.RecognizeResponse]
        self.streaming: Callable[[Iterator[Request], grpc.ServicerContext], Iterable[Response]] = (
            lambda requests, context: [spoken("", is_final=True) for _ in list(requests)[:0]]
        )

    def Recognize(  # noqa: N802
        self, request: speech_pb2.RecognizeRequest, context: grpc.ServicerContext
    ) -> speech_pb2.RecognizeResponse:
        self.calls += 1
        self.received.append(request)
        return self.unary(context)

    def StreamingRecognize(  # noqa: N802
        self, request_iterator: Iterator[Request], context: grpc.ServicerContext
    ) -> Iterator[Response]:
        self.calls += 1

        def kept() -> Iterator[Request]:
            for request in request_iterator:
                self.received.append(request)
                yield request

        yield from self.streaming(kept(), context)


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, str]]:
    server = grpc.server(ThreadPoolExecutor(4))
    servicer = Scripted()
    speech_pb2_grpc.add_SpeechServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0).wait()


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


def test_streams_are_never_repeated(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted

    def unavailable(requests: Iterator[Request], context: grpc.ServicerContext) -> list[Response]:
        context.abort(grpc.StatusCode.UNAVAILABLE, "draining")

    servicer.streaming = unavailable
    with SpeechClient(address) as client, pytest.raises(UnavailableError):
        list(client.stream([b"audio"]))
    assert servicer.calls == 1


def test_an_unreachable_server_is_named_with_a_remedy() -> None:
    with SpeechClient("127.0.0.1:1") as client:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1.*ossicle serve"):
            client.health()
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1.*ossicle serve"):
            list(client.stream([b"audio"]))


def test_the_options_arrive_as_the_contract_has_them(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    with SpeechClient(address) as client:
        list(
            client.stream(
                [b"ab", Finalize(), b"", b"x" * 100_000],
                encoding="mulaw",
                sample_rate=8000,
                channels=2,
                language="en",
                model="small",
                words=True,
                interim_results=True,
                single_utterance=True,
                endpointing=Endpointing(trailing_silence=0.7, leading_silence_timeout=0),
                on_event=lambda event: None,
            )
        )
    first, *rest = servicer.received
    expected = speech_pb2.StreamingRecognitionConfig(
        config=speech_pb2.RecognitionConfig(
            encoding=speech_pb2.AUDIO_ENCODING_MULAW,
            sample_rate_hertz=8000,
            audio_channel_count=2,
            language_code="en",
            model="small",
            enable_word_time_offsets=True,
            enable_word_confidence=True,
        ),
        interim_results=True,
        single_utterance=True,
        endpointing_config=speech_pb2.EndpointingConfig(
            trailing_silence=seconds(0.7), leading_silence_timeout=seconds(0)
        ),
        enable_voice_activity_events=True,
    )
    assert first == Request(streaming_config=expected)
    kinds = [request.WhichOneof("streaming_request") for request in rest]
    assert kinds == ["audio_content", "finalize", "audio_content", "audio_content"]
    assert b"".join(r.audio_content for r in rest) == b"ab" + b"x" * 100_000


def test_options_left_alone_send_an_empty_configuration(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    with SpeechClient(address) as client:
        list(client.stream([]))
    config = speech_pb2.RecognitionConfig()
    assert servicer.received == [
        Request(streaming_config=speech_pb2.StreamingRecognitionConfig(config=config))
    ]


def answers(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
    """One partial for each chunk, one event, one final when the stream is half-closed."""
    yield Response(
        speech_event_type=speech_pb2.SPEECH_EVENT_TYPE_SPEECH_ACTIVITY_BEGIN,
        speech_event_offset=seconds(0.5),
    )
    for number, _ in enumerate(request for request in requests if request.audio_content):
        yield spoken(f"word {number}", is_final=False, end=number)
    yield spoken("the end", is_final=True, end=9.25)


def test_results_and_events_come_as_they_are_sent(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    servicer.streaming = answers
    events: list[SpeechEvent] = []
    with SpeechClient(address) as client:
        results = list(client.stream([b"ab", b"cd"], on_event=events.append))
    assert events == [SpeechEvent(SpeechEventKind.SPEECH_BEGIN, 0.5)]
    assert [(r.text, r.is_final) for r in results] == [
        ("word 0", False),
        ("word 1", False),
        ("the end", True),
    ]
    assert (results[0].stability, results[0].confidence) == (0.25, 0.0)
    assert (results[2].stability, results[2].confidence) == (0.0, 0.5)
    assert (results[2].end, results[2].audio_processed) == (9.25, 9.25)
    assert results[2].request_id == "r-1"


def test_a_partial_comes_before_the_audio_after_it_is_read(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    servicer.streaming = answers
    answered = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"ab"
        assert answered.wait(5), "the answer to the first chunk did not come while waiting"
        yield b"cd"

    with SpeechClient(address) as client:
        for result in client.stream(chunks()):
            if result.text == "word 0":
                answered.set()


def test_an_error_of_the_source_reaches_the_caller(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    servicer.streaming = answers

    def chunks() -> Iterator[bytes]:
        yield b"ab"
        raise OSError("the microphone was unplugged")

    with SpeechClient(address) as client, pytest.raises(OSError, match="unplugged"):
        list(client.stream(chunks()))

    async def asynchronous() -> None:
        async with AsyncSpeechClient(address) as client:
            async for _ in client.stream(chunks()):
                pass

    with pytest.raises(OSError, match="unplugged"):
        asyncio.run(asynchronous())


def test_leaving_the_loop_ends_the_call_on_the_server(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    ended = threading.Event()

    def streaming(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        context.add_callback(ended.set)
        return answers(requests, context)

    servicer.streaming = streaming
    stop = threading.Event()

    def endless() -> Iterator[bytes]:
        while not stop.wait(0.01):
            yield b"ab"

    with SpeechClient(address) as client:
        for _ in client.stream(endless()):
            break
        assert ended.wait(5)
    stop.set()


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


def test_samples_that_are_not_bytes_are_refused_with_the_remedy(
    scripted: tuple[Scripted, str],
) -> None:
    servicer, address = scripted
    servicer.streaming = answers
    with SpeechClient(address) as client, pytest.raises(TypeError, match=r"str.*tobytes"):
        list(client.stream(["samples"]))  # type: ignore[list-item]


def test_the_asynchronous_client_takes_chunks_as_they_come(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    servicer.streaming = answers

    async def converse() -> list[str]:
        heard: asyncio.Queue[str] = asyncio.Queue()

        async def chunks() -> AsyncIterator[bytes]:
            yield b"ab"
            assert await asyncio.wait_for(heard.get(), 5) == "word 0"
            yield b"cd"

        async with AsyncSpeechClient(address) as client:
            texts = []
            async for result in client.stream(chunks()):
                heard.put_nowait(result.text)
                texts.append(result.text)
            return texts

    assert asyncio.run(converse()) == ["word 0", "word 1", "the end"]


def test_cancelling_the_task_of_an_asynchronous_stream_cancels_it(
    scripted: tuple[Scripted, str],
) -> None:
    servicer, address = scripted
    servicer.streaming = answers

    async def cancelled() -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"ab"
                await asyncio.sleep(0.01)

        async with AsyncSpeechClient(address) as client:

            async def listen() -> None:
                async for _ in client.stream(endless()):
                    pass

            task = asyncio.create_task(listen())
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())


@pytest.mark.parametrize("method", ["recognize", "stream", "list_models", "health"])
def test_both_clients_have_the_same_options(method: str) -> None:
    sync = inspect.signature(getattr(SpeechClient, method)).parameters
    asynchronous = inspect.signature(getattr(AsyncSpeechClient, method)).parameters
    assert list(sync) == list(asynchronous)
    for name, parameter in sync.items():
        assert parameter.default == asynchronous[name].default
        assert parameter.kind == asynchronous[name].kind


def test_everything_named_in_all_can_be_imported() -> None:
    assert all(hasattr(client_library, name) for name in client_library.__all__)
