"""From log-probabilities to hypotheses: what was said, when, and how surely.

A decoder is fed log-probabilities as they come and keeps its own state, so that nothing is decoded
anew for a partial result. Greedy decoding takes the best token of each frame, merges
neighbouring equals and drops blanks (Graves et al. 2006, "best path decoding").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ossicle.model.decoding.annotation import Annotator
    from ossicle.model.decoding.spelling import Speller

BLANK = 0
SILENCE_KEPT = 50
"""Frames (2 s) before the first word that are remembered."""


def shared_beginning(one: Iterable[object], other: Iterable[object]) -> int:
    """How many items two sequences have in common before the first that differs."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@dataclass(frozen=True)
class TimedToken:
    """A token and the output frames that emitted it.

    Attributes:
        text: the token.
        frame: first frame of its run, counted from the start of the utterance.
        end_frame: one past the last.
        confidence: highest probability within the run, 0 to 1.
    """

    text: str
    frame: int
    end_frame: int
    confidence: float


@dataclass(frozen=True)
class Word:
    """A word with its times.

    Attributes:
        text: the word.
        start, end: seconds from the start of the utterance.
        confidence: in finals of a calibrated model the probability that it was said; else, and in
            partials, the geometric mean of its tokens' confidences; 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    """What an utterance is taken to say.

    Attributes:
        text: the words, separated by single spaces.
        confidence: mean of its words' in finals, the share of them to expect right; geometric mean
            over all tokens in partials; 0 if there are none.
        score: natural logarithm of its weight among the alternatives of one final.
        completion: where a last word of which only the beginning has been heard stands as the word
            that it is likely to become, how likely that is by the language model alone, 0 to 1,
            and 1 if it will not grow; None where nothing tells.
    """

    text: str
    confidence: float
    tokens: tuple[TimedToken, ...]
    words: tuple[Word, ...]
    score: float = 0.0
    completion: float | None = None

    @property
    def written(self) -> str:
        """The words as tokens write them, separated by single spaces.

        The text itself, where tokens are letters; pronunciations, where they are phonemes.
        """
        return " ".join("".join(token.text for token in self.tokens).split())


class Decoder(Protocol):
    """Decodes one utterance after the other, each in any number of pieces.

    However the frames are cut into pieces, the results are the same.
    """

    def reset(self) -> None:
        """Start the next utterance."""

    def advance(self, log_probs: NDArray[np.float32]) -> None:
        """Take the next frames, natural-log probabilities (U, V)."""

    def hypothesis(self) -> Hypothesis:
        """The best hypothesis so far, cheap enough to be asked for after every step."""

    def agreement(self) -> list[float]:
        """How sure the search is of the words of the last `hypothesis`.

        Returns:
            Of each word, the share of the search's probability that texts have which begin with
            the words up to it, 0 to 1.
        """

    def finish(self, alternatives: int = 1) -> list[Hypothesis]:
        """The hypotheses of the whole utterance, best first, with distinct texts.

        At least one, whose text may be empty, and at most `alternatives`.
        """


class FrameMemory:
    """The log-probabilities of an utterance, kept until its words are known.

    Attributes:
        first: the frame of the utterance that is the oldest kept.
        end: one past the latest.
    """

    def __init__(self) -> None:
        self.first = 0
        self.end = 0
        self._pieces: list[NDArray[np.float32]] = []

    def add(self, log_probs: NDArray[np.float32]) -> None:
        """Keep the next frames, (U, V)."""
        # A copy: the frames may be a view of a whole batch's.
        self._pieces.append(np.array(log_probs, dtype=np.float32))
        self.end += len(log_probs)

    def forget(self, frame: int) -> None:
        """Drop the frames before `frame` of the utterance."""
        if frame > self.first:
            self._pieces = [self.log_probs[frame - self.first :].copy()]
            self.first = frame

    @property
    def log_probs(self) -> NDArray[np.float32]:
        """The frames that are kept, (U, V)."""
        if not self._pieces:
            return np.zeros((0, 1), dtype=np.float32)
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0]


class GreedyDecoder:
    """Best-path decoding of one utterance, incrementally.

    Args:
        tokens: all V tokens, the blank first.
        frame_seconds: length of an output frame.
        annotator: of finals; without one their times and confidences are those of the path.
        speller: of what the tokens do not spell.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        frame_seconds: float,
        annotator: Annotator | None = None,
        speller: Speller | None = None,
    ) -> None:
        self._tokens = tuple(tokens)
        self._frame_seconds = frame_seconds
        self._annotator = annotator
        self._speller = speller
        self.reset()

    def reset(self) -> None:
        """Start the next utterance."""
        self._emitted: list[TimedToken] = []
        self._previous = BLANK
        self._frame = 0
        self._memory = FrameMemory()

    def advance(self, log_probs: NDArray[np.float32]) -> None:
        """Take the next frames, (U, V)."""
        if self._annotator:
            self._memory.add(log_probs)
        best = log_probs.argmax(axis=1).tolist()
        probabilities = np.exp(log_probs.max(axis=1)).tolist()
        for token, probability in zip(best, probabilities, strict=True):
            # A separator with nothing before it says nothing: a silent stream must not grow.
            if token != BLANK and (self._emitted or self._tokens[token].strip()):
                if token == self._previous:
                    run = self._emitted[-1]
                    self._emitted[-1] = TimedToken(
                        run.text, run.frame, self._frame + 1, max(run.confidence, probability)
                    )
                else:
                    self._emitted.append(
                        TimedToken(self._tokens[token], self._frame, self._frame + 1, probability)
                    )
            self._previous = token
            self._frame += 1
        if not self._emitted:
            self._memory.forget(self._memory.end - SILENCE_KEPT)

    def hypothesis(self) -> Hypothesis:
        """The best hypothesis so far."""
        best = self._written()
        if self._speller is None:
            return best
        # It follows no other text, so nothing tells how sure a word is before its end.
        return replace(self._speller.partial(best), completion=None)

    def _written(self) -> Hypothesis:
        return spell_hypothesis(self._emitted, self._frame_seconds, self._annotator)

    def agreement(self) -> list[float]:
        """All of it: greedy decoding knows one text only."""
        return [1.0] * len(self._written().words)

    def finish(self, alternatives: int = 1) -> list[Hypothesis]:
        """The best path: greedy decoding knows no other, whatever `alternatives` asks for."""
        best = [self._written()]
        if self._annotator:
            text, score, memory = best[0].text, best[0].score, self._memory
            best = self._annotator(memory.log_probs, [text], [score], 1, memory.first)
        return self._speller.finals(best) if self._speller else best


