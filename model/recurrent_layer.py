"""One layer of a recurrent stack, as the network and its hindsight have several of."""

from __future__ import annotations

from ossicle.model.cells.cell import Cell, scripted
from ossicle.model.cells.fused import make_recurrence, run_recurrence
from torch import Tensor, nn


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
