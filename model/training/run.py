"""What training runs of every kind share: their folder, their trainer, their record."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from ossicle.data.folder_lock import LOCK, only_writer
from ossicle.data.replacing import replacing
from ossicle.model.training.allocator import give_back_freed_memory
from ossicle.model.training.config import RunConfig
from ossicle.model.training.curves import keep_curves, next_part
from ossicle.model.training.interruption import EndBetweenSteps
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
    WeightAveraging,
)
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

RESUME = "resume.ckpt"
CONFIG = "config.yaml"
TENSORBOARD = "tensorboard"
# What a run leaves that was stopped before its first checkpoint to go on from.
_OF_A_STOPPED_RUN = ("curves", TENSORBOARD, "best.ckpt", "plateau.ckpt", "run.json")


class RunExistsError(RuntimeError):
    """The run's folder already holds a run."""


class Stretches(pl.Callback):
    """Wall time and code of a run over all its stretches, kept in its checkpoints.

    Attributes:
        commits: the commit that each stretch ran, oldest first, without repetitions.
    """

    def __init__(self) -> None:
        self._seconds_before = 0.0
        self._start = time.monotonic()
        # Asked now: the working tree may move on while a run lasts.
        self.commits = [git_commit()]

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._seconds_before + time.monotonic() - self._start

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"seconds": self.seconds, "commits": self.commits}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._seconds_before = state_dict["seconds"]
        self.commits = list(dict.fromkeys([*state_dict["commits"], *self.commits]))


class ValidateAtEnd(pl.Callback):
    """Judges the last weights too, which few runs end an epoch with."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Ask Lightning for a validation after the last step."""
        if trainer.global_step == trainer.max_steps:
            trainer.check_val_every_n_epoch = 1
            trainer.should_stop = True


class BestCheckpoint(ModelCheckpoint):
    """Keeps `best.ckpt`, and goes on from what that file itself says of its score.

    A run may go on in a copy of its folder, or from a checkpoint before the best one.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        path = Path(str(self.dirpath)) / f"{self.filename}.ckpt"
        if not path.is_file():
            return
        best = torch.load(path, map_location="cpu", weights_only=False, mmap=True)
        score = best["callbacks"][self.state_key]["best_model_score"]
        super().load_state_dict(
            state_dict
            | {
                "dirpath": self.dirpath,
                "best_model_score": score,
                "best_model_path": str(path),
                "best_k_models": {str(path): score},
                "kth_best_model_path": str(path),
                "kth_value": score,
            }
        )


class GiveBackMemory(pl.Callback):
    """Lets the process shrink to what it needs, as often as checkpoints are written."""

    def on_save_checkpoint(self, *_: Any) -> None:
        """Whatever is in the checkpoint."""
        give_back_freed_memory()


def check_run(run: Path, resume: bool) -> None:
    """Make sure that a run is resumed only if there is one, and else none is overwritten.

    Raises:
        RunExistsError: saying what to do instead.
    """
    checkpoint = run / RESUME
    if resume and not checkpoint.exists():
        raise RunExistsError(f"nothing to resume: {checkpoint} is not there; leave --resume out")
    if not resume and checkpoint.exists():
        raise RunExistsError(
            f"{run} holds a run: add --resume to go on with it, or choose another --run folder"
        )
    if not resume and not (run / LOCK).exists():  # which every run leaves
        for name in (CONFIG, *_OF_A_STOPPED_RUN):
            if (run / name).exists():
                raise RunExistsError(
                    f"{run} holds {name}, which is of no run and would be overwritten: choose "
                    "another --run folder"
                )


def check_rates(run: Path, config: RunConfig) -> None:
    """Refuse another learning rate or weight decay than a run began with: a checkpoint has its own.

    Raises:
        ValueError: naming the values.
    """
    before = (yaml.safe_load((run / CONFIG).read_text()) or {}).get("optim", {})
    for name in ("learning_rate", "weight_decay"):
        value = getattr(config.optim, name)
        if before.get(name, value) != value:
            raise ValueError(
                f"{name} is {value}, and {run} began with {before[name]}, which its checkpoint "
                f"goes on with: give that, or begin another run with init: {run / RESUME}"
            )


def is_first() -> bool:
    """Whether this process is the first of the run, which keeps its folder and tells of it.

    With several GPUs, Lightning starts the whole command once for each of them.
    """
    return os.environ.get("LOCAL_RANK", "0") == "0"


@contextmanager
def claim(run: Path, resume: bool) -> Iterator[None]:
    """Be the one who trains in a folder.

    Raises:
        RunExistsError: as `check_run` says.
        FolderInUseError: another process trains there.
    """
    check_run(run, resume)
    with only_writer(run) if is_first() else nullcontext():
        if is_first() and not resume:
            for name in _OF_A_STOPPED_RUN:
                shutil.rmtree(run / name, ignore_errors=True)
                with suppress(OSError):
                    (run / name).unlink()
        yield


def fit(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    config: RunConfig,
    run: Path,
    *,
    monitor: str,
    checkpoint: Path | None,
    quiet: bool,
    callbacks: Sequence[pl.Callback] = (),
    **options: Any,
) -> Stretches:
    """Train until `config.optim.steps`, keeping checkpoints and curves in the run's folder.

    Args:
        monitor: name of the mean error of the validation sets, the lowest of which is kept.
        checkpoint: to go on from, if any.
        callbacks, options: of Lightning's trainer, besides those of every run.

    Raises:
        KeyboardInterrupt: Ctrl-C, or `Terminated`; what was trained is in the checkpoint.
        ValueError: as `check_rates` says.
    """
    run.mkdir(parents=True, exist_ok=True)
    if checkpoint:
        check_rates(run, config)
    (run / CONFIG).write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    stretches, end = Stretches(), EndBetweenSteps(run / RESUME)
    trainer = pl.Trainer(
        precision=config.precision,  # type: ignore[arg-type]
        max_steps=config.optim.steps,
        max_epochs=-1,
        limit_val_batches=1.0 if config.data.validation else 0,
        num_sanity_val_steps=0,
        # Epochs differ in their number of batches, and Lightning validates by that number.
        reload_dataloaders_every_n_epochs=1,
        log_every_n_steps=min(20, max(config.optim.steps // 10, 1)),
        logger=[
            CSVLogger(run, name="", version=next_part(run)),
            TensorBoardLogger(run, name="", version=TENSORBOARD),
        ],
        callbacks=[stretches, *_callbacks(config, run, monitor, quiet), *callbacks, end],
        plugins=[WholeCheckpoints()],
        enable_progress_bar=not quiet,
        enable_model_summary=False,
        **options,
    )
    # The samplers do go on inside an epoch; the folder is the run's own.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message="The dirpath has changed")
    try:
        trainer.fit(
            module,
            datamodule=data,
            ckpt_path=str(checkpoint) if checkpoint else None,
            weights_only=False,
        )
    except SystemExit as stop:
        # Lightning's answer to Ctrl-C; callers expect Python's.
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
    finally:
        end.give_back()
        # Also of a run that was stopped, or has failed: then they are wanted most.
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            keep_curves(run, run)
    trainer.save_checkpoint(run / RESUME)
    return stretches


class WholeCheckpoints(TorchCheckpointIO):
    """Replaces a checkpoint only when the new one is whole.

    Lightning writes into the system's temporary folder first and moves the file: where that is
    another disk, the old one is gone while the new one is copied.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write beside the old one, then replace it."""
        with replacing(Path(path)) as part:
            torch.save(checkpoint, part)


class MovingAverage(WeightAveraging):
    """On the device where the weights are; Lightning makes it before these are moved there."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow them."""
        super().on_train_start(trainer, pl_module)
        if self._average_model is not None:
            self._average_model.to(pl_module.device)


