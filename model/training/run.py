"""What training runs of every kind share: their folder, their trainer, their record."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from ossicle.data.folder_lock import only_writer
from ossicle.model.training.allocator import give_back_freed_memory
from ossicle.model.training.config import RunConfig
from ossicle.model.training.curves import keep_curves, next_part
from pytorch_lightning.callbacks import (
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

RESUME = "resume.ckpt"


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


@contextmanager
def claim(run: Path, resume: bool) -> Iterator[None]:
    """Be the one who trains in a folder.

    Raises:
        RunExistsError: as `check_run` says.
        FolderInUseError: another process trains there.
    """
    check_run(run, resume)
    # With several GPUs, Lightning starts the whole command once for each of them.
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    with only_writer(run) if first else nullcontext():
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
        KeyboardInterrupt: Ctrl-C; the last checkpoint is whole.
    """
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    stretches = Stretches()
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
            TensorBoardLogger(run, name="", version="tensorboard"),
        ],
        callbacks=[stretches, *_callbacks(config, run, monitor, quiet), *callbacks],
        enable_progress_bar=not quiet,
        enable_model_summary=False,
        **options,
    )
    # The samplers do go on inside an epoch; the folder is the run's own.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
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
        # Also of a run that was stopped, or has failed: then they are wanted most.
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            keep_curves(run, run)
    trainer.save_checkpoint(run / RESUME)
    return stretches


def _callbacks(config: RunConfig, run: Path, monitor: str, quiet: bool) -> list[pl.Callback]:
    callbacks: list[pl.Callback] = [
        # Averaging starts after the warm-up: earlier weights are noise.
        EMAWeightAveraging(
            decay=config.optim.ema_decay,
            update_starting_at_step=min(config.optim.warmup_steps, config.optim.steps // 2),
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
        callbacks.append(
            ModelCheckpoint(
                run, filename="best", monitor=monitor, mode="min", enable_version_counter=False
            )
        )
    if not quiet:
        callbacks.append(TQDMProgressBar(refresh_rate=20))
    return callbacks


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
        "hardware": hardware(),
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

    commit = git("rev-parse", "HEAD")
    return commit + ("+changes" if commit and git("status", "--porcelain", "-uno") else "")


def hardware() -> str:
    """What the run ran on, in words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return f"{torch.get_num_threads()} threads of {name}"
