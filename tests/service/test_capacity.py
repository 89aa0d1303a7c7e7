"""Streams that would make the others late are refused at once."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import grpc
import pytest
from calls import TIMEOUT, LiveStream, audio, linear16, start, stream, transcripts, until
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from ossicle.service import convert, turns
from ossicle.service.admission import Overloaded
from ossicle.service.capacity import Capacity
from ossicle.service.engine import Engine
from ossicle.service.limits import Limits
from ossicle.service.rounds import Round
from ossicle.service.session_config import SessionConfig
from ossicle.service.stream import Stream
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

BLOCK = 0.16
# A step takes 2 ms, and 1 ms more for each stream.
STEPS = {1: 0.003, 64: 0.066}


def a_round(streams: int, seconds: float) -> Round:
    return Round(streams, 2560, None, seconds / 2, seconds / 2)


def measured(delay: float, slowness: float, steps: dict[int, float] | None = None) -> Capacity:
    """A capacity whose rounds take so many times what the network needs for silence."""
    capacity = Capacity(BLOCK, delay)
    capacity.warmed_up(steps or STEPS)
    for streams in (4, 8) * 32:
        capacity.note(a_round(streams, slowness * (0.002 + 0.001 * streams)))
    return capacity


@pytest.mark.parametrize(
    ("delay", "slowness", "streams"),
    [
        # In rounds of 80 ms one has the blocks of half of the others; 3 ms are one stream's own.
        (0.16, 1.0, 155),
        (0.16, 2.0, 75),
        (0.04, 1.0, 137),
        # What is longer than a block makes streams fall behind, whatever is allowed.
        (10.0, 1.0, 158),
        # One is always taken, be it late.
        (0.001, 1.0, 1),
        (0.16, 1000.0, 1),
    ],
)
def test_the_capacity_follows_from_the_time_of_rounds(
    delay: float, slowness: float, streams: int
) -> None:
    assert measured(delay, slowness).streams == pytest.approx(streams, abs=1)


def test_at_the_capacity_rounds_take_half_of_the_delay() -> None:
    """The formula, solved the other way: rounds that hold the streams whose blocks came."""
    capacity = measured(0.1, 1.5)
    seconds = 0.01
    for _ in range(200):
        others = (capacity.streams - 1) * seconds / BLOCK
        seconds = 1.5 * (0.002 + 0.001 * (1 + others))
    assert seconds == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("steps", [{1: 0.003}, {1: 0.003, 64: 0.003}, {1: 0.03, 64: 0.003}])
def test_steps_that_tell_little_give_a_capacity_all_the_same(steps: dict[int, float]) -> None:
    capacity = measured(0.16, 1.0, steps)
    assert capacity.streams >= 1


def test_a_stall_changes_nothing_and_a_slow_machine_does() -> None:
    capacity = measured(0.16, 1.0)
    before = capacity.streams
    for _ in range(8):
        capacity.note(a_round(4, 2.0))
    assert capacity.streams == before
    for _ in range(32):
        capacity.note(a_round(4, 0.03))
    assert capacity.streams < before / 4


def test_once_full_some_must_go_before_another_is_taken() -> None:
    capacity = measured(0.16, 1.0)
    room = capacity.streams
    assert capacity.admits(room - 1)
    assert not capacity.admits(room)
    assert not capacity.admits(room - 1)
    assert capacity.admits(round(0.8 * room))
    assert capacity.admits(room - 1)


@pytest.fixture
def slow(tapes: Any) -> Any:
    """A recogniser that needs 10 ms for a block: it answers 16 live streams and no more."""

    class Slow(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            time.sleep(0.01 * len(samples))
            return super().step(samples, state)

    return Slow()


def test_a_burst_of_streams_is_taken_as_far_as_it_can_be_answered(slow: Any, tapes: Any) -> None:
    engine = Engine(slow, slots=64, max_delay_seconds=0.15)
    engine.start()
    assert engine.wait_ready(20)
    streams: list[Stream] = []

    def open_all() -> None:
        while True:
            streams.append(engine.open(SessionConfig(), lambda events: None))

    with pytest.raises(Overloaded, match=r"as are answered within 0\.15 s: \d"):
        open_all()
    assert 1 <= len(streams) <= engine.capacity <= 16
    for opened in streams:
        opened.cancel()
    assert until(lambda: engine.active == 0)
    engine.open(SessionConfig(), lambda events: None)
    assert engine.stop()


def test_streams_that_have_nothing_to_recognise_do_not_count(slow: Any) -> None:
    engine = Engine(slow, slots=4, max_delay_seconds=0.001)
    engine.start()
    assert engine.wait_ready(20)
    engine.open(SessionConfig(), lambda events: None)
    with pytest.raises(Overloaded):
        engine.open(SessionConfig(), lambda events: None)

    def second_is_open() -> bool:
        if engine.active < 2:
            with suppress(Overloaded):
                engine.open(SessionConfig(), lambda events: None)
        return engine.active == 2

    assert until(second_is_open)
    assert engine.stop()


def test_streams_whose_audio_waits_count_however_long_the_engine_takes(
    slow: Any, tapes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 0.0)
    engine = Engine(slow, slots=4, max_delay_seconds=0.15)  # never started: nothing is answered
    engine.open(SessionConfig(), lambda events: None)
    waiting = engine.open(SessionConfig(), lambda events: None)
    waiting.write(tapes.record("abc"))
    with pytest.raises(Overloaded, match=r"answered within 0\.15 s: 1"):
        engine.open(SessionConfig(), lambda events: None)
    with pytest.raises(Overloaded, match=r"answered within 0\.15 s: 1"):
        engine.check_room()


def test_phrases_are_not_looked_at_where_there_is_no_room(
    serve: Any, tapes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overloaded(engine: Engine) -> None:
        raise Overloaded("as many streams are busy as are answered in time")

    looked_at: list[Any] = []
    monkeypatch.setattr(convert, "check_phrases", looked_at.append)
    config = linear16(speech_contexts=[pb.SpeechContext(phrases=["rare name"])])
    said = (tapes.record("abc") * 32768).astype("<i2").tobytes()
    with serve(tapes.model) as server, grpc.insecure_channel(server.address) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        recording = pb.RecognizeRequest(config=config, audio_content=said)
        assert stub.Recognize(recording, timeout=TIMEOUT).results
        assert len(looked_at) == 1
        monkeypatch.setattr(Engine, "check_room", overloaded)
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            stub.Recognize(recording, timeout=TIMEOUT)
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            stream(stub, start(config), audio(said))
    assert len(looked_at) == 1


def test_an_overloaded_server_refuses_at_once_and_answers_those_it_took(
    serve: Any, slow: Any, tapes: Any
) -> None:
    said = (tapes.record("hello" * 6) * 32768).astype("<i2").tobytes()
    with (
        serve(slow, Limits(max_streams=24)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        lives = [LiveStream(stub, start(linear16()), audio(said)) for _ in range(24)]
        taken, refusals = [], []
        for live in lives:
            live.half_close()
            try:
                taken.append(transcripts(list(live.call)))
            except grpc.RpcError as refusal:
                refusals.append(refusal)
        assert 1 <= len(taken) <= 16
        assert taken == [["hello" * 6]] * len(taken)
        for refusal in refusals:
            assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "max_delay_seconds" in refusal.details()
            delay = RetryInfo()
            assert rpc_status.from_call(refusal).details[0].Unpack(delay)
            assert delay.retry_delay.seconds > 0
        refused = server.telemetry.metrics.refused.labels("overloaded")._value.get()
        assert refused == len(refusals) == 24 - len(taken)
        assert until(lambda: server.engine.active == 0)
        assert stream(stub, start(linear16()), audio(said)), "there is room again"
