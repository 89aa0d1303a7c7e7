"""The language model's network: units to the probabilities of the next unit.

Embedding, LSTM layers, projection back to the size of the embedding, and the embedding once more
as the output layer (Press and Wolf 2017, "Using the output embedding to improve language models"),
which is a third of the weights saved. Every LSTM's input is normalised to mean 0 and variance 1
without learnt gain, which the int8 graph needs for its fixed scales (`model/quantization.py`).

Shape letters are those of `model/config.py`, with V units, S units of a text, and E values of an
embedding. Time comes first: ONNX wants its LSTMs so.
"""

from __future__ import annotations

import torch
from ossicle.model.lstm_lm.config import LanguageModelConfig
from torch import Tensor, nn
from torch.nn import functional as F


class LanguageNetwork(nn.Module):
    """Predicts each unit of a text from those before it, with all state explicit.

    Args:
        config: sizes; `config.units` is V.
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.units, config.embedding)
        # Input sizes as numbers: the exporter cannot have them depend on a tensor.
        self._sizes = [config.embedding] + [config.hidden] * (config.layers - 1)
        self.layers = nn.ModuleList(nn.LSTM(size, config.hidden) for size in self._sizes)
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(config.hidden, config.embedding)
        self.bias = nn.Parameter(torch.zeros(config.units))
        with torch.no_grad():
            # Small enough for logits near 0 at the start, as the embedding is the output layer.
            self.embedding.weight.normal_(std=config.embedding**-0.5)
            for layer in self.layers:
                bias = layer.get_parameter("bias_ih_l0").zero_()
                layer.get_parameter("bias_hh_l0").zero_()
                # Remember by default (Jozefowicz et al. 2015); gates are i, f, c, o.
                bias[config.hidden : 2 * config.hidden] = 1.0

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Hidden and memory at the start of a text: zeros (L, B, H)."""
        shape = (self.config.layers, batch, self.config.hidden)
        device = self.bias.device
        return torch.zeros(shape, device=device), torch.zeros(shape, device=device)

    def forward(
        self, units: Tensor, hidden: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Units (S, B), state (L, B, H) twice -> logits (S, B, V) of what follows, new state."""
        x = self.embedding(units)
        last_hidden, last_memory = [], []
        for i, (layer, size) in enumerate(zip(self.layers, self._sizes, strict=True)):
            x = self.dropout(F.layer_norm(x, (size,)))
            x, (h, c) = layer(x, (hidden[i : i + 1], memory[i : i + 1]))
            last_hidden.append(h)
            last_memory.append(c)
        logits = F.linear(self.project(self.dropout(x)), self.embedding.weight, self.bias)
        return logits, torch.cat(last_hidden), torch.cat(last_memory)

    def score(
        self, units: Tensor, following: Tensor, hidden: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Natural-log probabilities (S, B) of `following` (S, B), each after its `units` (S, B).

        Returns:
            The log-probabilities, and the state after the last unit.
        """
        logits, hidden, memory = self.forward(units, hidden, memory)
        # In full precision: bfloat16 has too few digits for a sum over all units.
        logits = logits.float()
        chosen = logits.gather(2, following.unsqueeze(2)).squeeze(2)
        return chosen - logits.logsumexp(2), hidden, memory

    def parameter_count(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)
