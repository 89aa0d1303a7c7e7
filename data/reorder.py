"""Recordings cut between words and joined in another order: sentences that nobody has said.

A recurrent network learns by heart what it is told a hundred times, and then hears what it
expects. A sentence whose parts come in ever new orders cannot be learnt so, and still is that
person's voice in that room. Nothing is lost and nothing is added: samples and words are those of
the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ossicle.data.audio import SAMPLE_RATE

Samples = NDArray[np.float32]
Times = Sequence[tuple[float, float]]

FRAME = SAMPLE_RATE // 100
"""Samples whose level is measured together, 10 ms."""

REACH = 0.06
"""Seconds before the end of a word and after the start of the next in which quiet is looked for:
word times are not more exact."""

QUIET = 25.0
"""dB below the loud parts of a recording."""

SHORTEST = 6
"""Frames of quiet that make a place to cut. With half as many, cuts come every 0.8 s of read speech
instead of every 1.4 s, and go through words: of the letters of the shipped model's greedy
transcripts of such recordings, of strangers, 34 % are wrong, and not 28 % (25 % uncut)."""

_FADE = SAMPLE_RATE // 200  # samples, 5 ms on either side of a cut: a step would click


@dataclass(frozen=True)
class ReorderConfig:
    """When recordings are reordered; needs manifests with word times (`ossicle align`).

    Attributes:
        probability: of reordering a recording.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability of reorder is {self.probability}: give 0 to 1")


def find_cuts(samples: Samples, times: Times) -> list[tuple[int, int]]:
    """Where a recording (N,) can be cut, between words: what falls quiet for a moment.

    Args:
        times: start and end of each word in seconds.

    Returns:
        Pairs of a word, counted from 0, and the sample that the part which it begins starts with.
    """
    count = len(samples) // FRAME
    if not count:
        return []
    power = np.square(samples[: count * FRAME].reshape(count, FRAME), dtype=np.float64).mean(axis=1)
    levels = 10.0 * np.log10(power + 1e-10)
    # A percentile: a click is not the loudest speech.
    quiet = levels < np.percentile(levels, 95) - QUIET
    cuts = []
    for word in range(1, len(times)):
        (before, end), (start, after) = times[word - 1], times[word]
        # A window never reaches the middle of a word.
        first = max(end - REACH, (before + end) / 2) * SAMPLE_RATE / FRAME
        last = min(start + REACH, (start + after) / 2) * SAMPLE_RATE / FRAME
        window = quiet[int(first) : int(last) + 1]
        edges = np.flatnonzero(np.diff(np.concatenate([[0], window.astype(np.int8), [0]])))
        runs = edges.reshape(-1, 2)
        if len(runs):
            begin, stop = runs[np.argmax(runs[:, 1] - runs[:, 0])]
            if stop - begin >= SHORTEST:
                cuts.append((word, (int(first) + int(begin + stop) // 2) * FRAME))
    return cuts


def reorder(
    samples: Samples, words: Sequence[str], times: Times, rng: np.random.Generator
) -> tuple[Samples, list[str]]:
    """The parts of a recording (N,), and its words, in a random order.

    Returns:
        As many samples, and the words in the order in which they are said now.
    """
    cuts = find_cuts(samples, times)
    firsts = [0, *(word for word, _ in cuts), len(words)]
    places = [0, *(place for _, place in cuts), len(samples)]
    faded = samples.copy()
    ramp = np.linspace(0.0, 1.0, _FADE, dtype=np.float32)
    for place in places[1:-1]:
        faded[place : place + _FADE] *= ramp[: len(faded) - place]
        faded[place - _FADE : place] *= ramp[::-1]
    parts = rng.permutation(len(places) - 1).tolist()
    return (
        np.concatenate([faded[places[part] : places[part + 1]] for part in parts]),
        [word for part in parts for word in words[firsts[part] : firsts[part + 1]]],
    )
