"""The Lightning module: loss, optimiser, validation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jiwer
import pytorch_lightning as pl
import torch
from ossicle.data.recordings import Batch
from ossicle.data.text import Tokenizer
from ossicle.model.config import FRAME_SAMPLES, FRAME_SECONDS, SAMPLE_RATE
from ossicle.model.decoding.hypothesis import GreedyDecoder
from ossicle.model.mel import mel_edges
from ossicle.model.network import Network, RecurrentLayer
from ossicle.model.training.config import TrainingConfig
from ossicle.model.training.losses import ctc_loss, disagreement, unlearnt
from ossicle.model.training.optimizer import muon_and_adamw
from ossicle.model.training.partition import log_partition
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F


class SpeechModule(pl.LightningModule):
    """Trains a `Network` with CTC.

    Args:
        config: the run.
        validation_names: of the validation sets, in the order of their loaders.
        tokenizer: of its texts; None: its characters are those of the texts.
        taught: D, the number of a teacher's features; 0 without one.
    """

    def __init__(
        self,
        config: TrainingConfig,
        validation_names: Sequence[str] = (),
        tokenizer: Tokenizer | None = None,
        taught: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        self.network = Network(config.model)
        self.pupil = nn.Linear(config.model.network.hidden, taught) if taught else None
        self.tokenizer = tokenizer or Tokenizer(config.model.characters)
        self.validation_names = tuple(validation_names)
        self.trigrams: Tensor | None = None  # of letters, where all texts are weighed
        self.skipped_steps = 0
        self._outputs: dict[int, list[tuple[str, str, float]]] = {}
        self._heard_seconds = 0.0
        self._clock = time.monotonic()

    def forward_batch(self, batch: Batch, *, augmented: bool) -> tuple[Tensor, Tensor]:
        """Log-probabilities (W * B, U, V) and valid frames (B,), the look-ahead flushed."""
        heard, frames = self.hear_batch(batch, augmented=augmented)
        return self.network.emit(heard), frames

    def hear_batch(self, batch: Batch, *, augmented: bool) -> tuple[Tensor, Tensor]:
        """What the last layer gives (W * B, U, H) and valid frames (B,), the look-ahead flushed.

        W is the number of views: 2 for augmented batches where the views' consistency is trained,
        else 1. All first views come before all second ones.
        """
        lookahead = self.network.config.network.lookahead
        samples = F.pad(batch.samples, (0, lookahead * FRAME_SAMPLES))
        state = self.network.initial_state(len(samples))
        # Features in full precision: bfloat16 keeps three digits of a power spectrum.
        with torch.no_grad(), torch.autocast(samples.device.type, enabled=False):
            log_mel, _ = self.network.features(samples, state["samples"])
        frames = torch.ceil(batch.sample_counts / FRAME_SAMPLES).long()
        if augmented:
            views = 2 if self.config.consistency else 1
            log_mel = torch.cat(
                [self._augment(log_mel, frames, views * batch.seed + view) for view in range(views)]
            )
        else:
            log_mel = self._adapt(log_mel)
        heard, _ = self.network.hear(log_mel, self.network.initial_state(len(log_mel)))
        return heard[:, lookahead:], frames

    def _augment(self, log_mel: Tensor, frames: Tensor, seed: int) -> Tensor:
        config, device = self.config, log_mel.device
        if config.vocal_tract is not None:
            centres = mel_edges(config.model.features)[1:-1]
            warp = config.vocal_tract.matrices(centres, len(log_mel), seed)
            with torch.autocast(device.type, enabled=False):
                log_mel = log_mel @ torch.from_numpy(warp).to(device)
        if config.equalizer is not None:
            curves = config.equalizer.curves(log_mel.shape[2], len(log_mel), seed)
            colour = torch.from_numpy(curves).to(device) / self.network.features.deviation
            log_mel = log_mel + colour[:, None]
        log_mel = self._adapt(log_mel)  # masks say nothing of microphones
        if config.spec_augment is not None:
            keep = config.spec_augment.mask(frames.cpu().numpy() * 4, log_mel.shape[2], seed)
            # What lies behind the speech is kept: the network looks ahead into it.
            behind = log_mel.shape[1] - keep.shape[1]
            mask = F.pad(torch.from_numpy(keep), (0, 0, 0, behind), value=1.0)
            log_mel = log_mel * mask.to(device)
        return log_mel

    def _adapt(self, log_mel: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(log_mel.device.type, enabled=False):
            log_mel, _ = self.network.adapt(log_mel, self.network.initial_state(len(log_mel)))
        return log_mel

    def loss(self, heard: Tensor, frames: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised, per target token, and what its curves show of it.

        Args:
            heard, frames: from `hear_batch`.
        """
        log_probs = self.network.emit(heard)
        views = len(log_probs) // len(frames)
        ctc = ctc_loss(
            log_probs,
            frames.repeat(views),
            batch.targets.repeat(views, 1),
            batch.target_counts.repeat(views),
        )
        loss, tokens = ctc, batch.target_counts.sum().clamp(min=1)
        if views == 2:
            first, second = log_probs.chunk(2)
            differ = disagreement(first, second, frames)
            loss = loss + self.config.consistency * differ / tokens
        if self.config.discrimination:
            partition = self._log_partition(log_probs, frames.repeat(views)).sum()
            loss = loss + self.config.discrimination * partition / (views * tokens)
        parts = {"loss": ctc}
        if self.pupil is not None and self.config.teacher and batch.taught is not None:
            parts["unlearnt"] = unlearnt(self.pupil(heard), batch.taught, frames)
            loss = loss + self.config.teacher.weight * parts["unlearnt"]
        return loss, parts | {"objective": loss}

    def _log_partition(self, log_probs: Tensor, frames: Tensor) -> Tensor:
        assert self.trigrams is not None, "letter trigrams are set before training"
        self.trigrams = self.trigrams.to(log_probs.device)
        # Probabilities of whole texts in full precision.
        with torch.autocast(log_probs.device.type, enabled=False):
            return log_partition(log_probs, frames, self.trigrams, self.tokenizer.tokens.index(" "))

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Make dropout a function of seed and step, so that a resumed run repeats nothing."""
        seed = (self.config.seed * 1000 + self.global_rank) * 10**9 + self.global_step
        torch.manual_seed(seed % 2**63)  # torch takes 64 bits

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step; logs the CTC loss, what is minimised, and the seconds of speech per second."""
        heard, frames = self.hear_batch(batch, augmented=True)
        loss, parts = self.loss(heard, frames, batch)
        for name, part in parts.items():
            self.log(f"train/{name}", part, prog_bar=name == "loss")
        self._heard_seconds += float(batch.sample_counts.sum()) / SAMPLE_RATE
        if self.global_step % 20 == 19:
            now = time.monotonic()
            self.log("train/speech_seconds_per_second", self._heard_seconds / (now - self._clock))
            self._heard_seconds, self._clock = 0.0, now
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm; a step whose gradient is not finite is skipped and counted."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), self.config.optim.clip)
        self.log("train/gradient_norm", norm)
        if not torch.isfinite(norm):
            self.skipped_steps += 1
            optimizer.zero_grad()
        self.log("train/skipped_steps", float(self.skipped_steps))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the count of skipped steps."""
        checkpoint["skipped_steps"] = self.skipped_steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the count of skipped steps; older checkpoints have none."""
        self.skipped_steps = checkpoint.get("skipped_steps", 0)

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._outputs = {i: [] for i in range(len(self.validation_names))}

    def validation_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        """CTC loss and greedy transcripts, in tokens: letters or phonemes."""
        log_probs, frames = self.forward_batch(batch, augmented=False)
        loss = ctc_loss(log_probs, frames, batch.targets, batch.target_counts)
        name = self.validation_names[dataloader_idx]
        # Weighed by tokens, as it is a mean of them: batches are of like length, so texts differ.
        tokens = int(batch.target_counts.sum())
        self.log(f"{name}/loss", loss, add_dataloader_idx=False, batch_size=tokens)
        # Fetched at once: a card waits for each that is asked for.
        rows = log_probs.float().cpu().numpy()
        targets, counts = batch.targets.cpu().tolist(), batch.target_counts.cpu().tolist()
        texts = [
            self.tokenizer.decode(target[:count])
            for target, count in zip(targets, counts, strict=True)
        ]
        for row, count, text in zip(rows, frames.cpu().tolist(), texts, strict=True):
            decoder = GreedyDecoder(self.tokenizer.tokens, FRAME_SECONDS)
            decoder.advance(row[:count])
            hypothesis = decoder.hypothesis()
            self._outputs[dataloader_idx].append((text, hypothesis.text, hypothesis.confidence))

    def on_validation_epoch_end(self) -> None:
        """Error rates for each set, their mean as `cer`, and sample transcripts."""
        rates = []
        for index, outputs in self._outputs.items():
            if not outputs:
                continue
            name = self.validation_names[index]
            references, hypotheses = [o[0] for o in outputs], [o[1] for o in outputs]
            cer = jiwer.cer(references, hypotheses)
            rates.append(cer)
            self.log(f"{name}/wer", jiwer.wer(references, hypotheses), sync_dist=True)
            self.log(f"{name}/cer", cer, sync_dist=True)
            self._show(name, outputs)
        if rates:
            self.log("cer", sum(rates) / len(rates), prog_bar=True, sync_dist=True)
        self._clock, self._heard_seconds = time.monotonic(), 0.0

    def _show(self, name: str, outputs: Sequence[tuple[str, str, float]]) -> None:
        lines = []
        for reference, hypothesis, confidence in outputs[:: max(len(outputs) // 4, 1)][:4]:
            lines += [f"  said  {reference}", f"  heard {hypothesis} ({confidence:.2f})"]
        text = f"{name}, step {self.global_step}\n" + "\n".join(lines)
        self.print(text)
        for logger in self.loggers:
            if isinstance(logger, pl.loggers.TensorBoardLogger):
                logger.experiment.add_text(name, text.replace("\n", "  \n"), self.global_step)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Muon and AdamW; linear warm-up, a plateau, then a linear fall."""
        layers = [layer for layer in self.network.layers if isinstance(layer, RecurrentLayer)]
        gates = [p for layer in layers for p in layer.recurrence.parameters() if p.ndim > 1]
        return muon_and_adamw(self, gates, self.config)
