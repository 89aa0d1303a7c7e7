"""The network's state of all streams: every tensor has one row for each slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ossicle.model.runtime import AcousticModel

Rows = dict[str, NDArray[np.float32]]


class SlotStates:
    """State tensors with a row for each slot; lives in the engine's thread.

    Args:
        model: whose state it is.
        slots: how many rows there are.
    """

    def __init__(self, model: AcousticModel, slots: int) -> None:
        self._tensors = model.settled_state(slots)
        self._settled = model.settled_state(1)
        self._axes = model.state_axes

    def take(self, slots: Sequence[int]) -> Rows:
        """A copy of the rows of some slots, in their order."""
        return {
            name: np.take(tensor, slots, axis=self._axes[name])
            for name, tensor in self._tensors.items()
        }

    def put(self, slots: Sequence[int], rows: Rows) -> None:
        """Set the rows of some slots."""
        for name, tensor in self._tensors.items():
            tensor[self._index(name, slots)] = rows[name]

    def settle(self, slots: Sequence[int]) -> None:
        """Make the rows of some slots those of a stream that has not begun."""
        if slots:
            for name, tensor in self._tensors.items():
                tensor[self._index(name, slots)] = self._settled[name]

    def _index(self, name: str, slots: Sequence[int]) -> tuple[slice | Sequence[int], ...]:
        return (*(slice(None),) * self._axes[name], slots)
