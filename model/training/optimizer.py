"""The optimiser: Muon for the LSTM's gates, AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ossicle.model.training.config import RunConfig
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration, steep at 0 (Jordan et al. 2024, "Muon")."""
ITERATIONS = 5
ADAM_RMS = 0.2
"""The root mean square of AdamW's updates, to which Muon's are scaled, so that one learning rate
serves both (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2)."""


def orthogonalize(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """About U V^T of each matrix U S V^T: all directions get a like share of the update.

    Args:
        matrices: (M, H, H), any scale.
        dtype: what to multiply in; the digits of bfloat16 suffice.

    Returns:
        (M, H, H) with singular values of about 0.7 to 1.2, which is near enough to 1.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices.to(dtype)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


class GateMuon(torch.optim.AdamW):
    """AdamW, except that an LSTM's weight matrices move by Muon.

    Each gate's (H, H) part of `weight_ih` and `weight_hh` is orthogonalised on its own, all gates
    of all layers in one batched product.

    Args:
        gates: weights of shape (k * H, H), all of the same H.
        others: parameter groups for AdamW.
        dtype: what to multiply in.
        momentum: of Muon's (Nesterov) average of gradients.
    """

    def __init__(
        self,
        gates: Sequence[nn.Parameter],
        others: Iterable[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float,
        dtype: torch.dtype,
        momentum: float = 0.95,
    ) -> None:
        self._dtype = dtype
        muon = {"params": list(gates), "weight_decay": weight_decay, "momentum": momentum}
        super().__init__([*others, muon], lr=lr, betas=(0.9, 0.98))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; returns what `closure`, which makes the gradients, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gates = [p for group in self.param_groups if "momentum" in group for p in group["params"]]
        gradients = [p.grad for p in gates]
        self._move_gates()
        for p in gates:
            p.grad = None  # AdamW passes over what has no gradient
        super().step()
        for p, gradient in zip(gates, gradients, strict=True):
            p.grad = gradient
        return loss

    @torch.no_grad()
    def _move_gates(self) -> None:
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if "momentum" not in group or not parameters:
                continue
            ahead = []
            for p in parameters:
                # AdamW looks for a step in whatever state it is given back.
                state = self.state[p] or {"step": torch.zeros(()), "momentum": torch.zeros_like(p)}
                self.state[p] = state
                average = state["momentum"]
                average.lerp_(p.grad, 1 - group["momentum"])
                ahead.append(p.grad.lerp(average, group["momentum"]))
            hidden = parameters[0].shape[1]
            matrices = torch.cat([x.view(-1, hidden, hidden) for x in ahead])
            moves = orthogonalize(matrices, self._dtype)
            size = group["lr"] * ADAM_RMS * math.sqrt(hidden)
            sizes = [len(x) // hidden for x in ahead]
            for p, move in zip(parameters, torch.split(moves, sizes), strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(move.reshape(p.shape), alpha=-size)


def muon_and_adamw(
    module: nn.Module, gates: Sequence[nn.Parameter], run: RunConfig
) -> OptimizerLRSchedulerConfig:
    """What Lightning's `configure_optimizers` returns: `gates` by Muon, the rest by AdamW.

    The learning rate follows `run.optim.learning_rate_factor`; vectors have no weight decay.
    """
    config = run.optim
    taken = set(map(id, gates))
    rest = [p for p in module.parameters() if id(p) not in taken]
    others = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # A processor that has no fast bfloat16 is slower in it than in float32.
    dtype = torch.bfloat16 if run.precision == "bf16-mixed" else torch.float32
    optimizer = GateMuon(
        gates, others, lr=config.learning_rate, weight_decay=config.weight_decay, dtype=dtype
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, config.learning_rate_factor)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": schedule, "interval": "step"},
    }