def _callbacks(config: RunConfig, run: Path, monitor: str, quiet: bool) -> list[pl.Callback]:
    callbacks: list[pl.Callback] = [
        MovingAverage(
            avg_fn=moving_average(
                config.optim.ema_decay, min(config.optim.warmup_steps, config.optim.steps // 2)
            )
        ),
        ModelCheckpoint(
            run,
            filename="resume",
            every_n_train_steps=config.checkpoint_every,
            enable_version_counter=False,
        ),
        LearningRateMonitor("step"),
        GiveBackMemory(),
    ]
    if config.data.validation:
        best = BestCheckpoint(
            run, filename="best", monitor=monitor, mode="min", enable_version_counter=False
        )
        callbacks += [ValidateAtEnd(), best]
    if not quiet:
        callbacks.append(TQDMProgressBar(refresh_rate=20))
    return callbacks


def moving_average(decay: float, start: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """An exponential moving average of weights that begins after so many steps.

    The weights before are noise, of which nothing may stay; until then the average is the weights.
    """

    def average(averaged: Tensor, current: Tensor, steps: Tensor) -> Tensor:
        # Not a branch: on a GPU that would wait for each tensor's number.
        share = torch.where(steps < start, 1.0, 1 - decay)
        return torch.lerp(averaged, current, share.to(averaged.dtype))

    return average


def record(
    run: Path,
    config: RunConfig,
    module: pl.LightningModule,
    stretches: Stretches,
    facts: dict[str, Any],
) -> None:
    """Write `run.json`: the facts of every run, and those of one of its kind."""
    common = {
        "steps": module.global_step,
        "epochs": module.current_epoch,
        "seed": config.seed,
        "wall_hours": round(stretches.seconds / 3600, 3),
        **facts,
        "git_commits": stretches.commits,
        "hardware": hardware(module.trainer),
        "versions": {name: version(name) for name in ("torch", "pytorch-lightning", "numpy")},
        "python": platform.python_version(),
    }
    (run / "run.json").write_text(json.dumps(common, indent=2) + "\n")


def git_commit() -> str:
    """The commit of the code, with "+changes" if the working tree differs; "" outside git."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=False
            )
        except OSError:  # no git on this machine
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    # An installed package may lie in a repository of somebody's own.
    commit = git("rev-parse", "HEAD") if git("ls-files", Path(__file__).name) else ""
    return commit + ("+changes" if commit and git("status", "--porcelain", "-uno") else "")


def hardware(trainer: pl.Trainer) -> str:
    """What the run ran on, in words."""
    if isinstance(trainer.accelerator, CUDAAccelerator):
        return f"{trainer.world_size} x {torch.cuda.get_device_name(0)}"
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return f"{torch.get_num_threads()} threads of {name}"
