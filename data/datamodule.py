"""From manifests to padded batches: the Lightning DataModule.

The order of training is a function of (seed, epoch) alone and the augmentation of a recording of
(seed, epoch, recording), so a run gives the same batches whatever the number of workers, and a
resumed run goes on with the batch that would have been next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from ossicle.data.audio import SAMPLE_RATE
from ossicle.data.augment import AugmentConfig, Augmenter, load_noise
from ossicle.data.bucketing import BucketSampler
from ossicle.data.cache import PcmCache
from ossicle.data.check import LONGEST_SECONDS, SHORTEST_SECONDS
from ossicle.data.leaks import LeakRules
from ossicle.data.manifest import iterate_manifest, read_manifest
from ossicle.data.recordings import Item, Listener, Recordings, collate
from ossicle.data.shared_text import HeldOutText
from ossicle.data.text import FRAME_SAMPLES, Tokenizer, fits_in_frames, normalize
from torch.utils.data import DataLoader


@dataclass(frozen=True)
class TrainSet:
    """One manifest to train on.

    Attributes:
        manifest: its path.
        hours: train on about so many hours of it only, chosen by the seed; 0 takes all.
        repeat: how often each recording comes in an epoch; below 1, that share of them is drawn
            anew for each epoch.
        sources: repeat by `source` of the manifest, for sources that deserve more or less than
            the rest; 0 leaves a source out.
    """

    manifest: Path
    hours: float = 0.0
    repeat: float = 1.0
    sources: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("hours", self.hours), ("repeat", self.repeat), *self.sources.items()):
            if not value >= 0:
                raise ValueError(f"{name} of {self.manifest} is {value}: give 0 or more")

    def weight(self, source: str) -> float:
        """How often a recording of a source comes in an epoch."""
        return self.repeat * self.sources.get(source, 1.0)

    def check_sources(self) -> None:
        """Make sure that the manifest has all `sources`: a misspelt one would change nothing.

        Raises:
            ValueError: naming the source and those there are.
        """
        there = {utterance.source for utterance in iterate_manifest(self.manifest)}
        if unknown := sorted(self.sources.keys() - there):
            known = ", ".join(sorted(there - {""})) or "none"
            raise ValueError(
                f"{self.manifest} has no source {', '.join(unknown)}; its sources are: {known}"
            )


@dataclass(frozen=True)
class DataConfig:
    """What to train and validate on, and how batches are made.

    Attributes:
        train: manifests to train on.
        validation: manifests to validate on, each a curve of its own.
        held_out: manifests whose sentences are left out of the training data and counted (see
            `ossicle.data.shared_text` for what counts as shared).
        noise: manifest of noises and room responses (`kind` "rir"), if any.
        cache: folder for decoded audio.
        batch_seconds: seconds of audio in a batch, padding included, before augmentation: slower
            speech and pauses come on top, and the longest recording pads all the others.
        min_seconds, max_seconds: shorter and longer recordings are left out and counted.
        workers: processes that augment; 0 works in the training process.
    """

    train: tuple[TrainSet, ...]
    validation: tuple[Path, ...] = ()
    held_out: tuple[Path, ...] = ()
    noise: Path | None = None
    cache: Path = Path("runs/cache")
    batch_seconds: float = 160.0
    min_seconds: float = SHORTEST_SECONDS
    max_seconds: float = LONGEST_SECONDS
    workers: int = 2

    def __post_init__(self) -> None:
        if not self.batch_seconds > 0:
            raise ValueError(f"batch_seconds is {self.batch_seconds}: give more than 0")
        if not 0 <= self.min_seconds < self.max_seconds:
            raise ValueError(
                f"min_seconds is {self.min_seconds} and max_seconds {self.max_seconds}: give 0 or "
                "more, and more than that"
            )
        if self.workers < 0:
            raise ValueError(f"workers is {self.workers}: give 0 or more")
        # The curves of training have this name.
        names = ["train", *(path.stem for path in self.validation)]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"the validation manifest {' and '.join(sorted(repeated))}.jsonl has a name that "
                "another curve has: rename it"
            )


def choose_hours(train_set: TrainSet, seed: int) -> list[int]:
    """Random lines of a manifest, in its order, whose durations sum to about its hours.

    None of a source that is left out.
    """
    utterances = read_manifest(train_set.manifest)
    durations = np.array([utterance.duration for utterance in utterances])
    order = np.random.default_rng(seed).permutation(len(durations))
    order = np.array([row for row in order if train_set.weight(utterances[row].source)], dtype=int)
    before = np.cumsum(durations[order]) - durations[order]
    return sorted(order[before < train_set.hours * 3600].tolist())


@dataclass
class Census:
    """What was left out of training and why, in recordings."""

    kept: int = 0
    too_short: int = 0
    too_long: int = 0
    no_text: int = 0
    text_too_long_for_audio: int = 0
    source_left_out: int = 0
    held_out: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in vars(self).items())


class SpeechDataModule(pl.LightningDataModule):
    """Training and validation batches from manifests.

    Args:
        config: manifests and batch size.
        augment: augmentation of training samples, or none.
        seed: of order, choice and augmentation.
        rules: what counts as a sentence of the sets that are held out.
        teacher: whose hearing of the training recordings comes with them.
        progress: called while audio is decoded into the cache, with (done, in all).
    """

    def __init__(
        self,
        config: DataConfig,
        augment: AugmentConfig | None,
        *,
        seed: int,
        tokenizer: Tokenizer | None = None,
        rules: LeakRules | None = None,
        teacher: Listener | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer or Tokenizer()
        self._augment = augment
        self._seed = seed
        self._rules = rules or LeakRules()
        self._teacher = teacher
        self._progress = progress
        self.census = Census()
        self._train: Recordings | None = None
        self._weights = np.zeros(0)
        self._validation: list[Recordings] = []
        self._has_started = False

    @property
    def validation_names(self) -> list[str]:
        """Names of the validation sets, from their file names."""
        return [path.stem for path in self.config.validation]

    def _cache(self, chosen: TrainSet) -> PcmCache:
        return PcmCache(
            chosen.manifest,
            self.config.cache,
            rows=choose_hours(chosen, self._seed) if chosen.hours else None,
            workers=max(self.config.workers, 1),
            progress=self._progress,
        )

    def _spoken(self, chosen: TrainSet) -> PcmCache:
        """A cache whose texts are in normal form, as tokens are."""
        cache = self._cache(chosen)
        cache.utterances = [replace(u, text=normalize(u.text)) for u in cache.utterances]
        return cache

    def _check_text(self, manifest: Path, text: str) -> None:
        try:
            self.tokenizer.encode(normalize(text))
        except ValueError as error:
            raise ValueError(f"{manifest}: {error}") from error

    def prepare_data(self) -> None:
        """Decode what is not yet in the cache; Lightning calls it in one process per machine.

        Raises:
            ValueError: a manifest lacks a source of `config`, or a text of it has no tokens.
        """
        for train_set in self.config.train:
            train_set.check_sources()
        for manifest in [*(s.manifest for s in self.config.train), *self.config.validation]:
            for utterance in iterate_manifest(manifest):
                self._check_text(manifest, utterance.text)
        for train_set in self.config.train:
            self._cache(train_set)
        for manifest in self.config.validation:
            self._cache(TrainSet(manifest))

    def setup(self, stage: str | None = None) -> None:
        """Open the caches and choose the recordings."""
        if self._train is not None:
            return
        caches = [self._spoken(train_set) for train_set in self.config.train]
        rows, weights = self._choose(caches)
        self._weights = np.array(weights)
        self._train = Recordings(
            caches,
            rows,
            self.tokenizer,
            seed=self._seed,
            augmenter=self._augmenter(),
            teacher=self._teacher,
        )
        for manifest in self.config.validation:
            cache = self._spoken(TrainSet(manifest))
            self._validation.append(
                Recordings([cache], [(0, row) for row in range(len(cache))], self.tokenizer)
            )

    def _choose(self, caches: Sequence[PcmCache]) -> tuple[list[tuple[int, int]], list[float]]:
        rows: list[tuple[int, int]] = []
        weights: list[float] = []
        census = self.census
        held_out = HeldOutText(
            (
                utterance.text
                for manifest in self.config.held_out
                for utterance in read_manifest(manifest)
            ),
            self._rules.sentence_words,
            self._rules.run_words,
        )
        for number, (train_set, cache) in enumerate(zip(self.config.train, caches, strict=True)):
            durations = cache.durations
            for row in range(len(cache)):
                utterance, duration = cache.utterances[row], durations[row]
                weight = train_set.weight(utterance.source)
                if weight == 0:
                    census.source_left_out += 1
                elif duration < self.config.min_seconds:
                    census.too_short += 1
                elif duration > self.config.max_seconds:
                    census.too_long += 1
                elif not utterance.text:
                    census.no_text += 1
                elif not fits_in_frames(
                    self.tokenizer.encode(utterance.text),
                    int(duration * SAMPLE_RATE) // FRAME_SAMPLES,
                ):
                    census.text_too_long_for_audio += 1
                elif held_out.shares(utterance.text):
                    census.held_out += 1
                else:
                    census.kept += 1
                    rows.append((number, row))
                    weights.append(weight)
        if not rows:
            raise ValueError(f"nothing left to train on: {census}; see `ossicle data check`")
        return rows, weights

    def _augmenter(self) -> Augmenter | None:
        if self._augment is None:
            return None
        if self.config.noise is None:
            return Augmenter(self._augment)
        noises, responses = load_noise(self.config.noise)
        return Augmenter(self._augment, noises, responses)

    @property
    def train_recordings(self) -> Recordings:
        """The chosen training recordings; `setup` must have run."""
        assert self._train is not None, "call setup() first"
        return self._train

    @property
    def train_hours(self) -> float:
        """Hours of speech in one epoch."""
        return float(np.sum(self.train_recordings.durations * self._weights)) / 3600

    def train_dataloader(self) -> DataLoader[Item]:
        """Augmented batches of the trainer's epoch, to be asked for anew in each epoch.

        The first time in a resumed run, it goes on where the run stopped.
        """
        trainer = self.trainer
        skip = trainer.fit_loop.epoch_loop.batch_progress.current.ready if trainer else 0
        sampler = BucketSampler(
            self.train_recordings.durations,
            self.config.batch_seconds,
            seed=self._seed,
            epoch=trainer.current_epoch if trainer else 0,
            weights=self._weights,
            rank=trainer.global_rank if trainer else 0,
            world=trainer.world_size if trainer else 1,
            # Later the count is that of the epoch that has just ended.
            skip=0 if self._has_started else skip,
        )
        self._has_started = True
        if not len(sampler):
            raise ValueError(
                f"an epoch has no batch: {60 * self.train_hours:.3g} minutes of speech, and "
                f"batch_seconds is {self.config.batch_seconds:g}; add recordings, repeat them, or "
                "train on fewer devices"
            )
        workers = self.config.workers
        return DataLoader(
            self.train_recordings,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=workers,
            prefetch_factor=8 if workers else None,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> list[DataLoader[Item]]:
        """One loader for each validation set, recordings from short to long."""
        loaders = []
        for recordings in self._validation:
            sampler = BucketSampler(recordings.durations, self.config.batch_seconds, seed=0)
            loaders.append(
                DataLoader(recordings, batch_sampler=sampler, collate_fn=collate, num_workers=0)
            )
        return loaders
