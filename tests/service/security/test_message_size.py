"""Messages with too much besides audio are refused before anything is made of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.service.limits import Limits
from ossicle.service.security.message_size import FIELD_BYTES, MAX_SETTINGS_BYTES, exceeds
from ossicle.service.server import SpeechServer
from ossicle.speech.v1 import speech_pb2 as pb

SPEECH = "/ossicle.speech.v1.SpeechService/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def stream_request(**fields: Any) -> bytes:
    return pb.StreamingRecognizeRequest(**fields).SerializeToString()


@given(audio=st.integers(0, 10_000), texts=st.lists(st.text(max_size=300), max_size=20))
def test_what_is_besides_audio_is_measured(audio: int, texts: list[str]) -> None:
    config = pb.RecognitionConfig()
    config.speech_contexts.add(phrases=texts)
    message = pb.RecognizeRequest(config=config, audio_content=bytes(audio)).SerializeToString()
    settings = len(pb.RecognizeRequest(config=config).SerializeToString())
    counted = max(settings, FIELD_BYTES) + (FIELD_BYTES if audio else 0)
    assert not exceeds(message, counted)
    assert exceeds(message, counted - 1)


@given(message=st.binary(max_size=200), most=st.integers(0, 20_000))
def test_what_is_no_message_is_measured_too(message: bytes, most: int) -> None:
    assert exceeds(message, most) <= (most < FIELD_BYTES * len(message))


@pytest.mark.parametrize(
    "message",
    [
        stream_request(audio_content=bytes(1 << 25)),
        b"\x12\x00" * (1 << 24),
        b"\x78\x01" * (1 << 24),
        b"\xff" * (1 << 25),
        b"\x0b\x0c" * (1 << 24),
    ],
    ids=["audio", "no audio, often", "numbers", "no message", "groups"],
)
def test_a_long_message_is_measured_quickly(message: bytes) -> None:
    begin = time.process_time()
    exceeds(message, MAX_SETTINGS_BYTES)
    assert time.process_time() - begin < 0.2


@pytest.fixture(scope="module")
def server(serve: Any, tapes: Any) -> Iterator[SpeechServer]:
    with serve(tapes.model, Limits(max_streams=2)) as server:
        yield server


def ended(server: SpeechServer, path: str, message: bytes) -> tuple[grpc.StatusCode, str]:
    """The status that a call with one message of raw bytes ends with."""
    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_stream(path)
        try:
            list(call(iter([message]), timeout=20))
        except grpc.RpcError as error:
            return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def nested(*path: int, inside: bytes) -> bytes:
    """Fields within each other, by their numbers."""
    for number in reversed(path):
        size, length = len(inside), b""
        while size >= 0x80:
            length += bytes([size & 0x7F | 0x80])
            size >>= 7
        inside = bytes([number << 3 | 2]) + length + bytes([size]) + inside
    return inside


CONFIG = pb.StreamingRecognitionConfig.CONFIG_FIELD_NUMBER
CONTEXTS = pb.RecognitionConfig.SPEECH_CONTEXTS_FIELD_NUMBER
MANY = bytes([CONTEXTS << 3 | 2, 0]) * 1_000_000
IN_STREAM = pb.StreamingRecognizeRequest.STREAMING_CONFIG_FIELD_NUMBER


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (SPEECH + "StreamingRecognize", nested(IN_STREAM, CONFIG, inside=MANY)),
        (
            SPEECH + "Recognize",
            nested(pb.RecognizeRequest.CONFIG_FIELD_NUMBER, inside=MANY),
        ),
        (SPEECH + "ListModels", b"\x78\x01" * 1_000_000),
        (REFLECTION, b"\x78\x01" * 1_000_000),
    ],
    ids=["stream", "recording", "models", "reflection"],
)
def test_a_message_of_very_many_fields_is_refused(
    server: SpeechServer, path: str, message: bytes
) -> None:
    code, details = ended(server, path, message)
    assert code is grpc.StatusCode.OUT_OF_RANGE
    assert "more than 262144 bytes besides audio_content; send fewer phrases" in details


def test_a_list_that_is_too_long_is_refused_before_it_is_read(server: SpeechServer) -> None:
    message = nested(IN_STREAM, CONFIG, inside=MANY[: 2 * 1001])
    code, details = ended(server, SPEECH + "StreamingRecognize", message)
    assert (code, details) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "speech_contexts has 1001 entries; give at most 1000",
    )


def test_as_much_as_there_may_be_is_no_refusal(server: SpeechServer, tapes: Any) -> None:
    config = pb.StreamingRecognitionConfig(
        config=pb.RecognitionConfig(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000),
        previous_transcripts=["\N{EAR}" * 20_000],
    )
    code, details = ended(
        server, SPEECH + "StreamingRecognize", stream_request(streaming_config=config)
    )
    assert code is grpc.StatusCode.OK, details
