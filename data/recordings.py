"""Recordings as the items that batches are made of: samples, token numbers, and their padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from ossicle.data.augment import Augmenter
from ossicle.data.bucketing import Key
from ossicle.data.cache import PcmCache
from ossicle.data.manifest import Utterance
from ossicle.data.text import FRAME_SAMPLES, Tokenizer, fits_in_frames
from torch import Tensor
from torch.utils.data import Dataset


class Batch(NamedTuple):
    """Padded recordings and their targets.

    Attributes:
        samples: (B, N) float32, zeros behind each recording's end.
        sample_counts: (B,) int64.
        targets: (B, S) int64 token numbers, zeros behind each text's end.
        target_counts: (B,) int64.
        seed: for augmentation that happens after the batch is made.
    """

    samples: Tensor
    sample_counts: Tensor
    targets: Tensor
    target_counts: Tensor
    seed: int


Item = tuple[NDArray[np.float32], list[int], int]
"""Samples (N,), token numbers, and a seed for augmentation of the batch."""


class Recordings(Dataset[Item]):
    """Recordings of several caches in one list, augmented when an augmenter is given.

    A worker needs to know nothing but the key.
    """

    def __init__(
        self,
        caches: Sequence[PcmCache],
        rows: Sequence[tuple[int, int]],
        tokenizer: Tokenizer,
        *,
        seed: int = 0,
        augmenter: Augmenter | None = None,
    ) -> None:
        self._caches = caches
        self._rows = rows
        self._tokenizer = tokenizer
        self._seed = seed
        self._augmenter = augmenter

    def __len__(self) -> int:
        return len(self._rows)

    def utterance(self, index: int) -> Utterance:
        """The manifest's line behind `index`."""
        cache, row = self._rows[index]
        return self._caches[cache].utterances[row]

    def clean(self, index: int) -> NDArray[np.float32]:
        """Samples (N,) of a recording, not augmented."""
        cache, row = self._rows[index]
        return self._caches[cache][row]

    @property
    def durations(self) -> NDArray[np.float64]:
        """Seconds of each recording before augmentation."""
        by_cache = [cache.durations for cache in self._caches]
        return np.array([by_cache[cache][row] for cache, row in self._rows])

    def __getitem__(self, key: Key) -> Item:
        cache, row = self._rows[key.recording]
        samples = self._caches[cache][row]
        tokens = self._tokenizer.encode(self._caches[cache].utterances[row].text)
        rng = np.random.default_rng((self._seed, *key))
        if self._augmenter is not None:
            augmented = self._augmenter(samples, rng)
            # Speech sped up may get too short for its text; then it is taken as spoken.
            if fits_in_frames(tokens, len(augmented) // FRAME_SAMPLES):
                samples = augmented
        return samples, tokens, int(rng.integers(2**31))


def collate(items: Sequence[Item]) -> Batch:
    """Pad recordings and targets to the longest of each, samples to whole 40 ms frames."""
    longest = max(len(samples) for samples, _, _ in items)
    padded = np.zeros((len(items), -(-longest // FRAME_SAMPLES) * FRAME_SAMPLES), dtype=np.float32)
    targets = np.zeros((len(items), max(len(t) for _, t, _ in items)), dtype=np.int64)
    for i, (samples, tokens, _) in enumerate(items):
        padded[i, : len(samples)] = samples
        targets[i, : len(tokens)] = tokens
    return Batch(
        torch.from_numpy(padded),
        torch.tensor([len(samples) for samples, _, _ in items]),
        torch.from_numpy(targets),
        torch.tensor([len(tokens) for _, tokens, _ in items]),
        items[0][2],
    )
