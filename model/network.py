"""The network: CNN front end, stacked recurrent layers, look-ahead convolution, CTC head.

Every module maps (input, state) to (output, new state) and treats time causally: what a
convolution would find left of its input comes from its state instead of padding. So training on
whole utterances and streaming in chunks are the same function, and a chunk's outputs do not
depend on where it was cut. A state is all zeros at the start of a stream and constant in size.

Shape letters are defined in `model/config.py`.
"""

from __future__ import annotations

import math

import torch
from ossicle.model.cells.cell import Cell, scripted
from ossicle.model.cells.fused import make_recurrence, run_recurrence
from ossicle.model.config import FRAME_SAMPLES, MEMORY_CELLS, ModelConfig
from ossicle.model.features import OVERLAP, LogMel
from ossicle.model.running_mean import RunningMean
from torch import Tensor, nn
from torch.nn import functional as F

State = dict[str, Tensor]
"""The state of a network by name; `Network.initial_state` gives names and shapes."""


class CausalConv2d(nn.Module):
    """Convolution over (time, frequency), both with stride 2; causal in time.

    Frame u of the output sees input frames up to 2u + 1. State: the last `KERNEL - 2` input
    frames, (B, C_in, KERNEL - 2, F).
    """

    KERNEL = 5
    CACHE = KERNEL - 2

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels_in,
            channels_out,
            kernel_size=self.KERNEL,
            stride=2,
            padding=(0, self.KERNEL // 2),
        )

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C_in, T, F), T even -> (B, C_out, T / 2, F / 2)."""
        x = torch.cat([state, x], dim=2)
        return F.relu(self.conv(x)), x[:, :, -self.CACHE :]


class RecurrentLayer(nn.Module):
    """One layer of the stack: x + dropout(recurrence(normalised x)).

    The path around the recurrence lets gradients reach the front end undamped, so that depth
    helps from the first epoch. State: hidden and memory, each (1, B, H).
    """

    def __init__(self, cell: str, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        # Weights keep the names that they had when the LSTM was the only cell.
        self._name = "lstm" if cell == "lstm" else "cell"
        self.add_module(self._name, make_recurrence(cell, hidden))
        self.dropout = nn.Dropout(dropout)

    @property
    def recurrence(self) -> nn.Module:
        """A fused kernel of torch's, or a hand-written cell."""
        return self.get_submodule(self._name)

    def script(self) -> None:
        """Put a scripted loop in place of a hand-written cell: what the ONNX exporter can read."""
        if isinstance(self.recurrence, Cell):
            self.add_module(self._name, scripted(self.recurrence))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, U, H) -> (B, U, H)."""
        y, h, c = run_recurrence(self.recurrence, self.norm(x), h, c)
        return x + self.dropout(y), h, c


class LookAhead(nn.Module):
    """Each unit's weighted sum of its present and its next `frames` values (row convolution).

    After Amodei et al. 2016 (Deep Speech 2), section 3.6. It delays: the output at step u belongs
    to input frame u - frames. State: the last `frames` inputs, (B, frames, H).
    """

    def __init__(self, hidden: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv1d(hidden, hidden, kernel_size=frames + 1, groups=hidden, bias=False)
        with torch.no_grad():
            self.conv.weight.mul_(0.1)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, U, H) -> (B, U, H)."""
        steps = x.shape[1]
        x = torch.cat([state, x], dim=1)
        mixed = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return x[:, :steps] + mixed, x[:, -self.frames :]


