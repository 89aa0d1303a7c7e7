"""The Lightning module: loss, optimiser, validation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jiwer
import pytorch_lightning as pl
import torch
from ossicle.data.datamodule import Batch
from ossicle.data.text import Tokenizer
from ossicle.model.config import FRAME_SAMPLES, FRAME_SECONDS, SAMPLE_RATE
from ossicle.model.decoding.hypothesis import GreedyDecoder
from ossicle.model.features import mel_edges
from ossicle.model.network import Network
from ossicle.model.training.config import TrainingConfig
from ossicle.model.training.optimizer import muon_and_adamw
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
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


class SpeechModule(pl.LightningModule):
    """Trains a `Network` with CTC.

    Args:
        config: the run.
        validation_names: of the validation sets, in the order of their loaders.
    """

    def __init__(self, config: TrainingConfig, validation_names: Sequence[str] = ()) -> None:
        super().__init__()
        self.config = config
        self.network = Network(config.model)
        self.tokenizer = Tokenizer(config.model.characters)
        self.validation_names = tuple(validation_names)
        self.skipped_steps = 0
        self._outputs: dict[int, list[tuple[str, str, float]]] = {}
        self._heard_seconds = 0.0
        self._clock = time.monotonic()

    def forward_batch(self, batch: Batch, *, augmented: bool) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, U, V) and valid frames (B,), the look-ahead flushed."""
        lookahead = self.network.config.network.lookahead
        state = self.network.initial_state(batch.samples.shape[0])
        samples = F.pad(batch.samples, (0, lookahead * FRAME_SAMPLES))
        # Features in full precision: bfloat16 keeps three digits of a power spectrum.
        with torch.no_grad(), torch.autocast(samples.device.type, enabled=False):
            log_mel, _ = self.network.features(samples, state["samples"])
        frames = torch.ceil(batch.sample_counts / FRAME_SAMPLES).long()
        if augmented and self.config.vocal_tract is not None:
            warp = self.config.vocal_tract.matrices(
                mel_edges(self.config.model.features)[1:-1], len(log_mel), batch.seed
            )
            log_mel = log_mel @ torch.from_numpy(warp).to(log_mel.device)
        if augmented and self.config.equalizer is not None:
            curves = self.config.equalizer.curves(log_mel.shape[2], len(log_mel), batch.seed)
            colour = torch.from_numpy(curves).to(log_mel.device) / self.network.features.deviation
            log_mel = log_mel + colour[:, None]
        if augmented and self.config.spec_augment is not None:
            keep = self.config.spec_augment.mask(
                frames.cpu().numpy() * 4, log_mel.shape[2], batch.seed
            )
            log_mel[:, : keep.shape[1]] *= torch.from_numpy(keep).to(log_mel.device)
        log_probs, _ = self.network.encode(log_mel, state)
        return log_probs[:, lookahead:], frames

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Make dropout a function of seed and step, so that a resumed run repeats nothing."""
        seed = (self.config.seed * 1000 + self.global_rank) * 10**9 + self.global_step
        torch.manual_seed(seed % 2**63)  # torch takes 64 bits

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step; logs the loss and the seconds of speech trained per second."""
        log_probs, frames = self.forward_batch(batch, augmented=True)
        loss = ctc_loss(log_probs, frames, batch.targets, batch.target_counts)
        self.log("train/loss", loss, prog_bar=True)
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
        """Loss and greedy transcripts."""
        log_probs, frames = self.forward_batch(batch, augmented=False)
        loss = ctc_loss(log_probs, frames, batch.targets, batch.target_counts)
        name = self.validation_names[dataloader_idx]
        self.log(f"{name}/loss", loss, add_dataloader_idx=False, batch_size=len(batch.texts))
        rows = log_probs.float().cpu().numpy()
        for row, count, text in zip(rows, frames.tolist(), batch.texts, strict=True):
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
        lstms = [layer.get_submodule("lstm") for layer in self.network.layers]
        gates = [p for lstm in lstms for p in lstm.parameters() if p.ndim > 1]
        return muon_and_adamw(self, gates, self.config.optim)
