"""One stream's life, on tapes whose words and times are known exactly."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.model.decoding.decoders import Decoding, DecodingConfig, Phrase
from ossicle.model.decoding.hypothesis import GreedyDecoder, Hypothesis, spell_hypothesis
from ossicle.service.endpoint import EndpointConfig
from ossicle.service.events import (
    EndOfUtterance,
    Event,
    Final,
    Partial,
    Silence,
    SpeechBegin,
    SpeechEnd,
    UtteranceEnd,
)
from ossicle.service.session import MOST_LEFT_OUT, Session
from ossicle.service.session_config import SessionConfig

SECOND = "_" * 25
PAUSE = "_" * 40
FINALIZE = object()
GREEDY, BEAM = DecodingConfig("greedy"), DecodingConfig("beam")


class Runner:
    """A session and the tape model, stepped as the engine does."""

    def __init__(
        self,
        tapes: Any,
        config: SessionConfig | None = None,
        block: int = 4,
        model: Any = None,
        hurried: bool = False,
    ) -> None:
        config = config or SessionConfig()
        decoder = Decoding(tapes.model.info).decoder(config.decoding)
        self.session = Session(tapes.model.info, config, decoder)
        self.events: list[Event] = []
        self._model = model or tapes.model
        self._block = block
        self._hurried = hurried
        self._state = self._model.settled_state(1)

    def run(self) -> None:
        while True:
            self.events += self.session.settle()
            block = self.session.take(self._block)
            if block is None:
                return
            if self.session.take_reset():
                self._state = self._model.settled_state(1)
            log_probs, self._state = self._model.step(block[None], self._state)
            hearing = self.session.hear(log_probs[0], hurried=self._hurried)
            try:
                while True:
                    self.session.decoder.advance(next(hearing))
            except StopIteration as heard:
                self.events += heard.value

    def feed(self, items: Iterable[Any]) -> list[Event]:
        for item in items:
            if item is FINALIZE:
                self.session.finalize()
            else:
                self.session.accept(item)
            self.run()
        self.session.close()
        self.run()
        return self.events


def finals(events: Iterable[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def texts(events: Iterable[Event]) -> list[str]:
    return [final.text for final in finals(events)]


def test_partials_grow_and_one_final_follows(tapes: Any) -> None:
    events = Runner(tapes).feed([tapes.record("hello big wide world")])
    partials = [event for event in events if isinstance(event, Partial)]
    assert texts(events) == ["hello big wide world"]
    assert isinstance(events[-1], Final)
    said = ["hello", "hello big", "hello big wide"]
    assert [partial.text for partial in partials] == said, "whole words, only when they change"
    assert partials[0].stability == 0.0
    assert partials[-1].stability == pytest.approx(10 / 14)
    assert events[-1].confidence == pytest.approx(0.973, abs=1e-3)


def test_most_partials_are_left_out_in_a_hurry(tapes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    hypothesis = GreedyDecoder.hypothesis

    def counted(self: GreedyDecoder) -> Hypothesis:
        asked.append(self)
        return hypothesis(self)

    monkeypatch.setattr(GreedyDecoder, "hypothesis", counted)
    tape = tapes.record("hello big wide world" + PAUSE + "one two" + SECOND)
    calm = Runner(tapes).feed([tape])
    often = len(asked)
    hurried = Runner(tapes, hurried=True).feed([tape])
    assert finals(hurried) == finals(calm)
    assert (len(asked) - often) / often == pytest.approx(1 / (MOST_LEFT_OUT + 1), abs=0.1)
    shown = [event.text for event in hurried if isinstance(event, Partial)]
    assert shown
    assert set(shown) <= {event.text for event in calm if isinstance(event, Partial)}


def test_a_word_is_shown_once_no_letter_follows(tapes: Any) -> None:
    """Without a separator after it, 0.48 s after its last letter."""
    runner = Runner(tapes, block=1)
    runner.session.accept(tapes.record("one" + "_" * 20))
    runner.run()
    (partial,) = [event for event in runner.events if isinstance(event, Partial)]
    assert (partial.text, partial.offset) == ("one", pytest.approx((5 + 12) * tapes.frame_seconds))


class WaveringDecoder(GreedyDecoder):
    """Hears another first letter once there is a second word, and is not sure of that."""

    def _wavers(self) -> bool:
        return len(super()._written().words) > 1

    def _written(self) -> Hypothesis:
        first, *others = self._emitted or [None]
        if first is None or not self._wavers():
            return super()._written()
        return spell_hypothesis([replace(first, text="t"), *others], self._frame_seconds)

    def agreement(self) -> list[float]:
        return [0.1 if self._wavers() else 1.0] * len(self.hypothesis().words)


def test_what_was_shown_is_taken_back_when_nothing_is_left_of_it(tapes: Any) -> None:
    runner = Runner(tapes)
    runner.session.decoder = WaveringDecoder(tapes.model.info.tokens, tapes.frame_seconds)
    slow = "________".join("bigger")
    events = runner.feed([tapes.record("hello " + "_" * 8 + slow + "_" * 18)])
    partials = [event for event in events if isinstance(event, Partial)]
    assert [partial.text for partial in partials] == ["hello", "", "tello", "tello bigger"]
    assert (partials[1].stability, partials[1].words) == (0.0, ())
    assert texts(events) == ["tello bigger"]


def test_words_have_times_of_the_stream(tapes: Any) -> None:
    runner = Runner(tapes)
    events = runner.feed([tapes.record(SECOND + "one" + PAUSE), tapes.record("two")])
    first, second = finals(events)
    frame = tapes.frame_seconds
    (one,) = first.words
    (two,) = second.words
    assert (one.start, one.end) == pytest.approx((1.0, 1.0 + 5 * frame))
    assert two.start == pytest.approx(1.0 + 46 * frame)
    assert first.processed == pytest.approx(1.0 + (5 + 30) * frame), "1.2 s after the word"
    assert first.offset == pytest.approx(first.processed - 8 * frame)
    assert second.start == first.offset
    assert second.offset == pytest.approx(runner.session.position / 16_000)


def test_speech_begins_and_ends(tapes: Any) -> None:
    events = Runner(tapes, SessionConfig(interim_results=False)).feed(
        [tapes.record(SECOND + "one" + PAUSE)]
    )
    kinds = [type(event) for event in events]
    assert kinds == [SpeechBegin, SpeechEnd, Final, Final]
    assert events[0].offset == pytest.approx(1.0)
    assert events[1].offset == pytest.approx(1.2)


def test_speech_ends_with_its_utterance_at_the_latest(tapes: Any) -> None:
    config = SessionConfig(interim_results=False, endpointing=EndpointConfig(5, 0.2, 20))
    kinds = [type(event) for event in Runner(tapes, config).feed([tapes.record("one" + PAUSE)])]
    assert kinds == [SpeechBegin, SpeechEnd, Final, Final]


def test_speech_ends_if_it_is_given_up_right_after_a_cut(tapes: Any) -> None:
    config = SessionConfig(interim_results=False, endpointing=EndpointConfig(0.2, 1.2, 1))
    events = Runner(tapes, config).feed([tapes.record("abcdefghijklm_" + PAUSE + "n")])
    kinds = [type(event) for event in events if not isinstance(event, Final | Silence)]
    assert kinds == [SpeechBegin, SpeechEnd, SpeechBegin, SpeechEnd]
    assert texts(events)[0] == "abcdefghijklm"


def test_speech_that_is_cut_in_a_pause_ends_once(tapes: Any) -> None:
    config = SessionConfig(interim_results=False, endpointing=EndpointConfig(5, 1.2, 1))
    events = Runner(tapes, config).feed([tapes.record("ab" + SECOND + "__" * 10 + "c" + PAUSE)])
    kinds = [type(event) for event in events if not isinstance(event, Silence)]
    assert kinds == [SpeechBegin, SpeechEnd, Final, SpeechBegin, SpeechEnd, Final, Final]


@pytest.mark.parametrize("asked", [1, 3200, 3300, 15_999, 16_000])
def test_finalize_within_the_context_leaves_it_one(tapes: Any, asked: int) -> None:
    recorded = tapes.record("abcdefghijkl_one")
    items = [recorded[:asked], FINALIZE, FINALIZE, recorded[asked:]]
    events = Runner(tapes, SessionConfig(context=1.0)).feed(items)
    assert texts(events) == ["", "", "one"]
    assert [final.offset for final in finals(events)] == pytest.approx(
        [asked / 16_000, asked / 16_000, 31 / 25]
    )
    assert finals(events)[-1].words[0].start == pytest.approx(1.0)


def test_a_final_after_a_pause_loses_and_repeats_nothing(tapes: Any) -> None:
    said = PAUSE.join(["one", "two", "three", "four"])
    assert texts(Runner(tapes).feed([tapes.record(said)])) == ["one", "two", "three", "four"]


class LateModel:
    """The tapes' model three frames late, as a network that wants to hear more of a sound first."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def settled_state(self, streams: int) -> Any:
        state = self._model.settled_state(streams)
        return state, self._model.step(np.zeros((streams, 3 * 640), np.float32), state)[0]

    def step(self, blocks: Any, state: Any) -> Any:
        inner, waiting = state
        log_probs, inner = self._model.step(blocks, inner)
        log_probs = np.concatenate([waiting, log_probs], axis=1)
        return log_probs[:, :-3], (inner, log_probs[:, -3:])


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("said", ["", "one"])
def test_a_word_that_begins_where_silence_ends_an_utterance_is_whole(
    tapes: Any, said: str, before: int
) -> None:
    silence = "_" * ((30 + 3 if said else 125) - before)
    runner = Runner(tapes, model=LateModel(tapes.model))
    assert (
        "".join(texts(runner.feed([tapes.record(said + silence + "two" + PAUSE)]))) == said + "two"
    )


