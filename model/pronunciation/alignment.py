"""Which letters of a word make which of its phonemes, learnt from words and pronunciations alone.

A word and its pronunciation are cut into graphones: one letter with up to two phonemes, or two or
three letters with one phoneme, such as igh with its vowel and x with its two consonants. Which
pairs are likely is learnt by expectation maximisation over all ways of cutting (Jiampojamarn,
Kondrak and Sherif 2007, "Applying many-to-many alignments and hidden Markov models to
letter-to-phoneme conversion"); each word is then cut in the most probable way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CHUNKS = ((1, 1), (1, 0), (1, 2), (2, 1), (3, 1))
"""Letters and phonemes of a graphone. Several with several would say less: they can be cut."""

PHONEMES = max(phonemes for _, phonemes in CHUNKS)
"""The most phonemes of a graphone."""

_ROUNDS = 8
"""Of expectation maximisation; hardly a word is cut otherwise after more of them."""

_CAUTION = 0.25
"""What each letter of a graphone after the first adds to the power of its probability. Without it,
few large graphones beat many small ones, as every further factor makes a product less; with 1,
nothing is left but single letters, and silent ones."""

_LONGEST = 100
"""Letters of a word that is cut at most: the sums of its probabilities stay numbers."""

_LEAST = 1e-300
"""The least probability that can be divided by."""

_BATCH = 4000
"""Words aligned side by side at most: their tables then fit into a processor's cache."""


class Graphone(NamedTuple):
    """Letters that stand for phonemes.

    Attributes:
        letters: one or more.
        phonemes: none if the letters are silent.
    """

    letters: str
    phonemes: str


@dataclass(frozen=True)
class Alignment:
    """Words cut into graphones.

    Attributes:
        words: the graphones of each word, in the order of the pairs.
        dropped: how many pairs were left out, as they cannot be cut so.
    """

    words: list[tuple[Graphone, ...]]
    dropped: int


@dataclass(frozen=True)
class _Batch:
    """Words of L letters with pronunciations of P phonemes, N of them.

    A cell is a place between letters and phonemes: i letters and j phonemes are cell
    i × (P + 1) + j. S is the number of steps.

    Attributes:
        places: which of the pairs they are, N.
        steps: the cells where each step ends and starts; starts come before they are ended at.
        graphones: (S, N) the number of the graphone that a step is in each word.
        cells: of the tables, so the last one is the end of the word.
    """

    places: Sequence[int]
    steps: Sequence[tuple[int, int]]
    graphones: NDArray[np.int64]
    cells: int


def align(pairs: Sequence[tuple[str, str]]) -> Alignment:
    """Cut words and their pronunciations, one character a phoneme, into graphones."""
    batches, graphones = _batches(pairs)
    power = np.array([1 + _CAUTION * (len(graphone.letters) - 1) for graphone in graphones])
    weights = np.ones(len(graphones))
    for _ in range(_ROUNDS):
        counts = np.zeros(len(graphones))
        for batch in batches:
            counts += _expected_counts(batch, weights)
        weights = (counts / counts.sum()) ** power
    scores = np.log(np.maximum(weights, _LEAST))
    cut: dict[int, tuple[Graphone, ...]] = {}
    for batch in batches:
        for place, numbers in zip(batch.places, _best_cuts(batch, scores), strict=True):
            cut[place] = tuple(graphones[number] for number in numbers)
    return Alignment([cut[place] for place in sorted(cut)], len(pairs) - len(cut))