class Network(nn.Module):
    """Raw samples to log-probabilities of tokens, with all state explicit."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        n, bins = config.network, config.features.mel_bins
        self.features = LogMel(config.features)
        share = config.features.running_mean
        self.running_mean = RunningMean(bins, share) if share else None
        self.conv1 = CausalConv2d(1, n.channels)
        self.conv2 = CausalConv2d(n.channels, n.channels)
        self.project = nn.Linear(n.channels * (bins // 4), n.hidden)
        self.dropout = nn.Dropout(n.dropout)
        cell = n.recurrence.cell
        self.layers = nn.ModuleList(
            RecurrentLayer(cell, n.hidden, n.dropout) for _ in range(n.layers)
        )
        self.lookahead = LookAhead(n.hidden, n.lookahead) if n.lookahead else None
        self.norm = nn.LayerNorm(n.hidden)
        self.head = nn.Linear(n.hidden, config.vocabulary)

    def initial_state(self, batch: int) -> State:
        """The state at the start of a stream: zeros on the network's device."""
        n, bins = self.config.network, self.config.features.mel_bins
        shapes = {
            "samples": (batch, OVERLAP),
            "conv1": (batch, 1, CausalConv2d.CACHE, bins),
            "conv2": (batch, n.channels, CausalConv2d.CACHE, bins // 2),
            "hidden": (n.layers, batch, n.hidden),
        }
        if self.running_mean is not None:
            shapes["spectrum"] = (batch, bins + 1)
        if n.recurrence.cell in MEMORY_CELLS:
            shapes["memory"] = (n.layers, batch, n.hidden)
        if n.lookahead:
            shapes["lookahead"] = (batch, n.lookahead, n.hidden)
        device = self.head.weight.device
        return {name: torch.zeros(shape, device=device) for name, shape in shapes.items()}

    def forward(self, samples: Tensor, state: State) -> tuple[Tensor, State]:
        """Samples (B, N), N a multiple of FRAME_SAMPLES -> log-probabilities (B, U, V).

        The first `lookahead` outputs of a stream belong to no audio and are to be dropped.
        """
        log_mel, last_samples = self.features(samples, state["samples"])
        log_mel, adapted = self.adapt(log_mel, state)
        log_probs, new_state = self.encode(log_mel, state)
        return log_probs, {"samples": last_samples, **adapted, **new_state}

    def adapt(self, log_mel: Tensor, state: State) -> tuple[Tensor, State]:
        """Normalised log-mel (B, T, F) less its running mean, if the model takes that off."""
        if self.running_mean is None:
            return log_mel, {}
        log_mel, sums = self.running_mean(log_mel, self.features.deviation, state["spectrum"])
        return log_mel, {"spectrum": sums}

    def encode(self, log_mel: Tensor, state: State) -> tuple[Tensor, State]:
        """Adapted log-mel (B, T, F), T a multiple of 4 -> log-probabilities (B, T / 4, V)."""
        heard, new = self.hear(log_mel, state)
        return self.emit(heard), new

    def hear(self, log_mel: Tensor, state: State) -> tuple[Tensor, State]:
        """Adapted log-mel (B, T, F), T a multiple of 4 -> the last layer's output (B, T / 4, H)."""
        new: State = {}
        x, new["conv1"] = self.conv1(log_mel.unsqueeze(1), state["conv1"])
        x, new["conv2"] = self.conv2(x, state["conv2"])  # (B, C, U, F / 4)
        x = self.dropout(self.project(x.transpose(1, 2).flatten(2)))  # (B, U, H)
        hidden, memory = [], []
        memories = state.get("memory", state["hidden"])
        for i, layer in enumerate(self.layers):
            x, h, c = layer(x, state["hidden"][i : i + 1], memories[i : i + 1])
            hidden.append(h)
            memory.append(c)
        new["hidden"] = torch.cat(hidden)
        if "memory" in state:
            new["memory"] = torch.cat(memory)
        if self.lookahead is not None:
            x, new["lookahead"] = self.lookahead(x, state["lookahead"])
        return self.norm(x), new

    def emit(self, heard: Tensor) -> Tensor:
        """What the last layer gives (B, U, H) -> log-probabilities (B, U, V)."""
        # Softmax in full precision: bfloat16 has too few digits for sums over frames in CTC.
        return F.log_softmax(self.head(heard).float(), dim=-1)

    def transcribe_whole(self, samples: Tensor) -> Tensor:
        """Log-probabilities (B, U, V) of whole recordings (B, N), one pass, U = ceil(N / 640).

        The end is flushed: output u belongs to samples from u * 640 on.
        """
        n = self.config.network
        frames = math.ceil(samples.shape[1] / FRAME_SAMPLES) + n.lookahead
        samples = F.pad(samples, (0, frames * FRAME_SAMPLES - samples.shape[1]))
        log_probs, _ = self.forward(samples, self.initial_state(samples.shape[0]))
        return log_probs[:, n.lookahead :]

    def parameter_count(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)