def spell_hypothesis(
    tokens: Sequence[TimedToken], frame_seconds: float, annotator: Annotator | None = None
) -> Hypothesis:
    """The hypothesis that tokens spell; the annotator's shift is applied to the times of words."""
    words = spell_words(tokens, frame_seconds)
    if annotator:
        times = annotator.shift([(word.start, word.end) for word in words])
        words = [
            Word(word.text, start, end, word.confidence)
            for word, (start, end) in zip(words, times, strict=True)
        ]
    text = " ".join(word.text for word in words)
    return Hypothesis(text, _mean_confidence(tokens), tuple(tokens), tuple(words))


def spell_words(tokens: Sequence[TimedToken], frame_seconds: float) -> list[Word]:
    """Group tokens into words at the spaces."""
    words: list[Word] = []
    letters: list[TimedToken] = []
    # A space at the end closes the last word.
    for token in (*tokens, TimedToken(" ", 0, 0, 1.0)):
        if token.text != " ":
            letters.append(token)
        elif letters:
            words.append(
                Word(
                    "".join(letter.text for letter in letters),
                    letters[0].frame * frame_seconds,
                    letters[-1].end_frame * frame_seconds,
                    _mean_confidence(letters),
                )
            )
            letters = []
    return words


def _mean_confidence(tokens: Sequence[TimedToken]) -> float:
    if not tokens:
        return 0.0
    logs = [math.log(max(token.confidence, 1e-10)) for token in tokens]
    return math.exp(sum(logs) / len(logs))
