"""How late a network's words are: measured where speech stops for a moment.

At a pause the sound itself tells when the word before ended and when the word after began. From
the differences to the times of the forced alignment follows the network's
:class:`~ossicle.model.decoding.alignment.TimeShift`. In flowing speech, where the sound tells
nothing, words are later still: with one network, starts by 70 ms and ends by 40 ms, when
pocketsphinx was the judge (`tests/bench/word_times.py`). So it is not the median that is taken away
but the upper quartile, which is nearest to most words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from ossicle.model.config import HOP, SAMPLE_RATE
from ossicle.model.decoding.alignment import TimeShift

PAUSE = 0.2
"""Seconds of quiet that make a pause; the closure of a stop is at most half as long."""

FEWEST = 20
"""Pauses before and after words that a shift is measured on at least."""

_RANGE = 60.0  # dB below the loudest speech where everything is quiet, digital silence too
_QUIET = 0.3  # share of the range of levels that counts as quiet
_SMOOTHING = 3  # levels


@dataclass
class Lateness:
    """What was measured so far.

    Attributes:
        starts: seconds from where the sound of a word begins to where its spans begin.
        ends: the same for ends.
    """

    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def add(
        self,
        samples: NDArray[np.float32],
        times: Sequence[tuple[float, float]],
        sure: Sequence[bool],
    ) -> None:
        """Measure at the pauses of a recording.

        Args:
            samples: (N,) of it.
            times: start and end in seconds of each of its W words, by forced alignment.
            sure: of each word, whether it was said; others are not measured.
        """
        length = len(samples) / SAMPLE_RATE
        ends = [0.0, *(end for _, end in times)]
        starts = [*(start for start, _ in times), length]
        middles = [(end + start) / 2 for end, start in zip(ends, starts, strict=True)]
        for begin, end in pauses(samples):
            if begin <= 0.0:
                gap = 0
            elif end >= length:
                gap = len(times)
            else:
                inner = [
                    i
                    for i, middle in enumerate(middles[1:-1], start=1)
                    if begin - TimeShift.LIMIT < middle < end + TimeShift.LIMIT
                ]
                if len(inner) != 1:  # within a word, or a word of the pause was not recognised
                    continue
                gap = inner[0]
            if gap < len(times) and sure[gap]:
                self.starts.append(starts[gap] - end)
            if gap > 0 and sure[gap - 1]:
                self.ends.append(ends[gap] - begin)

    def shift(self) -> TimeShift | None:
        """What takes the upper quartiles away, as far as a shift may go.

        None if fewer than `FEWEST` of either were measured.
        """
        if min(len(self.starts), len(self.ends)) < FEWEST:
            return None
        start, end = (
            round(float(np.clip(-np.quantile(values, 0.75), -TimeShift.LIMIT, TimeShift.LIMIT)), 3)
            for values in (self.starts, self.ends)
        )
        return TimeShift(start, end)


def pauses(samples: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Begin and end, in seconds, of the pauses of a recording, (N,).

    A pause that reaches the recording's end ends exactly there.
    """
    count = len(samples) // HOP
    if count < _SMOOTHING:
        return []
    power = np.square(samples[: count * HOP].reshape(count, HOP)).mean(axis=1)
    levels = np.pad(10.0 * np.log10(power + 1e-10), _SMOOTHING // 2, mode="edge")
    levels = np.convolve(levels, np.full(_SMOOTHING, 1.0 / _SMOOTHING), mode="valid")
    # Percentiles: a click is not the loudest speech, a dropout not the quietest moment.
    low, high = np.percentile(levels, [5, 95])
    low = max(low, high - _RANGE)
    quiet = np.concatenate([[False], levels < low + _QUIET * (high - low), [False]])
    edges = np.flatnonzero(quiet[1:] != quiet[:-1])
    seconds = HOP / SAMPLE_RATE
    return [
        (begin * seconds, end * seconds if end < count else len(samples) / SAMPLE_RATE)
        for begin, end in edges.reshape(-1, 2).tolist()
        if (end - begin) * seconds >= PAUSE
    ]
