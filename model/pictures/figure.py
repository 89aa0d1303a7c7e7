"""The same tracks as an image; needs matplotlib, which the extra ``train`` brings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from ossicle.model.pictures.colours import FAINT, INK, MARK, RAMP, RULE, WARM
from ossicle.model.pictures.timeline import SURE
from ossicle.model.pictures.tracks import Heat, Letters, Lines, Track, Wave, Words

LOOK: Any = {
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=[MARK, WARM, "#4d7c0f", "#6d4aa3"]),
    "font.size": 8,
    "grid.color": RULE,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}
"""Settings of matplotlib for every image of ours."""

_INCHES = 1.3  # to a second
_DPI = 120
_COLOURS = ListedColormap(RAMP / 255.0)


def write_figure(tracks: Sequence[Track], seconds: float, title: str, path: Path) -> None:
    """Draw tracks over one axis from 0 to so many seconds; the suffix of the path says how.

    Raises:
        ValueError: matplotlib writes no such format; says which it does.
        OSError: it cannot be written.
    """
    with mpl.rc_context(LOOK):
        heights = [_height(track) for track in tracks]
        size = max(seconds * _INCHES, 6.0) + 1.2, sum(heights) + 0.9
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        rows = figure.subplots(len(tracks), 1, sharex=True, height_ratios=heights, squeeze=False)
        for axes, track in zip(rows[:, 0], tracks, strict=True):
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.set_title(track.title, loc="left", fontsize="small", color=FAINT)
            _draw(track, axes)
        last = rows[-1, 0]
        last.set(xlim=(0, seconds), xlabel="seconds")
        last.set_xticks(range(int(seconds) + 1))
        figure.savefig(path, dpi=_DPI)


def _height(track: Track) -> float:
    """Inches of a track: as on the page."""
    if isinstance(track, Heat):
        return track.height / 100
    return {Wave: 0.7, Lines: 0.8, Letters: 0.3, Words: 0.9}[type(track)]


@singledispatch
def _draw(track: Track, axes: Axes) -> None:
    raise TypeError(f"a track is {type(track).__name__}")


@_draw.register
def _(track: Wave, axes: Axes) -> None:
    seconds = len(track.samples) / track.rate
    envelope = track.envelope(max(round(seconds * _INCHES * _DPI), 1))
    times = np.linspace(0, seconds, len(envelope))
    axes.fill_between(times, envelope[:, 0], envelope[:, 1], color=MARK, linewidth=0.3)
    axes.set_yticks([])


@_draw.register
def _(track: Heat, axes: Axes) -> None:
    columns, rows = track.values.shape
    axes.imshow(
        track.values.T,
        cmap=_COLOURS,
        vmin=0,
        vmax=1,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, columns * track.seconds, -0.5, rows - 0.5),
    )
    axes.set_yticks(list(track.labels), list(track.labels.values()))
    axes.tick_params("y", length=0, labelsize=8 if len(track.labels) < 9 else 6)


@_draw.register
def _(track: Lines, axes: Axes) -> None:
    for name, values in track.curves.items():
        axes.plot(np.arange(len(values)) * track.seconds, values, label=name, linewidth=1)
    axes.set_ylim(track.low, track.high)
    if len(track.curves) > 1:
        axes.legend(fontsize="small", loc="upper right")


@_draw.register
def _(track: Letters, axes: Axes) -> None:
    for token in track.tokens:
        text = "␣" if token.text == " " else token.text
        middle = (token.frame + 0.5) * track.seconds
        axes.text(middle, 0.5, text, ha="center", va="center", fontsize=7, family="monospace")
    axes.set_yticks([])


@_draw.register
def _(track: Words, axes: Axes) -> None:
    for number, word in enumerate(track.words):
        colour = MARK if word.confidence >= SURE else WARM
        length = max(word.end - word.start, 0.01)
        axes.bar(word.start, word.confidence, length, align="edge", color=colour, alpha=0.75)
        middle = word.start + length / 2
        axes.text(middle, 1.1 + 0.35 * (number % 2), word.text, ha="center", fontsize=8)
    axes.set(ylim=(0, 1.8), yticks=[0, 1], ylabel="confidence")
