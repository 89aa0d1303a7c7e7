"""A training run from a configuration file: `ossicle train CONFIG`.

A run is a folder:

    config.yaml     the configuration, complete with defaults
    run.json        seed, manifest digests, git commits, hardware, versions, wall time
    curves.png      the curves so far, drawn when a stretch ends; curves.csv, the same as numbers
    curves/         a CSV for each stretch of the run (`curves.py` reads them together)
    pronunciations.txt.gz, graphones.ngram
                    how words were pronounced, where tokens are phonemes
    tensorboard/    the same curves and sample transcripts
    plateau.ckpt    the last before the learning rate fell, from which a longer run goes on
    resume.ckpt     to go on from; best.ckpt, the lowest mean CER of the validation sets
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from ossicle.data.datamodule import DataConfig, SpeechDataModule
from ossicle.data.digest import file_digest
from ossicle.data.leaks import LeakError, LeakKind, LeakRules, find_leaks
from ossicle.data.manifest import manifest_digest
from ossicle.data.text import Tokenizer
from ossicle.model.config import HOP
from ossicle.model.export import WEIGHTS, load_checkpoint, load_weights
from ossicle.model.features import OVERLAP, LogMel
from ossicle.model.growth import deepened
from ossicle.model.network import Network
from ossicle.model.pronunciation.dictionary import DICTIONARY, Pronunciations, copy_dictionary
from ossicle.model.pronunciation.tokenizer import PhonemeTokenizer
from ossicle.model.training.config import TrainingConfig
from ossicle.model.training.module import SpeechModule
from ossicle.model.training.partition import letter_trigrams
from ossicle.model.training.run import RESUME, check_run, claim, fit, is_first, record
from ossicle.model.training.teacher import Teacher
from torch import Tensor

STATISTICS_RECORDINGS = 1000
PLATEAU = "plateau.ckpt"


class KeepPlateau(pl.Callback):
    """Keeps the checkpoint from which a finished run can be made longer.

    Args:
        path: of the checkpoint, written when the learning rate begins to fall.
        step: when that is.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self._step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Write it when its time has come."""
        if trainer.global_step == self._step:
            trainer.save_checkpoint(self._path)

    def state_dict(self) -> dict[str, int]:
        """What every checkpoint keeps: whether it is past the plateau, it must be possible to tell.

        What the configuration says of that may be of a longer run by then.
        """
        return {"decay_start": self._step}


def train(
    config: TrainingConfig,
    run: Path,
    *,
    resume: bool = False,
    accelerator: str = "auto",
    devices: int = 1,
    quiet: bool = False,
) -> SpeechModule:
    """Train until `config.optim.steps`; returns the module with averaged weights.

    Args:
        run: folder of the run.
        resume: go on from `run/resume.ckpt`, which must be there, or, with more steps than the run
            had, from `run/plateau.ckpt`.
        accelerator, devices: as Lightning names them: "cpu", "gpu" or "auto", and how many; more
            than one GPU trains with DDP.

    Raises:
        RunExistsError: `run` holds a run and `resume` is false, or the other way round.
        FolderInUseError: another process trains in `run`.
        LeakError: training data hold speakers or sentences of the validation data.
        TeacherError: the teacher's encoder is missing or is none.
        ValueError: the checkpoint to resume from is damaged or of another model than `config`'s.
        KeyboardInterrupt: Ctrl-C; the last checkpoint is whole.
    """
    check_run(run, resume)
    quiet = quiet or not is_first()
    if resume:
        # Read once more than needed, but refused before anything of the run is overwritten.
        load_checkpoint(run / RESUME, config.model)
    teacher = Teacher(config.teacher.encoder) if config.teacher else None
    taught = teacher.features if teacher else 0
    checkpoint = resume_point(run, config, taught) if resume else None
    if config.leaks is not None:
        _print(quiet, check_leaks(config.data, config.leaks))
    with claim(run, resume):
        pl.seed_everything(config.seed, workers=True)
        progress = None if quiet else _print_decoding
        data = SpeechDataModule(
            config.data,
            config.augment,
            seed=config.seed,
            tokenizer=tokenizer_of(config, run, resume),
            rules=config.leaks,
            teacher=teacher,
            progress=progress,
        )
        data.prepare_data()
        data.setup()
        module = SpeechModule(config, data.validation_names, data.tokenizer, taught)
        if config.discrimination:
            module.trigrams = trigrams_of(data)
        if not resume:
            if config.init is not None:
                # With the statistics that those weights were trained on.
                for difference in start_from(module.network, config.init):
                    _print(quiet, difference)
            else:
                set_statistics(module.network.features, data)
            _print(quiet, f"{data.train_hours:.2f} h of speech an epoch; {data.census}")
            _print(quiet, f"{module.network.parameter_count() / 1e6:.2f} M parameters")
        stretches = fit(
            module,
            data,
            config,
            run,
            monitor="cer",
            checkpoint=checkpoint,
            quiet=quiet,
            callbacks=[KeepPlateau(run / PLATEAU, config.optim.decay_start)],
            accelerator=accelerator,
            devices=devices,
            strategy="ddp" if devices > 1 else "auto",
            check_val_every_n_epoch=config.validate_every,
            use_distributed_sampler=False,
        )
        if module.trainer.is_global_zero:
            record(run, config, module, stretches, _facts(config, data, module))
        return module


def tokenizer_of(config: TrainingConfig, run: Path, resume: bool) -> Tokenizer:
    """What makes token numbers of texts; a run keeps the dictionary that it began with.

    Raises:
        DictionaryError: the pronouncing dictionary is missing or damaged.
    """
    if config.pronunciations is None:
        return Tokenizer(config.model.characters)
    # What is exported must pronounce as it was taught, whatever becomes of the original.
    kept = resume and (run / DICTIONARY).is_file()
    folder = run if kept else config.pronunciations
    tokenizer = PhonemeTokenizer(Pronunciations.load(folder))
    copy_dictionary(folder, run)
    return tokenizer


def check_leaks(data: DataConfig, rules: LeakRules) -> str:
    """Make sure that a run is judged by speakers and sentences that it does not train on.

    Returns:
        A line on what was searched.

    Raises:
        LeakError: naming what is shared.
    """
    # A sentence counts as of the first that has it, and those of the held out are left out.
    judges = list(dict.fromkeys([*data.held_out, *data.validation]))
    left_out: dict[Path, set[str]] = {}
    for train_set in data.train:
        sources = {source for source, repeat in train_set.sources.items() if repeat == 0}
        # A manifest may come twice: what one of them trains on is trained on.
        left_out[train_set.manifest] = left_out.get(train_set.manifest, sources) & sources
    report = find_leaks([s.manifest for s in data.train], judges, rules, left_out=left_out)
    # Shared sentences of those that are held out never reach a batch.
    texts = (LeakKind.SENTENCE, LeakKind.RUN)
    leaks = [
        leak
        for leak in report.leaks
        if leak.kind not in texts or leak.validation.file not in data.held_out
    ]
    if leaks:
        raise LeakError(
            replace(report, leaks=leaks).message()
            + "\na manifest named under data: held_out: has its sentences left out of training"
        )
    return report.summary()


def resume_point(run: Path, config: TrainingConfig, taught: int = 0) -> Path:
    """The checkpoint to resume from.

    A run that is to be longer than it was goes on from the end of its plateau, if its last steps
    had a learning rate that fell too early.

    Args:
        taught: D, the number of a teacher's features; 0 without one.

    Raises:
        ValueError: the run had another number of them.
    """
    last = torch.load(run / RESUME, map_location="cpu", weights_only=False, mmap=True)
    pupil = last["state_dict"].get("pupil.bias")
    before = 0 if pupil is None else len(pupil)
    if before != taught:
        raise ValueError(
            f"the teacher has {taught} features, and {run} began with {before} (0 is no teacher): "
            f"give the same one, or begin another run with init: {run / RESUME}"
        )
    fell_from = last["callbacks"][KeepPlateau.__qualname__]["decay_start"]
    too_early = fell_from < min(last["global_step"], config.optim.decay_start)
    # A learning rate that falls from the first step on has no plateau.
    return run / PLATEAU if too_early and (run / PLATEAU).exists() else run / RESUME


def set_statistics(features: LogMel, data: SpeechDataModule) -> None:
    """Mean and deviation of each mel bin over clean training recordings."""
    recordings = data.train_recordings
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(recordings))[:STATISTICS_RECORDINGS]
    total = torch.zeros(2, features.config.mel_bins, dtype=torch.float64)
    frames = 0
    for index in chosen.tolist():
        samples = torch.from_numpy(recordings.clean(index))[None]
        usable = (samples.shape[1] - OVERLAP) // HOP * HOP + OVERLAP
        with torch.no_grad():
            log_mel = features.log_mel(samples[:, :usable])[0].double()
        total += torch.stack([log_mel.sum(0), log_mel.square().sum(0)])
        frames += len(log_mel)
    mean = total[0] / frames
    features.mean.copy_(mean)
    features.deviation.copy_((total[1] / frames - mean**2).clamp(min=1e-4).sqrt())


def trigrams_of(data: SpeechDataModule) -> Tensor:
    """The letter model of the training recordings' texts; see `partition.py`."""
    recordings, tokenizer = data.train_recordings, data.tokenizer
    texts = (tokenizer.encode(recordings.utterance(i).text) for i in range(len(recordings)))
    return letter_trigrams(texts, len(tokenizer.tokens), tokenizer.tokens.index(" "))


