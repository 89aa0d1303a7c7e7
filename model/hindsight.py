"""Hindsight: layers that read an utterance once more when it has ended, with its future known.

The network's own layers hear from the past to the present, as a live stream must be heard. When an
utterance is over there is nothing left to wait for: its encodings are read from the end to the
beginning, and what that yields from the beginning to the end, and a head of its own emits what the
final is decoded from. Partials come from the network without it. After Sainath et al. 2019,
"Two-pass end-to-end speech recognition", and Narayanan et al. 2021, "Cascaded encoders for unifying
streaming and non-streaming ASR", whose second encoder likewise reads the outputs of the first.

Shape letters are defined in `model/config.py`.
"""

from __future__ import annotations

import torch
from ossicle.model.config import ModelConfig
from ossicle.model.recurrent_layer import RecurrentLayer
from torch import Tensor, nn
from torch.nn import functional as F


class Hindsight(nn.Module):
    """Encodings of whole utterances to log-probabilities of tokens, one for each encoding.

    Layers alternate between both directions of time, the first from the end to the beginning.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        n = config.network
        self.layers = nn.ModuleList(
            RecurrentLayer(n.recurrence.cell, n.hidden, n.dropout) for _ in range(n.hindsight)
        )
        self.norm = nn.LayerNorm(n.hidden)
        self.head = nn.Linear(n.hidden, config.vocabulary)

    def forward(self, encoding: Tensor, frames: Tensor | None = None) -> Tensor:
        """Encodings (B, U, H) -> log-probabilities (B, U, V).

        Args:
            frames: (B,) valid encodings of each utterance, where some are shorter than others.
        """
        start = encoding.new_zeros(1, len(encoding), encoding.shape[2])
        x = encoding
        for i, layer in enumerate(self.layers):
            if i % 2 == 0:
                x = reverse(layer(reverse(x, frames), start, start)[0], frames)
            else:
                x = layer(x, start, start)[0]
        return F.log_softmax(self.head(self.norm(x)).float(), dim=-1)


def reverse(x: Tensor, frames: Tensor | None = None) -> Tensor:
    """(B, U, H) with the valid frames of each utterance from the last to the first.

    What is behind them stays where it is, so that no utterance begins with another's padding.

    Args:
        frames: (B,) valid frames; None for all.
    """
    if frames is None:
        return x.flip(1)
    step = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)  # (B, U)
    end = frames[:, None]
    order = torch.where(step < end, end - 1 - step, step)
    return x.gather(1, order[:, :, None].expand_as(x))