def _batches(pairs: Sequence[tuple[str, str]]) -> tuple[list[_Batch], list[Graphone]]:
    """The pairs that can be cut, by their sizes, and all graphones that may be in them."""
    by_size: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for place, (word, sound) in enumerate(pairs):
        by_size[len(word), len(sound)].append(place)
    letters = _Alphabet("".join(word for word, _ in pairs))
    sounds = _Alphabet("".join(phonemes for _, phonemes in pairs))
    batches, keys = [], []
    for (length, phonemes), everything in sorted(by_size.items()):
        steps = _steps(length, phonemes) if length <= _LONGEST else []
        for start in range(0, len(everything) if steps else 0, _BATCH):
            places = everything[start : start + _BATCH]
            words = letters.codes([pairs[place][0] for place in places], length)
            spoken = sounds.codes([pairs[place][1] for place in places], phonemes)
            distinct, numbers = np.unique(
                np.stack(
                    [
                        letters.key(words[i - a : i]) * sounds.size**PHONEMES
                        + sounds.key(spoken[j - b : j])
                        for i, j, a, b in steps
                    ]
                ),
                return_inverse=True,
            )
            ends = [
                (i * (phonemes + 1) + j, (i - a) * (phonemes + 1) + j - b) for i, j, a, b in steps
            ]
            numbers = numbers.reshape(len(steps), len(places))
            batches.append(_Batch(places, ends, numbers, (length + 1) * (phonemes + 1)))
            keys.append(distinct)
    if not batches:
        return [], []
    known = np.unique(np.concatenate(keys))
    for batch, distinct in zip(batches, keys, strict=True):
        batch.graphones[:] = known.searchsorted(distinct)[batch.graphones]
    return batches, [
        Graphone(
            letters.text(key // sounds.size**PHONEMES), sounds.text(key % sounds.size**PHONEMES)
        )
        for key in known.tolist()
    ]


class _Alphabet:
    """Characters as numbers from 1 on, and short texts as one number each."""

    def __init__(self, text: str) -> None:
        self._characters = sorted(set(text))
        self.size = len(self._characters) + 1
        self._numbers = {character: n for n, character in enumerate(self._characters, start=1)}

    def codes(self, texts: Sequence[str], length: int) -> NDArray[np.int64]:
        """(length, N), the characters of N texts of this length."""
        numbers = [self._numbers[character] for text in texts for character in text]
        return np.array(numbers, np.int64).reshape(len(texts), length).T.copy()

    def key(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,), a number for each of N texts, (length, N) as `codes` gives them."""
        keys = np.zeros(codes.shape[1], np.int64)
        for code in codes:
            keys = keys * self.size + code
        return keys

    def text(self, key: int) -> str:
        """The text that has this key."""
        text = ""
        while key:
            key, code = divmod(key, self.size)
            text = self._characters[code - 1] + text
        return text


def _steps(letters: int, phonemes: int) -> list[tuple[int, int, int, int]]:
    """Where graphones can be in words of this size, if all of it is to be cut into them.

    Returns:
        Letters and phonemes of the word up to a graphone's end, and of the graphone; by its end.
    """
    cells = list(product(range(letters + 1), range(phonemes + 1)))
    reached = {(0, 0)}
    for i, j in cells:
        if any((i - a, j - b) in reached for a, b in CHUNKS):
            reached.add((i, j))
    leading = {(letters, phonemes)}
    for i, j in reversed(cells):
        if any((i + a, j + b) in leading for a, b in CHUNKS):
            leading.add((i, j))
    return [
        (i, j, a, b)
        for i, j in cells
        for a, b in CHUNKS
        if (i - a, j - b) in reached and (i, j) in leading
    ]


def _expected_counts(batch: _Batch, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often each graphone is expected in the words, if cuts have their product of weights."""
    probabilities = weights[batch.graphones]
    forward = np.zeros((batch.cells, len(batch.places)))
    forward[0] = 1
    for (end, start), probability in zip(batch.steps, probabilities, strict=True):
        forward[end] += forward[start] * probability
    backward = np.zeros_like(forward)
    # A word so long that its probability is hardly a number says nothing.
    np.divide(1, forward[-1], out=backward[-1], where=forward[-1] > _LEAST)
    for step in range(len(batch.steps) - 1, -1, -1):
        end, start = batch.steps[step]
        onward = backward[end] * probabilities[step]
        backward[start] += onward
        probabilities[step] = forward[start] * onward
    counts: NDArray[np.float64] = np.bincount(
        batch.graphones.ravel(), probabilities.ravel(), len(weights)
    ).astype(np.float64)
    return counts


def _best_cuts(batch: _Batch, scores: NDArray[np.float64]) -> list[list[int]]:
    """The graphones of each word with which the sum of their scores is largest."""
    best = np.full((batch.cells, len(batch.places)), -np.inf)
    best[0] = 0
    last = np.zeros(best.shape, np.int64)
    for step, (end, start) in enumerate(batch.steps):
        through = best[start] + scores[batch.graphones[step]]
        better = through > best[end]
        best[end][better] = through[better]
        last[end][better] = step
    cuts = []
    for word in range(len(batch.places)):
        cut, cell = [], batch.cells - 1
        while cell:
            step = last[cell, word]
            cut.append(int(batch.graphones[step, word]))
            cell = batch.steps[step][1]
        cuts.append(cut[::-1])
    return cuts
