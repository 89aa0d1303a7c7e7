"""Mel filters, and log-mel frames of a whole recording without torch.

The network computes its features itself, in its graph; see `features.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from ossicle.model.config import HOP, SAMPLE_RATE, WINDOW, FeatureConfig


def mel_edges(config: FeatureConfig) -> NDArray[np.float64]:
    """Where the mel bins begin, peak and end, in hertz, (F + 2,): bin i peaks at element i + 1.

    Even steps on Slaney's mel scale, linear below 1 kHz and logarithmic above (Slaney 1998,
    Auditory Toolbox), the default of librosa, with which the tests compare.
    """

    def to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        log = 15.0 + 27.0 * np.log(np.maximum(hertz, 1000.0) / 1000.0) / np.log(6.4)
        return np.where(hertz < 1000.0, hertz * 3.0 / 200.0, log)

    def to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
        log = 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0)
        return np.where(mel < 15.0, mel * 200.0 / 3.0, log)

    low, high = to_mel(np.array([config.low_hertz, config.high_hertz]))
    return to_hertz(np.linspace(low, high, config.mel_bins + 2))


def mel_filters(config: FeatureConfig) -> NDArray[np.float64]:
    """Triangular filters with area one between the mel edges, shape (fft_size / 2 + 1, F)."""
    edges = mel_edges(config)
    bins = np.arange(config.fft_size // 2 + 1) * SAMPLE_RATE / config.fft_size
    rising = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return triangles * (2.0 / (edges[2:] - edges[:-2]))


def hann_window() -> NDArray[np.float64]:
    """The periodic Hann window, (WINDOW,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


def log_mel(samples: NDArray[np.float32], config: FeatureConfig) -> NDArray[np.float64]:
    """Log-mel frames (T, F) of samples (N,), T = ceil(N / HOP), as the network sees them.

    They are not normalised. Frame t ends with sample (t + 1) * HOP, silence before the first.
    """
    frames = -(-len(samples) // HOP)
    padded = np.zeros(frames * HOP + WINDOW - HOP)
    padded[WINDOW - HOP : WINDOW - HOP + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = np.fft.rfft(windows * hann_window(), config.fft_size)
    values: NDArray[np.float64] = np.log(np.abs(spectrum) ** 2 @ mel_filters(config) + config.floor)
    return values
