"""Noise at a known level in recordings that are to be recognised, always the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.data.augment import add_noise, load_noise

SNRS = (20, 10, 5, 0)  # dB


@dataclass(frozen=True)
class Noises:
    """The noises to mix in.

    Attributes:
        noises: samples (N,) each.
    """

    noises: Sequence[NDArray[np.float32]]

    @classmethod
    def load(cls, manifest: Path) -> Noises:
        """Those of a JSONL manifest with `audio_filepath` and `kind`; all are held in memory.

        Raises:
            ValueError: the manifest is not valid or has no noise.
            AudioError: a recording cannot be decoded; names it.
            OSError: the manifest cannot be read.
        """
        noises = [noise for noise in load_noise(manifest)[0] if np.any(noise)]
        if not noises:
            raise ValueError(
                f'{manifest} holds no recording of kind "noise" that is not silent: add one'
            )
        return cls(noises)

    def mix(self, samples: NDArray[np.float32], snr: float, name: str) -> NDArray[np.float32]:
        """Samples (N,) with a noise at `snr` dB.

        Which noise, and which part of it, depends on `name` alone: at every level and in every
        run, the recording of that name has the same noise.
        """
        seed = int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "little")
        rng = np.random.default_rng(seed)
        noise = self.noises[int(rng.integers(len(self.noises)))]
        return add_noise(samples, noise, snr, rng)
