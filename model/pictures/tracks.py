"""What can be drawn over time: each track is one row of a picture, all on one axis of seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.hypothesis import TimedToken, Word


@dataclass(frozen=True)
class Wave:
    """A waveform.

    Attributes:
        title: what it is, for the margin.
        samples: (N,).
        rate: samples a second.
    """

    title: str
    samples: NDArray[np.float32]
    rate: int

    def envelope(self, columns: int) -> NDArray[np.float32]:
        """Lowest and highest sample (columns, 2) of as many equal stretches; -1 to 1 at most."""
        edges = np.linspace(0, len(self.samples), columns + 1).astype(int)
        bounded = np.clip(self.samples, -1.0, 1.0)
        return np.array(
            [
                (bounded[a:b].min(), bounded[a:b].max())
                for a, b in zip(edges, np.maximum(edges[1:], edges[:-1] + 1), strict=False)
            ],
            dtype=np.float32,
        )


@dataclass(frozen=True)
class Heat:
    """Values in rows over time, by colour.

    Attributes:
        title: what they are.
        values: (T, R); 0 and below is the darkest, 1 and above the brightest.
        seconds: length of each of the T columns.
        labels: names of rows, by number, where row 0 is lowest.
        height: of the track, in pixels of the page.
    """

    title: str
    values: NDArray[np.floating]
    seconds: float
    labels: Mapping[int, str] = field(default_factory=dict)
    height: int = 120


@dataclass(frozen=True)
class Lines:
    """Curves over time.

    Attributes:
        title: what they are.
        curves: (T,) each, by name; two at most can be told apart.
        seconds: between the T points.
        low, high: the range of the axis.
    """

    title: str
    curves: Mapping[str, NDArray[np.floating]]
    seconds: float
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Letters:
    """Tokens where the network emitted them.

    Attributes:
        title: what they are.
        tokens: in order.
        seconds: of a frame.
    """

    title: str
    tokens: Sequence[TimedToken]
    seconds: float


@dataclass(frozen=True)
class Words:
    """Words where they were said, each with its confidence.

    Attributes:
        title: what they are.
        words: in order.
    """

    title: str
    words: Sequence[Word]


Track = Wave | Heat | Lines | Letters | Words


def scaled(
    values: NDArray[np.floating], low: float = 5.0, high: float = 99.8
) -> NDArray[np.float64]:
    """Values as 0 to 1 between two percentiles of them: what is between is seen best."""
    bottom, top = np.percentile(values, [low, high])
    result: NDArray[np.float64] = (values - bottom) / max(top - bottom, 1e-9)
    return result
