"""The running mean of a stream's spectrum, taken off in part: microphones and rooms differ by it.

What a microphone, a telephone line or a voice adds to every frame is in the mean of log-mel frames
(mean normalisation, Atal 1974, after the cepstrum's). That of a whole utterance would need its end
before its beginning; this one forgets, is of speech only, and begins as that of training:

    d_u = k d_{u-1} + w_u
    s_u = k s_{u-1} + w_u x_u
    m_u = s_u / (d_u + PRIOR)

where x_u is the mean of the four normalised log-mel frames of output frame u and w_u, from 0 to 1,
says how likely they are speech.

Shape letters are defined in `model/config.py`.
"""

from __future__ import annotations

import math

import torch
from ossicle.model.config import FRAME_SECONDS, TIME_STRIDE
from torch import Tensor, nn

MEMORY = 10.0 / FRAME_SECONDS  # output frames after which a frame weighs 1/e
PRIOR = 2.0 / FRAME_SECONDS  # output frames of speech that the mean of training counts as
# Speech is louder than silence: nats below the mean of training at which a frame counts by half,
# and how steeply.
_HALF = -1.0
_STEEPNESS = 2.0
# Makes sums of normalised frames positive, so that a rectifier leaves them as they are.
_SHIFT = 20.0


class RunningMean(nn.Module):
    """Takes a share of the running mean off log-mel frames.

    The recurrence is written as a recurrent layer of fixed weights, the multiples of the identity:
    the exported graph has an operator for that. Its products with 0 and 1 are exact, so that the
    frames do not depend on how a stream is cut or on what is beside it.

    Args:
        bins: F.
        share: of the mean, to take off.
    """

    inputs: Tensor
    memory: Tensor

    def __init__(self, bins: int, share: float) -> None:
        super().__init__()
        self.share = share
        keep = math.exp(-1.0 / MEMORY)
        self.register_buffer("inputs", torch.eye(bins + 1), persistent=False)
        self.register_buffer("memory", keep * torch.eye(bins + 1), persistent=False)

    def forward(self, log_mel: Tensor, deviation: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised frames (B, T, F), T a multiple of 4, and state -> the same shapes.

        Args:
            log_mel: as `LogMel` gives it.
            deviation: (F,), by which it was divided.
            state: the sums s and d, (B, F + 1).
        """
        batch, frames, bins = log_mel.shape
        blocks = log_mel.reshape(batch, frames // TIME_STRIDE, TIME_STRIDE, bins)
        x = blocks.mean(dim=2)  # (B, U, F)
        level = (x * deviation).mean(dim=2, keepdim=True)
        weight = torch.sigmoid(_STEEPNESS * (level - _HALF))
        sums, last = torch.rnn_relu(
            torch.cat([weight * (x + _SHIFT), weight], dim=2),
            state.unsqueeze(0),
            [self.inputs, self.memory],
            has_biases=False,
            num_layers=1,
            dropout=0.0,
            train=False,
            bidirectional=False,
            batch_first=True,
        )
        total, count = sums[..., :-1], sums[..., -1:]
        mean = (total - _SHIFT * count) / (count + PRIOR)
        less = blocks - self.share * mean.unsqueeze(2)
        return less.reshape(batch, frames, bins), last.squeeze(0)
