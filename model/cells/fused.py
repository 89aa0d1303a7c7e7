"""The recurrence of a layer: torch's fused kernels where there are some, hand-written cells else.

Both have the same equations, so a fused recurrence can be looked into as a hand-written cell.
"""

from __future__ import annotations

import torch
from ossicle.model.cells.cell import FORGET_BIAS, Cell
from ossicle.model.cells.equations import CELLS, GRU, LSTM, Elman
from torch import Tensor, nn

FUSED: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {
    "rnn": nn.RNN,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}
_WRITTEN_OUT: dict[type[nn.Module], type[Cell]] = {nn.RNN: Elman, nn.LSTM: LSTM, nn.GRU: GRU}


def make_recurrence(cell: str, hidden: int) -> nn.Module:
    """A recurrence over (B, U, H), to be run by `run_recurrence`.

    Args:
        cell: a key of `CELLS`.
    """
    if cell not in FUSED:
        return CELLS[cell](hidden, hidden)
    fused: nn.RNNBase = FUSED[cell](hidden, hidden, batch_first=True)
    forget = CELLS[cell].forget
    with torch.no_grad():
        bias = fused.get_parameter("bias_ih_l0").zero_()
        fused.get_parameter("bias_hh_l0").zero_()
        if forget >= 0:
            bias[forget * hidden : (forget + 1) * hidden] = FORGET_BIAS
    return fused


def run_recurrence(
    recurrence: nn.Module, x: Tensor, h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (B, U, H), states (1, B, H) -> hidden states (B, U, H) and the last states.

    A cell without a memory of its own takes and gives its hidden state in place of one.
    """
    if isinstance(recurrence, nn.LSTM):
        y, (h, c) = recurrence(x, (h, c))
        return y, h, c
    if isinstance(recurrence, nn.RNNBase):
        y, h = recurrence(x, h)
        return y, h, h
    y, h, c = recurrence(x, h, c)
    return y, h, c


def written_out(recurrence: nn.Module) -> Cell:
    """The cell whose equations a recurrence has, with a copy of its weights.

    Raises:
        TypeError: it is no recurrence of `make_recurrence`.
    """
    if isinstance(recurrence, Cell):
        return recurrence
    kind = _WRITTEN_OUT.get(type(recurrence))
    if kind is None or not isinstance(recurrence, nn.RNNBase):
        raise TypeError(f"{type(recurrence).__name__} is no recurrence of a network's layer")
    hidden = recurrence.hidden_size
    cell = kind(recurrence.input_size, hidden)
    get = recurrence.get_parameter
    cell.to(get("weight_hh_l0"))
    with torch.no_grad():
        cell.input_weight.copy_(get("weight_ih_l0"))
        cell.recurrent_weight.copy_(get("weight_hh_l0"))
        cell.bias.copy_(get("bias_ih_l0"))
        added = get("bias_hh_l0").detach()
        if isinstance(cell, GRU):
            # The candidate's is behind the reset gate and cannot be added to the input's share.
            cell.recurrent_bias.copy_(added[2 * hidden :])
            added = torch.cat([added[: 2 * hidden], torch.zeros_like(added[2 * hidden :])])
        cell.bias.add_(added)
    return cell
