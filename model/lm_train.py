"""A training run of a language model: `ossicle train` with a `kind: language-model` file.

The run's folder is laid out as that of an acoustic model (`model/train.py`); `best.ckpt` is the
one with the lowest mean of bits per character over the validation texts.
"""

from __future__ import annotations

import json
import platform
import warnings
from importlib.metadata import version
from pathlib import Path

import pytorch_lightning as pl
import yaml
from ossicle.data.manifest import manifest_digest
from ossicle.model.curves import next_part
from ossicle.model.lm_config import LanguageTrainingConfig
from ossicle.model.lm_export import load_language_checkpoint
from ossicle.model.lm_training import LanguageModule, TextDataModule
from ossicle.model.train import RunExistsError, Stretches, hardware
from pytorch_lightning.callbacks import (
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger


def train_language_model(
    config: LanguageTrainingConfig,
    run: Path,
    *,
    resume: bool = False,
    accelerator: str = "auto",
    quiet: bool = False,
) -> LanguageModule:
    """Train until `config.optim.steps`; returns the module with averaged weights.

    Args:
        run: folder of the run.
        resume: go on from `run/resume.ckpt`, which must be there.
        accelerator: as Lightning names it: "cpu", "gpu" or "auto".

    Raises:
        RunExistsError: `run` holds a run and `resume` is false, or the other way round.
        TextFileError, ManifestError: a text cannot be read or is not valid.
        ValueError: there is too little text, or the checkpoint to resume from is damaged or of
            another model than `config`'s.
        KeyboardInterrupt: Ctrl-C; the last checkpoint is whole.
    """
    checkpoint = run / "resume.ckpt"
    if resume and not checkpoint.exists():
        raise RunExistsError(f"nothing to resume: {checkpoint} is not there; leave --resume out")
    if not resume and checkpoint.exists():
        raise RunExistsError(
            f"{run} holds a run: add --resume to go on with it, or choose another --run folder"
        )
    units = load_language_checkpoint(checkpoint, config.model)[1] if resume else None
    pl.seed_everything(config.seed, workers=True)
    if not quiet:
        print("reading text and cutting it into units", flush=True)
    data = TextDataModule(config, units)
    module = LanguageModule(config, data.units, data.validation_names)
    if not quiet:
        print(", ".join(f"{value} {name}" for name, value in data.facts.items()), flush=True)
        print(f"{module.network.parameter_count() / 1e6:.2f} M parameters", flush=True)
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    stretches = Stretches()
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=1,
        precision=config.precision,  # type: ignore[arg-type]
        max_steps=config.optim.steps,
        max_epochs=-1,
        val_check_interval=config.validate_every,
        check_val_every_n_epoch=None,
        limit_val_batches=1.0 if config.data.validation else 0,
        num_sanity_val_steps=0,
        gradient_clip_val=config.optim.clip,
        # Epochs differ in their number of batches.
        reload_dataloaders_every_n_epochs=1,
        log_every_n_steps=min(20, max(config.optim.steps // 10, 1)),
        logger=[
            CSVLogger(run, name="", version=next_part(run)),
            TensorBoardLogger(run, name="", version="tensorboard"),
        ],
        callbacks=[stretches, *_callbacks(config, run, quiet)],
        enable_progress_bar=not quiet,
        enable_model_summary=False,
    )
    # The sampler does go on inside an epoch (see TextDataModule); the folder is the run's own; and
    # batches are cut from memory, for which worker processes would be slower.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")
    try:
        trainer.fit(
            module,
            datamodule=data,
            ckpt_path=str(checkpoint) if resume else None,
            weights_only=False,
        )
    except SystemExit as stop:
        # Lightning's answer to Ctrl-C; callers expect Python's.
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
    trainer.save_checkpoint(checkpoint)
    _record(run, config, data, module, stretches)
    return module


def _callbacks(config: LanguageTrainingConfig, run: Path, quiet: bool) -> list[pl.Callback]:
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
    ]
    if config.data.validation:
        callbacks.append(
            ModelCheckpoint(
                run,
                filename="best",
                monitor="bits_per_character",
                mode="min",
                enable_version_counter=False,
            )
        )
    if not quiet:
        callbacks.append(TQDMProgressBar(refresh_rate=20))
    return callbacks


def _record(
    run: Path,
    config: LanguageTrainingConfig,
    data: TextDataModule,
    module: LanguageModule,
    stretches: Stretches,
) -> None:
    texts = [text_set.path for text_set in config.data.train] + list(config.data.validation)
    examples = module.global_step * config.data.batch
    facts = {
        "steps": module.global_step,
        "epochs": module.current_epoch,
        "units_learnt_from": examples * config.data.window,
        "seed": config.seed,
        "wall_hours": round(stretches.seconds / 3600, 3),
        "text": data.facts,
        "parameters": module.network.parameter_count(),
        "texts": {path.name: manifest_digest(path) for path in texts},
        "git_commits": stretches.commits,
        "hardware": hardware(),
        "versions": {name: version(name) for name in ("torch", "pytorch-lightning", "numpy")},
        "python": platform.python_version(),
    }
    (run / "run.json").write_text(json.dumps(facts, indent=2) + "\n")
