"""Batches of recordings of like duration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


class Key(NamedTuple):
    """Of a recording that is heard in training, all that its augmentation depends on.

    Attributes:
        recording: its index in `Recordings`.
        repetition: of those in the same epoch, each of which is augmented otherwise.
    """

    epoch: int
    recording: int
    repetition: int = 0


class BucketSampler(Sampler[list[Key]]):
    """Batches of recordings of like length, about `batch_seconds` each, padding included.

    Recordings are shuffled, sorted within pools of some fifty batches, cut into batches, and the
    batches shuffled: little padding, and company that changes from epoch to epoch.

    Args:
        durations: seconds of each recording.
        batch_seconds: size of a batch; a longer recording is a batch alone.
        seed, epoch: what the order is a function of.
        weights: how often each recording comes in an epoch (see `TrainSet.repeat`).
        rank, world: this process's share in distributed training.
        skip: batches at the start that an interrupted run has already seen; they still count in
            the length.

    Attributes:
        batches: this rank's batches of keys for `Recordings`.
    """

    def __init__(
        self,
        durations: NDArray[np.float64],
        batch_seconds: float,
        *,
        seed: int,
        epoch: int = 0,
        weights: NDArray[np.float64] | None = None,
        rank: int = 0,
        world: int = 1,
        skip: int = 0,
    ) -> None:
        self._batch_seconds = batch_seconds
        self._skip = skip
        rng = np.random.default_rng((seed, epoch))
        weights = np.ones(len(durations)) if weights is None else weights
        times = np.floor(weights + rng.random(len(weights))).astype(int)
        indices = np.repeat(np.arange(len(times)), times)
        repetitions = np.arange(len(indices)) - np.repeat(np.cumsum(times) - times, times)
        lengths = durations[indices]
        order = rng.permutation(len(indices))
        pool = max(int(50 * batch_seconds / max(float(durations.mean()), 1e-3)), 1)
        cut: list[list[int]] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            cut += self._cut(part[np.argsort(lengths[part], kind="stable")], lengths)
        cut = [cut[i] for i in rng.permutation(len(cut))]
        # Ranks must take the same number of steps or the last one waits for ever.
        even = len(cut) - len(cut) % world
        self.batches = [
            [Key(epoch, int(indices[place]), int(repetitions[place])) for place in batch]
            for batch in cut[rank:even:world]
        ]

    def _cut(self, ordered: NDArray[np.int64], lengths: NDArray[np.float64]) -> list[list[int]]:
        batches: list[list[int]] = []
        batch: list[int] = []
        for place in ordered.tolist():
            longest = lengths[place]  # the order is ascending
            if batch and longest * (len(batch) + 1) > self._batch_seconds:
                batches.append(batch)
                batch = []
            batch.append(place)
        return [*batches, batch] if batch else batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Key]]:
        yield from self.batches[self._skip :]
