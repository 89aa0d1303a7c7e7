"""Where the errors are: by source, speaker, length and noise, word by word, and the worst cases."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from ossicle.model.evaluation.scoring import EditKind, Recognized, Score, score, score_by

LENGTH_BOUNDS = (2, 4, 8, 16)  # seconds
CONFUSIONS = 25
WORST = 10


@dataclass(frozen=True)
class Confusion:
    """An error and how often it was made.

    Attributes:
        reference: the word said; empty where it was inserted.
        hypothesis: the word heard; empty where it was deleted.
    """

    reference: str
    hypothesis: str
    count: int


@dataclass(frozen=True)
class Breakdown:
    """What was recognised of one set, and its errors seen from all sides.

    Attributes:
        name: of the set.
        digest: SHA-256 of the manifest, in hexadecimal.
        recognized: of the recordings as they are.
        by_snr: scores with noise mixed in, by signal-to-noise ratio in dB; may be empty.
    """

    name: str
    digest: str
    recognized: Sequence[Recognized]
    by_snr: Mapping[int, Score] = field(default_factory=dict)

    @cached_property
    def score(self) -> Score:
        """Of the whole set."""
        return score(self.recognized)

    @cached_property
    def by_source(self) -> dict[str, Score]:
        """By corpus; recordings of no known one are left out."""
        return score_by([r for r in self.recognized if r.utterance.source], _source)

    @cached_property
    def by_speaker(self) -> dict[str, Score]:
        """By speaker; recordings of no known one are left out."""
        return score_by([r for r in self.recognized if r.utterance.speaker], _speaker)

    @cached_property
    def by_length(self) -> dict[str, Score]:
        """By length of the recording, shortest first."""
        scores = score_by(self.recognized, lambda r: length_range(r.utterance.duration))
        return {name: scores[name] for name in _LENGTH_RANGES if name in scores}

    def confidences(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Of each word heard, its confidence (W,) and whether it is right (W,)."""
        pairs = [pair for r in self.recognized for pair in r.word_confidences()]
        return (
            np.array([confidence for confidence, _ in pairs], dtype=float),
            np.array([right for _, right in pairs], dtype=bool),
        )

    def worst(self, count: int = WORST) -> list[Recognized]:
        """The recordings with the most word errors; of as many, the shortest text first."""
        wrong = [r for r in self.recognized if r.errors]
        return sorted(wrong, key=lambda r: (-r.errors, len(r.reference), r.utterance.text))[:count]


def confusions(
    recognized: Iterable[Recognized], kind: EditKind, count: int = CONFUSIONS
) -> list[Confusion]:
    """The most frequent errors of a kind, most frequent first, then by the alphabet."""
    counts = Counter(
        (edit.reference, edit.hypothesis)
        for item in recognized
        for edit in item.edits
        if edit.kind == kind
    )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Confusion(*words, times) for words, times in ordered[:count]]


_LENGTH_RANGES = (
    f"under {LENGTH_BOUNDS[0]} s",
    *(f"{low} to {high} s" for low, high in pairwise(LENGTH_BOUNDS)),
    f"{LENGTH_BOUNDS[-1]} s and more",
)


def length_range(seconds: float) -> str:
    """The name of the range of lengths that a recording falls into."""
    return _LENGTH_RANGES[bisect_right(LENGTH_BOUNDS, seconds)]


def _source(item: Recognized) -> str:
    return item.utterance.source


def _speaker(item: Recognized) -> str:
    return item.utterance.speaker
