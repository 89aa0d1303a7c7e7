"""Which decoder a request gets: what it may ask for, and what its model can give.

A :class:`Decoding` is loaded once for a model and shared by all streams; each stream gets a
decoder of its own from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ossicle.model.decoding import Decoder, GreedyDecoder

if TYPE_CHECKING:
    from ossicle.model.runtime import ModelInfo

Search = Literal["beam", "greedy"]


@dataclass(frozen=True)
class Phrase:
    """Words that are likely to be said.

    Attributes:
        text: as it is written; it is normalised before it is listened for.
        boost: 0, no more likely than any other words, to 20, heard whenever at all plausible.
    """

    text: str
    boost: float


@dataclass(frozen=True)
class DecodingConfig:
    """How one stream is to be decoded.

    Attributes:
        search: None is the model's default: beam where it has a language model or where there
            are phrases, else greedy.
        beam_width: hypotheses kept from frame to frame; 0 is the model's default.
        phrases: to listen for.
    """

    search: Search | None = None
    beam_width: int = 0
    phrases: tuple[Phrase, ...] = ()


class Decoding:
    """All that decoding needs of one model; loaded once, shared by all streams, never changed."""

    def __init__(self, info: ModelInfo) -> None:
        self._info = info

    @classmethod
    def load(cls, folder: Path, info: ModelInfo) -> Decoding:
        """What the model folder has for decoding."""
        return cls(info)

    def check(self, config: DecodingConfig) -> None:
        """Refuse what cannot be done.

        Raises:
            ValueError: naming the field, its value and the remedy.
        """
        if config.search == "beam" or config.beam_width or config.phrases:
            raise ValueError(
                f"the model {self._info.name} is decoded greedily: leave out beam search, beam "
                f"width and phrases"
            )

    def decoder(self, config: DecodingConfig = DecodingConfig()) -> Decoder:
        """A decoder for one stream; errors as `check`."""
        self.check(config)
        return GreedyDecoder(self._info.tokens, self._info.frame_seconds)
