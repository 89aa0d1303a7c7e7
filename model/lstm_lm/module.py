"""Training of the language model: batches of windows, the Lightning module, validation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from ossicle.model.lstm_lm.config import LanguageTrainingConfig, curve_name
from ossicle.model.lstm_lm.network import LanguageNetwork
from ossicle.model.lstm_lm.text import Text, read_sentences
from ossicle.model.lstm_lm.units import Units, learn_units
from ossicle.model.training.optimizer import muon_and_adamw
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

VALIDATION_BATCH = 64


class Windows(Dataset[Tensor]):
    """Examples cut out of a corpus: a batch (S + 1, B) for an array of positions (B,)."""

    def __init__(self, units: NDArray[np.uint16], length: int) -> None:
        self._units = units
        self._offsets = np.arange(length + 1)[:, None]

    def __getitem__(self, positions: NDArray[np.int64]) -> Tensor:
        """Time first; the unit after the last is there as a target."""
        return torch.from_numpy(self._units[positions + self._offsets].astype(np.int64))


class WindowSampler(Sampler[NDArray[np.int64]]):
    """The batches of an epoch, each an array of positions (B,), shuffled.

    Args:
        positions, weights: of all examples, and how often each comes in an epoch.
        batch: B; what is left at the end of an epoch is dropped.
        seed, epoch: what order and choice are functions of.
        skip: batches that an interrupted run has seen already; they count in the length.

    Raises:
        ValueError: an epoch has fewer examples than one batch.
    """

    def __init__(
        self,
        positions: NDArray[np.int64],
        weights: NDArray[np.float32],
        batch: int,
        *,
        seed: int,
        epoch: int,
        skip: int = 0,
    ) -> None:
        rng = np.random.default_rng((seed, epoch))
        times = np.floor(weights + rng.random(len(weights))).astype(int)
        order = rng.permutation(np.repeat(positions, times))
        if (examples := float(weights.sum())) < batch:
            raise ValueError(f"{examples:g} examples do not fill a batch of {batch}: make it less")
        # An epoch may draw fewer than there are on average: then some come again.
        order = np.resize(order, max(len(order), batch))
        self._batches = order[: len(order) // batch * batch].reshape(-1, batch)
        self._skip = skip

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        yield from self._batches[self._skip :]


class TextDataModule(pl.LightningDataModule):
    """Batches of text.

    Args:
        config: the run.
        units: those of the run that is resumed; None learns them from the training text.

    Attributes:
        facts: how much training text there is, by name.

    Raises:
        TextFileError, ManifestError: a text cannot be read or is not valid.
        ValueError: there is too little text.
    """

    def __init__(self, config: LanguageTrainingConfig, units: Units | None = None) -> None:
        super().__init__()
        self.config = config
        text = Text.read(config.data.train, config.data.validation)
        self.units = units or learn_units(text.counts(), config.model.units)
        corpus = text.cut(self.units)
        self.facts = {
            "sentences": len(text.starts),
            "words": len(text.row) - len(text.starts) - 1,
            "distinct_words": len(text.words) - 1,
            "units": len(corpus.units),
            "excluded_sentences": text.excluded,
        }
        self._positions, self._weights = corpus.windows(config.data.window)
        self._windows = Windows(corpus.units, config.data.window)
        self._validation = [
            [text for text, _ in read_sentences(path)] for path in config.data.validation
        ]
        for path, texts in zip(config.data.validation, self._validation, strict=True):
            if not texts:
                raise ValueError(f"{path} has no words to judge by: name another validation text")
        self._has_started = False

    @property
    def validation_names(self) -> list[str]:
        """Names of the validation texts, from their file names."""
        return [curve_name(path) for path in self.config.data.validation]

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Batches (S + 1, B) of the trainer's epoch, to be asked for anew in each epoch.

        The first time in a resumed run, it goes on where the run stopped.
        """
        trainer = self.trainer
        seen = trainer.fit_loop.epoch_loop.batch_progress.current.ready if trainer else 0
        sampler = WindowSampler(
            self._positions,
            self._weights,
            self.config.data.batch,
            seed=self.config.seed,
            epoch=trainer.current_epoch if trainer else 0,
            skip=0 if self._has_started else seen,
        )
        self._has_started = True
        return DataLoader(self._windows, sampler=sampler, batch_size=None)

    def val_dataloader(self) -> list[DataLoader[tuple[Tensor, int]]]:
        """For each validation text, batches and their characters: see `validation_batches`."""
        return [
            DataLoader(validation_batches(texts, self.units), batch_size=None)  # type: ignore[arg-type]
            for texts in self._validation
        ]


