"""Resampling to 16 kHz of audio that arrives in pieces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr
from ossicle.data.formats import SAMPLE_RATE, check_rate

Samples = npt.NDArray[np.float32]


class Resampler:
    """Mono audio of one rate to 16 kHz, the same samples whatever the pieces are.

    The filter looks ahead: output trails the input by at most 0.12 s until `flush`.

    Args:
        rate: Samples a second of the input, 8000 to 192 000.

    Raises:
        AudioError: The rate is out of range.
    """

    def __init__(self, rate: int) -> None:
        check_rate(rate)
        self._stream = (
            None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32")
        )

    def process(self, samples: Samples) -> Samples:
        """The next samples (N,) at the input rate to as many of (M,) at 16 kHz as are certain."""
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(samples)
        return resampled

    def flush(self) -> Samples:
        """The samples (M,) still in the filter; nothing may be processed after."""
        rest: Samples = np.empty(0, np.float32)
        if self._stream is not None:
            rest = self._stream.resample_chunk(rest, last=True)
        return rest


def mix_to_mono(samples: Samples) -> Samples:
    """Average the channels of samples (N, channels) to (N,)."""
    # Added one by one: NumPy's own sum may take another order for another N.
    mono = samples[:, 0].copy()
    for channel in range(1, samples.shape[1]):
        mono += samples[:, channel]
    mono *= np.float32(1 / samples.shape[1])
    return mono


def join(blocks: list[Samples]) -> Samples:
    """Concatenate blocks (N_i,) to one array (N,), which may be empty."""
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)
