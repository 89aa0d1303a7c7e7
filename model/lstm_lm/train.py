"""A training run of a language model: `ossicle train` with a `kind: language-model` file.

The run's folder is laid out as that of an acoustic model (`model/training/train.py`); `best.ckpt`
is the one with the lowest mean of bits per character over the validation texts.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from ossicle.data.manifest import manifest_digest
from ossicle.model.lstm_lm.config import LanguageTrainingConfig
from ossicle.model.lstm_lm.export import load_language_checkpoint
from ossicle.model.lstm_lm.module import LanguageModule, TextDataModule
from ossicle.model.training.run import RESUME, claim, fit, record


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
        FolderInUseError: another process trains in `run`.
        TextFileError, ManifestError: a text cannot be read or is not valid.
        ValueError: there is too little text, or the checkpoint to resume from is damaged or of
            another model than `config`'s.
        KeyboardInterrupt: Ctrl-C; the last checkpoint is whole.
    """
    with claim(run, resume):
        checkpoint = run / RESUME if resume else None
        units = load_language_checkpoint(checkpoint, config.model)[1] if checkpoint else None
        pl.seed_everything(config.seed, workers=True)
        if not quiet:
            print("reading text and cutting it into units", flush=True)
        data = TextDataModule(config, units)
        module = LanguageModule(config, data.units, data.validation_names)
        if not quiet:
            print(", ".join(f"{value} {name}" for name, value in data.facts.items()), flush=True)
            print(f"{module.network.parameter_count() / 1e6:.2f} M parameters", flush=True)
        # Batches are cut from memory, for which worker processes would be slower.
        warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")
        stretches = fit(
            module,
            data,
            config,
            run,
            monitor="bits_per_character",
            checkpoint=checkpoint,
            quiet=quiet,
            accelerator=accelerator,
            devices=1,
            val_check_interval=config.validate_every,
            check_val_every_n_epoch=None,
            gradient_clip_val=config.optim.clip,
        )
        record(run, config, module, stretches, _facts(config, data, module))
        return module


def _facts(
    config: LanguageTrainingConfig, data: TextDataModule, module: LanguageModule
) -> dict[str, Any]:
    texts = [text_set.path for text_set in config.data.train] + list(config.data.validation)
    examples = module.global_step * config.data.batch
    return {
        "units_learnt_from": examples * config.data.window,
        "text": data.facts,
        "parameters": module.network.parameter_count(),
        "texts": {path.as_posix(): manifest_digest(path) for path in texts},
    }
