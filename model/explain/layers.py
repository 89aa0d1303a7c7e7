"""What the recurrent layers of a network are given, and what they do with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ossicle.model.cells.cell import Cell
from ossicle.model.cells.fused import written_out
from ossicle.model.network import Network, RecurrentLayer
from torch import Tensor, nn


def layer_cells(network: Network) -> list[Cell]:
    """The cells of its layers as hand-written ones, lowest first."""
    layers = [layer for layer in network.layers if isinstance(layer, RecurrentLayer)]
    return [written_out(layer.recurrence) for layer in layers]


def layer_inputs(network: Network, samples: Tensor) -> list[Tensor]:
    """What each recurrence hears of recordings (B, N), N a multiple of FRAME_SAMPLES: (B, U, H)."""
    inputs: list[Tensor] = []

    def keep(_: nn.Module, arguments: Sequence[Any]) -> None:
        inputs.append(arguments[0])

    layers = [layer for layer in network.layers if isinstance(layer, RecurrentLayer)]
    hooks = [layer.recurrence.register_forward_pre_hook(keep) for layer in layers]
    try:
        with torch.no_grad():
            network(samples, network.initial_state(len(samples)))
    finally:
        for hook in hooks:
            hook.remove()
    return inputs


def trace_layers(network: Network, samples: Tensor) -> list[dict[str, Tensor]]:
    """All signals of each layer over recordings (B, N), each (B, U, H), from a zero state."""
    traces = []
    with torch.no_grad():
        inputs = layer_inputs(network, samples)
        for cell, x in zip(layer_cells(network), inputs, strict=True):
            state = torch.zeros(1, len(x), x.shape[2])
            traces.append(cell.trace(x, state, state))
    return traces
