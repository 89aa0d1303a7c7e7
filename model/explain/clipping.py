"""What clipping the gradient does, on the smallest network that explodes.

One linear unit, h = w h₋₁ from h = 1 on, is to come out at 1 after some steps. Its answer is w to
the power of the steps: at w = 1.1 and 100 steps it is 13 781, and the slope of the loss there is so
steep that one step of gradient descent throws w out of all reason. Clipped to a norm of 1, the
gradient keeps its direction and loses its size (Pascanu, Mikolov & Bengio 2013, "On the difficulty
of training recurrent neural networks").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Descent:
    """Gradient descent on the weight.

    Attributes:
        weights: before each update, and after the last; it ends where numbers do.
        losses: (w ** steps - 1)² / 2 at each of them.
        gradients: of the loss at each of them.
    """

    weights: tuple[float, ...]
    losses: tuple[float, ...]
    gradients: tuple[float, ...]


def loss(weight: float, steps: int) -> float:
    """Of the unit's answer; infinite where that is too large for a number."""
    with np.errstate(over="ignore"):
        return float((np.float64(weight) ** steps - 1) ** 2 / 2)


def gradient(weight: float, steps: int) -> float:
    """Of that loss."""
    with np.errstate(over="ignore"):
        w = np.float64(weight)
        return float((w**steps - 1) * steps * w ** (steps - 1))


def descend(
    weight: float, *, steps: int, learning_rate: float, updates: int, clip: float | None
) -> Descent:
    """Follow the gradient.

    Args:
        weight: to start from.
        clip: largest size of the gradient; None leaves it as it is.
    """
    weights, losses, gradients = [], [], []
    for _ in range(updates + 1):
        slope = gradient(weight, steps)
        weights.append(weight)
        losses.append(loss(weight, steps))
        gradients.append(slope)
        if not np.isfinite(slope):
            break
        if clip is not None:
            slope = float(np.clip(slope, -clip, clip))
        weight -= learning_rate * slope
    return Descent(tuple(weights), tuple(losses), tuple(gradients))
