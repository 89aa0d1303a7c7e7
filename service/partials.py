"""Partials that do not flicker: which words of a growing hypothesis are shown.

A hypothesis that is shown as it is changes under the reader's eyes: its last word grows, and a beam
search changes its mind about the words before. Here a word is shown once it is likely to stay
(`stability.py`), or has stood there for long enough. What is shown is taken back only if the search
insists. That is the trade of delay against stability of Baumann, Atterer and Schlangen 2009,
"Assessing and improving the performance of speech recognition for incremental systems".

`tests/bench/flicker.py` measures both; the constants are choices made with it on the development
sets. Of the words shown so many changed, for so long a mean delay:

| stable | acted | strangers' microphones | read | prompts | learners |
|---|---|---|---|---|---|
| 0.64 | 13.1 %, 75 ms | 12.9 %, 106 ms | 10.1 %, 69 ms | 8.3 %, 68 ms | 21.2 %, 145 ms |
| 0.68 | 11.7 %, 84 ms | 11.9 %, 118 ms | 8.4 %, 80 ms | 6.3 %, 80 ms | 20.9 %, 161 ms |
| 0.72 | 9.7 %, 96 ms | 10.9 %, 137 ms | 7.2 %, 93 ms | 4.0 %, 95 ms | 19.1 %, 182 ms |
| 0.76 | 8.7 %, 113 ms | 11.0 %, 163 ms | 6.0 %, 113 ms | 2.2 %, 119 ms | 17.2 %, 210 ms |
| 0.8 | 8.0 %, 133 ms | 10.0 %, 189 ms | 5.4 %, 128 ms | 1.9 %, 137 ms | 16.9 %, 248 ms |

(With the tenth run's model; of read speech 30 recordings, of learners 80, of the others all. The
settings were chosen on these very recordings, so on others expect a little worse.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from ossicle.model.decoding.hypothesis import shared_beginning

from .stability import MOST_BEFORE, MOST_FOLLOWING, Evidence, stability

if TYPE_CHECKING:
    from ossicle.model.decoding.hypothesis import Hypothesis, Word

# The last word is over when a separator follows it, or no further letter for so long (0.48 s): the
# letters of a word may be a third of a second apart.
WORD_END_FRAMES = 12
# A word is shown when it is so likely to stay,
STABLE = 0.72
# less by this for each word that waits behind it,
WAITING = 0.03
# or has stood there for so long (1.2 s) and is over: what the search doubts then, it may for ever.
HELD_FRAMES = 30
# What is shown stays until so many hypotheses in a row have contradicted it,
PATIENCE = 4
# or the first word of one that does is so likely to stay.
INSISTENT = 0.9
_LEAST_COMPLETION = 1e-4


@dataclass(frozen=True)
class Known:
    """What is known of a word of a hypothesis.

    Attributes:
        evidence: for its being likely to stay.
        growing: whether it may be only the beginning of a word.
    """

    evidence: Evidence
    growing: bool

    @property
    def stability(self) -> float:
        """How likely it is to stay, 0 to 1."""
        return stability(self.evidence, growing=self.growing)

    @property
    def may_be_shown(self) -> bool:
        """Whether it is likely enough to stay, or has stood for so long."""
        if self.evidence.held >= math.log1p(HELD_FRAMES) and not self.growing:
            return True
        return self.stability >= STABLE - WAITING * self.evidence.following


class PartialText:
    """The words of one utterance that are shown so far."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start the next utterance."""
        self.words: tuple[Word, ...] = ()
        self._contradictions = 0
        self._since: list[tuple[str, int]] = []  # words, and at which frame each came to its place

    def update(
        self, hypothesis: Hypothesis, frames: int, agreement: Callable[[], Sequence[float]]
    ) -> tuple[Word, ...]:
        """Take the present hypothesis.

        Args:
            hypothesis: the search's best so far.
            frames: how many of the utterance it is about.
            agreement: tells how sure the search is of its words, as a decoder does; only asked
                where it matters.

        Returns:
            The words to show, which are none until the first is likely to stay.
        """
        words = hypothesis.words
        texts = [word.text for word in words]
        same = shared_beginning(texts, (text for text, _ in self._since))
        self._since[same:] = [(word.text, frames) for word in words[same:]]
        kept = shared_beginning(texts, (word.text for word in self.words))
        agrees = kept == len(self.words)
        self._contradictions = 0 if agrees else self._contradictions + 1
        known = self._if_certain(hypothesis, frames, kept)
        # The search is asked only where a word would be shown if it were certain: that is what
        # costs most here.
        if known and known[0].may_be_shown:
            known = _doubted(known, agreement(), kept)
        insists = known and known[0].stability >= INSISTENT
        insists = insists or (self._contradictions >= PATIENCE and _fit(hypothesis, frames) > 0)
        if agrees or insists:
            self._contradictions = 0
            shown = sum(1 for _ in takewhile(lambda word: word.may_be_shown, known))
            self.words = words[: kept + shown]
        return self.words

    def known(
        self,
        hypothesis: Hypothesis,
        frames: int,
        agreement: Callable[[], Sequence[float]],
        first: int = 0,
    ) -> list[Known]:
        """What is known of the words of the last hypothesis that was taken.

        Args:
            hypothesis, frames, agreement: those of `update`.
            first: the number of the word to begin with.

        Returns:
            Of each word from there on that is fit to be shown.
        """
        known = self._if_certain(hypothesis, frames, first)
        return _doubted(known, agreement(), first) if known else []

    def _if_certain(self, hypothesis: Hypothesis, frames: int, first: int) -> list[Known]:
        """What would be `known` if the search were certain of all words."""
        words, over = len(hypothesis.words), _over(hypothesis, frames)
        end = _fit(hypothesis, frames)
        if first >= end:
            return []
        tokens = [len(word) for word in hypothesis.written.split()]
        completion = math.log(max(hypothesis.completion or 0.0, _LEAST_COMPLETION))
        return [
            Known(
                Evidence(
                    agreement=1.0,
                    held=math.log1p(frames - self._since[place][1]),
                    before=min(place, MOST_BEFORE),
                    following=min(words - 1 - place, MOST_FOLLOWING),
                    tokens=tokens[place],
                    completion=completion if place >= over else 0.0,
                ),
                growing=place >= over,
            )
            for place in range(first, end)
        ]


def _doubted(known: Sequence[Known], agreement: Sequence[float], first: int) -> list[Known]:
    """What is known of words from number `first` on, with the search's doubts.

    Args:
        known: as if it were certain.
        agreement: how sure it is of the words up to each.
    """
    shares = [1.0, *agreement]
    return [
        Known(
            word.evidence._replace(agreement=shares[place + 1] / shares[place]),
            growing=word.growing,
        )
        for place, word in enumerate(known, first)
    ]


def _fit(hypothesis: Hypothesis, frames: int) -> int:
    """How many words of a hypothesis are fit to be shown: of others only the beginning is there."""
    return _over(hypothesis, frames) if hypothesis.completion is None else len(hypothesis.words)


def _over(hypothesis: Hypothesis, frames: int) -> int:
    """How many words of a hypothesis about so many frames will grow no more, it seems."""
    words = len(hypothesis.words)
    if not words:
        return 0
    last = hypothesis.tokens[-1]
    over = not last.text.strip() or frames - last.end_frame >= WORD_END_FRAMES
    return words if over else words - 1
