"""The configuration of a language model's training run, a YAML file with `kind: language-model`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml
from ossicle.model.training.config import OptimConfig, RunConfig

KIND = "language-model"


@dataclass(frozen=True)
class LanguageModelConfig:
    """Sizes of the network; see `model/lstm_lm/network.py`.

    Attributes:
        units: V, of `model/lstm_lm/units.py`, the end of a sentence included.
        embedding: E, values that stand for a unit, on both ends of the network.
        hidden: H of each LSTM layer.
        layers: L.
        dropout: probability, on the input of each layer and of the head, in training only.
    """

    units: int = 2048
    embedding: int = 256
    hidden: int = 512
    layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("units", "embedding", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: give 0 or more, less than 1")


@dataclass(frozen=True)
class TextSet:
    """Text to train on.

    Attributes:
        path: text with a sentence a line, or a manifest (.jsonl); either may be .gz or .xz.
        repeat: how often it comes in an epoch; a fraction chooses anew in each epoch.
        sources: the same for each `source` of a manifest, 1 where a source is not named; 0
            leaves it out.
    """

    path: Path
    repeat: float = 1.0
    sources: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("repeat", self.repeat), *self.sources.items()):
            if not value >= 0:
                raise ValueError(f"{name} of {self.path} is {value}: give 0 or more")


def curve_name(path: Path) -> str:
    """What a validation text's curve is called: the file's name without its kind."""
    name = path.name
    for suffix in (".gz", ".xz", ".jsonl", ".json", ".txt"):
        name = name.removesuffix(suffix)
    return name


@dataclass(frozen=True)
class TextConfig:
    """Texts and how they are cut.

    Attributes:
        train: what to learn from, units included.
        validation: texts whose bits per character are measured; never learnt from.
        window: units of a training example, S: some sentences in a row.
        batch: B, examples a step.
    """

    train: tuple[TextSet, ...]
    validation: tuple[Path, ...] = ()
    window: int = 64
    batch: int = 64

    def __post_init__(self) -> None:
        for key in ("window", "batch"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}: give 1 or more")
        names = ["train", *map(curve_name, self.validation)]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"the validation text {' and '.join(sorted(repeated))} has a name that another "
                "curve has: rename it"
            )


@dataclass(frozen=True)
class LanguageTrainingConfig(RunConfig):
    """A whole run.

    Attributes:
        kind: "language-model", which tells this file from one of an acoustic model.
        precision: Lightning's name: "bf16-mixed" or "32-true".
        validate_every, checkpoint_every: in steps.
    """

    kind: str
    data: TextConfig
    optim: OptimConfig
    model: LanguageModelConfig = field(default_factory=LanguageModelConfig)
    seed: int = 1
    precision: str = "bf16-mixed"
    validate_every: int = 500
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        if self.kind != KIND:
            raise ValueError(f"kind is {self.kind!r}: the one there is is {KIND}")
        self.check_run()


def is_language_model(path: Path) -> bool:
    """Whether a training configuration is of a language model: whether it says what `kind` it is.

    A file that cannot be read is not; loading it says why.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return False
    return isinstance(values, dict) and "kind" in values