def start_from(network: Network, source: Path) -> list[str]:
    """Take the weights, feature statistics included, of a checkpoint or of a model folder.

    If the two have different tokens, the layer that emits them stays as it was. Layers that only
    this network has pass on what they get at first.

    Returns:
        What is different, for people.

    Raises:
        ValueError: there are none, or they are of another shape.
    """
    if (source / WEIGHTS).is_file():
        other = load_weights(source)
    elif source.is_file():
        other = load_checkpoint(source)
    else:
        raise ValueError(f"init is {source}: neither a checkpoint nor a folder with {WEIGHTS}")
    differences = []
    layers, others = network.config.network.layers, other.config.network.layers
    if layers > others:
        differences.append(
            f"{source} has {others} layers, not {layers}: new ones pass on what they get at first"
        )
        other = deepened(other, layers)
    state = other.state_dict()
    if other.config.tokens != network.config.tokens:
        differences.append(f"{source} has other tokens: the last layer begins anew")
        own = network.state_dict()
        state |= {name: own[name] for name in own if name.startswith("head.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the weights of {source} have another shape: {error}") from error
    own_features, features = vars(network.config.features), vars(other.config.features)
    differences += [
        f"{source} has features.{name} {features[name]}, not {value}: its weights know no such "
        "frames yet"
        for name, value in own_features.items()
        if value != features[name]
    ]
    return differences


def _print(quiet: bool, text: str) -> None:
    if not quiet:
        print(text, flush=True)


def _print_decoding(done: int, total: int) -> None:
    if done % 1000 == 0 or done == total:
        print(f"decoding audio: {done} of {total}", flush=True)


def _facts(config: TrainingConfig, data: SpeechDataModule, module: SpeechModule) -> dict[str, Any]:
    manifests = [s.manifest for s in config.data.train] + list(config.data.validation)
    return {
        "train_hours_per_epoch": round(data.train_hours, 2),
        "census": vars(data.census),
        "skipped_steps": module.skipped_steps,
        "parameters": module.network.parameter_count(),
        "manifests": {path.as_posix(): manifest_digest(path) for path in manifests},
        **({"teacher": file_digest(config.teacher.encoder)} if config.teacher else {}),
    }
