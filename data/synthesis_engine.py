"""What a text-to-speech engine must be to make training speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class SynthesisError(RuntimeError):
    """Synthetic speech cannot be made; the message names the cause and the remedy."""


class Engine(Protocol):
    """A text-to-speech engine with a fixed set of speakers.

    The same arguments give the same speech, so that a stopped synthesis can go on.
    """

    @property
    def name(self) -> str:
        """What the speech depends on besides the arguments of `speak`: engine, version, voices."""
        ...

    @property
    def rate(self) -> int:
        """Samples a second."""
        ...

    @property
    def speakers(self) -> Sequence[str]:
        """Names of the speakers, always in the same order."""
        ...

    def speak(self, text: str, speaker: str, speed: float, seed: int) -> NDArray[np.float32]:
        """Speech, (N,) at `rate`.

        Args:
            text: a sentence of words and punctuation, without digits and symbols.
            speaker: one of `speakers`.
            speed: 1 is the speaker's own pace, 2 is twice as fast.
            seed: of everything else that may vary between two readings.
        """
        ...


EngineLoader = Callable[[], Engine]
"""Loads an engine; it is called once in every process, and so must be picklable."""
