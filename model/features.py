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
from ossicle.model.config import HOP, WINDOW, FeatureConfig
from ossicle.model.mel import hann_window, mel_filters
from torch import Tensor, nn

OVERLAP = WINDOW - HOP  # samples of the past that a frame needs


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
