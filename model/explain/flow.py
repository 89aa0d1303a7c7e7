"""How far an error flows back through time: why plain recurrent networks forget.

The error at a step comes from the error one step later by a product with that step's Jacobian.
Over k steps it is a product of k of them, which shrinks or grows as a power does (Hochreiter 1991;
Bengio, Simard & Frasconi 1994). In an LSTM there is a second way, along the memory, on which the
only factor is the forget gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from ossicle.model.cells.cell import Cell
from ossicle.model.config import FRAME_SAMPLES, HOP
from ossicle.model.explain.layers import layer_cells, layer_inputs
from ossicle.model.features import OVERLAP
from ossicle.model.network import Network
from torch import Tensor

DIRECTIONS = 4  # errors of random direction that are followed on each stretch of speech
STRETCHES = 4


@dataclass(frozen=True)
class Flow:
    """The size of an error k steps back, as a share of its size at the start.

    Attributes:
        name: of the network.
        log10: (K + 1,) decadic logarithms, the mean over layers, stretches and directions.
    """

    name: str
    log10: NDArray[np.float64]

    def at(self, lag: int) -> float:
        """The logarithm at one lag, which must not be longer than K."""
        return float(self.log10[lag])


def scalar_flow(weight: float, steps: int) -> Flow:
    """The textbook case, a linear recurrence of one unit: weight ** k."""
    return Flow(f"{weight:g}^k", np.arange(steps + 1) * np.log10(weight))


def error_flow(
    name: str, network: Network, stretches: Tensor, *, memory_only: bool = False
) -> Flow:
    """Follow errors from the last step of stretches of speech to the first.

    Args:
        stretches: (B, N), N a multiple of FRAME_SAMPLES.
        memory_only: leave out what flows through the recurrent product, and so the weights.
    """
    inputs = layer_inputs(network, stretches)
    flows = [
        cell_flow(cell.double(), x.double(), memory_only=memory_only)
        for cell, x in zip(layer_cells(network), inputs, strict=True)
    ]
    return Flow(name, np.mean(flows, axis=0))


def cell_flow(cell: Cell, x: Tensor, *, memory_only: bool = False) -> NDArray[np.float64]:
    """The same for one cell with inputs (B, U, I): (U,) logarithms, for k from 0."""
    hidden = cell.recurrent_weight.shape[1]
    generator = torch.Generator().manual_seed(0)
    x = x.repeat(DIRECTIONS, 1, 1)
    logs = torch.zeros(len(x), x.shape[1], dtype=x.dtype)
    with torch.no_grad():
        h = c = x.new_zeros(len(x), hidden)
        states, steps = [(h, c)], []
        for share in cell.shares(x).unbind():
            values = cell.step(share, h, c)
            h, c = values[0], values[1]
            states.append((h, c))
            steps.append(values)
        dh = torch.randn(len(x), hidden, generator=generator, dtype=x.dtype)
        dh = dh / dh.norm(dim=1, keepdim=True)
        dc = torch.zeros_like(dh)
        for k in range(1, x.shape[1]):
            back = cell.step_back(steps[-k], *states[-k - 1], dh, dc)
            dh = torch.zeros_like(dh) if memory_only else back.product @ cell.recurrent_weight
            if back.hidden is not None:
                dh = dh + back.hidden
            if back.memory is not None:
                dc = back.memory
            # Kept at size 1, so that nothing is too small or too large for a number.
            size = torch.cat([dh, dc], dim=1).norm(dim=1, keepdim=True).clamp(min=1e-300)
            dh, dc = dh / size, dc / size
            logs[:, k] = logs[:, k - 1] + size[:, 0].log10()
    mean: NDArray[np.float64] = logs.mean(0).numpy()
    return mean


def cut_stretches(recordings: Sequence[NDArray[np.float32]], steps: int) -> Tensor:
    """Recordings (N,) one after the other, in at most `STRETCHES` pieces of so many steps.

    Where they are shorter than one piece, they come again.

    Raises:
        ValueError: they hold nothing.
    """
    speech = np.concatenate([*recordings, np.zeros(0, dtype=np.float32)])
    if not len(speech):
        raise ValueError("the recordings hold no sound")
    length = (steps + 1) * FRAME_SAMPLES
    count = min(max(len(speech) // length, 1), STRETCHES)
    return torch.from_numpy(np.resize(speech, count * length).reshape(count, length).copy())


def normalise_by(network: Network, stretches: Tensor) -> None:
    """Give a network that nobody trained the feature statistics of some speech."""
    features = network.features
    usable = (stretches.shape[1] - OVERLAP) // HOP * HOP + OVERLAP
    with torch.no_grad():
        frames = features.log_mel(stretches[:, :usable]).flatten(0, 1)
        features.mean.copy_(frames.mean(0))
        features.deviation.copy_(frames.std(0).clamp(min=1e-2))
