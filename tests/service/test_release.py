"""A call that is over, in whatever way, leaves nothing that Python would have to look for.

It looks for objects that know each other only after so many new ones, and does not see how much
memory of FFmpeg's and NumPy's they hold.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from calls import SECOND, TIMEOUT, LiveStream, audio, linear16, start, until
from ossicle.data.decoder import AudioDecoder
from ossicle.data.sample import sample_path
from ossicle.service.aio_stream import AioStream
from ossicle.service.intake import AudioIntake
from ossicle.service.limits import Limits
from ossicle.service.session import Session
from ossicle.service.stream import Stream
from ossicle.service.streaming_call import StreamingCall
from ossicle.service.telemetry.call import Call
from ossicle.service.telemetry.stream import StreamObserver
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

OF_A_CALL = (
    *(AioStream, AudioDecoder, AudioIntake, Call, Session, Stream, StreamingCall, StreamObserver),
)
FLAC = pb.RecognitionConfig(encoding=pb.AUDIO_ENCODING_FLAC)


def in_order(stub: Any, speech: bytes) -> None:
    opened = start(linear16(), interim_results=True)
    assert list(stub.StreamingRecognize(iter([opened, audio(speech)]), timeout=TIMEOUT))


def container(stub: Any, speech: bytes) -> None:
    requests = [start(FLAC), audio(sample_path().read_bytes())]
    assert list(stub.StreamingRecognize(iter(requests), timeout=TIMEOUT))


def cut_container(stub: Any, speech: bytes) -> None:
    requests = [start(FLAC), audio(sample_path().read_bytes()[:40_000])]
    refused(stub, requests, grpc.StatusCode.INVALID_ARGUMENT)


def junk(stub: Any, speech: bytes) -> None:
    refused(stub, [start(FLAC), audio(b"fLaC" + speech)], grpc.StatusCode.INVALID_ARGUMENT)


def wrong_language(stub: Any, speech: bytes) -> None:
    requests = [start(linear16(language_code="de-DE"))]
    refused(stub, requests, grpc.StatusCode.INVALID_ARGUMENT)


def wrong_order(stub: Any, speech: bytes) -> None:
    refused(stub, [audio(speech)], grpc.StatusCode.INVALID_ARGUMENT)


def configured_twice(stub: Any, speech: bytes) -> None:
    requests = [start(), audio(speech[:SECOND]), start()]
    refused(stub, requests, grpc.StatusCode.INVALID_ARGUMENT)


def too_long(stub: Any, speech: bytes) -> None:
    refused(stub, [start(), *[audio(speech)] * 3], grpc.StatusCode.OUT_OF_RANGE)


def idle(stub: Any, speech: bytes) -> None:
    live = LiveStream(stub, start(), audio(speech[:SECOND]))
    with pytest.raises(grpc.RpcError, match="nothing was sent"):
        list(live.call)
    live.half_close()


def left(stub: Any, speech: bytes) -> None:
    live = LiveStream(stub, start(linear16(), interim_results=True), audio(speech))
    next(live.call)
    live.call.cancel()
    live.half_close()


def expired(stub: Any, speech: bytes) -> None:
    live = LiveStream(stub, start(), audio(speech[:SECOND]), timeout=0.5)
    with pytest.raises(grpc.RpcError) as error:
        list(live.call)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    live.half_close()


def full(stub: Any, speech: bytes) -> None:
    there = [LiveStream(stub, start(linear16(), interim_results=True), audio(speech)) for _ in "12"]
    for live in there:
        next(live.call)
    refused(stub, [start()], grpc.StatusCode.RESOURCE_EXHAUSTED)
    for live in there:
        live.half_close()
        assert list(live.call)


def recording(stub: Any, speech: bytes) -> None:
    assert stub.Recognize(pb.RecognizeRequest(config=linear16(), audio_content=speech)).results


def cut_recording(stub: Any, speech: bytes) -> None:
    request = pb.RecognizeRequest(config=FLAC, audio_content=sample_path().read_bytes()[:40_000])
    with pytest.raises(grpc.RpcError, match="cut short"):
        stub.Recognize(request)


def refused(stub: Any, requests: Any, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as error:
        list(stub.StreamingRecognize(iter(requests), timeout=TIMEOUT))
    assert error.value.code() is code


@pytest.fixture(scope="module")
def small(serve: Any, model: Any) -> Iterator[Any]:
    limits = Limits(max_streams=2, idle_timeout_seconds=4, max_session_seconds=20)
    with serve(model, limits) as server, grpc.insecure_channel(server.address) as channel:
        yield speech_pb2_grpc.SpeechServiceStub(channel)


def kept() -> Counter[str]:
    """What there is in this process of what the server has for each call."""
    return Counter(
        type(known).__name__ for known in gc.get_objects() if isinstance(known, OF_A_CALL)
    )


WAYS = [
    *(in_order, container, cut_container, junk, wrong_language, wrong_order, configured_twice),
    *(too_long, idle, left, expired, full, recording, cut_recording),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_is_left_of_a_call(
    way: Callable[[Any, bytes], None], small: Any, speech: bytes
) -> None:
    gc.collect()
    before = kept()
    gc.disable()
    try:
        way(small, speech)
        until(lambda: kept() <= before)
        assert kept() - before == Counter()
    finally:
        gc.enable()
