"""Batches of recordings of like duration."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Key = tuple[int, int]
"""Epoch, and index of a recording in `Recordings`."""


class BucketSampler(Sampler[list[Key]]):
    """Batches of recordings of like length, about `batch_seconds` each, padding included.

    Recordings are shuffled, sorted within pools of some fifty batches, cut into batches, and the
    batches shuffled: little padding, and company that changes from epoch to epoch.

    Args:
        durations: seconds of each recording.
        weights: how often each recording comes in an epoch (see `TrainSet.repeat`).
        rank, world: this process's share in distributed training.
    """

    def __init__(
        self,
        durations: NDArray[np.float64],
        batch_seconds: float,
        *,
        seed: int,
        weights: NDArray[np.float64] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._durations = durations
        self._batch_seconds = batch_seconds
        self._seed = seed
        self._weights = np.ones(len(durations)) if weights is None else weights
        self._rank = rank
        self._world = world
        self._epoch = 0
        self.skip = 0

    @property
    def sampler(self) -> BucketSampler:
        """Itself: Lightning looks for `set_epoch` at a batch sampler's sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of `epoch`, counted from 0."""
        self._epoch = epoch

    def batches(self, epoch: int) -> list[list[Key]]:
        """This rank's batches of keys (epoch, index) for `Recordings`."""
        rng = np.random.default_rng((self._seed, epoch))
        times = np.floor(self._weights + rng.random(len(self._weights))).astype(int)
        order = rng.permutation(np.repeat(np.arange(len(times)), times))
        pool = max(int(50 * self._batch_seconds / max(float(self._durations.mean()), 1e-3)), 1)
        cut: list[list[int]] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            cut += self._cut(part[np.argsort(self._durations[part], kind="stable")])
        cut = [cut[i] for i in rng.permutation(len(cut))]
        # Ranks must take the same number of steps or the last one waits for ever.
        even = len(cut) - len(cut) % self._world
        return [[(epoch, int(i)) for i in batch] for batch in cut[self._rank : even : self._world]]

    def _cut(self, ordered: NDArray[np.int64]) -> list[list[int]]:
        batches: list[list[int]] = []
        batch: list[int] = []
        for index in ordered.tolist():
            longest = self._durations[index]  # the order is ascending
            if batch and longest * (len(batch) + 1) > self._batch_seconds:
                batches.append(batch)
                batch = []
            batch.append(index)
        return [*batches, batch] if batch else batches

    def __len__(self) -> int:
        return len(self.batches(self._epoch))

    def __iter__(self) -> Iterator[list[Key]]:
        batches = self.batches(self._epoch)
        skip, self.skip = self.skip, 0
        yield from batches[skip:]
