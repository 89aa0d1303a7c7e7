"""Seconds of speech trained per second, and where the time goes.

    python tests/bench/training.py CONFIG [--steps 12] [--device cpu]

Runs the same batches of the configuration twice in one process: as `ossicle train` does, and as a
baseline in float32 with the batches made in the training process. Their ratio is what to compare
between machines and between versions; the seconds themselves depend on who else uses the machine.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from ossicle.data.bucketing import BucketSampler
from ossicle.data.datamodule import SpeechDataModule
from ossicle.data.recordings import Batch, collate
from ossicle.model.config import SAMPLE_RATE
from ossicle.model.training.allocator import keep_freed_memory
from ossicle.model.training.config import TrainingConfig
from ossicle.model.training.module import SpeechModule
from ossicle.model.training.teacher import Teacher
from ossicle.model.training.train import tokenizer_of, trigrams_of
from torch.utils.data import DataLoader

PARTS = ("data", "forward", "loss", "backward", "optimiser")


class Run:
    """Training steps over given batches, with a clock for each part."""

    def __init__(
        self, config: TrainingConfig, data: SpeechDataModule, taught: int, device: str
    ) -> None:
        torch.manual_seed(1)
        self.device = torch.device(device)
        self.module = SpeechModule(config, data.validation_names, data.tokenizer, taught)
        self.module.trigrams = trigrams_of(data) if config.discrimination else None
        self.module.to(self.device)
        self.optimizer = self.module.configure_optimizers()["optimizer"]
        self.half = config.precision == "bf16-mixed"
        self.seconds: Counter[str] = Counter()
        self.speech = 0.0

    @contextmanager
    def clock(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds[part] += time.perf_counter() - start

    def step(self, batch: Batch) -> None:
        batch = Batch(*(x.to(self.device) if torch.is_tensor(x) else x for x in batch))
        with (
            self.clock("forward"),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.half),
        ):
            heard, frames = self.module.hear_batch(batch, augmented=True)
        with self.clock("loss"):
            loss, _ = self.module.loss(heard, frames, batch)
        with self.clock("backward"):
            loss.backward()
        with self.clock("optimiser"):
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.speech += float(batch.sample_counts.sum()) / SAMPLE_RATE

    def over(self, loader: DataLoader[object], warm_up: int) -> None:
        """All batches; the first ones are not counted."""
        batches = iter(loader)
        for number in range(len(loader)):
            if number == warm_up:
                self.seconds.clear()
                self.speech = 0.0
            with self.clock("data"):
                batch = next(batches)
            self.step(batch)

    def report(self, name: str) -> float:
        total = sum(self.seconds.values())
        shares = ", ".join(f"{part} {self.seconds[part] / total:.0%}" for part in PARTS)
        print(f"{name}: {self.speech / total:.0f} s of speech per second ({shares})", flush=True)
        return self.speech / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    config = TrainingConfig.load(arguments.config)
    teacher = Teacher(config.teacher.encoder) if config.teacher else None
    taught = teacher.features if teacher else 0
    with TemporaryDirectory() as run:
        tokenizer = tokenizer_of(config, Path(run), resume=False)
    data = SpeechDataModule(
        config.data, config.augment, seed=1, tokenizer=tokenizer, teacher=teacher
    )
    data.prepare_data()
    data.setup()
    sampler = BucketSampler(data.train_recordings.durations, config.data.batch_seconds, seed=1)
    warm_up = 3
    sampler.batches = sampler.batches[: arguments.steps + warm_up]

    def loader(workers: int) -> DataLoader[object]:
        return DataLoader(
            data.train_recordings,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=workers,
            prefetch_factor=8 if workers else None,
        )

    baseline = Run(replace(config, precision="32-true"), data, taught, arguments.device)
    baseline.over(loader(0), warm_up)
    before = baseline.report("baseline")
    keep_freed_memory()
    ours = Run(config, data, taught, arguments.device)
    ours.over(loader(config.data.workers), warm_up)
    print(f"{ours.report('as trained') / before:.2f} times the baseline")


if __name__ == "__main__":
    main()