def test_finalize_answers_what_was_sent_and_stays_open(tapes: Any) -> None:
    events = Runner(tapes).feed([tapes.record("one t"), FINALIZE, tapes.record("wo"), FINALIZE])
    assert texts(events) == ["one t", "wo", ""]


def test_finalize_between_frames_keeps_the_times(tapes: Any) -> None:
    recorded = tapes.record("ab" + SECOND)
    events = Runner(tapes).feed([recorded[:2000], FINALIZE, tapes.record("cd")])
    first, second = finals(events)
    assert first.offset == pytest.approx(2000 / 16_000)
    assert second.words[0].start == pytest.approx(2000 / 16_000)


def test_finalize_with_nothing_said_yields_an_empty_final_each_time(tapes: Any) -> None:
    events = Runner(tapes).feed([FINALIZE, FINALIZE, tapes.record(SECOND), FINALIZE])
    assert texts(events) == ["", "", "", ""]
    assert all(final.confidence == 0 for final in finals(events))


def test_closing_at_once_yields_one_empty_final(tapes: Any) -> None:
    runner = Runner(tapes)
    assert texts(runner.feed([])) == [""]
    assert runner.session.finished


@pytest.mark.parametrize("decoding", [GREEDY, BEAM])
def test_long_speech_is_cut_between_words_and_goes_on(tapes: Any, decoding: DecodingConfig) -> None:
    config = SessionConfig(endpointing=EndpointConfig(5, 1.2, 4), decoding=decoding)
    said = " ".join(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"] * 6)
    events = Runner(tapes, config).feed([tapes.record(said)])
    assert len(finals(events)) > 4
    assert " ".join(texts(events)) == said
    assert all(final.offset - final.start <= 4 for final in finals(events))
    assert sum(isinstance(event, SpeechBegin) for event in events) == 1


@pytest.mark.parametrize("decoding", [GREEDY, BEAM])
def test_speech_without_spaces_is_cut_at_the_limit(tapes: Any, decoding: DecodingConfig) -> None:
    config = SessionConfig(endpointing=EndpointConfig(5, 1.2, 2), decoding=decoding)
    said = "abcdefghijklmnopqrstuvwxyz" * 6
    events = Runner(tapes, config).feed([tapes.record(said)])
    assert "".join(texts(events)) == said
    assert max(final.offset - final.start for final in finals(events)) == pytest.approx(2.0)


def test_the_network_forgets_in_a_pause_but_not_where_speech_is_cut(tapes: Any) -> None:
    """A ditto repeats a letter that the network remembers; a fresh network remembers none."""
    events = Runner(tapes).feed([tapes.record("ab" + PAUSE + '"c')])
    assert texts(events) == ["ab", "c"]
    config = SessionConfig(endpointing=EndpointConfig(5, 1.2, 1))
    assert "".join(texts(Runner(tapes, config).feed([tapes.record("abcdefghijklm" + '"')]))) == (
        "abcdefghijklmm"
    )


def test_a_single_utterance_ends_the_session(tapes: Any) -> None:
    runner = Runner(tapes, SessionConfig(interim_results=False, single_utterance=True))
    events = runner.feed([tapes.record("one" + PAUSE + "two")])
    assert [type(event) for event in events] == [SpeechBegin, SpeechEnd, EndOfUtterance, Final]
    assert texts(events) == ["one"]
    assert runner.session.finished


def test_a_single_utterance_gives_up_when_nothing_is_said(tapes: Any) -> None:
    runner = Runner(tapes, SessionConfig(single_utterance=True))
    events = runner.feed([tapes.record(SECOND * 6)])
    assert [type(event) for event in events] == [EndOfUtterance, Final]
    assert texts(events) == [""]
    assert events[-1].processed == pytest.approx(5.0)


def test_silence_yields_nothing_and_is_forgotten(tapes: Any) -> None:
    """Ten minutes leave no more behind than one."""
    runner = Runner(tapes)
    sizes = []
    for _ in range(10):
        runner.session.accept(tapes.record(SECOND * 60))
        runner.run()
        sizes.append(len(pickle.dumps(runner.session)))
    # Of each five seconds the last 0.32 are heard again.
    assert [type(event) for event in runner.events] == [Silence] * 128
    assert runner.events[-1].offset == pytest.approx(128 * 4.68)
    a_second = 4 * 16_000
    assert max(sizes) < 1.5 * a_second
    assert texts(runner.feed([tapes.record("one")])) == ["one"]


def test_endless_silence_without_a_rule_that_ends_it_is_forgotten_by_the_beam(tapes: Any) -> None:
    config = SessionConfig(endpointing=EndpointConfig(0, 0, 300), decoding=BEAM)
    runner = Runner(tapes, config)
    sizes = []
    for _ in range(4):
        runner.session.accept(tapes.record(SECOND * 60))
        runner.run()
        sizes.append(len(pickle.dumps(runner.session)))
    assert {type(event) for event in runner.events} == {Silence}
    assert max(sizes) < 1.1 * min(sizes)
    assert texts(runner.feed([tapes.record("one")])) == ["one"]


def unclear(tapes: Any, letter: str, likely: dict[str, float]) -> Any:
    """A tape model that is not sure of a letter: it gives these tokens these probabilities."""
    number = {token: i for i, token in enumerate(tapes.model.info.tokens)}

    class Unclear(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            log_probs, state = super().step(samples, state)
            heard = log_probs.argmax(axis=2) == number[letter]
            for token, probability in likely.items():
                log_probs[heard, number[token]] = np.log(probability)
            return log_probs, state

    return Unclear()


def test_a_beam_has_alternatives_and_greedy_search_one_reading(tapes: Any) -> None:
    model = unclear(tapes, "e", {"e": 0.6, "o": 0.35})
    for decoding, expected in ((BEAM, ["hello", "hollo"]), (GREEDY, ["hello"])):
        config = SessionConfig(alternatives=2, decoding=decoding)
        (final,) = finals(Runner(tapes, config, model=model).feed([tapes.record("hello")]))
        assert [reading.text for reading in final.alternatives] == expected
        assert (final.text, final.words) == ("hello", final.alternatives[0].words)
        for reading in final.alternatives:
            assert " ".join(word.text for word in reading.words) == reading.text
            assert 0 < reading.confidence < 1


def test_expected_phrases_are_heard_rather_than_what_sounds_like_them(tapes: Any) -> None:
    model = unclear(tapes, "e", {"e": 0.6, "o": 0.35})

    def heard(boost: float) -> list[str]:
        decoding = DecodingConfig("beam", phrases=(Phrase("hollo there", boost),))
        runner = Runner(tapes, SessionConfig(decoding=decoding), model=model)
        return texts(runner.feed([tapes.record("oh hello there")]))

    assert heard(0) == ["oh hello there"]
    assert heard(20) == ["oh hollo there"]


def test_a_cut_neither_loses_nor_doubles_a_word_of_the_beam(tapes: Any) -> None:
    """The place is found in the likeliest tokens, of which the beam's text has others."""
    model = unclear(tapes, "e", {"e": 0.6, "o": 0.35})
    phrases = (Phrase("hollo", 5.0),)
    config = SessionConfig(
        endpointing=EndpointConfig(5, 1.2, 2), decoding=DecodingConfig("beam", phrases=phrases)
    )
    said = " ".join(["hello", "hello", "a", "hello", "bed"] * 10)
    events = Runner(tapes, config, model=model).feed([tapes.record(said)])
    assert len(finals(events)) > 4
    assert " ".join(texts(events)) == said.replace("hello", "hollo")


@pytest.mark.parametrize("leading", [5, 0])
def test_a_word_that_no_frame_alone_has_is_answered_too(tapes: Any, leading: float) -> None:
    """Each frame is rather blank, yet both together make one letter likelier than none."""
    model = unclear(tapes, "q", {"": 0.5, "q": 0.45})
    config = SessionConfig(endpointing=EndpointConfig(leading, 1.2, 20), decoding=BEAM)
    runner = Runner(tapes, config, model=model)
    runner.session.accept(tapes.record("qq" + SECOND * 14))
    runner.run()
    assert texts(runner.events) == ["q"]
    assert texts(runner.feed([tapes.record("one")])) == ["q", "one"]


words = st.text("abc", min_size=1, max_size=3)
pauses = st.sampled_from(["_", " ", "_" * 26, "_" * 29, "_" * 30, "_" * 31, PAUSE, SECOND * 6])
speech = st.lists(st.tuples(words, pauses), max_size=6).map(
    lambda parts: "".join(word + pause for word, pause in parts)
)


@pytest.mark.parametrize("decoding", [GREEDY, BEAM])
@settings(max_examples=40)
@given(
    said=st.lists(speech, min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 60_000), max_size=8),
    block=st.integers(1, 9),
    odd=st.integers(0, 639),
)
def test_finals_do_not_depend_on_chunks_or_blocks(
    tapes: Any, decoding: DecodingConfig, said: list[str], cuts: list[int], block: int, odd: int
) -> None:
    """Whole parts in blocks of one frame, and any chunks in any blocks, end the same."""
    config = SessionConfig(
        interim_results=False, endpointing=EndpointConfig(2, 1.2, 2), decoding=decoding
    )
    parts = [np.append(tapes.record(part), np.zeros(odd, np.float32)) for part in said]
    whole: list[Any] = []
    chunked: list[Any] = []
    for part in parts:
        whole += [part, FINALIZE]
        chunked += [*np.split(part, sorted(cut % (len(part) + 1) for cut in cuts)), FINALIZE]
    expected = Runner(tapes, config, block=1).feed(whole)
    assert Runner(tapes, config, block).feed(chunked) == expected


def test_a_final_tells_why_it_came(tapes: Any) -> None:
    config = SessionConfig(interim_results=False, endpointing=EndpointConfig(5, 0.4, 1))
    said = tapes.record("one" + PAUSE + "abcdefghijklm")
    events = Runner(tapes, config).feed([said, FINALIZE, FINALIZE, tapes.record("two")])
    assert [final.reason for final in finals(events)] == [
        UtteranceEnd.SILENCE,
        UtteranceEnd.MAX_DURATION,
        UtteranceEnd.FINALIZE,
        UtteranceEnd.FINALIZE,
        UtteranceEnd.END_OF_AUDIO,
    ]


def test_an_interrupted_utterance_has_a_final_but_no_end_of_speech(tapes: Any) -> None:
    runner = Runner(tapes, SessionConfig(interim_results=False))
    runner.session.accept(tapes.record("one tw"))
    runner.session.close(interrupted=True)
    runner.run()
    begin, final = runner.events
    assert isinstance(begin, SpeechBegin)
    assert isinstance(final, Final)
    assert (final.text, final.reason) == ("one tw", UtteranceEnd.INTERRUPTED)


@settings(max_examples=20)
@given(
    said=st.lists(
        st.sampled_from(["one ", "two", '"', "quick brown fox ", PAUSE, SECOND * 6, FINALIZE]),
        min_size=1,
        max_size=10,
    )
)
def test_another_session_goes_on_from_any_final_and_any_silence(
    tapes: Any, said: list[Any]
) -> None:
    """As clients let one do whose server is gone."""
    config = SessionConfig(endpointing=EndpointConfig(5, 1.2, 3))
    items = [item if item is FINALIZE else tapes.record(item) for item in said]
    events = Runner(tapes, config).feed(items)
    known = [final for final in finals(events) if final.reason is not UtteranceEnd.END_OF_AUDIO]
    for event in [*known, *(event for event in events if isinstance(event, Silence))]:
        resume = event.resume if isinstance(event, Final) else event.offset
        context = event.offset - resume
        start = round(resume * 16_000)
        rest: list[Any] = []
        position = 0
        for item in items:
            if item is FINALIZE:
                rest += [item] if position > start else []
                continue
            rest.append(item[max(start - position, 0) :])
            position += len(item)
        later = [final for final in finals(events) if final.offset > event.offset]
        again = Runner(tapes, replace(config, context=context)).feed(rest)
        resumed = [final for final in finals(again) if final.offset > context]
        assert [final.text for final in resumed] == [final.text for final in later]
        assert [final.offset + resume for final in resumed] == pytest.approx(
            [final.offset for final in later]
        )


def test_output_that_is_not_a_number_is_refused(tapes: Any) -> None:
    session = Runner(tapes).session
    session.accept(tapes.record("abc"))
    block = session.take(2)
    assert block is not None
    with pytest.raises(ValueError, match="not a number"):
        session.put(np.full((2, 28), np.nan, np.float32))
