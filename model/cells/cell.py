"""What all recurrent cells share: weights, the loop over time, and the way back through it.

A cell gives one step and the step back (`model/cells/equations.py`). Automatic differentiation
would do the way back, too, but it keeps a record of every product and adds to the gradient of the
weights at each step; here that gradient is one product over all steps, and a layer trains about
twice as fast on a processor. (A loop scripted with TorchScript trained no faster than a plain one.)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

FORGET_BIAS = 1.0
"""Remember by default: a forget gate that starts open carries gradients far (Jozefowicz et al.
2015, "An empirical exploration of recurrent network architectures")."""


class StepBack(NamedTuple):
    """Where the error of a step comes from.

    Attributes:
        share: error at the input's share of the gates, (B, k H).
        product: error at the recurrent product R h₋₁, (B, k H).
        hidden: error at h₋₁ by any other way than that product, (B, H); None if there is none.
        memory: error at c₋₁, (B, H); None if the cell has no memory of its own.
    """

    share: Tensor
    product: Tensor
    hidden: Tensor | None = None
    memory: Tensor | None = None


class Cell(nn.Module):
    """A recurrent layer of hand-written cells.

    Class attributes:
        blocks: how many gates and candidates the weights make, k.
        signals: names of what a step computes; the first two are the new states.
        forget: the block of the forget gate, whose bias starts at `FORGET_BIAS`; -1 where there
            is none.
        input: the block of the input gate; -1 where there is none but the forget gate's.
        has_memory: whether c is a state beside h; if not, c is h.
    """

    blocks: ClassVar[int]
    signals: ClassVar[tuple[str, ...]]
    forget: ClassVar[int] = -1
    input: ClassVar[int] = -1
    has_memory: ClassVar[bool] = True

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)  # torch's own start of recurrent layers
        rows = self.blocks * hidden
        self.input_weight = nn.Parameter(torch.empty(rows, inputs).uniform_(-bound, bound))
        self.recurrent_weight = nn.Parameter(torch.empty(rows, hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(rows))
        if self.forget >= 0:
            with torch.no_grad():
                self.bias[self.forget * hidden : (self.forget + 1) * hidden] = FORGET_BIAS

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """One step: all `signals`, each (B, H).

        Args:
            x: the input's share of the gates, W x + b, (B, k H).
            h, c: (B, H) of the step before.
        """
        raise NotImplementedError

    def step_back(
        self, values: Sequence[Tensor], h: Tensor, c: Tensor, dh: Tensor, dc: Tensor
    ) -> StepBack:
        """The derivative of a step: from the error at its states to the error at what it had.

        Args:
            values: the step's signals.
            h, c: (B, H) of the step before.
            dh, dc: error at the step's own h and c, (B, H). Without a memory of its own, c is h,
                all error comes as dh, and dc is to be left alone.
        """
        raise NotImplementedError

    def own_parameters(self) -> tuple[nn.Parameter, ...]:
        """Those that step uses besides the recurrent weights."""
        return ()

    def own_gradients(
        self, shares: Tensor, products: Tensor, before: Tensor, after: Tensor
    ) -> tuple[Tensor, ...]:
        """Their gradients, (H,) each.

        Args:
            shares, products: errors of all steps, (U, B, k H), as of `StepBack`.
            before, after: memory before and after each step, (U, B, H).
        """
        return ()

    @torch.jit.unused
    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (B, U, I), states (1, B, H) -> hidden states (B, U, H) and the last states."""
        # Under mixed precision the shares come in bfloat16; a state that is carried over
        # hundreds of steps needs more digits.
        shares = self.shares(x).to(self.recurrent_weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            outputs, c = _Loop.apply(  # type: ignore[no-untyped-call]
                self, shares, h[0], c[0], self.recurrent_weight, *self.own_parameters()
            )
        return outputs.transpose(0, 1), outputs[-1:], c.unsqueeze(0)

    def shares(self, x: Tensor) -> Tensor:
        """The input's share of the gates at all steps: (B, U, I) -> (U, B, k H)."""
        return F.linear(x, self.input_weight, self.bias).transpose(0, 1)

    @torch.jit.unused
    def trace(self, x: Tensor, h: Tensor, c: Tensor) -> dict[str, Tensor]:
        """All `signals` at all steps, each (B, U, H); arguments as of `forward`."""
        columns = zip(*_steps(self, self.shares(x), h[0], c[0]), strict=True)
        return {n: torch.stack(s, dim=1) for n, s in zip(self.signals, columns, strict=True)}


def _steps(cell: Cell, shares: Tensor, h: Tensor, c: Tensor) -> list[tuple[Tensor, ...]]:
    steps = []
    for share in shares.unbind():
        values = cell.step(share, h, c)
        h, c = values[:2]
        steps.append(values)
    return steps


class _Loop(torch.autograd.Function):
    """All steps of a cell, and all steps back."""

    @staticmethod
    def forward(
        ctx: Any, cell: Cell, shares: Tensor, h: Tensor, c: Tensor, weight: Tensor, *own: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Shares (U, B, k H), states (B, H) -> hidden states (U, B, H), last memory (B, H)."""
        steps = _steps(cell, shares, h, c)
        ctx.cell, ctx.steps = cell, steps
        ctx.save_for_backward(h, c, weight, *own)
        # Outputs are tensors of their own: the steps are needed on the way back.
        return torch.stack([values[0] for values in steps]), steps[-1][1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, dc: Tensor) -> tuple[Tensor | None, ...]:
        """Errors at the outputs -> errors at the arguments of `forward`."""
        cell: Cell = ctx.cell
        h0, c0, weight, *_ = ctx.saved_tensors
        states = [(h0, c0), *((values[0], values[1]) for values in ctx.steps)]
        dh = torch.zeros_like(h0)
        if not cell.has_memory:
            dh, dc = dc, torch.zeros_like(dc)
        shares, products = [], []
        for u in range(len(ctx.steps) - 1, -1, -1):
            back = cell.step_back(ctx.steps[u], *states[u], dh + d_outputs[u], dc)
            dh = back.product @ weight
            if back.hidden is not None:
                dh = dh + back.hidden
            if back.memory is not None:
                dc = back.memory
            shares.append(back.share)
            products.append(back.product)
        shares.reverse()
        products.reverse()
        all_shares, all_products = torch.stack(shares), torch.stack(products)
        before = torch.stack([state[0] for state in states[:-1]])
        d_weight = all_products.flatten(0, 1).t() @ before.flatten(0, 1)
        memories = torch.stack([state[1] for state in states])
        own = cell.own_gradients(all_shares, all_products, memories[:-1], memories[1:])
        return None, all_shares, dh, dc if cell.has_memory else None, d_weight, *own


def scripted(cell: Cell) -> nn.Module:
    """The same layer as a loop that the ONNX exporter understands.

    A scripted loop stays a loop in the graph, for chunks of any length, where a traced one would
    be as many steps as the example had.
    """
    with warnings.catch_warnings():
        # torch means to drop TorchScript some day; so will its exporter that needs it.
        warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated")
        script: nn.Module = torch.jit.script(_ScriptableLoop(cell))
    return script


class _ScriptableLoop(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Cell.forward`."""
        h, c = h[0], c[0]
        shares = self.cell.shares(x)
        outputs: list[Tensor] = []
        for u in range(shares.size(0)):
            values = self.cell.step(shares[u], h, c)
            h = values[0]
            c = values[1]
            outputs.append(h)
        return torch.stack(outputs, dim=1), h.unsqueeze(0), c.unsqueeze(0)
