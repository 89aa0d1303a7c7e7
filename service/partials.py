"""Partials that do not flicker: which words of a growing hypothesis are shown.

A hypothesis that is shown as it is changes under the reader's eyes: its last word grows letter by
letter, and a beam search changes its mind about the words before. Here a word is shown once it is
over, and once the texts of the beam agree on it or have had some time to. What is shown is taken
back only if the search insists. That is the trade of delay against stability of Baumann, Atterer
and Schlangen 2009, "Assessing and improving the performance of speech recognition for incremental
systems"; the agreement of the beam is their criterion of stability made soft (Selfridge et al.
2011, "Stability and accuracy in incremental speech recognition").

`tests/bench/flicker.py` measures both; the constants are choices made with it on the development
sets. With a beam of 128 texts within 6 nats and a network that gets 42 % of their words wrong, of
the words shown so many changed, for so long a mean delay:

| agreement, frames | acted | strangers' microphones | read | prompts | learners |
|---|---|---|---|---|---|
| none asked for | 15.6 %, 81 ms | 23.7 %, 100 ms | 12.2 %, 84 ms | 8.4 %, 73 ms | 26.1 %, 168 ms |
| 0.4, 8 | 11.9 %, 99 ms | 20.5 %, 146 ms | 9.6 %, 104 ms | 5.2 %, 92 ms | 20.4 %, 206 ms |
| 0.5, 8 | 10.8 %, 123 ms | 18.5 %, 173 ms | 8.1 %, 119 ms | 4.6 %, 112 ms | 18.2 %, 230 ms |
| 0.6, 12 | 7.2 %, 175 ms | 14.3 %, 237 ms | 5.4 %, 191 ms | 3.9 %, 154 ms | 14.7 %, 318 ms |

(Of read speech 25 recordings, of learners 60, of the others all; of digits none changed. The
settings were chosen on these very recordings, so on others expect a little worse.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ossicle.model.decoding.hypothesis import Hypothesis, Word

# The last word is over when a separator follows it, or no further letter for so long (0.48 s): the
# letters of a word may be a third of a second apart.
WORD_END_FRAMES = 12
# Of the texts that begin with the words before, by probability, so many must have the next word,
AGREEMENT = 0.4
# or it must have stayed for so long (0.32 s): what they still disagree on then, they may for ever.
HELD_FRAMES = 8
# What is shown stays until so many hypotheses in a row have contradicted it.
PATIENCE = 2


class PartialText:
    """The words of one utterance that are shown so far."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start the next utterance."""
        self.words: tuple[Word, ...] = ()
        self._contradictions = 0
        self._over: list[tuple[str, int]] = []  # words, and at which frame each was first over

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
            The words to show, which are none until the first is over.
        """
        over = words_over(hypothesis, frames)
        same = _alike([text for text, _ in self._over], over)
        self._over[same:] = [(word.text, frames) for word in over[same:]]
        kept = _alike([word.text for word in self.words], hypothesis.words)
        agrees = kept == len(self.words)
        self._contradictions = 0 if agrees else self._contradictions + 1
        insists = self._contradictions >= PATIENCE and bool(over)
        if insists or (agrees and len(over) >= kept):
            self._contradictions = 0
            self.words = over[: self._sure(min(kept, len(over)), frames, agreement)]
        return self.words

    def _sure(self, shown: int, frames: int, agreement: Callable[[], Sequence[float]]) -> int:
        """How many of the words that are over may be shown, if the first `shown` are."""
        since = [frame for _, frame in self._over]
        fresh = [n for n in range(shown, len(since)) if frames - since[n] < HELD_FRAMES]
        if fresh:
            shares = [1.0, *agreement()]
            for place in fresh:
                if shares[place + 1] < AGREEMENT * shares[place]:
                    return place
        return len(since)


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


def words_over(hypothesis: Hypothesis, frames: int) -> tuple[Word, ...]:
    """The words of a hypothesis that will grow no more, as far as can be told.

    Args:
        hypothesis: the search's best so far.
        frames: how many of the utterance it is about.
    """
    if not hypothesis.words:
        return ()
    last = hypothesis.tokens[-1]
    over = not last.text.strip() or frames - last.end_frame >= WORD_END_FRAMES
    return hypothesis.words if over else hypothesis.words[:-1]
