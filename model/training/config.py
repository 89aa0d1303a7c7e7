"""The configuration of a training run: a YAML file becomes one frozen dataclass."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import dacite
import yaml
from ossicle.data.augment import AugmentConfig
from ossicle.data.datamodule import DataConfig
from ossicle.data.leaks import LeakRules
from ossicle.data.spectral import Equalizer, SpecAugment, VocalTractWarp
from ossicle.model.config import ModelConfig

Config = TypeVar("Config")


@dataclass(frozen=True)
class OptimConfig:
    """How the weights move.

    Attributes:
        steps: optimiser steps in all.
        learning_rate: its plateau, after the warm-up.
        warmup_steps: steps of linear rise from 0.
        decay: the share of the steps, at the end, over which it falls linearly.
        final_fraction: it ends at this fraction of the plateau.
        weight_decay: on matrices only.
        clip: largest norm of the gradient.
        ema_decay: of the moving average of weights, which is what gets validated and exported.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 300
    decay: float = 0.3
    final_fraction: float = 0.01
    weight_decay: float = 0.01
    clip: float = 1.0
    ema_decay: float = 0.998

    def __post_init__(self) -> None:
        if self.steps < 1:  # to Lightning, -1 means for ever
            raise ValueError(f"steps is {self.steps}: train for at least 1")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay is {self.decay}: a share of the steps, above 0, at most 1")
        if not 0 < self.clip < math.inf:
            raise ValueError(f"clip is {self.clip}: give more than 0")
        for name in ("learning_rate", "warmup_steps", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: give 0 or more")
        if not 0 <= self.final_fraction <= 1:
            raise ValueError(f"final_fraction is {self.final_fraction}: give 0 to 1")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}: give 0 or more, less than 1")

    @property
    def decay_start(self) -> int:
        """The step at which the plateau ends."""
        return self.steps - max(round(self.decay * self.steps), 1)

    def learning_rate_factor(self, step: int) -> float:
        """The learning rate of a step as a share of the plateau.

        With a plateau a run can be made longer: everything before the fall is the same whatever
        its length (Hägele et al. 2024, "Scaling laws and compute-optimal training beyond fixed
        training durations").
        """
        rise = min((step + 1) / max(self.warmup_steps, 1), 1.0)
        fallen = min(max(step - self.decay_start, 0) / (self.steps - self.decay_start), 1.0)
        return rise * (1 - (1 - self.final_fraction) * fallen)


class RunConfig:
    """What the configurations of all kinds of runs have in common; each is a dataclass."""

    data: Any
    optim: OptimConfig
    seed: int
    precision: str
    validate_every: int
    checkpoint_every: int

    def check_run(self) -> None:
        """Refuse what no run can do.

        Raises:
            ValueError: naming it and what will do.
        """
        for name in ("validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.precision not in ("bf16-mixed", "32-true"):
            raise ValueError(
                f"precision is {self.precision!r}: use bf16-mixed or 32-true (float16 overflows)"
            )

    @classmethod
    def load(cls: type[Config], path: Path) -> Config:
        """Read a YAML file; relative paths in it are relative to the working directory.

        Raises:
            ValueError: naming the file and the unknown, missing or mistyped key.
        """
        return read_yaml(cls, path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML or JSON."""
        result: dict[str, Any] = plain(asdict(self))  # type: ignore[call-overload]
        return result


@dataclass(frozen=True)
class TeacherConfig:
    """A network from which this one learns to hear besides its texts; see `teacher.py`.

    Attributes:
        encoder: ONNX file, of samples at 16 kHz in and frames of features out.
        weight: of the pupil's error, a mean over frames, beside the other losses.
    """

    encoder: Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ValueError(f"the teacher's weight is {self.weight}: give more than 0")


@dataclass(frozen=True)
class TrainingConfig(RunConfig):
    """A whole run.

    Attributes:
        precision: Lightning's name: "bf16-mixed" or "32-true".
        validate_every: epochs between validations.
        checkpoint_every: steps between checkpoints to resume from.
        leaks: what of the validation data must not be in the training data; null asks for no
            check, as where a run validates on what it trains on.
        init: checkpoint or model folder whose weights to start from, if not from scratch.
        pronunciations: folder with the pronouncing dictionary of a model of phonemes, such as a
            model folder; a model of letters has none.
        augment: of samples; absent switches it off, as with the following.
        vocal_tract, equalizer, spec_augment: of log-mel frames.
        consistency: weight of the disagreement of two views of each batch, augmented differently
            (see `losses.py`); 0 trains on one view, in half the time.
        discrimination: weight, beside CTC, of the probability that all texts have together where a
            letter model weighs them (see `partition.py`); 0 is CTC alone.
        teacher: another network to learn from.
    """

    data: DataConfig
    optim: OptimConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig | None = None
    vocal_tract: VocalTractWarp | None = None
    equalizer: Equalizer | None = None
    spec_augment: SpecAugment | None = None
    consistency: float = 0.0
    discrimination: float = 0.0
    teacher: TeacherConfig | None = None
    seed: int = 1
    precision: str = "bf16-mixed"
    validate_every: int = 1
    checkpoint_every: int = 200
    leaks: LeakRules | None = field(default_factory=LeakRules)
    init: Path | None = None
    pronunciations: Path | None = None

    def __post_init__(self) -> None:
        self.check_run()
        if self.data.noise is not None and self.augment is None:
            raise ValueError(
                f"data.noise is {self.data.noise}, which augment mixes in, and there is no "
                "augment: add it, or leave noise out"
            )
        if self.model.units == "phonemes" and self.pronunciations is None:
            raise ValueError(
                "model.units is phonemes: name a folder with a pronouncing dictionary under "
                "pronunciations, such as a model folder"
            )
        if self.model.units == "letters" and self.pronunciations is not None:
            raise ValueError(
                f"pronunciations is {self.pronunciations}, but letters need none: leave it out, "
                "or set model.units to phonemes"
            )
        if not self.consistency >= 0:
            raise ValueError(f"consistency is {self.consistency}: give a weight of 0 or more")
        if not 0 <= self.discrimination <= 1:
            raise ValueError(f"discrimination is {self.discrimination}: give a weight of 0 to 1")


def read_yaml(kind: type[Config], path: Path) -> Config:
    """A configuration of that class from a YAML file.

    Raises:
        ValueError: naming the file and the unknown, missing or mistyped key.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a training configuration: no keys in it")
    try:
        _need_lists(kind, values)
        return dacite.from_dict(
            kind,
            values,
            # YAML has no tuples and no paths, and 1 is a fine way to write 1.0.
            config=dacite.Config(cast=[tuple, Path], type_hooks={float: float}, strict=True),
        )
    except (dacite.DaciteError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _need_lists(kind: type, values: Any) -> None:
    """Refuse one text where several belong: as a tuple it would be its letters.

    Raises:
        ValueError: naming the key and what to write.
    """
    if not (is_dataclass(kind) and isinstance(values, dict)):
        return
    for name, hint in get_type_hints(kind).items():
        value = values.get(name)
        for part in (hint, *get_args(hint)):  # of "this or None", this
            if get_origin(part) is tuple:
                if isinstance(value, str):
                    raise ValueError(f"{name} is {value!r}: give a list, [{value}]")
                for inner in value if isinstance(value, list) else ():
                    _need_lists(get_args(part)[0], inner)
            _need_lists(part, value)


def plain(value: Any) -> Any:
    """A value of `dataclasses.asdict` in the types of YAML and JSON."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value.as_posix() if isinstance(value, Path) else value
