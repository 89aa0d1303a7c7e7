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
| 0.66 | 13.0 %, 66 ms | 13.4 %, 95 ms | 13.0 %, 59 ms | 8.5 %, 55 ms | 20.6 %, 112 ms |
| 0.7 | 10.8 %, 76 ms | 11.8 %, 101 ms | 11.3 %, 74 ms | 7.4 %, 69 ms | 19.5 %, 135 ms |
| 0.74 | 9.9 %, 91 ms | 9.7 %, 134 ms | 9.9 %, 96 ms | 5.8 %, 83 ms | 18.3 %, 163 ms |
| 0.78 | 8.8 %, 120 ms | 9.0 %, 159 ms | 8.2 %, 117 ms | 4.6 %, 122 ms | 17.3 %, 189 ms |
| 0.82 | 7.6 %, 134 ms | 7.1 %, 175 ms | 8.0 %, 131 ms | 4.1 %, 134 ms | 15.7 %, 231 ms |

(With the fourteenth run's model; of read speech 36 recordings, of learners 80, of the others all.
All settings were chosen on these very recordings, so on others expect a little worse.)
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
STABLE = 0.74
# less by this for each word that waits behind it,
WAITING = 0.02
# or has stood there for so long (2.4 s) and is over: what the search doubts then, it may for ever.
HELD_FRAMES = 60
# What is shown stays until so many hypotheses in a row have contradicted it,
PATIENCE = 8
# or the first word of one that does is so likely to stay.
INSISTENT = 0.82
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
