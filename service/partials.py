"""Partials that do not flicker: which words of a growing hypothesis are shown.

A hypothesis that is shown as it is changes under the reader's eyes: its last word grows, and a beam
search changes its mind about the words before. Here a word is shown once it is likely to stay
(`stability.py`), or has stood there for long enough. What is shown is taken back only if the search
insists. That is the trade of delay against stability of Baumann, Atterer and Schlangen 2009,
"Assessing and improving the performance of speech recognition for incremental systems".

`tests/bench/flicker.py` measures both; the constants are choices made with it on the development
sets. Of the words shown so many changed, for so long a mean delay:

| stable, patience | acted | strangers' microphones | read | prompts | learners |
|---|---|---|---|---|---|
| 0.65, 2 | 14.3 %, 84 ms | 13.3 %, 108 ms | 11.2 %, 94 ms | 12.6 %, 78 ms | 25.6 %, 135 ms |
| 0.72, 2 | 11.5 %, 107 ms | 12.0 %, 140 ms | 7.9 %, 118 ms | 6.8 %, 113 ms | 23.1 %, 175 ms |
| 0.8, 2 | 9.7 %, 138 ms | 9.2 %, 196 ms | 5.4 %, 156 ms | 3.3 %, 142 ms | 20.1 %, 234 ms |
| 0.68, 3 | 11.4 %, 104 ms | 12.0 %, 138 ms | 8.4 %, 118 ms | 9.3 %, 107 ms | 23.7 %, 177 ms |
| 0.72, 3 | 9.4 %, 112 ms | 12.0 %, 156 ms | 7.1 %, 132 ms | 6.6 %, 125 ms | 22.5 %, 198 ms |

(Of read speech 30 recordings, of learners 80, of the others all. The settings were chosen on these
very recordings, so on others expect a little worse.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from .stability import MOST_FOLLOWING, Evidence, stability

if TYPE_CHECKING:
    from ossicle.model.decoding.hypothesis import Hypothesis, Word

# The last word is over when a separator follows it, or no further letter for so long (0.48 s): the
# letters of a word may be a third of a second apart.
WORD_END_FRAMES = 12
# A word is shown when it is so likely to stay,
STABLE = 0.72
# or has stood there for so long (0.8 s) and is over: what the search doubts then, it may for ever.
HELD_FRAMES = 20
# What is shown stays until so many hypotheses in a row have contradicted it.
PATIENCE = 3


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
        same = _alike([text for text, _ in self._since], words)
        self._since[same:] = [(word.text, frames) for word in words[same:]]
        kept = _alike([word.text for word in self.words], words)
        agrees = kept == len(self.words)
        self._contradictions = 0 if agrees else self._contradictions + 1
        insists = self._contradictions >= PATIENCE and _fit(hypothesis, frames) > 0
        if agrees or insists:
            self._contradictions = 0
            fresh = self.evidence(hypothesis, frames, agreement, kept)
            self.words = words[: kept + sum(1 for _ in takewhile(_may_be_shown, fresh))]
        return self.words

    def evidence(
        self,
        hypothesis: Hypothesis,
        frames: int,
        agreement: Callable[[], Sequence[float]],
        first: int = 0,
    ) -> list[Evidence]:
        """What is known of the words of the last hypothesis that was taken.

        Args:
            hypothesis, frames, agreement: those of `update`.
            first: the number of the word to begin with.

        Returns:
            Of each word from there on that is fit to be shown.
        """
        words, over = len(hypothesis.words), _over(hypothesis, frames)
        end = _fit(hypothesis, frames)
        if first >= end:
            return []
        shares = [1.0, *agreement()]
        return [
            Evidence(
                shares[place + 1] / shares[place],
                math.log1p(frames - self._since[place][1]),
                min(words - 1 - place, MOST_FOLLOWING),
                int(place >= over),
                len(hypothesis.written.split()[place]) if place >= over else 0,
            )
            for place in range(first, end)
        ]


def _may_be_shown(evidence: Evidence) -> bool:
    held = evidence.held >= math.log1p(HELD_FRAMES) and not evidence.growing
    return held or stability(evidence) >= STABLE


def _fit(hypothesis: Hypothesis, frames: int) -> int:
    """How many words of a hypothesis are fit to be shown: of others only the beginning is there."""
    return len(hypothesis.words) if hypothesis.completed else _over(hypothesis, frames)


def _over(hypothesis: Hypothesis, frames: int) -> int:
    """How many words of a hypothesis about so many frames will grow no more, it seems."""
    words = len(hypothesis.words)
    if not words:
        return 0
    last = hypothesis.tokens[-1]
    over = not last.text.strip() or frames - last.end_frame >= WORD_END_FRAMES
    return words if over else words - 1


def _alike(texts: Sequence[str], words: Sequence[Word]) -> int:
    """How many of the first words are the same."""
    for place, (text, word) in enumerate(zip(texts, words, strict=False)):
        if text != word.text:
            return place
    return min(len(texts), len(words))


@dataclass(frozen=True)
class Flicker:
    """How often words that were shown changed.

    Attributes:
        shown: words shown in partials; one that replaces another at its place counts again.
        changed: those of them that a later result of the same utterance replaced or took away.
        final: words of the finals.
    """

    shown: int = 0
    changed: int = 0
    final: int = 0

    @property
    def rate(self) -> float:
        """Share of the words shown that changed, 0 to 1; 0 if none was shown."""
        return self.changed / self.shown if self.shown else 0.0

    @property
    def ratio(self) -> float:
        """Words that changed, to the words of the finals; 0 if there are none."""
        return self.changed / self.final if self.final else 0.0

    def __add__(self, other: Flicker) -> Flicker:
        """Of the utterances of both."""
        return Flicker(
            self.shown + other.shown, self.changed + other.changed, self.final + other.final
        )


def flicker(texts: Sequence[str]) -> Flicker:
    """How often the words of one utterance changed.

    Words are compared at their places, as a reader sees them: one that is put in before others
    changes them all, and a word that grows has changed. This is strict; the unstable partial word
    ratio of Shangguan et al. 2020, "Analyzing the quality and stability of a streaming end-to-end
    on-device speech recognizer", likewise relates the words revised to the words of the finals.

    Args:
        texts: the utterance's results in order, partials and then its final.
    """
    *partials, final = [text.split() for text in texts]
    shown = changed = 0
    before: list[str] = []
    for words in partials:
        kept = sum(old == new for old, new in zip(before, words, strict=False))
        changed += len(before) - kept
        shown += len(words) - kept
        before = words
    changed += len(before) - sum(old == new for old, new in zip(before, final, strict=False))
    return Flicker(shown, changed, len(final))
