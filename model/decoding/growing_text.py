"""A text that grows: its tokens and words, made anew only where they changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ossicle.model.decoding.hypothesis import (
    Hypothesis,
    TimedToken,
    Word,
    shared_beginning,
    spell_words,
)

Shift = Callable[[Sequence[tuple[float, float]]], list[tuple[float, float]]]


class GrowingText:
    """The best text of an utterance so far, which is mostly as it was when last asked for.

    Args:
        tokens: all V tokens, the blank first.
        frame_seconds: length of an output frame.
        shift: what makes times of words better.
    """

    def __init__(self, tokens: Sequence[str], frame_seconds: float, shift: Shift) -> None:
        self._tokens = tokens
        self._frame_seconds = frame_seconds
        self._shift = shift
        self._spelled: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
        self._timed: list[TimedToken] = []
        self._logs = [0.0]  # of the confidences of the first tokens, none, one, two, ...
        self._words: list[Word] = []  # as they are spelled
        self._shifted: list[Word] = []
        self._hypothesis = Hypothesis("", 0.0, (), ())
        self.lengths: list[int] = []
        """How many tokens there are up to the end of each word, (W,)."""

    def update(
        self,
        numbers: tuple[int, ...],
        frames: tuple[int, ...],
        confidence: Callable[[int, int], float],
    ) -> Hypothesis:
        """Take the text as it is now.

        Args:
            numbers: (S,) of its tokens.
            frames: (S,) that emitted them.
            confidence: of a token at a frame, 0 to 1.
        """
        if (numbers, frames) != self._spelled:
            before = zip(*self._spelled, strict=True)
            same = shared_beginning(zip(numbers, frames, strict=True), before)
            self._spelled = numbers, frames
            del self._timed[same:], self._logs[same + 1 :]
            for number, frame in zip(numbers[same:], frames[same:], strict=True):
                sure = confidence(number, frame)
                self._timed.append(TimedToken(self._tokens[number], frame, frame + 1, sure))
                self._logs.append(self._logs[-1] + math.log(max(sure, 1e-10)))
            self._spell(same)
            self._hypothesis = Hypothesis(
                " ".join(word.text for word in self._words),
                math.exp(self._logs[-1] / len(numbers)) if numbers else 0.0,
                tuple(self._timed),
                tuple(self._shifted),
            )
        return self._hypothesis

    def _spell(self, same: int) -> None:
        """Make the words anew that are not among the first `same` tokens with a space behind."""
        kept = sum(length < same for length in self.lengths)
        begin = self.lengths[kept - 1] if kept else 0
        words = spell_words(self._timed[begin:], self._frame_seconds)
        del self._words[kept:], self.lengths[kept:]
        self._words += words
        spaces = [token.text == " " for token in self._timed[begin:]]
        ends = zip(spaces, [*spaces, True][1:], strict=True)
        self.lengths += [
            begin + place + 1
            for place, (space, before_space) in enumerate(ends)
            if before_space and not space
        ]
        # Where a word ends may depend on where the next begins.
        first = max(kept - 1, 0)
        times = self._shift([(word.start, word.end) for word in self._words[first:]])
        self._shifted[first:] = [
            Word(word.text, start, end, word.confidence)
            for word, (start, end) in zip(self._words[first:], times, strict=True)
        ]
