"""Whether confidences keep their word: of words with confidence 0.8, eight in ten must be right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from ossicle.model.pictures.markup import Markup, tag

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """How well confidences foretell which words are right.

    Attributes:
        words: how many.
        accuracy: share of them that is right.
        ece: expected calibration error, the mean distance of confidence and accuracy over ten
            bins of equal width, weighted by words (Naeini et al. 2015); 0 is best.
        nce: normalised cross entropy (Siu et al. 1997, as NIST scores it): the share of the
            uncertainty about right and wrong that the confidences remove; 1 is best, 0 as good as
            giving every word the accuracy, negative worse than that. NaN if all words are right
            or all wrong: there is no uncertainty.
        brier: mean squared distance of confidence and truth (Brier 1950); 0 is best.
    """

    words: int
    accuracy: float
    ece: float
    nce: float
    brier: float

    def to_dict(self) -> dict[str, float]:
        """Plain values, rounded to five digits."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Bin:
    """Words of like confidence.

    Attributes:
        words: how many.
        confidence: their mean confidence.
        accuracy: share of them that is right.
    """

    words: int
    confidence: float
    accuracy: float


def measure(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> Reliability:
    """Measure the confidences (W,), 0 to 1, of words that are right or not, (W,).

    Raises:
        ValueError: there are no words.
    """
    if not len(right):
        raise ValueError("there are no words to measure confidences on")
    truth = right.astype(np.float64)
    accuracy = float(truth.mean())
    entropy = _cross_entropy(np.full(len(truth), accuracy), truth)
    return Reliability(
        words=len(truth),
        accuracy=accuracy,
        ece=sum(b.words * abs(b.confidence - b.accuracy) for b in bins(confidences, right))
        / len(truth),
        nce=1.0 - _cross_entropy(confidences, truth) / entropy if entropy > 0 else float("nan"),
        brier=float(((confidences - truth) ** 2).mean()),
    )


def bins(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> list[Bin]:
    """The words in ten bins of equal width by confidence; empty bins are left out."""
    number = np.minimum((confidences * BINS).astype(int), BINS - 1)
    return [
        Bin(int(chosen.sum()), float(confidences[chosen].mean()), float(right[chosen].mean()))
        for chosen in (number == i for i in range(BINS))
        if chosen.any()
    ]


def _cross_entropy(confidences: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    if not 0.0 < truth.mean() < 1.0:
        return 0.0
    sure = np.clip(confidences, 1e-7, 1.0 - 1e-7)
    return float(-(truth * np.log(sure) + (1.0 - truth) * np.log1p(-sure)).mean())


@dataclass(frozen=True)
class Curve:
    """A line of the reliability plot: bins and what to call them."""

    label: str
    bins: Sequence[Bin]


_SIZE = 320  # of the plot's square, in pixels
_MARGIN = 48
_GRID = "#dddddd"
_COLOURS = ("#b3541e", "#1f6f8b", "#4d7c0f", "#6d4aa3")


def reliability_svg(curves: Sequence[Curve]) -> Markup:
    """The reliability plot (DeGroot and Fienberg 1983) as an SVG document that HTML can embed.

    Each bin is a dot whose area grows with its words, at its mean confidence and its accuracy;
    on the diagonal, confidences are right.

    Raises:
        ValueError: more curves than there are colours, four.
    """
    if len(curves) > len(_COLOURS):
        raise ValueError(f"{len(curves)} curves: the plot shows at most {len(_COLOURS)}")
    width, height = _SIZE + 2 * _MARGIN, _SIZE + 2 * _MARGIN + 20 * len(curves)
    marks = [
        tag("title", "Reliability of word confidences"),
        tag("rect", width=width, height=height, fill="white"),
        *_axes(),
    ]
    for i, (curve, colour) in enumerate(zip(curves, _COLOURS, strict=False)):
        y = height - 8 - 20 * (len(curves) - 1 - i)
        marks += [
            *_dots(curve, colour),
            tag("circle", cx=_MARGIN + 6, cy=y - 4, r=5, fill=colour),
            tag("text", curve.label, x=_MARGIN + 18, y=y),
        ]
    return tag(
        "svg",
        *marks,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        font_family="sans-serif",
        font_size=12,
    )


def _axes() -> list[Markup]:
    marks = []
    (left, bottom), (right, top) = _place(0, 0), _place(1, 1)
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = _place(tick, tick)
        marks += [
            tag("path", d=f"M{x} {bottom}V{top}M{left} {y}H{right}", stroke=_GRID),
            tag("text", f"{tick:.1f}", x=x, y=bottom + 16, text_anchor="middle"),
            tag("text", f"{tick:.1f}", x=left - 6, y=y + 4, text_anchor="end"),
        ]
    middle = _MARGIN + _SIZE / 2
    diagonal = f"M{left} {bottom}L{right} {top}"
    return [
        *marks,
        tag("path", d=diagonal, stroke="#888888", stroke_dasharray="4 4"),
        tag("text", "mean confidence", x=middle, y=bottom + 34, text_anchor="middle"),
        tag(
            "text",
            "share of words that are right",
            x=14,
            y=middle,
            text_anchor="middle",
            transform=f"rotate(-90 14 {middle})",
        ),
    ]


def _dots(curve: Curve, colour: str) -> list[Markup]:
    places = [_place(b.confidence, b.accuracy) for b in curve.bins]
    if not places:
        return []
    total = sum(b.words for b in curve.bins)
    line = "M" + "L".join(f"{x} {y}" for x, y in places)
    marks = [tag("path", d=line, fill="none", stroke=colour, stroke_width=1.5)]
    for (x, y), b in zip(places, curve.bins, strict=True):
        told = f"{b.words} words: confidence {b.confidence:.2f}, right {b.accuracy:.2f}"
        radius = 2.0 + 12.0 * (b.words / total) ** 0.5
        marks.append(
            tag("circle", tag("title", told), cx=x, cy=y, r=radius, fill=colour, fill_opacity=0.5)
        )
    return marks


def _place(confidence: float, accuracy: float) -> tuple[float, float]:
    return (
        round(_MARGIN + _SIZE * confidence, 1),
        round(_MARGIN + _SIZE * (1.0 - accuracy), 1),
    )
