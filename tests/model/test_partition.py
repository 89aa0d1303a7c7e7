"""The sum over all texts, against texts enumerated one by one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from ossicle.model.training.partition import letter_trigrams, log_partition
from torch import Tensor

SPACE = 1
LETTERS = 3


def enumerated(log_probs: Tensor, trigrams: Tensor) -> float:
    """log Z of (U, V), by way of every path of frames."""
    total = 0.0
    for path in itertools.product(range(LETTERS + 1), repeat=len(log_probs)):
        text = [token for token, _ in itertools.groupby(path) if token]
        letters = [SPACE - 1, SPACE - 1, *(token - 1 for token in text)]
        score = sum(float(log_probs[u, token]) for u, token in enumerate(path))
        for i in range(len(text)):
            score += math.log(trigrams[letters[i], letters[i + 1], letters[i + 2]])
        total += math.exp(score)
    return math.log(total)


def random_trigrams(seed: int) -> Tensor:
    counts = torch.rand((LETTERS,) * 3, generator=torch.Generator().manual_seed(seed))
    return counts / counts.sum(dim=2, keepdim=True)


@pytest.mark.parametrize("seed", range(5))
def test_partition_is_the_sum_over_all_paths(seed: int) -> None:
    torch.manual_seed(seed)
    log_probs = torch.randn(3, 6, LETTERS + 1).mul(2).log_softmax(-1)
    frames, trigrams = torch.tensor([6, 4, 1]), random_trigrams(seed)
    found = log_partition(log_probs, frames, trigrams, SPACE)
    expected = [
        enumerated(row[:count], trigrams)
        for row, count in zip(log_probs, frames.tolist(), strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_gradient_is_how_probable_each_token_is_among_all_texts() -> None:
    torch.manual_seed(1)
    log_probs = torch.randn(1, 5, LETTERS + 1).log_softmax(-1).requires_grad_()
    trigrams = random_trigrams(1)
    log_partition(log_probs, torch.tensor([5]), trigrams, SPACE).sum().backward()
    assert log_probs.grad is not None
    # Each frame is one token on every path: the shares of all tokens sum up to 1.
    torch.testing.assert_close(log_probs.grad.sum(-1), torch.ones(1, 5))
    step = 1e-2
    moved = log_probs.detach()[0].clone()
    moved[2, 3] += step
    slope = (enumerated(moved, trigrams) - enumerated(log_probs.detach()[0], trigrams)) / step
    assert float(log_probs.grad[0, 2, 3]) == pytest.approx(slope, abs=2e-3)


def test_hundreds_of_sure_frames_neither_overflow_nor_vanish() -> None:
    log_probs = torch.randn(2, 500, 29).mul(30).log_softmax(-1).requires_grad_()
    trigrams = letter_trigrams([[2, 3, 4]], 29, SPACE)
    total = log_partition(log_probs, torch.tensor([500, 400]), trigrams, SPACE)
    total.sum().backward()
    assert torch.isfinite(total).all()
    assert log_probs.grad is not None
    assert torch.isfinite(log_probs.grad).all()
    assert not log_probs.grad[1, 400:].any()


def test_trigrams_are_shares_of_what_followed() -> None:
    trigrams = letter_trigrams([[2, 3], [2, 3], [2, 1]], LETTERS + 1, SPACE)
    torch.testing.assert_close(trigrams.sum(2), torch.ones(LETTERS, LETTERS))
    # After a space and "2": twice "3", once the space, and half a count for each.
    torch.testing.assert_close(trigrams[0, 1], torch.tensor([1.5, 0.5, 2.5]) / 4.5)
