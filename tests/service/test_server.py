"""What a server promises, over a real connection, with the real model and real speech."""

from __future__ import annotations

import random
import threading
import time
from itertools import pairwise
from typing import Any

import grpc
import pytest
from calls import (
    SECOND,
    TIMEOUT,
    LiveStream,
    audio,
    chunks,
    events,
    finalize,
    linear16,
    results,
    seconds,
    start,
    stream,
    transcripts,
    until,
)
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ossicle.data.sample import sample_path, sample_text
from ossicle.model.decoding.decoders import DecodingConfig
from ossicle.service import convert
from ossicle.service.server import SERVICE, SpeechServer
from ossicle.speech.v1 import speech_pb2 as pb

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


def test_files_do_not_hold_up_one_who_speaks(
    server: SpeechServer, stub: Any, speech: bytes
) -> None:
    alone = transcripts(stream(stub, start(), audio(speech)))
    ten_seconds = chunks(speech * 30, 10 * SECOND)
    files = [LiveStream(stub, start(), *ten_seconds) for _ in range(3)]
    assert until(lambda: server.engine.backlog > 3 * 5 * 16_000)
    beside = transcripts(stream(stub, start(), audio(speech)))
    last = [file.call.is_active() and server.engine.backlog > 0 for file in files]
    for file in files:
        file.call.cancel()
        file.half_close()
    assert beside == alone
    assert last == [True] * 3, "thirty times as much lasts longer"


def test_finals_have_the_alternatives_that_were_asked_for(stub: Any, speech: bytes) -> None:
    config = linear16(
        max_alternatives=4, decoder=pb.DecoderConfig(type=pb.DECODER_TYPE_BEAM, beam_width=8)
    )
    responses = stream(stub, start(config, interim_results=True), *chunks(speech, 3200))
    assert all(len(result.alternatives) == 1 for result in results(responses, final=False))
    finals = results(responses, final=True)
    for final in finals:
        readings = [alternative.transcript for alternative in final.alternatives]
        assert len(set(readings)) == len(readings) <= 4
    assert any(len(final.alternatives) > 1 for final in finals)
    config.max_alternatives = 0
    best = stub.Recognize(pb.RecognizeRequest(config=config, audio_content=speech)).results
    assert [result.alternatives[0].transcript for result in best] == transcripts(responses)
    assert all(len(result.alternatives) == 1 for result in best)


def test_phrases_change_what_is_heard_and_a_boost_of_nothing_does_not(
    stub: Any, speech: bytes
) -> None:
    beam = pb.DecoderConfig(type=pb.DECODER_TYPE_BEAM)

    def heard(*contexts: pb.SpeechContext) -> str:
        config = linear16(decoder=beam, speech_contexts=contexts)
        request = pb.RecognizeRequest(config=config, audio_content=speech)
        return " ".join(
            result.alternatives[0].transcript for result in stub.Recognize(request).results
        )

    plain = heard()
    unheard = ["zebra", "xylophone", "quiz show"]
    assert heard(pb.SpeechContext(phrases=unheard, boost=0)) == plain
    said = [word for word in sample_text().split() if len(word) > 3]
    strong = heard(pb.SpeechContext(phrases=said, boost=20)).split()
    assert sum(word in said for word in strong) > sum(word in said for word in plain.split())


def test_few_phrases_need_not_wait_for_many(stub: Any, speech: bytes) -> None:
    """Nobody knows how a thousand made-up words sound: to find out takes seconds."""
    letters = random.Random(7).choices("bcdfghjklmnprstvw", k=9000)
    unheard = ["".join(letters[start : start + 9]) for start in range(0, 9000, 9)]

    def asking(phrases: list[str]) -> Any:
        config = linear16(speech_contexts=[pb.SpeechContext(phrases=phrases)])
        request = pb.RecognizeRequest(config=config, audio_content=speech[:SECOND])
        return stub.Recognize.future(request, timeout=TIMEOUT)

    many = asking(unheard)
    time.sleep(0.2)
    assert asking(["quiz show"]).result().results
    assert not many.done()
    assert many.result().results


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
    assert seconds(responses[-1].results[0].result_end_offset) == pytest.approx(0.68)


