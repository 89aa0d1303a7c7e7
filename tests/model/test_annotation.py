"""Finished texts become hypotheses with times and calibrated confidences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.alignment import TimeShift
from ossicle.model.decoding.annotation import Annotator
from ossicle.model.decoding.confidence import Calibration
from ossicle.model.decoding.hypothesis import GreedyDecoder

from tests.model.test_decoding import FRAME, TOKENS, path

LOG_PROBS = np.concatenate([path("__hii_", 0.9), path(" ", 0.9), path("_yo__", 0.6)])


def test_without_calibration_it_says_what_greedy_search_says() -> None:
    decoder = GreedyDecoder(TOKENS, FRAME)
    decoder.advance(LOG_PROBS)
    greedy = decoder.hypothesis()
    (hypothesis,) = Annotator(TOKENS, FRAME)(LOG_PROBS, [greedy.text], [-1.5])
    assert hypothesis.text == greedy.text == "hi yo"
    assert hypothesis.score == -1.5
    assert [token.text for token in hypothesis.tokens] == list("hi yo")
    for ours, theirs in zip(hypothesis.tokens, greedy.tokens, strict=True):
        assert (ours.frame, ours.end_frame) == (theirs.frame, theirs.end_frame)
        assert ours.confidence == pytest.approx(theirs.confidence)
    for word, other in zip(hypothesis.words, greedy.words, strict=True):
        assert (word.text, word.start, word.end) == (other.text, other.start, other.end)
        assert word.confidence == pytest.approx(other.confidence)
    assert hypothesis.confidence == pytest.approx((0.9 + 0.6) / 2, abs=1e-3)


def test_forgotten_silence_changes_nothing() -> None:
    annotator = Annotator(TOKENS, FRAME)
    assert annotator(LOG_PROBS[2:], ["hi yo"], [0.0], first_frame=2) == annotator(
        LOG_PROBS, ["hi yo"], [0.0]
    )


def test_times_are_shifted() -> None:
    plain, shifted = (
        Annotator(TOKENS, FRAME, shift=shift)(LOG_PROBS, ["hi yo"], [0.0])[0]
        for shift in (None, TimeShift(-0.08, -0.04))
    )
    for before, after in zip(plain.words, shifted.words, strict=True):
        assert after.start == pytest.approx(before.start - 0.08)
        assert after.end == pytest.approx(before.end - 0.04)
    assert shifted.tokens == plain.tokens


def test_alternatives_make_words_unsure() -> None:
    annotator = Annotator(TOKENS, FRAME, calibration=Calibration(0.0, (0.0, 0.0, 0.0, 1.0)))
    texts, scores = ["hi yo", "hi you"], np.log([0.75, 0.25]).tolist()
    first, second = annotator(LOG_PROBS, texts, scores, alternatives=5)
    assert [word.confidence for word in first.words] == pytest.approx([1.0, 0.75], abs=1e-3)
    assert [word.confidence for word in second.words] == pytest.approx([1.0, 0.25], abs=1e-3)
    assert first.confidence == pytest.approx(0.875, abs=1e-3)
    # Asking for one alternative does not make it surer: the list is the same.
    assert annotator(LOG_PROBS, texts, scores) == [first]


def test_calibration_weighs_the_evidence_it_was_fitted_on() -> None:
    calibration = Calibration(0.3, (0.5, 0.2, -0.4, 0.1))
    annotator = Annotator(TOKENS, FRAME, calibration=calibration)
    texts, scores = ["hi yo", "hi"], [-2.0, -2.5]
    evidence = annotator.evidence(LOG_PROBS, texts, scores)
    (hypothesis,) = annotator(LOG_PROBS, texts, scores)
    expected = calibration(evidence).tolist()
    assert [word.confidence for word in hypothesis.words] == pytest.approx(expected)
    assert len(set(expected)) == 2


def test_silence_has_no_words() -> None:
    for log_probs in (path("____"), np.zeros((0, len(TOKENS)))):
        (hypothesis,) = Annotator(TOKENS, FRAME)(log_probs, [""], [0.0])
        assert (hypothesis.text, hypothesis.words, hypothesis.tokens) == ("", (), ())
        assert hypothesis.confidence == 0


@pytest.mark.parametrize(
    ("text", "message"), [("Hi", "'H', which is no token"), ("hi you are", "need at least 10")]
)
def test_texts_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Annotator(Tokenizer().tokens, FRAME)(LOG_PROBS[:9], [text], [0.0])


class TestConfigured:
    VALUES = Calibration(0.1, (1.0, 0.0, 0.0, 2.0)).to_dict()

    def annotate(self, settings: dict[str, Any], search: str = "beam"):
        annotator = Annotator.configured(TOKENS, FRAME, settings, search)
        return annotator(LOG_PROBS, ["hi yo"], [0.0])[0]

    def test_nothing_set_is_nothing_done(self) -> None:
        assert (
            self.annotate({"beam_width": 8})
            == Annotator(TOKENS, FRAME)(LOG_PROBS, ["hi yo"], [0.0])[0]
        )

    def test_each_search_has_its_own_calibration(self) -> None:
        settings = {"confidence": {"beam": self.VALUES}, "times": {"start": -0.04, "end": 0.0}}
        beam, greedy = self.annotate(settings), self.annotate(settings, "greedy")
        assert beam.words[0].confidence != pytest.approx(greedy.words[0].confidence)
        assert beam.words[0].start == pytest.approx(greedy.words[0].start)
        assert greedy.words[0].start == pytest.approx(0.04)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"times": {"start": 2.0}}, '"times": .*start is 2.0 s'),
            ({"times": {"begin": 0.0}}, '"times": .*begin'),
            ({"times": {"start": "x"}}, '"times": '),
            ({"times": 3}, '"times": '),
            ({"confidence": {"beam": {}}}, '"confidence": a calibration has'),
            ({"confidence": [1]}, '"confidence": .*ossicle calibrate'),
            ({"confidence": {"beam": 5}}, '"confidence": .*ossicle calibrate'),
        ],
    )
    def test_nonsense_is_refused_by_its_key(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            self.annotate(settings)
