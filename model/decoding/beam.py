"""Prefix beam search: the texts that all CTC paths together make most probable, as they come.

Each hypothesis is a text; its probability is that of all CTC paths that spell it, kept apart by
whether they end in a blank (Graves and Jaitly 2014; Hannun et al. 2014, "First-pass large
vocabulary continuous speech recognition using bi-directional recurrent DNNs"). Neighbouring spaces
count as one, and those before the first letter as none, so a hypothesis is a text and not a way of
writing it. The score of words and phrases is added once to each text.

Part of that score may be promised only: what a text gets for the beginning of a phrase, and loses
unless the phrase is completed. Where phrases are expected, hypotheses are kept by two rankings,
with and without what is promised, so that texts in the middle of a phrase neither crowd out all
others nor are lost before the phrase is complete.

The searches of many streams advance together (`beam_batch.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.beam_batch import (
    ENTRY,
    HASH,
    LAST,
    PARENT_HASH,
    TEXTS,
    Beam,
    BeamBatch,
    BeamConfig,
)
from ossicle.model.decoding.language import TextScorer
from ossicle.model.decoding.prefixes import NO_ENTRY
from ossicle.model.decoding.together import SomeFailedError, alone

__all__ = ["BeamConfig", "BeamSearch", "Candidate", "advance_together"]


_SHARE = 0.01
"""Texts with less than this of the best one's probability are not asked whether they agree."""


@dataclass(frozen=True)
class Candidate:
    """A text that may have been said.

    Attributes:
        tokens: their numbers, no space at the beginning.
        score: natural-log probability of the sound, plus language.
    """

    tokens: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class TimedCandidate(Candidate):
    """A text that may have been said so far.

    Attributes:
        frames: that emitted its tokens, counted from the start of the utterance.
    """

    frames: tuple[int, ...]


class BeamSearch:
    """The beam of one utterance.

    Args:
        scorer: of the texts.
        config: how much is searched.
        first: number of the first frame that it will be given.
    """

    def __init__(self, scorer: TextScorer, config: BeamConfig, first: int = 0) -> None:
        self._scorer = scorer
        self._beam = Beam(scorer, config, first)

    def advance(self, log_probs: NDArray[np.float32]) -> None:
        """Take the next frames, (U, V)."""
        with alone():
            advance_together([self], [log_probs])

    def best(self) -> TimedCandidate:
        """The best text so far, the last word perhaps unfinished or followed by a space."""
        scores = self._beam.scores()
        best = int(scores.argmax())
        tokens, frames = self._beam.tree.tokens(int(self._beam.table[ENTRY, best]))
        return TimedCandidate(tuple(tokens), float(scores[best]), tuple(frames))

    def agreement(self, lengths: Sequence[int]) -> list[float]:
        """How sure the search is of the beginnings of the best text.

        Args:
            lengths: how many tokens each of N beginnings has, which are whole words.

        Returns:
            Of each, the share of the probability that texts of those words and perhaps more have,
            0 to 1.
        """
        scores = self._beam.scores()
        weights = np.exp(scores - scores.max())
        others = np.flatnonzero(weights > _SHARE)
        weights = weights[others] / weights[others].sum()
        entries = self._beam.table[ENTRY]
        best = int(entries[scores.argmax()])
        # A word that goes on is another: its beginning is not agreed on.
        agreed = [
            same if following in (None, self._scorer.space) else same - 1
            for same, following in self._beam.tree.shared(best, entries[others].tolist())
        ]
        shares = weights @ (np.array(agreed)[:, None] >= np.array(lengths, dtype=np.int64))
        return [float(share) for share in shares]

    def finished(self, most: int | None = None) -> list[Candidate]:
        """The beam's texts, distinct, as the whole of what was said; best first.

        Args:
            most: how many, None for all.
        """
        table, space = self._beam.table, self._scorer.space
        scores = self._beam.scores() + self._scorer.finish(table[TEXTS])
        # The same text with and without a space behind it is one.
        hashes = np.where(table[LAST] == space, table[PARENT_HASH], table[HASH])
        _, first, text_of = np.unique(hashes, return_index=True, return_inverse=True)
        merged = np.full(len(first), -np.inf)
        np.logaddexp.at(merged, text_of, scores)
        order = merged.argsort()[::-1][:most]
        texts = self._beam.tree.texts(table[ENTRY, first[order]].tolist())
        return [
            Candidate(tuple(text[:-1] if text[-1:] == [space] else text), score)
            for text, score in zip(texts, merged[order].tolist(), strict=True)
        ]

    def empty_lead(self) -> float:
        """By how much the empty text leads, in natural-log units; negative if it does not."""
        scores = self._beam.scores()
        empty = self._beam.table[ENTRY] == NO_ENTRY
        return float(scores[empty].max(initial=-np.inf) - scores[~empty].max(initial=-np.inf))


def advance_together(searches: Sequence[BeamSearch], pieces: Sequence[NDArray[np.float32]]) -> None:
    """Give each search the next frames of its utterance, (U, V) with a U of its own.

    What a search finds does not depend on the others. Those with the same settings and the same
    language model cost little more than one alone.

    Args:
        searches: no two the same.

    Raises:
        SomeFailedError: those that it names have failed; the others have taken their frames.
    """
    errors: dict[int, Exception] = {}
    waiting = [
        (place, search._beam, piece)
        for place, (search, piece) in enumerate(zip(searches, pieces, strict=True))
        if len(piece)
    ]
    while waiting:
        first = waiting[0][1]
        alike = [each for each in waiting if each[1].alike(first)]
        waiting = [each for each in waiting if not each[1].alike(first)]
        count = min(len(piece) for _, _, piece in alike)
        parts = [piece[:count] for _, _, piece in alike]
        if _failure([beam for _, beam, _ in alike], parts):
            # Whose fault it is, each tells alone: until a batch is closed, its beams are as before.
            for (place, beam, _), part in zip(alike, parts, strict=True):
                if error := _failure([beam], [part]):
                    errors[place] = error
        waiting += [
            (place, beam, piece[count:])
            for place, beam, piece in alike
            if len(piece) > count and place not in errors
        ]
    if errors:
        raise SomeFailedError(errors)


def _failure(beams: Sequence[Beam], parts: Sequence[NDArray[np.float32]]) -> Exception | None:
    """Advance beams by parts of one length; what went wrong, if anything did."""
    try:
        batch = BeamBatch(beams)
        batch.advance(np.stack(parts))
        batch.close()
    except Exception as error:
        return error
    return None
