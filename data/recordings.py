"""Recordings as the items that batches are made of: samples, token numbers, and their padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        taught: (B, U, D) float32, what a teacher hears in each frame, zeros behind each
            recording's end; None without a teacher.
    """

    samples: Tensor
    sample_counts: Tensor
    targets: Tensor
    target_counts: Tensor
    seed: int
    taught: Tensor | None = None


class Item(NamedTuple):
    """One recording of a batch.

    Attributes:
        samples: (N,).
        tokens: numbers of its text's.
        seed: for augmentation of the batch.
        taught: (U, D), what a teacher hears in each frame of 40 ms, if there is one.
    """

    samples: NDArray[np.float32]
    tokens: list[int]
    seed: int
    taught: NDArray[np.float32] | None = None


Listener = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Samples (N,) -> what it hears in each whole or begun frame of 40 ms, (U, D)."""


class Recordings(Dataset[Item]):
    """Recordings of several caches in one list, augmented when an augmenter is given.

    A worker needs to know nothing but the key.

    Args:
        teacher: hears each recording of training as it is before room, noise and codec.
    """

    def __init__(
        self,
        caches: Sequence[PcmCache],
        rows: Sequence[tuple[int, int]],
        tokenizer: Tokenizer,
        *,
        seed: int = 0,
        augmenter: Augmenter | None = None,
        teacher: Listener | None = None,
    ) -> None:
        self._caches = caches
        self._rows = rows
        self._tokenizer = tokenizer
        self._seed = seed
        self._augmenter = augmenter
        self._teacher = teacher

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
        plain = samples
        if self._augmenter is not None:
            paced = self._augmenter.pace(samples, rng)
            augmented = self._augmenter.disguise(paced, rng)
            # Speech sped up may get too short for its text; then it is taken as spoken.
            if fits_in_frames(tokens, len(augmented) // FRAME_SAMPLES):
                plain, samples = paced, augmented
        seed = int(rng.integers(2**31))
        return Item(samples, tokens, seed, self._teacher(plain) if self._teacher else None)


def collate(items: Sequence[Item]) -> Batch:
    """Pad recordings and targets to the longest of each, samples to whole 40 ms frames."""
    frames = -(-max(len(item.samples) for item in items) // FRAME_SAMPLES)
    padded = np.zeros((len(items), frames * FRAME_SAMPLES), dtype=np.float32)
    targets = np.zeros((len(items), max(len(item.tokens) for item in items)), dtype=np.int64)
    for i, item in enumerate(items):
        padded[i, : len(item.samples)] = item.samples
        targets[i, : len(item.tokens)] = item.tokens
    taught = None
    if items[0].taught is not None:
        taught = torch.zeros(len(items), frames, items[0].taught.shape[1])
        for row, item in zip(taught, items, strict=True):
            assert item.taught is not None, "a teacher hears all or none"
            row[: len(item.taught)] = torch.from_numpy(item.taught)
    return Batch(
        torch.from_numpy(padded),
        torch.tensor([len(item.samples) for item in items]),
        torch.from_numpy(targets),
        torch.tensor([len(item.tokens) for item in items]),
        items[0].seed,
        taught,
    )
