"""Muon's part and AdamW's part of the optimiser."""

from __future__ import annotations

import copy

import pytest
import torch
from ossicle.model.training.config import OptimConfig
from ossicle.model.training.optimizer import ADAM_RMS, GateMuon, orthogonalize
from torch import nn


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_orthogonalised_matrices_have_like_singular_values(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    left, right = (torch.linalg.qr(torch.randn(6, 64, 64)).Q for _ in range(2))
    matrices = 1e-4 * left @ torch.diag(torch.logspace(0, -1.5, 64)) @ right
    values = torch.linalg.svdvals(orthogonalize(matrices, dtype))
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.4


def build() -> tuple[nn.LSTM, nn.Linear, GateMuon]:
    torch.manual_seed(1)
    lstm, head = nn.LSTM(32, 32, batch_first=True), nn.Linear(32, 4)
    gates = [p for p in lstm.parameters() if p.ndim > 1]
    vectors = [p for p in lstm.parameters() if p.ndim <= 1]
    others = [
        {"params": [head.weight], "weight_decay": 0.1},
        {"params": [*vectors, head.bias], "weight_decay": 0.0},
    ]
    optimizer = GateMuon(gates, others, lr=1e-2, weight_decay=0.0, dtype=torch.bfloat16)
    return lstm, head, optimizer


def loss_of(lstm: nn.LSTM, head: nn.Linear) -> torch.Tensor:
    torch.manual_seed(2)
    x = torch.randn(8, 20, 32)
    # Each step is to name the sign pattern of the step before: solvable only with memory.
    target = (x[:, :-1, 0] > 0).long() + 2 * (x[:, :-1, 1] > 0).long()
    scores = head(lstm(x)[0])[:, 1:]
    return nn.functional.cross_entropy(scores.reshape(-1, 4), target.reshape(-1))


def test_gates_move_by_the_size_of_an_adam_step_and_alone() -> None:
    lstm, head, optimizer = build()
    before = {n: p.detach().clone() for n, p in lstm.named_parameters()}
    loss_of(lstm, head).backward()
    optimizer.step()
    for name in ("weight_ih_l0", "weight_hh_l0"):
        for gate, old in zip(
            lstm.get_parameter(name).detach().chunk(4), before[name].chunk(4), strict=True
        ):
            moved = (gate - old).square().mean().sqrt().item()
            assert moved == pytest.approx(1e-2 * ADAM_RMS, rel=0.3)
    # AdamW's first step has the size of the learning rate, whatever the gradient.
    bias = lstm.get_parameter("bias_ih_l0").detach() - before["bias_ih_l0"]
    assert bias.abs().max().item() == pytest.approx(1e-2, rel=0.01)
    assert all(p.grad is not None for p in lstm.parameters()), "gradients are left as they were"


def test_it_learns() -> None:
    lstm, head, optimizer = build()
    first = loss_of(lstm, head).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = optimizer.step(lambda: closure(lstm, head))
    assert loss.item() < 0.5 * first


def closure(lstm: nn.LSTM, head: nn.Linear) -> torch.Tensor:
    loss = loss_of(lstm, head)
    loss.backward()
    return loss


def test_its_state_is_restored() -> None:
    lstm, head, optimizer = build()
    for _ in range(3):
        optimizer.zero_grad()
        optimizer.step(lambda: closure(lstm, head))
    other, other_head, restored = build()
    other.load_state_dict(lstm.state_dict())
    other_head.load_state_dict(head.state_dict())
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for parts, each in (((lstm, head), optimizer), ((other, other_head), restored)):
        each.zero_grad()
        each.step(lambda parts=parts: closure(*parts))
    for a, b in zip(lstm.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
def test_learning_rate_rises_stays_and_falls(steps: int) -> None:
    optim = OptimConfig(steps=steps, warmup_steps=steps // 5, decay=0.3, final_fraction=0.1)
    factors = [optim.learning_rate_factor(step) for step in range(steps + 1)]
    assert factors[-1] == pytest.approx(0.1)
    plateau = factors[max(steps // 5 - 1, 0) : optim.decay_start + 1]
    assert plateau == pytest.approx([1.0] * len(plateau))
    assert factors == sorted(factors[: steps // 5]) + sorted(factors[steps // 5 :], reverse=True)
