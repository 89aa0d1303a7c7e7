"""Streams that lose their server again and again say what undisturbed ones say.

The server is the real session with the recogniser of tapes, without the network between.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.data.audio import open_decoder
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.service import convert
from ossicle.service.client.conversation import Conversation
from ossicle.service.client.messages import first_request, recognition_config
from ossicle.service.events import Event
from ossicle.service.session import Session
from ossicle.service.values import Endpointing, Finalize, Result, SpeechEvent, SpeechEventKind
from ossicle.speech.v1 import speech_pb2 as pb

SECOND = "_" * 25
PAUSE = "_" * 40
ENDPOINTING = Endpointing(leading_silence_timeout=2, trailing_silence=0.6, max_utterance_duration=2)


class TapeServer:
    """One connection to a server that reads tapes."""

    def __init__(self, tapes: Any, opening: pb.StreamingRecognizeRequest) -> None:
        config = opening.streaming_config
        session = convert.streaming_session(config, DecodingConfig("greedy"))
        self.said_before = session.decoding.said
        decoder = Decoding(tapes.model.info).decoder(session.decoding)
        self._answer = convert.answer_settings(config.config, config)
        audio = convert.audio_settings(config.config)
        self._decoder = open_decoder(audio.encoding, audio.sample_rate, audio.channels)
        self._session = Session(tapes.model.info, session, decoder)
        self._model = tapes.model
        self._state = self._model.settled_state(1)

    def take(self, request: pb.StreamingRecognizeRequest) -> list[pb.StreamingRecognizeResponse]:
        if request.WhichOneof("streaming_request") == "finalize":
            self._session.finalize()
        else:
            self._session.accept(self._decoder.feed(request.audio_content))
        return self._run()

    def close(self, interrupted: bool = False) -> list[pb.StreamingRecognizeResponse]:
        self._session.close(interrupted)
        return self._run()

    def _run(self) -> list[pb.StreamingRecognizeResponse]:
        events: list[Event] = []
        while True:
            events += self._session.settle()
            block = self._session.take(4)
            if block is None:
                break
            if self._session.take_reset():
                self._state = self._model.settled_state(1)
            log_probs, self._state = self._model.step(block[None], self._state)
            events += self._session.put(log_probs[0])
        responses = [convert.streaming_response(event, self._answer, "r-1") for event in events]
        return [response for response in responses if response is not None]


@dataclass(frozen=True)
class Break:
    """The end of a connection.

    Attributes:
        after: messages of audio.
        lost: answers that do not arrive any more.
        drained: the server shuts down instead of being killed.
    """

    after: int
    lost: int = 0
    drained: bool = False


@dataclass
class Heard:
    """What came of a stream."""

    results: list[Result]
    events: list[SpeechEvent]
    connections: list[TapeServer]

    @property
    def finals(self) -> list[tuple[Any, ...]]:
        return [
            (
                result.text,
                round(result.end, 4),
                [(word.text, round(word.start, 4), round(word.end, 4)) for word in result.words],
            )
            for result in self.results
            if result.is_final
        ]


def converse(
    tapes: Any,
    items: list[bytes | Finalize],
    breaks: list[Break],
    *,
    encoding: str = "linear16",
    keep_bytes: int = 1 << 25,
) -> Heard:
    first = first_request(
        recognition_config(
            encoding=encoding,
            sample_rate=0 if encoding == "auto" else 16_000,
            channels=0,
            language="",
            model="",
            words=True,
            alternatives=1,
            speech_contexts=(),
            decoder="",
            beam_width=0,
        ),
        interim_results=True,
        single_utterance=False,
        endpointing=ENDPOINTING,
        voice_activity_events=True,
    )
    conversation = Conversation(first, keep_bytes)
    heard = Heard([], [], [])

    def deliver(responses: list[pb.StreamingRecognizeResponse]) -> None:
        for response in responses:
            for item in conversation.receive(response):
                if isinstance(item, Result):
                    heard.results.append(item)
                else:
                    heard.events.append(item)

    def connect() -> TapeServer:
        opening = conversation.connect()
        assert opening is not None, "the stream cannot go on"
        heard.connections.append(TapeServer(tapes, opening))
        return heard.connections[-1]

    waiting: Iterator[bytes | Finalize] = iter(items)
    ending = iter(breaks)
    planned = next(ending, None)
    server = connect()
    sent = 0
    while True:
        if not conversation.waiting and (item := next(waiting, None)) is not None:
            conversation.add(item)
        elif not conversation.waiting:
            conversation.end()
        request = conversation.next_request()
        if request is None:
            if conversation.all_sent:
                break
            continue
        responses = server.take(request)
        sent += 1
        if planned is None or sent < planned.after:
            deliver(responses)
            continue
        if planned.drained:
            responses += server.close(interrupted=True)
        deliver(responses[: max(len(responses) - planned.lost, 0)])
        planned, sent = next(ending, None), 0
        server = connect()
    deliver(server.close())
    assert conversation.complete
    return heard


def linear16(tapes: Any, said: str) -> bytes:
    return (tapes.record(said) * 32767).astype("<i2").tobytes()


def pieces(data: bytes, size: int) -> list[bytes | Finalize]:
    return [data[start : start + size] for start in range(0, len(data), size)]


SPEECH = st.lists(
    st.sampled_from(["one two ", "three", "f", '"', PAUSE, SECOND * 5, "abcdefghijklm", "."]),
    min_size=1,
    max_size=10,
)
BREAKS = st.lists(
    st.builds(Break, after=st.integers(1, 60), lost=st.integers(0, 3), drained=st.booleans()),
    min_size=1,
    max_size=6,
)


def items_of(tapes: Any, said: list[str], size: int) -> list[bytes | Finalize]:
    items: list[bytes | Finalize] = []
    for text in said:
        items += [Finalize()] if text == "." else pieces(linear16(tapes, text), size)
    return items


@settings(max_examples=60)
@given(said=SPEECH, breaks=BREAKS, size=st.sampled_from([1280, 3200, 5000, 16_000]))
def test_samples_lose_and_double_nothing(
    tapes: Any, said: list[str], breaks: list[Break], size: int
) -> None:
    items = items_of(tapes, said, size)
    undisturbed = converse(tapes, items, [])
    disturbed = converse(tapes, items, breaks)
    assert disturbed.finals == undisturbed.finals
    assert disturbed.events == undisturbed.events
    processed = [result.audio_processed for result in disturbed.results]
    assert processed == sorted(processed)


@settings(max_examples=30)
@given(said=SPEECH, breaks=BREAKS, size=st.sampled_from([1280, 3200, 5000]))
def test_a_container_loses_and_doubles_nothing(
    tapes: Any, said: list[str], breaks: list[Break], size: int
) -> None:
    head = io.BytesIO()
    with wave.open(head, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
    # A live WAV does not know its length.
    header = head.getvalue()[:-4] + b"\xff\xff\xff\xff"
    items = [header, *items_of(tapes, said, size)]
    undisturbed = converse(tapes, items, [], encoding="auto")
    disturbed = converse(tapes, items, breaks, encoding="auto")
    assert disturbed.finals == undisturbed.finals
    assert disturbed.events == undisturbed.events


def test_partials_of_a_redone_utterance_are_told_but_none_of_finished_ones(tapes: Any) -> None:
    items = pieces(linear16(tapes, "one " + PAUSE + "two three four five"), 3200)
    heard = converse(tapes, items, [Break(len(items) - 1)])
    assert len(heard.connections) == 2
    first_final = next(i for i, result in enumerate(heard.results) if result.is_final)
    assert not any("one" in result.text for result in heard.results[first_final + 1 :])
    assert sum(result.text == "two" for result in heard.results) == 2


def test_endless_talk_goes_on_from_a_cut(tapes: Any) -> None:
    """Every utterance is cut in the midst of speech."""
    items = pieces(linear16(tapes, "the quick brown fox " * 120), 3200)
    undisturbed = converse(tapes, items, [])
    disturbed = converse(tapes, items, [Break(1500), Break(600), Break(450, drained=True)])
    assert disturbed.finals == undisturbed.finals
    assert len(undisturbed.finals) > 80
    before = disturbed.connections[1].said_before
    assert before
    assert before[-1] in [text for text, _, _ in undisturbed.finals]


def test_what_was_said_goes_along(tapes: Any) -> None:
    items = pieces(linear16(tapes, "one" + PAUSE + "two" + PAUSE + "three"), 3200)
    heard = converse(tapes, items, [Break(len(items))])
    assert [server.said_before for server in heard.connections] == [(), ("one", "two")]


def test_the_memory_of_a_stream_is_bounded(tapes: Any) -> None:
    first = pb.StreamingRecognizeRequest()
    first.streaming_config.config.encoding = pb.AUDIO_ENCODING_LINEAR16
    first.streaming_config.config.sample_rate_hertz = 16_000
    conversation = Conversation(first, 1 << 20)
    assert conversation.connect() is not None
    for _ in range(50):
        conversation.add(bytes(60_000))
        assert conversation.next_request() is not None
    assert conversation.connect() is None, "two thirds of the audio are gone"
    conversation = Conversation(first, 1 << 20)
    assert conversation.connect() is not None
    final = pb.StreamingRecognitionResult(
        alternatives=[pb.SpeechRecognitionAlternative(transcript="x")],
        is_final=True,
        utterance_end=pb.UTTERANCE_END_SILENCE,
    )
    for number in range(1, 51):
        conversation.add(bytes(60_000))
        assert conversation.next_request() is not None
        final.result_end_offset.FromMilliseconds(1875 * number)
        final.resume_offset.FromMilliseconds(1875 * number)
        told = list(conversation.receive(pb.StreamingRecognizeResponse(results=[final])))
        assert len(told) == 1
    assert conversation.connect() is not None
    assert not conversation.waiting, "all was answered"


def test_silence_is_not_kept(tapes: Any) -> None:
    items = [*pieces(linear16(tapes, SECOND * 60), 32_000), *pieces(linear16(tapes, "one"), 3200)]
    heard = converse(tapes, items, [Break(len(items))], keep_bytes=1 << 20)
    assert [text for text, _, _ in heard.finals] == ["one"]
    assert heard.finals[0][1] == pytest.approx(60.24, abs=0.05)


def test_a_final_that_was_held_back_is_told_in_the_end(tapes: Any) -> None:
    first = pb.StreamingRecognizeRequest()
    first.streaming_config.config.encoding = pb.AUDIO_ENCODING_LINEAR16
    first.streaming_config.config.sample_rate_hertz = 16_000
    conversation = Conversation(first, 1 << 20)
    conversation.connect()
    conversation.add(linear16(tapes, "one tw"))
    request = conversation.next_request()
    assert request is not None
    server = TapeServer(tapes, first)
    for response in [*server.take(request), *server.close(interrupted=True)]:
        assert not [r for r in conversation.receive(response) if isinstance(r, Result)]
    assert conversation.connect() is not None
    # The next server goes away, too, before it has heard as much.
    (request,) = iter(conversation.next_request, None)
    behind = TapeServer(tapes, first)
    shorter = pb.StreamingRecognizeRequest(audio_content=request.audio_content[: 3 * 1280])
    for response in [*behind.take(shorter), *behind.close(interrupted=True)]:
        assert not [r for r in conversation.receive(response) if isinstance(r, Result)]
    assert [result.text for result in conversation.give_up()] == ["one tw"]
    assert list(conversation.give_up()) == []


def test_the_end_of_the_utterance_is_told_once(tapes: Any) -> None:
    first = pb.StreamingRecognizeRequest()
    first.streaming_config.config.encoding = pb.AUDIO_ENCODING_LINEAR16
    first.streaming_config.config.sample_rate_hertz = 16_000
    first.streaming_config.single_utterance = True
    conversation = Conversation(first, 1 << 20)
    conversation.connect()
    conversation.add(linear16(tapes, "one" + 60 * "_"))
    told: list[Result | SpeechEvent] = []
    for final_arrives in (False, True):
        request = conversation.next_request()
        assert request is not None
        for response in TapeServer(tapes, first).take(request):
            if not response.results or final_arrives:
                told += conversation.receive(response)
        assert final_arrives or conversation.connect() is not None
    assert [item.text for item in told if isinstance(item, Result) and item.is_final] == ["one"]
    kinds = [item.kind for item in told if isinstance(item, SpeechEvent)]
    assert kinds.count(SpeechEventKind.END_OF_UTTERANCE) == 1
