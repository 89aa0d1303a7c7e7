"""Partials that do not flicker: which words of a growing hypothesis are shown.

A hypothesis that is shown as it is changes under the reader's eyes: its last word grows, and a beam
search changes its mind about the words before. Here a word is shown once enough speaks for it
(`stability.py`), or it has stood there for long enough. What is shown is taken back only if the
search insists. That is the trade of delay against stability of Baumann, Atterer and Schlangen 2009,
"Assessing and improving the performance of speech recognition for incremental systems".

`tests/bench/flicker.py` measures both. Of the words shown so many per cent changed, for a mean
delay of so many ms, with both offsets of the weights as they are, and larger and smaller:

| offsets | acted | strangers' microphones | read | prompts | learners | all words |
|---|---|---|---|---|---|---|
| + 0.4 | 13.6, 49 | 13.7, 77 | 12.0, 57 | 11.3, 50 | 20.4, 102 | 13.7, 65 |
| 0 | 9.2, 79 | 8.6, 112 | 8.3, 90 | 7.4, 78 | 16.2, 146 | 9.8, 99 |
| - 0.4 | 7.7, 115 | 7.5, 192 | 6.3, 132 | 5.2, 122 | 13.0, 201 | 7.6, 143 |
| - 0.8 | 6.1, 141 | 6.0, 233 | 4.8, 171 | 2.9, 156 | 10.2, 267 | 5.8, 186 |

(With the fourteenth run's model, all recordings of the development sets. The weights were found on
these very recordings: by weights that were found on other speakers 10.5 % of all words changed, for
101 ms.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from ossicle.model.decoding.hypothesis import shared_beginning

from .stability import MOST_FOLLOWING, WEIGHTS, Evidence, Weights

if TYPE_CHECKING:
    from ossicle.model.decoding.hypothesis import Hypothesis, Word

# Where nothing tells whether a word will grow, it is over when no further letter follows for so
# long (0.48 s): the letters of a word may be a third of a second apart.
WORD_END_FRAMES = 12
# A word that is over and has stood for so long (2.4 s) is shown: what the search doubts then, it
# may for ever.
HELD_FRAMES = 60
# What is shown stays until so many hypotheses in a row have contradicted it, or one that is stable.
PATIENCE = 8
_LEAST_COMPLETION = 1e-4


@dataclass(frozen=True)
class _Known:
    """What is known of a word of a hypothesis.

    Attributes:
        evidence: for its being stable.
        growing: whether it may be only the beginning of a word.
        held: whether it has stood for so long that it is shown in any case.
    """

    evidence: Evidence
    growing: bool
    held: bool


class PartialText:
    """The words of one utterance that are shown so far.

    Args:
        weights: by which a word is stable enough.
    """

    def __init__(self, weights: Weights = WEIGHTS) -> None:
        self._weights = weights
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
            The words to show, which are none until the first is stable.
        """
        words = hypothesis.words
        texts = [word.text for word in words]
        same = shared_beginning(texts, (text for text, _ in self._since))
        self._since[same:] = [(word.text, frames) for word in words[same:]]
        kept = shared_beginning(texts, (word.text for word in self.words))
        agrees = kept == len(self.words)
        self._contradictions = 0 if agrees else self._contradictions + 1
        fit = _fit(hypothesis, frames)
        known = self._if_certain(hypothesis, frames, kept, fit)
        # The search is asked only where a word would be shown if it were certain: that is what
        # costs most here.
        if known and self._may_be_shown(known[0]):
            known = _doubted(known, agreement(), kept)
        insists = known and self._stability(known[0]) >= self._weights.insistence
        insists = insists or (self._contradictions >= PATIENCE and fit > 0)
        if agrees or insists:
            self._contradictions = 0
            shown = sum(1 for _ in takewhile(self._may_be_shown, known))
            self.words = words[: kept + shown]
        return self.words

    def _stability(self, word: _Known) -> float:
        return self._weights.stability(word.evidence, growing=word.growing)

    def _may_be_shown(self, word: _Known) -> bool:
        return word.held or self._stability(word) >= 0

    def _if_certain(
        self, hypothesis: Hypothesis, frames: int, first: int, end: int
    ) -> list[_Known]:
        """What would be known of words `first` to `end - 1` if the search were certain of all."""
        if first >= end:
            return []
        words, over = len(hypothesis.words), _over(hypothesis, frames)
        ended = not hypothesis.tokens[-1].text.strip()
        tokens = [len(word) for word in hypothesis.written.split()]
        completion = math.log(max(hypothesis.completion or 0.0, _LEAST_COMPLETION))
        known = []
        for place in range(first, end):
            held = frames - self._since[place][1]
            growing = place == words - 1 and not ended and hypothesis.completion is not None
            evidence = Evidence(
                agreement=1.0,
                held=math.log1p(held),
                following=min(words - 1 - place, MOST_FOLLOWING),
                tokens=tokens[place],
                completion=completion if growing else 0.0,
            )
            known.append(_Known(evidence, growing, held >= HELD_FRAMES and place < over))
        return known


def _doubted(known: Sequence[_Known], agreement: Sequence[float], first: int) -> list[_Known]:
    """What is known of words from number `first` on, with the search's doubts.

    Args:
        known: as if it were certain.
        agreement: how sure it is of the words up to each.
    """
    shares = [1.0, *agreement]
    return [
        _Known(
            word.evidence._replace(agreement=shares[place + 1] / shares[place]),
            word.growing,
            word.held,
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
