"""What a server refuses: each bad input with its status and a message that says what to do."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile
from calls import SECOND, TIMEOUT, audio, linear16, start
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from ossicle.data.sample import sample_path
from ossicle.service.errors import ServiceError
from ossicle.service.limits import Limits
from ossicle.service.security.message_size import MAX_SETTINGS_BYTES
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


class Refused:
    """A call's error and the results that came before it."""

    def __init__(self, stub: Any, requests: Iterable[Any]) -> None:
        self.results: list[Any] = []
        try:
            for response in stub.StreamingRecognize(iter(requests), timeout=TIMEOUT):
                self.results += response.results
        except grpc.RpcError as error:
            self.code = error.code()
            self.details = error.details()
            self.metadata = dict(error.trailing_metadata())
        else:
            raise AssertionError("the call was not refused")


def with_unknown_field(message: Message) -> Any:
    """The message as a newer client would send it, with a field 99 that we do not know."""
    return type(message).FromString(message.SerializeToString() + b"\x98\x06\x01")


CONFIGS = {
    "rate 0": (linear16(sample_rate_hertz=0), INVALID, "sample rate is 0"),
    "rate 10 MHz": (linear16(sample_rate_hertz=10_000_000), INVALID, "10000000"),
    "negative rate": (linear16(sample_rate_hertz=-1), INVALID, "sample_rate_hertz is -1"),
    "negative channels": (linear16(audio_channel_count=-2), INVALID, "audio_channel_count is -2"),
    "container rate 10 MHz": (
        pb.RecognitionConfig(sample_rate_hertz=10_000_000),
        INVALID,
        "10000000",
    ),
    "encoding": (linear16(encoding=77), INVALID, "encoding is 77"),
    "a model of many words": (
        linear16(model="\N{EAR}" * 900),
        grpc.StatusCode.NOT_FOUND,
        "…'; there is: ",
    ),
    "model": (linear16(model="gpt"), grpc.StatusCode.NOT_FOUND, "no model 'gpt'; there is: "),
    "language": (linear16(language_code="de-DE"), INVALID, "'de-DE'; the model"),
    "too many alternatives": (
        linear16(max_alternatives=11),
        INVALID,
        "max_alternatives is 11; give 1 to 10",
    ),
    "negative alternatives": (linear16(max_alternatives=-3), INVALID, "max_alternatives is -3"),
    "phrases without a beam": (
        linear16(
            speech_contexts=[pb.SpeechContext(phrases=["a"])],
            decoder=pb.DecoderConfig(type=pb.DECODER_TYPE_GREEDY),
        ),
        INVALID,
        "decoder: phrases need a beam search, and the search is greedy",
    ),
    "a phrase that nobody can say": (
        linear16(speech_contexts=[pb.SpeechContext(phrases=["Palestrina", "?!"])]),
        INVALID,
        "speech_contexts: the phrase '?!' has nothing that is spoken",
    ),
    "a boost out of the scale": (
        linear16(speech_contexts=[pb.SpeechContext(phrases=["Palestrina"], boost=20.5)]),
        INVALID,
        "speech_contexts: the boost of the phrase 'Palestrina' is 20.5; give 0 to 20",
    ),
    "a boost of nothing out of the scale": (
        linear16(speech_contexts=[pb.SpeechContext(boost=99)]),
        INVALID,
        "speech_contexts: the boost is 99.0; give 0 to 20",
    ),
    "more phrases than anybody expects": (
        linear16(speech_contexts=[pb.SpeechContext(phrases=["a"] * 600)] * 2),
        INVALID,
        "speech_contexts: phrases has 1200 entries; give at most 1000",
    ),
    "a beam wider than any": (
        linear16(decoder=pb.DecoderConfig(type=pb.DECODER_TYPE_BEAM, beam_width=10_000)),
        INVALID,
        "decoder: beam_width is 10000; give 1 to 256",
    ),
    "beam width without a beam": (
        linear16(decoder=pb.DecoderConfig(type=pb.DECODER_TYPE_GREEDY, beam_width=8)),
        INVALID,
        "decoder: beam_width is 8, but the search is greedy",
    ),
    "decoder": (linear16(decoder=pb.DecoderConfig(type=9)), INVALID, "decoder.type is 9"),
    "unknown field": (
        with_unknown_field(linear16()),
        UNIMPLEMENTED,
        "field 99 of RecognitionConfig",
    ),
    "unknown field within": (
        linear16(decoder=with_unknown_field(pb.DecoderConfig())),
        UNIMPLEMENTED,
        "field 99 of DecoderConfig",
    ),
}