def pad(sequences: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Columns (S, B) of unit numbers, filled up with -1."""
    table = np.full((max(map(len, sequences)), len(sequences)), -1, np.int64)
    for column, sequence in enumerate(sequences):
        table[: len(sequence), column] = sequence
    return table


def validation_batches(texts: Sequence[str], units: Units) -> list[tuple[Tensor, int]]:
    """Texts of like length together: columns (S, B) between ends, padded with -1.

    With each batch comes the number of its characters, a space after each text included: whatever
    units a model has, its bits per character compare with those of another.
    """
    ordered = sorted(texts, key=len)
    parts = [ordered[i : i + VALIDATION_BATCH] for i in range(0, len(ordered), VALIDATION_BATCH)]
    return [
        (
            torch.from_numpy(pad([[0, *units.encode(text), 0] for text in part])),
            sum(len(text) + 1 for text in part),
        )
        for part in parts
    ]


class LanguageModule(pl.LightningModule):
    """Trains a `LanguageNetwork` to predict the next unit.

    Args:
        config: the run.
        units: whose number may be less than configured where there is little text.
        validation_names: of the validation texts, in the order of their loaders.
    """

    def __init__(
        self, config: LanguageTrainingConfig, units: Units, validation_names: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.config = config
        self.units = units
        self.network = LanguageNetwork(replace(config.model, units=len(units.names)))
        self.validation_names = tuple(validation_names)
        self._bits: dict[int, tuple[float, int]] = {}

    def on_train_batch_start(self, batch: Tensor, batch_index: int) -> None:
        """Make dropout a function of seed and step, so that a resumed run repeats nothing."""
        torch.manual_seed((self.config.seed * 10**9 + self.global_step) % 2**63)

    def training_step(self, batch: Tensor, batch_index: int) -> Tensor:
        """Nats per unit of a batch (S + 1, B)."""
        state = self.network.initial_state(batch.shape[1])
        log_probs, _, _ = self.network.score(batch[:-1], batch[1:], *state)
        loss = -log_probs.mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._bits = {}

    def validation_step(
        self, batch: tuple[Tensor, int], batch_index: int, dataloader_idx: int = 0
    ) -> None:
        """Bits and characters of a batch of whole texts."""
        rows, characters = batch
        state = self.network.initial_state(rows.shape[1])
        log_probs, _, _ = self.network.score(rows[:-1].clamp(min=0), rows[1:].clamp(min=0), *state)
        bits = -float(log_probs[rows[1:] >= 0].sum()) / math.log(2)
        old_bits, old_characters = self._bits.get(dataloader_idx, (0.0, 0))
        self._bits[dataloader_idx] = (old_bits + bits, old_characters + int(characters))

    def on_validation_epoch_end(self) -> None:
        """Bits per character of each text, and their mean."""
        rates = []
        for index, (bits, characters) in sorted(self._bits.items()):
            rates.append(bits / characters)
            self.log(f"{self.validation_names[index]}/bits_per_character", rates[-1])
        if rates:
            self.log("bits_per_character", sum(rates) / len(rates), prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the units: without them the weights mean nothing."""
        checkpoint["units"] = list(self.units.names)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """As for the acoustic model: Muon for the recurrent weights, AdamW for the rest."""
        gates = [layer.get_parameter("weight_hh_l0") for layer in self.network.layers]
        return muon_and_adamw(self, gates, self.config)
