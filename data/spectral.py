"""Augmentation of the log-mel frames of a batch: vocal tracts, microphones and masks.

All of it is a function of a seed. The shape letters are those of `ossicle.model.config`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def _check_probability(owner: str, probability: float) -> None:
    if not 0 <= probability <= 1:
        raise ValueError(f"probability of {owner} is {probability}: give 0 to 1")


@dataclass(frozen=True)
class VocalTractWarp:
    """Moves the formants as a longer or shorter vocal tract would, by a warp of the frequency axis.

    After Jaitly and Hinton 2013, "Vocal tract length perturbation (VTLP) improves speech
    recognition", with the piecewise linear warp of Lee and Rose 1998. Speed moves formants too,
    yet pitch and tempo with them.

    Attributes:
        probability: of warping an utterance.
        factors: range of the warp; above 1 the formants rise.
    """

    probability: float = 0.5
    factors: tuple[float, float] = (0.88, 1.12)

    def __post_init__(self) -> None:
        _check_probability("vocal_tract", self.probability)
        if not (len(self.factors) == 2 and 0.5 <= self.factors[0] <= self.factors[1] <= 2):
            raise ValueError(
                f"factors of vocal_tract is {list(self.factors)}: give the smallest and the "
                "largest, 0.5 to 2"
            )

    KNEE = 4800.0  # hertz, above which the warp bends back to meet the top of the axis

    def matrices(self, centres: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float32]:
        """Matrices (B, F, F) to multiply frames (B, T, F) by, from the mel bins' centres in hertz.

        Each column holds the weights of linear interpolation between two bins.
        """
        rng = np.random.default_rng((seed, 1))
        bins = np.arange(len(centres))
        result = np.empty((count, len(bins), len(bins)), dtype=np.float32)
        for matrix in result:
            factor = rng.uniform(*self.factors) if rng.random() < self.probability else 1.0
            knee, top = min(self.KNEE, self.KNEE / factor), centres[-1]
            warped = np.interp(centres, [0.0, factor * knee, top], [0.0, knee, top])
            place = np.interp(warped, centres, bins)
            matrix[:] = np.maximum(0.0, 1.0 - np.abs(place[None, :] - bins[:, None]))
        return result


@dataclass(frozen=True)
class Equalizer:
    """Colours an utterance as another microphone or room would, by a random curve of gain.

    After Nam et al. 2022, "FilterAugment: an acoustic environmental data augmentation method", its
    linear kind: gains at a few random frequencies, straight lines between them.

    Attributes:
        probability: of colouring an utterance.
        gain: standard deviation of the gain at a frequency, dB.
        frequencies: fewest and most frequencies besides the two ends of the axis.
    """

    probability: float = 0.7
    gain: float = 5.0
    frequencies: tuple[int, int] = (1, 4)

    def __post_init__(self) -> None:
        _check_probability("equalizer", self.probability)
        if not self.gain >= 0:
            raise ValueError(f"gain of equalizer is {self.gain}: give 0 or more")
        if not (len(self.frequencies) == 2 and 0 <= self.frequencies[0] <= self.frequencies[1]):
            given = list(self.frequencies)
            raise ValueError(f"frequencies of equalizer is {given}: give the fewest and the most")

    def curves(self, bins: int, count: int, seed: int) -> NDArray[np.float32]:
        """What to add to log-mel frames (B, T, F), in nepers of power: (B, F), zero on average."""
        rng = np.random.default_rng((seed, 2))
        result = np.zeros((count, bins), dtype=np.float32)
        for curve in result:
            if rng.random() >= self.probability:
                continue
            inner = rng.uniform(
                0, bins - 1, rng.integers(self.frequencies[0], self.frequencies[1] + 1)
            )
            places = np.concatenate([[0.0], np.sort(inner), [bins - 1.0]])
            decibels = np.interp(np.arange(bins), places, rng.normal(0.0, self.gain, len(places)))
            # Loudness is the business of the augmentation of samples.
            curve[:] = (decibels - decibels.mean()) * np.log(10.0) / 10.0
        return result


@dataclass(frozen=True)
class SpecAugment:
    """Masks of time and frequency on log-mel frames (Park et al. 2019), without time warping.

    Masked values become 0, the mean of normalised features.

    Attributes:
        time_masks: masks per ten seconds of speech; their number grows with the utterance.
        time_width: widest time mask in frames of 10 ms.
        frequency_masks: masks per utterance.
        frequency_width: widest mask in mel bins.
    """

    time_masks: float = 4.0
    time_width: int = 30
    frequency_masks: int = 2
    frequency_width: int = 16

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"{name} of spec_augment is {value}: give 0 or more")

    def mask(self, frames: NDArray[np.int64], bins: int, seed: int) -> NDArray[np.float32]:
        """Factors 0 or 1 for a batch: `frames` (B,) valid log-mel frames -> (B, T, F)."""
        rng = np.random.default_rng(seed)
        keep = np.ones((len(frames), int(frames.max()), bins), dtype=np.float32)
        for row, length in zip(keep, frames.tolist(), strict=True):
            for _ in range(round(self.time_masks * length / 1000 + rng.uniform(-0.5, 0.5))):
                # No mask hides more than a fifth: a single word must stay a word.
                width = int(rng.integers(min(self.time_width, length // 5) + 1))
                start = int(rng.integers(max(length - width, 0) + 1))
                row[start : start + width] = 0
            for _ in range(self.frequency_masks):
                width = int(rng.integers(min(self.frequency_width, bins) + 1))
                start = int(rng.integers(bins - width + 1))
                row[:length, start : start + width] = 0
        return keep
