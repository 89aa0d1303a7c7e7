"""An engine that sings: a tone for each letter, and faults when it is told to have some."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ToneEngine:
    """Each speaker has a pitch; each letter lasts 80 ms at speed 1.

    Attributes:
        mute: texts with this word come out silent.
        dies: the process ends at texts with this word.
    """

    name: str = "tones 1"
    mute: str = "mute"
    dies: str = "lethal"
    rate: int = 8000
    speakers: tuple[str, ...] = ("tones/low", "tones/high")

    def speak(self, text: str, speaker: str, speed: float, seed: int) -> NDArray[np.float32]:
        if self.dies in text:
            os._exit(1)
        letters = [c for c in text if c.isalpha()]
        length = int(len(letters) * 0.08 * self.rate / speed)
        if self.mute in text:
            return np.zeros(length, dtype=np.float32)
        hertz = 200.0 * (1 + self.speakers.index(speaker)) + seed % 50
        wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(length) / self.rate)
        silence = np.zeros(self.rate // 2)
        return np.concatenate([silence, wave, silence]).astype(np.float32)
