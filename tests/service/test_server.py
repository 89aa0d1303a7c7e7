"""What a server promises, over a real connection, with the real model and real speech."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ossicle.data.sample import sample_path
from ossicle.service.limits import Limits
from ossicle.service.server import SERVICE, SpeechServer
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

SECOND = 32_000  # bytes of LINEAR16 at 16 kHz
TIMEOUT = 30


def linear16(**fields: Any) -> pb.RecognitionConfig:
    return pb.RecognitionConfig(
        encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000, **fields
    )


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


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


class LiveStream:
    """A stream whose requests a test sends one by one."""

    def __init__(self, stub: Any, *requests: pb.StreamingRecognizeRequest) -> None:
        self._requests = list(requests)
        self._more = threading.Semaphore(len(requests))
        self.call = stub.StreamingRecognize(self._iterate(), timeout=TIMEOUT)

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


# What comes back


def test_partials_come_and_then_one_final(stub: Any, speech: bytes) -> None:
    responses = stream(stub, start(interim_results=True), *chunks(speech, 3200))
    partials = results(responses, final=False)
    finals = results(responses, final=True)
    assert len(partials) > 5
    assert responses[-1].results[0].is_final
    said = [result.alternatives[0].transcript for result in partials]
    assert all(before != after for before, after in pairwise(said))
    assert all(0 <= result.stability <= 1 for result in partials)
    assert any(result.stability > 0 for result in partials)
    assert all(result.stability == 0 for result in finals)
    assert all(result.alternatives[0].confidence == 0 for result in partials)
    assert finals[0].alternatives[0].confidence > 0
    assert seconds(responses[-1].audio_processed) == pytest.approx(len(speech) / SECOND, abs=0.001)
    (request_id,) = {response.request_id for response in responses}
    assert request_id


def test_no_partials_and_no_words_unless_asked_for(stub: Any, speech: bytes) -> None:
    responses = stream(stub, start(), *chunks(speech, 3200))
    assert not results(responses, final=False)
    assert not events(responses)
    assert not any(result.alternatives[0].words for result in results(responses, final=True))


@pytest.mark.parametrize("times", [False, True])
@pytest.mark.parametrize("confidence", [False, True])
def test_words_have_what_was_asked_for(
    stub: Any, speech: bytes, times: bool, confidence: bool
) -> None:
    config = linear16(enable_word_time_offsets=times, enable_word_confidence=confidence)
    response = stub.Recognize(pb.RecognizeRequest(config=config, audio_content=speech))
    before = 0.0
    for result in response.results:
        alternative = result.alternatives[0]
        if times or confidence:
            assert [word.word for word in alternative.words] == alternative.transcript.split()
        for word in alternative.words:
            assert word.HasField("start_offset") == word.HasField("end_offset") == times
            assert (word.confidence > 0) == confidence
            if times:
                assert before <= seconds(word.start_offset) < seconds(word.end_offset)
                before = seconds(word.start_offset)
    assert bool(before) == times
    assert before < len(speech) / SECOND


def test_a_recording_and_a_stream_say_the_same(stub: Any, speech: bytes) -> None:
    response = stub.Recognize(pb.RecognizeRequest(config=linear16(), audio_content=speech))
    whole = [result.alternatives[0].transcript for result in response.results]
    assert whole == transcripts(stream(stub, start(), *chunks(speech, 3200)))
    assert any(whole)
    assert response.request_id
    assert seconds(response.audio_processed) == pytest.approx(len(speech) / SECOND, abs=0.001)


def test_a_container_says_the_same_as_its_samples(stub: Any, speech: bytes) -> None:
    flac = sample_path().read_bytes()
    responses = stream(stub, start(pb.RecognitionConfig()), *chunks(flac, 4096))
    assert transcripts(responses) == transcripts(stream(stub, start(), audio(speech)))


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cuts=st.lists(st.integers(1, 6 * SECOND), max_size=12))
def test_finals_do_not_depend_on_chunks(stub: Any, speech: bytes, cuts: list[int]) -> None:
    said = speech[: 6 * SECOND]
    ends = sorted({*cuts, len(said)})
    parts = [audio(said[a:b]) for a, b in pairwise([0, *ends])]
    whole = stream(stub, start(), audio(said))
    assert [r.results for r in stream(stub, start(), *parts)] == [r.results for r in whole]


def test_streams_at_the_same_time_say_what_they_say_alone(stub: Any, speech: bytes) -> None:
    parts = [speech[i * SECOND // 2 : i * SECOND // 2 + 4 * SECOND] for i in range(8)]
    alone = [" ".join(transcripts(stream(stub, start(), *chunks(part, 8000)))) for part in parts]
    heard = [""] * len(parts)

    def listen(number: int) -> None:
        heard[number] = " ".join(transcripts(stream(stub, start(), *chunks(parts[number], 8000))))

    threads = [threading.Thread(target=listen, args=(i,)) for i in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert all(alone)
    assert heard == alone


def test_finalize_answers_now_and_the_stream_stays_open(stub: Any, speech: bytes) -> None:
    live = LiveStream(stub, start(), audio(speech[: 3 * SECOND]), finalize())
    first = next(live.call)
    assert first.results[0].is_final
    assert first.results[0].alternatives[0].transcript
    assert seconds(first.results[0].result_end_offset) == pytest.approx(3.0)
    live.send(finalize())
    assert next(live.call).results[0].alternatives[0].transcript == ""
    live.send(audio(speech[3 * SECOND : 6 * SECOND]))
    live.half_close()
    rest = list(live.call)
    assert transcripts(rest)[0]
    assert seconds(rest[-1].results[0].result_end_offset) == pytest.approx(6.0)
    assert live.call.code() is grpc.StatusCode.OK


def test_half_closing_at_once_yields_one_empty_final(stub: Any) -> None:
    for config in (linear16(), pb.RecognitionConfig()):
        assert transcripts(stream(stub, start(config))) == [""]


def test_a_pause_ends_an_utterance_and_events_tell(stub: Any, speech: bytes) -> None:
    said = speech[: 3 * SECOND]
    responses = stream(
        stub, start(enable_voice_activity_events=True), audio(said + bytes(2 * SECOND) + said)
    )
    finals = results(responses, final=True)
    assert len(finals) >= 2
    assert 3.0 < seconds(finals[0].result_end_offset) < 5.0, "before the speech that follows"
    assert finals[0].alternatives[0].transcript
    begin, end = (
        pb.SPEECH_EVENT_TYPE_SPEECH_ACTIVITY_BEGIN,
        pb.SPEECH_EVENT_TYPE_SPEECH_ACTIVITY_END,
    )
    assert events(responses)[:2] == [begin, end]
    assert events(responses)[-1] == end


def test_a_single_utterance_ends_the_stream(stub: Any, speech: bytes) -> None:
    said = speech[: 2 * SECOND] + bytes(2 * SECOND)
    live = LiveStream(stub, start(single_utterance=True), audio(said))
    responses = list(live.call)
    live.half_close()
    assert events(responses) == [pb.SPEECH_EVENT_TYPE_END_OF_UTTERANCE]
    assert len(transcripts(responses)) == 1
    assert responses[-1].results[0].is_final
    assert live.call.code() is grpc.StatusCode.OK


def test_a_single_utterance_of_silence_gives_up(stub: Any) -> None:
    endpointing = pb.EndpointingConfig(leading_silence_timeout=Duration(seconds=1))
    live = LiveStream(
        stub,
        start(single_utterance=True, endpointing_config=endpointing),
        audio(bytes(3 * SECOND)),
    )
    responses = list(live.call)
    live.half_close()
    assert events(responses) == [pb.SPEECH_EVENT_TYPE_END_OF_UTTERANCE]
    assert transcripts(responses) == [""]
    assert seconds(responses[-1].results[0].result_end_offset) == pytest.approx(1.0)


def test_ten_minutes_of_silence_are_quick_and_yield_one_empty_final(stub: Any) -> None:
    started = time.monotonic()
    minute = bytes(60 * SECOND)
    responses = stream(stub, start(interim_results=True), *[audio(minute)] * 10)
    assert transcripts(responses) == [""]
    assert len(responses) == 1
    assert seconds(responses[0].audio_processed) == pytest.approx(600)
    assert time.monotonic() - started < TIMEOUT


# What a server says of itself


def test_models_and_limits_are_listed(stub: Any, model: Any) -> None:
    response = stub.ListModels(pb.ListModelsRequest())
    (listed,) = response.models
    assert listed.name == model.info.name
    assert listed.language_codes == [model.info.language]
    assert listed.sample_rate_hertz == 16_000
    assert seconds(listed.lookahead) == pytest.approx(model.info.lookahead_ms / 1000)
    assert set(listed.encodings) == set(pb.AudioEncoding.values()) - {0}
    assert response.limits.max_streams == 12
    assert seconds(response.limits.max_unary_audio) == 20
    assert not response.limits.HasField("max_session_audio")
    assert response.request_id


def test_health_and_reflection(server: SpeechServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
            assert status == health_pb2.HealthCheckResponse.SERVING
        assert SERVICE in ProtoReflectionDescriptorDatabase(channel).get_services()


def test_health_is_not_serving_until_warm_and_after_a_failure(
    server_thread: Any, tapes: Any
) -> None:
    warm = threading.Event()

    class Fragile(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            assert warm.wait(20)
            if samples.any():
                raise ArithmeticError("broken")
            return super().step(samples, state)

    thread = server_thread(Fragile())
    try:
        started = thread.start()
        assert until(lambda: thread.server.port != 0)
        with grpc.insecure_channel(thread.server.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)

            def status() -> int:
                request = health_pb2.HealthCheckRequest(service=SERVICE)
                return int(health.Check(request, wait_for_ready=True, timeout=TIMEOUT).status)

            assert status() == health_pb2.HealthCheckResponse.NOT_SERVING
            warm.set()
            started.result(TIMEOUT)
            assert status() == health_pb2.HealthCheckResponse.SERVING
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            with pytest.raises(grpc.RpcError) as refusal:
                stream(stub, start(), audio(b"\x00\x10" * 16_000))
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "broken" in refusal.value.details()
            assert until(lambda: status() == health_pb2.HealthCheckResponse.NOT_SERVING)
        thread.stop()
    finally:
        thread.end()


# Limits and shutdown


def test_a_full_server_says_when_to_try_again(serve: Any, model: Any, speech: bytes) -> None:
    with (
        serve(model, Limits(max_streams=1)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        live = LiveStream(stub, start(), audio(speech[:SECOND]), finalize())
        next(live.call)
        with pytest.raises(grpc.RpcError) as refusal:
            stream(stub, start(), audio(speech))
        live.half_close()
        list(live.call)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "max_streams" in refusal.value.details()
    detail = RetryInfo()
    assert rpc_status.from_call(refusal.value).details[0].Unpack(detail)
    assert detail.retry_delay.seconds > 0


def test_a_client_that_vanishes_in_a_word_frees_its_slot(
    server: SpeechServer, speech: bytes
) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        live = LiveStream(stub, start(interim_results=True), audio(speech[: 2 * SECOND]))
        next(live.call)
        assert until(lambda: server.engine.active == 1)
    live.half_close()
    assert until(lambda: server.engine.active == 0)


def test_a_client_that_reads_late_gets_everything(serve: Any, tapes: Any) -> None:
    said = (tapes.record("_".join("abcdefgh") * 4 + "_" * 40) * 32767).astype("<i2").tobytes()
    requests = [start(interim_results=True), *[audio(said), finalize()] * 200]
    with (
        serve(tapes.model, Limits(queue_seconds=2)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        call = stub.StreamingRecognize(iter(requests), timeout=TIMEOUT)
        time.sleep(0.5)
        assert transcripts(list(call)) == ["abcdefgh" * 4, ""] * 200 + [""]


def test_shutting_down_sends_every_stream_its_final(
    server_thread: Any, model: Any, speech: bytes
) -> None:
    thread = server_thread(model)
    try:
        thread.start().result(TIMEOUT)
        with grpc.insecure_channel(thread.server.address) as channel:
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            idle = LiveStream(stub)
            streams = [
                LiveStream(stub, start(interim_results=True), audio(speech[: 3 * SECOND]))
                for _ in range(3)
            ]
            for live in streams:
                next(live.call)
            started = time.monotonic()
            thread.stop()
            assert time.monotonic() - started < 8
            for live in streams:
                responses, end = until_error(live)
                (final,) = transcripts(responses)
                assert final
                assert end.code() is grpc.StatusCode.UNAVAILABLE
                assert "shutting down" in end.details()
            with pytest.raises(grpc.RpcError) as end:
                next(idle.call)
            assert end.value.code() is grpc.StatusCode.UNAVAILABLE
            with pytest.raises(grpc.RpcError) as refusal:
                stub.ListModels(pb.ListModelsRequest(), timeout=2)
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            for live in (idle, *streams):
                live.half_close()
    finally:
        thread.end()


def test_a_port_that_is_taken_is_an_error(serve: Any, server: SpeechServer, tapes: Any) -> None:
    with (
        pytest.raises(OSError, match=f"cannot listen on {server.address}"),
        serve(tapes.model, port=server.port),
    ):
        pass
