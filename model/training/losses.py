"""What training minimises: CTC, the disagreement of two views, what is unlearnt of a teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def ctc_loss(log_probs: Tensor, frames: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """CTC's negative log-likelihood per target token, averaged over the batch's tokens.

    Args:
        log_probs: (B, U, V).
        frames: (B,) valid output frames.
        targets: (B, S) token numbers.
        counts: (B,) valid tokens of each target.

    An utterance that cannot be aligned contributes nothing instead of infinity.
    """
    total = F.ctc_loss(
        log_probs.transpose(0, 1), targets, frames, counts, reduction="sum", zero_infinity=True
    )
    return total / counts.sum().clamp(min=1)


def disagreement(first: Tensor, second: Tensor, frames: Tensor) -> Tensor:
    """How much two views of the same speech differ, in nats, summed over the batch's valid frames.

    Each view learns from the other as from a teacher, frame by frame: the mean of both
    Kullback-Leibler divergences, without a gradient into the teacher (Yao et al. 2024, "CR-CTC:
    consistency regularization on CTC for improved speech recognition", equation 4).

    Args:
        first, second: log-probabilities (B, U, V).
        frames: (B,) valid output frames.
    """
    valid = torch.arange(first.shape[1], device=first.device) < frames[:, None]  # (B, U)
    total = first.new_zeros(())
    for pupil, teacher in ((first, second.detach()), (second, first.detach())):
        divergence = (teacher.exp() * (teacher - pupil)).sum(dim=-1)
        total = total + torch.where(valid, divergence, 0.0).sum()
    return total / 2


def unlearnt(heard: Tensor, taught: Tensor, frames: Tensor) -> Tensor:
    """The share of the variance of a teacher's features that a pupil does not foretell.

    The mean square of the difference, each feature in units of its deviation over the batch: 1
    where the pupil knows nothing but the means. As FitNets' hints (Romero et al. 2015, equation 3),
    with features of one scale.

    Args:
        heard: (W * B, U, D), what the pupil makes of W views of the batch, all first views first.
        taught: (B, U, D), the teacher's features.
        frames: (B,) valid output frames.
    """
    valid = torch.arange(taught.shape[1], device=taught.device) < frames[:, None]  # (B, U)
    target = taught[valid]  # (N, D)
    target = (target - target.mean(dim=0)) / target.std(dim=0).clamp(min=1e-5)
    views = len(heard) // len(taught)
    return F.mse_loss(heard[valid.repeat(views, 1)].float(), target.repeat(views, 1))
