"""What the engine tells of each of its rounds, for those who measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """One step of the engine; times in seconds.

    Attributes:
        streams: streams in the batch.
        audio: samples of each of them, the padding of last blocks included.
        waited: from the first of the chunks that came since the last round until the network was
            run; None if none came, so that the round only went on with older audio.
        network: running the network.
        answering: decoding, and handing the results over.
    """

    streams: int
    audio: int
    waited: float | None
    network: float
    answering: float


RoundCallback = Callable[[Round], None]
