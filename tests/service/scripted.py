"""A real server whose handlers do what a test tells them.

It gives the answers that the real one gives only in rare moments (busy, draining, faulty), and
what it is sent is kept for inspection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import grpc
from google.protobuf import duration_pb2
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
        resume_offset=seconds(end) if is_final else None,
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


def answers(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
    """One partial for each chunk, one event, one final when the stream is half-closed."""
    yield Response(
        speech_event_type=speech_pb2.SPEECH_EVENT_TYPE_SPEECH_ACTIVITY_BEGIN,
        speech_event_offset=seconds(0.5),
    )
    for number, _ in enumerate(request for request in requests if request.audio_content):
        yield spoken(f"word {number}", is_final=False, end=number)
    yield spoken("the end", is_final=True, end=9.25)
