"""Endpointing rules, frame by frame; a frame has 40 ms."""

from __future__ import annotations

import math

import pytest
from ossicle.service.endpoint import EndpointConfig, EndpointDetector, Signal

SECOND = 25


def silence(detector: EndpointDetector, frames: int, probability: float = 0.99) -> list[Signal]:
    return [signal for _ in range(frames) for signal in detector.advance(probability, token=False)]


def speak(detector: EndpointDetector, frames: int) -> list[Signal]:
    """Frames of tokens and blanks by turns, as CTC emits them."""
    return [
        s for i in range(frames) for s in detector.advance(0.01 if i % 2 == 0 else 0.9, i % 2 == 0)
    ]


@pytest.fixture
def detector() -> EndpointDetector:
    return EndpointDetector(EndpointConfig(), 0.04)


def test_silence_gives_up_exactly_at_the_timeout(detector: EndpointDetector) -> None:
    assert silence(detector, 5 * SECOND - 1) == []
    assert silence(detector, 1) == [Signal.LEADING_SILENCE]


def test_silence_after_speech_ends_the_utterance(detector: EndpointDetector) -> None:
    assert speak(detector, 21) == [Signal.SPEECH_BEGIN]
    assert silence(detector, 15) == [Signal.SPEECH_END]
    assert detector.speech_end == 21
    assert silence(detector, 14) == []
    assert silence(detector, 1) == [Signal.TRAILING_SILENCE]


def test_a_pause_between_words_ends_nothing_and_speech_begins_again(
    detector: EndpointDetector,
) -> None:
    speak(detector, 11)
    assert silence(detector, 29) == [Signal.SPEECH_END]
    assert speak(detector, 11) == [Signal.SPEECH_BEGIN]
    assert silence(detector, 29) == [Signal.SPEECH_END]


def test_noise_that_is_never_surely_silent_still_ends_the_utterance(
    detector: EndpointDetector,
) -> None:
    speak(detector, 11)
    assert Signal.TRAILING_SILENCE not in silence(detector, 59, probability=0.6)
    assert silence(detector, 1, probability=0.6) == [Signal.TRAILING_SILENCE]


def test_rules_that_are_off_never_fire() -> None:
    detector = EndpointDetector(EndpointConfig(0, 0, 20), 0.04)
    assert silence(detector, 60 * SECOND) == []
    speak(detector, 11)
    assert silence(detector, 60 * SECOND) == [Signal.SPEECH_END]


def test_a_long_utterance_is_cut_before_a_word_near_the_limit(detector: EndpointDetector) -> None:
    silence(detector, 100)  # does not count
    speak(detector, 18 * SECOND)
    assert not detector.cuts_before(separator=False)
    assert detector.cuts_before(separator=True)
    detector.advance(0.9, token=False, separator=True)
    assert not detector.cuts_before(separator=True), "the same separator goes on"


def test_a_long_word_is_cut_at_the_limit(detector: EndpointDetector) -> None:
    speak(detector, 20 * SECOND - 1)
    assert not detector.cuts_before(separator=False)
    speak(detector, 1)
    assert detector.cuts_before(separator=False)
    detector.reset(context=SECOND, in_speech=True)
    assert not detector.cuts_before(separator=False)
    assert speak(detector, 2) == [], "speech goes on, it does not begin"
    assert detector.speech_end == SECOND + 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("leading_silence_timeout", -1),
        ("leading_silence_timeout", math.nan),
        ("leading_silence_timeout", 0.001),
        ("trailing_silence", 0.05),
        ("trailing_silence", math.inf),
        ("max_utterance_duration", 0),
        ("max_utterance_duration", 3600),
    ],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value:g} s; give"):
        EndpointConfig(**{field: value})
