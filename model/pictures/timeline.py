"""Tracks on one time axis, as SVG: the names of the rows stay while the rest scrolls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path

from ossicle.model.pictures.colours import heat_image
from ossicle.model.pictures.markup import Markup, tag
from ossicle.model.pictures.tracks import Heat, Letters, Lines, Track, Wave, Words

STYLE = Path(__file__).with_name("timeline.css")
SURE = 0.5
"""Words with less confidence than this are more likely wrong than right, and marked."""

_PIXELS = 160  # to a second
_MARGIN = 150  # width of the column of names
_GAP = 18  # between two tracks
_AXIS = 26
_WAVE, _LINES, _LETTERS, _WORDS = 70, 80, 18, 96
_LINE = 15  # height of one of the two lines that words stand on

Drawing = tuple[int, list[Markup], list[Markup]]
"""Height of a track, what stands in the margin, and what scrolls, both from its own top."""


def timeline(tracks: Sequence[Track], seconds: float) -> Markup:
    """The tracks one below the other, over an axis from 0 to so many seconds."""
    width = max(math.ceil(seconds * _PIXELS), 1)
    names: list[Markup] = []
    rows: list[Markup] = []
    top = 4
    for track in tracks:
        height, name, row = _draw(track, width)
        place = f"translate(0 {top})"
        title = tag("text", track.title, x=12, y=12, class_="title")
        names.append(tag("g", title, *name, transform=place))
        rows.append(tag("g", *row, transform=place))
        top += height + _GAP
    bottom = top - _GAP + 6
    size = {"height": bottom + _AXIS}
    playhead = tag("line", x1=0, x2=0, y1=0, y2=bottom, class_="playhead", visibility="hidden")
    return tag(
        "figure",
        tag("svg", *names, width=_MARGIN, **size, aria_hidden="true"),
        tag(
            "div",
            tag(
                "svg",
                tag("title", f"{', '.join(track.title for track in tracks)} over time"),
                *_axis(seconds, bottom),
                *rows,
                playhead,
                width=width,
                **size,
                role="img",
                data_pixels=_PIXELS,
            ),
            class_="scroll",
            tabindex=0,
            role="region",
            aria_label="Pictures over time; they scroll sideways",
        ),
        class_="timeline",
    )


def _axis(seconds: float, bottom: int) -> list[Markup]:
    marks = []
    for second in range(int(seconds) + 1):
        x = second * _PIXELS
        # The first would stand half outside.
        place = "middle" if second else "start"
        marks += [
            tag("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid"),
            tag("text", f"{second} s", x=x, y=bottom + 16, class_=f"tick {place}"),
        ]
    return marks


@singledispatch
def _draw(track: Track, width: int) -> Drawing:
    raise TypeError(f"a track is {type(track).__name__}")


@_draw.register
def _(track: Wave, width: int) -> Drawing:
    columns = max(min(round(len(track.samples) / track.rate * _PIXELS), width), 1)
    middle = _WAVE / 2
    envelope = track.envelope(columns)
    # Quiet speech is drawn as large as loud speech: what matters is where it is.
    scale = middle / max(float(abs(envelope).max()), 1e-3)
    upper = [f"{x} {middle - scale * high - 0.5:.1f}" for x, (_, high) in enumerate(envelope)]
    lower = [f"{x} {middle - scale * low + 0.5:.1f}" for x, (low, _) in enumerate(envelope)]
    path = "M" + "L".join([*upper, *reversed(lower)]) + "Z"
    return _WAVE, [], [tag("path", d=path, class_="wave")]


@_draw.register
def _(track: Heat, width: int) -> Drawing:
    columns, rows = track.values.shape
    step = track.height / rows
    names = [
        tag(
            "text", label, x=_MARGIN - 12, y=track.height - (row + 0.5) * step + 3, class_="row end"
        )
        for row, label in track.labels.items()
    ]
    image = tag(
        "image",
        href=heat_image(track.values),
        x=0,
        y=0,
        width=columns * track.seconds * _PIXELS,
        height=track.height,
        preserveAspectRatio="none",
        class_="image",
    )
    return track.height, names, [image]


@_draw.register
def _(track: Lines, width: int) -> Drawing:
    def place(i: int, value: float) -> str:
        share = (value - track.low) / (track.high - track.low)
        return f"{i * track.seconds * _PIXELS:.1f} {_LINES * (1 - min(max(share, 0), 1)):.1f}"

    curves = []
    for number, (name, values) in enumerate(track.curves.items()):
        path = "M" + "L".join(place(i, float(v)) for i, v in enumerate(values))
        class_ = "curve second" if number % 2 else "curve"
        curves.append(tag("path", tag("title", name), d=path, class_=class_))
    names = [_row_name(f"{value:g}", y) for value, y in ((track.high, 24), (track.low, _LINES))]
    return _LINES, names, curves


@_draw.register
def _(track: Letters, width: int) -> Drawing:
    letters = [
        tag(
            "text",
            "␣" if token.text == " " else token.text,
            x=(token.frame + 0.5) * track.seconds * _PIXELS,
            y=13,
            class_="letter middle",
        )
        for token in track.tokens
    ]
    return _LETTERS, [], letters


@_draw.register
def _(track: Words, width: int) -> Drawing:
    marks = []
    bar = _WORDS - 2 * _LINE - 14
    for number, word in enumerate(track.words):
        left, right = word.start * _PIXELS, max(word.end * _PIXELS, word.start * _PIXELS + 2)
        line = 12 + (number % 2) * _LINE
        height = bar * word.confidence
        told = (
            f"{word.text}: {word.start:.2f} to {word.end:.2f} s, confidence {word.confidence:.2f}"
        )
        marks.append(
            tag(
                "g",
                tag("title", told),
                tag("text", word.text, x=(left + right) / 2, y=line, class_="middle"),
                tag("line", x1=left, x2=right, y1=_LINE * 2 + 4, y2=_LINE * 2 + 4, class_="span"),
                tag(
                    "rect",
                    x=left,
                    y=_WORDS - height,
                    width=right - left,
                    height=height,
                    class_="sure" if word.confidence >= SURE else "unsure",
                ),
            )
        )
    names = [
        _row_name("confidence 1", _WORDS - bar + 6),
        _row_name("0", _WORDS),
    ]
    return _WORDS, names, marks


def _row_name(name: str, y: float) -> Markup:
    return tag("text", name, x=_MARGIN - 12, y=y, class_="row end")