@pytest.mark.parametrize(("config", "code", "message"), CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_is_refused_by_both_methods(
    stub: Any, config: pb.RecognitionConfig, code: grpc.StatusCode, message: str
) -> None:
    refused = Refused(stub, [start(config), audio(bytes(SECOND))])
    assert refused.code is code
    assert message in refused.details
    assert not refused.results
    assert refused.metadata["x-request-id"]
    with pytest.raises(grpc.RpcError) as error:
        stub.Recognize(pb.RecognizeRequest(config=config, audio_content=bytes(SECOND)))
    assert error.value.code() is code
    assert message in error.value.details()


def test_a_long_message_is_cut_between_characters_to_what_headers_hold() -> None:
    message = ServiceError(INVALID, "x" + "\N{EAR}" * 900).message
    assert len(message.encode()) == 997
    assert message == "x" + "\N{EAR}" * 249


def test_unknown_fields_beside_the_configuration_are_refused_too(stub: Any) -> None:
    later = Refused(stub, [start(), with_unknown_field(audio(bytes(SECOND)))])
    assert (later.code, later.results) == (UNIMPLEMENTED, [])
    assert "field 99 of StreamingRecognizeRequest" in later.details
    within = pb.StreamingRecognizeRequest(finalize=with_unknown_field(pb.Finalize()))
    refused = Refused(stub, [start(), audio(bytes(SECOND)), within])
    assert refused.code is UNIMPLEMENTED
    assert "field 99 of Finalize" in refused.details
    assert [result.is_final for result in refused.results] == [True]
    for method, request in (
        (stub.Recognize, pb.RecognizeRequest(config=linear16(), audio_content=bytes(SECOND))),
        (stub.ListModels, pb.ListModelsRequest()),
    ):
        with pytest.raises(grpc.RpcError) as error:
            method(with_unknown_field(request))
        assert error.value.code() is UNIMPLEMENTED
        assert f"field 99 of {type(request).__name__}" in error.value.details()


@pytest.mark.parametrize("language", ["en-US", "en-us", "EN", ""])
def test_the_language_of_the_model_is_accepted(stub: Any, language: str) -> None:
    request = pb.RecognizeRequest(
        config=linear16(language_code=language), audio_content=bytes(SECOND)
    )
    assert stub.Recognize(request).results


@pytest.mark.parametrize(
    "method",
    [
        "ossicle.speech.v1.SpeechService/Recognize",
        "ossicle.speech.v1.SpeechService/ListModels",
        "ossicle.speech.v1.SpeechService/StreamingRecognize",
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_what_is_no_message_is_refused_and_no_fault_of_the_server(
    server: Any, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_stream(f"/{method}", bytes, bytes)
        with pytest.raises(grpc.RpcError) as error:
            list(call(iter([b"\xff\xff\xff"]), timeout=TIMEOUT))
    assert error.value.code() is INVALID
    assert "send the messages of this server's contract" in error.value.details()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_text_that_is_no_text_is_refused_after_the_final(server: Any, speech: bytes) -> None:
    no_utf8 = b"\x0a\x06\x0a\x04\x2a\x02\xff\xfe"  # streaming_config.config.model
    requests = [start(), audio(speech[: 3 * SECOND])]
    sent = [*(request.SerializeToString() for request in requests), no_utf8]
    path = "/ossicle.speech.v1.SpeechService/StreamingRecognize"
    with grpc.insecure_channel(server.address) as channel:
        raw = channel.stream_stream(path, bytes, pb.StreamingRecognizeResponse.FromString)
        refused = Refused(SimpleNamespace(StreamingRecognize=raw), sent)
    assert refused.code is INVALID
    assert "UTF-8" in refused.details
    assert refused.results[-1].is_final


STREAMS = {
    "no configuration first": ([audio(bytes(100))], "first message must be streaming_config"),
    "nothing at all": ([], "first message must be streaming_config"),
    "an empty message": ([start(), pb.StreamingRecognizeRequest()], "message is empty"),
    "configured twice": ([start(), start()], "came a second time"),
    "no recognition config": (
        [pb.StreamingRecognizeRequest(streaming_config=pb.StreamingRecognitionConfig())],
        "streaming_config.config is missing",
    ),
    "a text file": (
        [start(pb.RecognitionConfig()), audio(b"Dear Sir or Madam,\n" * 100)],
        "Dear Sir",
    ),
    "half a sample": ([start(), audio(b"\0")], "1 byte(s) are left over"),
    "negative silence": (
        [
            start(
                endpointing_config=pb.EndpointingConfig(trailing_silence=Duration(seconds=-1)),
            )
        ],
        "endpointing_config: trailing_silence is -1 s",
    ),
    "a duration in two minds": (
        [
            start(
                endpointing_config=pb.EndpointingConfig(
                    trailing_silence=Duration(seconds=1, nanos=-500_000_000)
                )
            )
        ],
        "seconds 1 and nanos -500000000; give fewer than 1000000000 nanos, of the sign",
    ),
    "an utterance of aeons": (
        [
            start(
                endpointing_config=pb.EndpointingConfig(
                    max_utterance_duration=Duration(seconds=10**15)
                ),
            )
        ],
        "max_utterance_duration is 1e+15 s; give 1 to 300 s",
    ),
    "an utterance without end": (
        [
            start(
                endpointing_config=pb.EndpointingConfig(max_utterance_duration=Duration(seconds=0))
            )
        ],
        "max_utterance_duration is 0 s; give 1 to 300 s",
    ),
    "a header against the configuration": (
        [
            start(pb.RecognitionConfig(encoding=pb.AUDIO_ENCODING_FLAC, sample_rate_hertz=44_100)),
            audio(sample_path().read_bytes()),
        ],
        "44100",
    ),
}


@pytest.mark.parametrize(("requests", "message"), STREAMS.values(), ids=STREAMS)
def test_a_stream_is_refused(
    stub: Any, requests: list[pb.StreamingRecognizeRequest], message: str
) -> None:
    refused = Refused(stub, requests)
    assert refused.code is INVALID
    assert message in refused.details
    assert not refused.results


def test_an_odd_byte_count_is_refused_after_the_final(stub: Any, speech: bytes) -> None:
    refused = Refused(stub, [start(), audio(speech[: 3 * SECOND + 1])])
    assert refused.code is INVALID
    assert "1 byte(s) are left over" in refused.details
    (final,) = refused.results
    assert final.is_final
    assert final.alternatives[0].transcript


def test_a_truncated_flac_is_refused_after_the_final(stub: Any) -> None:
    flac = sample_path().read_bytes()
    refused = Refused(stub, [start(pb.RecognitionConfig()), audio(flac[: len(flac) * 2 // 3])])
    assert refused.code is INVALID
    assert "cut short" in refused.details
    assert refused.results[-1].is_final
    assert refused.results[-1].alternatives[0].transcript


RECORDINGS = {
    "empty": (b"", INVALID, "audio_content is empty"),
    "text": (b"Dear Sir or Madam,\n" * 100, INVALID, "Dear Sir"),
    "truncated": (sample_path().read_bytes()[:60_000], INVALID, "cut short"),
}


@pytest.mark.parametrize(("data", "code", "message"), RECORDINGS.values(), ids=RECORDINGS)
def test_a_recording_is_refused(
    stub: Any, data: bytes, code: grpc.StatusCode, message: str
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.Recognize(pb.RecognizeRequest(config=pb.RecognitionConfig(), audio_content=data))
    assert error.value.code() is code
    assert message in error.value.details()


def test_a_recording_needs_a_configuration(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.Recognize(pb.RecognizeRequest(audio_content=bytes(SECOND)))
    assert error.value.code() is INVALID
    assert "config is missing" in error.value.details()


def test_refused_calls_leave_no_slot_taken(server: Any, stub: Any) -> None:
    for _ in range(3 * server.limits.max_streams):
        Refused(stub, [start(), audio(b"\0")])
        Refused(stub, [start(), audio(bytes(SECOND)), start()])
    assert server.engine.active <= 1, "the last may still be on its way out"


def test_limits_are_refused_by_name(serve: Any, tapes: Any) -> None:
    limits = Limits(
        max_message_bytes=2 * SECOND,
        max_unary_seconds=1,
        max_session_seconds=3,
        idle_timeout_seconds=0.3,
    )
    with serve(tapes.model, limits) as server, grpc.insecure_channel(server.address) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)

        refused = Refused(stub, [start(), audio(bytes(2 * SECOND + 2))])
        assert refused.code is grpc.StatusCode.OUT_OF_RANGE
        assert f"{2 * SECOND + 2} bytes, more than the {2 * SECOND}" in refused.details

        door = 4 * SECOND + MAX_SETTINGS_BYTES
        refused = Refused(stub, [start(), audio(bytes(door + 1))])
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED, "gRPC's own, far above ours"
        assert str(door) in refused.details

        refused = Refused(stub, [start(), *[audio(bytes(SECOND))] * 4])
        assert refused.code is grpc.StatusCode.OUT_OF_RANGE
        assert "3 s" in refused.details
        assert refused.results[-1].is_final

        with pytest.raises(grpc.RpcError) as error:
            stub.Recognize(pb.RecognizeRequest(config=linear16(), audio_content=bytes(SECOND + 2)))
        assert error.value.code() is grpc.StatusCode.OUT_OF_RANGE
        assert "1 s" in error.value.details()

        with pytest.raises(grpc.RpcError) as error:
            stub.Recognize(
                pb.RecognizeRequest(config=linear16(), audio_content=bytes(2 * SECOND + 2))
            )
        assert error.value.code() is grpc.StatusCode.OUT_OF_RANGE
        assert "StreamingRecognize" in error.value.details()


def test_hours_in_one_message_last_no_longer_than_a_call_may(serve: Any, model: Any) -> None:
    hours = io.BytesIO()
    soundfile.write(hours, np.zeros(4 * 3600 * 16_000, np.int16), 16_000, format="FLAC")
    with (
        serve(model, Limits(max_call_seconds=1)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        refused = Refused(stub, [start(pb.RecognitionConfig()), audio(hours.getvalue())])
        assert refused.code is grpc.StatusCode.OUT_OF_RANGE
        assert "open for 1 s" in refused.details
        assert refused.results[-1].is_final


def test_an_idle_client_is_sent_its_final_and_away(serve: Any, tapes: Any) -> None:
    said = (tapes.record("hello") * 32767).astype("<i2").tobytes()
    with (
        serve(tapes.model, Limits(idle_timeout_seconds=0.3)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        done = threading.Event()

        def requests() -> Any:
            yield start()
            yield audio(said)
            done.wait(TIMEOUT)

        refused = Refused(speech_pb2_grpc.SpeechServiceStub(channel), requests())
        done.set()
    assert refused.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "nothing was sent for 0.3 s" in refused.details
    assert [result.alternatives[0].transcript for result in refused.results] == ["hello"]


def finals(answer: Any) -> list[str]:
    """The transcripts of the final results."""
    return [result.alternatives[0].transcript for result in answer.results if result.is_final]


def test_what_a_decoder_holds_back_is_answered_before_the_error(serve: Any, model: Any) -> None:
    """A FLAC file that is all there, but whose client does not say so."""
    recording = sample_path().read_bytes()
    with (
        serve(model, Limits(idle_timeout_seconds=2)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        opening = start(pb.RecognitionConfig())
        whole = stub.StreamingRecognize(iter([opening, audio(recording)]), timeout=TIMEOUT)
        expected = [said for response in whole for said in finals(response)]
        done = threading.Event()

        def requests() -> Any:
            yield opening
            yield audio(recording)
            done.wait(TIMEOUT)

        refused = Refused(stub, requests())
        done.set()
    assert refused.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert finals(refused) == expected
