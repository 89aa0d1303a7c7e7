"""Log-mel features from raw samples, the same module in training and in the exported graph.

In the exported graph the transform is a product with a fixed window-times-DFT matrix: exactly the
short-time Fourier transform, yet made of nothing but a matrix product, which every ONNX runtime
has and runs fast on the few frames of a chunk. Training, with minutes of audio at once, takes the
fast Fourier transform.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from ossicle.model.config import HOP, SAMPLE_RATE, WINDOW, FeatureConfig
from torch import Tensor, nn

OVERLAP = WINDOW - HOP  # samples of the past that a frame needs


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


def windowed_dft(fft_size: int) -> NDArray[np.float64]:
    """Hann window times DFT: (WINDOW, 2 * (fft_size / 2 + 1)), cosines first, then sines."""
    hann = hann_window()
    cycles = np.outer(np.arange(WINDOW), np.arange(fft_size // 2 + 1)) / fft_size
    angle = 2 * np.pi * cycles
    return np.concatenate([hann[:, None] * np.cos(angle), hann[:, None] * np.sin(angle)], axis=1)


class LogMel(nn.Module):
    """Samples (B, N) -> normalised log-mel frames (B, T, F), T = N / HOP.

    Frame t ends with sample (t + 1) * HOP: no frame sees the future. State `samples` is the last
    OVERLAP samples, (B, OVERLAP), zeros at the start of a stream.

    Attributes:
        mean, deviation: (F,) of the training set's log-mel frames. Normalising by the utterance
            itself would need its end before its beginning.
    """

    dft: Tensor
    window: Tensor
    filters: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        # Constants of the formula, not weights: they are rebuilt, not stored.
        self.register_buffer(
            "dft", torch.from_numpy(windowed_dft(config.fft_size)).float(), persistent=False
        )
        self.register_buffer("window", torch.from_numpy(hann_window()).float(), persistent=False)
        self.register_buffer(
            "filters", torch.from_numpy(mel_filters(config)).float(), persistent=False
        )
        self.register_buffer("mean", torch.zeros(config.mel_bins))
        self.register_buffer("deviation", torch.ones(config.mel_bins))

    def log_mel(self, samples: Tensor) -> Tensor:
        """Log-mel frames before normalisation: (B, OVERLAP + T * HOP) -> (B, T, F)."""
        # A frame is two whole hops and half of a third. Made of reshaped slices rather than of
        # unfold, which the ONNX exporter turns into a large gather.
        batch = samples.shape[0]
        half_hop = WINDOW - 2 * HOP
        first = samples[:, :-OVERLAP].reshape(batch, -1, HOP)
        second = samples[:, HOP : HOP - OVERLAP].reshape(batch, -1, HOP)
        third = samples[:, OVERLAP:].reshape(batch, -1, HOP)[:, :, HOP - half_hop :]
        frames = torch.cat([first, second, third], dim=2)  # (B, T, WINDOW)
        if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            spectrum = frames @ self.dft
            half = self.dft.shape[1] // 2
            power = spectrum[..., :half].square() + spectrum[..., half:].square()
        else:
            power = torch.fft.rfft(frames * self.window, self.config.fft_size).abs().square()
        return torch.log(power @ self.filters + self.config.floor)

    def forward(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (B, N), N a multiple of HOP, and state -> frames (B, N / HOP, F) and state."""
        samples = torch.cat([state, samples], dim=1)
        normal = (self.log_mel(samples) - self.mean) / self.deviation
        return normal, samples[:, -OVERLAP:]