def test_ten_minutes_of_silence_are_quick_and_yield_one_empty_final(stub: Any) -> None:
    started = time.monotonic()
    minute = bytes(60 * SECOND)
    responses = stream(stub, start(interim_results=True), *[audio(minute)] * 10)
    assert transcripts(responses) == [""]
    assert len(responses) == 1
    assert seconds(responses[0].audio_processed) == pytest.approx(600)
    assert time.monotonic() - started < TIMEOUT


# What a server says of itself


def test_finals_tell_why_they_came_and_silence_is_told_on_demand(stub: Any, speech: bytes) -> None:
    requests = [audio(speech[: 2 * SECOND]), finalize(), audio(bytes(12 * SECOND))]
    silent = stream(stub, start(enable_silence_events=True), *requests)
    told = [r for r in silent if r.speech_event_type == pb.SPEECH_EVENT_TYPE_SILENCE]
    assert [seconds(response.speech_event_offset) for response in told] == [6.68, 11.36]
    assert [result.utterance_end for result in results(silent, final=True)] == [
        pb.UTTERANCE_END_FINALIZE,
        pb.UTTERANCE_END_END_OF_AUDIO,
    ]
    assert not events(stream(stub, start(), *requests))


def test_what_was_said_before_is_limited(stub: Any) -> None:
    before = ["we sailed for a week"] * 100
    assert stream(stub, start(previous_transcripts=before))
    with pytest.raises(grpc.RpcError) as refusal:
        stream(stub, start(previous_transcripts=before * 11))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "previous_transcripts have 22000 characters" in refusal.value.details()


def test_what_was_said_before_may_be_written_as_people_write() -> None:
    before = ["It's 5 o'clock.", "...", "café"]
    config = pb.StreamingRecognitionConfig(previous_transcripts=before)
    session = convert.streaming_session(config, DecodingConfig())
    assert session.decoding.said == ("it's five o'clock", "cafe")


def test_a_stream_goes_on_from_where_another_was_cut(stub: Any, speech: bytes) -> None:
    """Each final of speech without a pause tells from where, with the real network."""
    limits = pb.EndpointingConfig(max_utterance_duration=Duration(seconds=3))
    settings = {"endpointing_config": limits, "enable_voice_activity_events": True}
    responses = stream(stub, start(**settings), *chunks(speech, 3200))
    *cut, last = results(responses, final=True)
    assert cut
    assert {result.utterance_end for result in cut} == {pb.UTTERANCE_END_MAX_DURATION}
    assert last.resume_offset == last.result_end_offset
    for number, result in enumerate(cut):
        resume = result.resume_offset.ToMicroseconds()
        context = Duration()
        context.FromMicroseconds(result.result_end_offset.ToMicroseconds() - resume)
        assert context.ToMicroseconds() == 1_000_000
        rest = speech[2 * (resume * 16_000 // 1_000_000) :]
        again = stream(stub, start(**settings, context=context), *chunks(rest, 3200))
        assert [
            (final.alternatives[0].transcript, resume + final.result_end_offset.ToMicroseconds())
            for final in results(again, final=True)
        ] == [
            (final.alternatives[0].transcript, final.result_end_offset.ToMicroseconds())
            for final in [*cut[number + 1 :], last]
        ]
        kinds = [event.speech_event_type for event in again if event.speech_event_type]
        assert kinds == [pb.SPEECH_EVENT_TYPE_SPEECH_ACTIVITY_END], "it began before"


def test_more_context_than_is_ever_needed_is_refused(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        stream(stub, start(context=Duration(seconds=2)))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "context is 2 s; give 0 to 1 s" in refusal.value.details()


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
