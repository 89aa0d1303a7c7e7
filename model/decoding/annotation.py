"""Finished texts get times and confidences: the last step of decoding, the same for every search.

A search knows which texts are likely. When each word was said tells the forced alignment
(`alignment.py`), and how sure it is tells the calibration (`confidence.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.alignment import Span, TimeShift, align
from ossicle.model.decoding.confidence import Calibration, agreement, word_evidence
from ossicle.model.decoding.hypothesis import Hypothesis, TimedToken, Word


class Annotator:
    """Makes hypotheses of texts.

    Args:
        tokens: all V tokens, the blank first; a text is spelt with one token a character.
        frame_seconds: length of an output frame.
        shift: what to add to the times of words.
        calibration: what makes confidences probabilities; without one, a word's confidence is the
            geometric mean of its letters' highest probabilities.

    Attributes:
        shift: as given; for the words of partial hypotheses too.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        frame_seconds: float,
        *,
        shift: TimeShift | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self._tokens = tuple(tokens)
        self._numbers = {token: number for number, token in enumerate(tokens) if number}
        self._frame_seconds = frame_seconds
        self.shift = shift or TimeShift()
        self._calibration = calibration

    @classmethod
    def configured(
        cls, tokens: Sequence[str], frame_seconds: float, settings: Mapping[str, Any], search: str
    ) -> Annotator:
        """The annotator of a model's `decoding.json`, for hypotheses of one search.

        Args:
            settings: what the file holds: under "times" a `TimeShift`, and under "confidence" a
                `Calibration` for each search. What is not there is not done.

        Raises:
            ValueError: naming the key that is not as it should be.
        """
        times, confidence = settings.get("times"), settings.get("confidence", {})
        try:
            shift = TimeShift() if times is None else TimeShift(**times)
        except (TypeError, ValueError) as error:
            raise ValueError(f'"times": {error}; `ossicle calibrate` writes it anew') from error
        try:
            known = confidence.get(search)
            calibration = None if known is None else Calibration.from_dict(known)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(
                f'"confidence": {error}; `ossicle calibrate` writes it anew'
            ) from error
        return cls(tokens, frame_seconds, shift=shift, calibration=calibration)

    def __call__(
        self,
        log_probs: NDArray[np.floating],
        texts: Sequence[str],
        scores: Sequence[float],
        alternatives: int = 1,
        first_frame: int = 0,
    ) -> list[Hypothesis]:
        """The hypotheses of an utterance.

        Args:
            log_probs: (U, V) of it; silence before its first word may be left out.
            texts: the N-best list, best first, distinct, words separated by single spaces. More of
                them than `alternatives` make confidences better.
            scores: the natural-log score of each.
            alternatives: how many hypotheses to make, of the first texts.
            first_frame: the frame of the utterance that `log_probs` begins with.

        Raises:
            ValueError: a text cannot be spelt with the tokens, or needs more than U frames.
        """
        hypotheses = []
        for number, (text, score) in enumerate(zip(texts[:alternatives], scores, strict=False)):
            spans = self._align(log_probs, text)
            words = _group(spans, text)
            confidences = self._confidences(log_probs, words, texts, scores, number)
            hypotheses.append(
                Hypothesis(
                    text,
                    sum(confidences) / len(confidences) if confidences else 0.0,
                    self._timed(spans, first_frame),
                    self._words(text, words, confidences, first_frame),
                    float(score),
                )
            )
        return hypotheses

    def evidence(
        self, log_probs: NDArray[np.floating], texts: Sequence[str], scores: Sequence[float]
    ) -> NDArray[np.float64]:
        """Of each word of the first text its evidence, (W, len(EVIDENCE)), to calibrate with."""
        words = _group(self._align(log_probs, texts[0]), texts[0])
        return word_evidence(log_probs, words, agreement(texts, scores))

    def _align(self, log_probs: NDArray[np.floating], text: str) -> list[Span]:
        try:
            return align(log_probs, [self._numbers[character] for character in text])
        except KeyError as error:
            raise ValueError(f"{text!r} holds {error}, which is no token of the model") from error

    def _confidences(
        self,
        log_probs: NDArray[np.floating],
        words: Sequence[Sequence[Span]],
        texts: Sequence[str],
        scores: Sequence[float],
        number: int,
    ) -> list[float]:
        """Of the words of one of the texts."""
        if self._calibration is None:
            return [math.exp(sum(span.max_log_prob for span in word) / len(word)) for word in words]
        evidence = word_evidence(log_probs, words, agreement(texts, scores, number))
        return [float(confidence) for confidence in self._calibration(evidence)]

    def _timed(self, spans: Sequence[Span], first_frame: int) -> tuple[TimedToken, ...]:
        return tuple(
            TimedToken(
                self._tokens[span.token],
                first_frame + span.frame,
                first_frame + span.end_frame,
                math.exp(span.max_log_prob),
            )
            for span in spans
        )

    def _words(
        self,
        text: str,
        words: Sequence[Sequence[Span]],
        confidences: Sequence[float],
        first_frame: int,
    ) -> tuple[Word, ...]:
        seconds = self._frame_seconds
        first = [(first_frame + word[0].frame) * seconds for word in words]
        end = [(first_frame + word[-1].end_frame) * seconds for word in words]
        times = self.shift(list(zip(first, end, strict=True)))
        return tuple(
            Word(word, start, end, confidence)
            for word, (start, end), confidence in zip(text.split(), times, confidences, strict=True)
        )


def _group(spans: Sequence[Span], text: str) -> list[list[Span]]:
    """The spans of each word's letters, of the spans of all characters of a text."""
    following = iter(spans)
    words = []
    for word in text.split():
        words.append([next(following) for _ in word])
        next(following, None)  # the space
    return words
