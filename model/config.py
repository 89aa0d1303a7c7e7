"""What defines a model: its features, its network and what it is for.

A model folder's `config.json` holds a `ModelConfig`; it is all that serving needs to know.

Shape letters, here and everywhere in the project:
    B  batch: utterances in training, slots in serving
    N  samples of audio at 16 kHz
    T  log-mel frames (10 ms)
    U  output frames (40 ms)
    F  mel bins
    C  channels of a convolution
    H  hidden units of a recurrent layer
    L  recurrent layers
    V  tokens, the blank (number 0) included
    S  tokens of a target text
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ossicle.data.text import BLANK, CHARACTERS
from ossicle.model.pronunciation.phonemes import PHONEMES

SAMPLE_RATE = 16_000
WINDOW = 400  # samples: 25 ms
HOP = 160  # samples: 10 ms
TIME_STRIDE = 4  # log-mel frames to an output frame
FRAME_SAMPLES = HOP * TIME_STRIDE  # 640 samples: an output frame is 40 ms
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE


@dataclass(frozen=True)
class FeatureConfig:
    """Log-mel features; see `model/features.py` and `model/running_mean.py`.

    Attributes:
        mel_bins: F.
        fft_size: samples.
        low_hertz, high_hertz: ends of the lowest and of the highest bin.
        floor: added to mel power.
        running_mean: share of a stream's running mean to take off its frames.
    """

    mel_bins: int = 80
    fft_size: int = 512
    low_hertz: float = 20.0
    high_hertz: float = 8000.0
    floor: float = 1e-7  # below the quantisation noise of quiet 16-bit speech
    running_mean: float = 0.0

    def __post_init__(self) -> None:
        if self.mel_bins < 4 or self.mel_bins % 4:  # halved by each convolution
            raise ValueError(f"features.mel_bins is {self.mel_bins}: give a multiple of 4")
        if not 0 <= self.running_mean <= 1:
            raise ValueError(f"features.running_mean is {self.running_mean}: give 0 to 1")


MEMORY_CELLS = ("lstm-no-forget", "lstm", "lstm-peephole", "lstm-coupled")
"""Recurrent cells that carry a memory beside their hidden state."""
CELL_NAMES = ("rnn", *MEMORY_CELLS, "gru", "gru-no-reset")
"""All recurrent cells; `model/cells/equations.py` has the equations of each."""


@dataclass(frozen=True)
class RecurrenceConfig:
    """The recurrent layers of a network.

    Attributes:
        cell: of all of them, one of `CELL_NAMES`.
    """

    cell: str = "lstm"

    def __post_init__(self) -> None:
        if self.cell not in CELL_NAMES:
            raise ValueError(f"recurrence.cell is {self.cell!r}: use {', '.join(CELL_NAMES)}")


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network; see `model/network.py`.

    Attributes:
        channels: C of each of the two convolutions.
        hidden: H of each recurrent layer.
        layers: L.
        lookahead: output frames of future each output may see.
        dropout: probability, between layers, in training only.
        recurrence: what the recurrent layers are made of.
    """

    channels: int = 32
    hidden: int = 512
    layers: int = 4
    lookahead: int = 4
    dropout: float = 0.1
    recurrence: RecurrenceConfig = field(default_factory=RecurrenceConfig)

    def __post_init__(self) -> None:
        for name in ("channels", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"network.{name} is {getattr(self, name)}: give 1 or more")
        if self.lookahead < 0:
            raise ValueError(f"network.lookahead is {self.lookahead}: give 0 frames or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"network.dropout is {self.dropout}: give 0 or more, less than 1")


UNITS = {"letters": CHARACTERS, "phonemes": (" ", *PHONEMES)}
"""What a network may emit: letters spell a word in any language and need nothing else, phonemes are
heard better by a network that has heard little, and need a pronouncing dictionary."""


@dataclass(frozen=True)
class ModelConfig:
    """A model's identity and shape, stored as `config.json` in its folder.

    Attributes:
        units: what its tokens are, a key of `UNITS`.
        characters: the tokens but the blank; none are those of `units`.
    """

    name: str = "unnamed"
    description: str = ""
    language: str = "en-US"
    licence: str = "Apache-2.0"
    units: str = "letters"
    characters: tuple[str, ...] = ()
    features: FeatureConfig = field(default_factory=FeatureConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def __post_init__(self) -> None:
        if self.units not in UNITS:
            raise ValueError(f"units is {self.units!r}: use {' or '.join(UNITS)}")
        if not self.characters:
            object.__setattr__(self, "characters", UNITS[self.units])
        elif self.units == "phonemes" and self.characters != UNITS["phonemes"]:
            raise ValueError("a model of phonemes has characters of its own: leave them out")

    @property
    def tokens(self) -> tuple[str, ...]:
        """All V tokens, the blank first."""
        return (BLANK, *self.characters)

    @property
    def vocabulary(self) -> int:
        """V: the characters and the blank."""
        return len(self.tokens)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(
            json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    @classmethod
    def load(cls, path: Path) -> ModelConfig:
        """Read what `save` wrote.

        Raises:
            ValueError: not a model configuration; names the file and the reason.
        """
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (json.JSONDecodeError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is no model configuration: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """The configuration in a dict such as `dataclasses.asdict` gives."""
        values = dict(values)
        values["characters"] = tuple(values["characters"])
        values["features"] = FeatureConfig(**values["features"])
        network = dict(values["network"])
        # Models of before there was a choice say nothing of it.
        network["recurrence"] = RecurrenceConfig(**network.get("recurrence", {}))
        values["network"] = NetworkConfig(**network)
        return cls(**values)
