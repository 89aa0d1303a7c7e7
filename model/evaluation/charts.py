"""The plots of a report as inline SVG, coloured by the page's style sheet.

Each plot names what it shows in its title and writes its numbers beside its marks: nothing is told
by colour alone, and a screen reader finds the numbers as text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ossicle.model.evaluation.scoring import Score
from ossicle.model.pictures.markup import Markup, tag

_ROW = 26  # height of a row, in units of the drawing
_LABEL = 230  # width of the column of labels
_PLOT = 380
_VALUE = 150  # width of the column of numbers
_LABEL_LETTERS = 32


def interval_plot(title: str, rows: Mapping[str, Score]) -> Markup:
    """The WER of each row as a dot on its 95 % interval, if it has more than one recording."""
    top = _ceiling(max(s.wer_high for s in rows.values()))
    bottom = _ROW * len(rows)
    marks = _vertical_grid(top, bottom)
    for i, (name, s) in enumerate(rows.items()):
        y = _ROW * i + _ROW / 2
        low, middle, high = (_LABEL + _PLOT * rate / top for rate in (s.wer_low, s.wer, s.wer_high))
        marks += [
            _row_label(name, y),
            tag("circle", cx=middle, cy=y, r=4.5, class_="dot"),
        ]
        if s.utterances == 1:  # resampling one recording tells nothing
            marks.append(_number(f"{percent(s.wer)}, 1 recording", y))
            continue
        marks += [
            tag("line", x1=low, x2=high, y1=y, y2=y, class_="interval"),
            _number(f"{percent(s.wer)} ({percent(s.wer_low)} to {percent(s.wer_high)})", y),
        ]
    return _figure(title, _LABEL + _PLOT + _VALUE, bottom + 24, marks)


def error_bars(title: str, rows: Mapping[str, Score]) -> Markup:
    """Substitutions, deletions and insertions of each row, in shares of its words, in one bar."""
    top = _ceiling(max(s.wer for s in rows.values()))
    bottom = _ROW * len(rows)
    marks = _vertical_grid(top, bottom)
    for i, (name, s) in enumerate(rows.items()):
        y = _ROW * i + _ROW / 2
        x = float(_LABEL)
        numbers = []
        for kind, letter in (("substitutions", "S"), ("deletions", "D"), ("insertions", "I")):
            share = getattr(s, kind) / s.words
            width = _PLOT * share / top
            marks.append(
                tag(
                    "rect",
                    tag("title", f"{name}: {kind} {percent(share)} of words"),
                    x=x,
                    y=y - 8,
                    width=width,
                    height=16,
                    class_=kind,
                )
            )
            if width > 16:
                marks.append(tag("text", letter, x=x + width / 2, y=y + 4, class_="inside middle"))
            numbers.append(f"{letter} {100 * share:.1f}")
            x += width
        marks += [_row_label(name, y), _number("  ".join(numbers), y)]
    return _figure(title, _LABEL + _PLOT + _VALUE, bottom + 24, marks)


def noise_plot(title: str, clean: Score, by_snr: Mapping[int, Score], top: float) -> Markup:
    """The WER without noise and at each level, with a band of its 95 % interval.

    Args:
        top: WER at the upper end of the axis, so that several plots can share one.
    """
    points = {"clean": clean, **{f"{snr} dB": s for snr, s in by_snr.items()}}
    width, height, left, head = 300, 190, 44, 12
    step = (width - left - 50) / (len(points) - 1)

    def place(i: int, rate: float) -> tuple[float, float]:
        return left + 28 + step * i, head + height * (1 - min(rate, top) / top)

    marks: list[Markup] = []
    for rate in ticks(top):
        y = place(0, rate)[1]
        marks += [
            tag("line", x1=left, x2=width - 10, y1=y, y2=y, class_="grid"),
            tag("text", f"{100 * rate:.0f}%", x=left - 6, y=y + 4, class_="tick end"),
        ]
    scores = list(points.values())
    upper = [place(i, s.wer_high) for i, s in enumerate(scores)]
    lower = [place(i, s.wer_low) for i, s in enumerate(scores)]
    line = [place(i, s.wer) for i, s in enumerate(scores)]
    marks += [
        tag("path", d=_path([*upper, *reversed(lower)]) + "Z", class_="band"),
        tag("path", d=_path(line), class_="line"),
    ]
    for (name, s), (x, y) in zip(points.items(), line, strict=True):
        marks += [
            tag("circle", cx=x, cy=y, r=4, class_="dot"),
            tag("text", percent(s.wer), x=x, y=y - 9, class_="value middle"),
            tag("text", name, x=x, y=head + height + 16, class_="tick middle"),
        ]
    return _figure(title, width, head + height + 24, marks, class_="small")


def percent(rate: float) -> str:
    """A rate as people read it."""
    return f"{100 * rate:.1f}%"


def shared_ceiling(scores: Sequence[Score]) -> float:
    """A round WER that no interval of the scores exceeds, at most 1.5."""
    return min(_ceiling(max(s.wer_high for s in scores)), 1.5)


def ticks(top: float) -> list[float]:
    """Three to six round numbers from 0 to `top`, both included where `top` is round."""
    step = next(s for s in _STEPS if top / s <= 5.001)
    return [step * i for i in range(math.floor(top / step + 1e-9) + 1)]


_STEPS = tuple(m * 10.0**e for e in range(-3, 6) for m in (1, 2, 5))


def _ceiling(rate: float) -> float:
    """The next round number, at least 1 %."""
    rate = max(rate, 0.01)
    step = next(s for s in _STEPS if rate / s <= 5.001)
    return step * math.ceil(rate / step - 1e-9)


def _vertical_grid(top: float, bottom: float) -> list[Markup]:
    marks: list[Markup] = []
    for rate in ticks(top):
        x = _LABEL + _PLOT * rate / top
        label = f"{100 * rate:g}%"
        marks += [
            tag("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid"),
            tag("text", label, x=x, y=bottom + 16, class_="tick middle"),
        ]
    return marks


def _row_label(name: str, y: float) -> Markup:
    short = name if len(name) <= _LABEL_LETTERS else f"…{name[1 - _LABEL_LETTERS :]}"
    return tag("text", tag("title", name), short, x=_LABEL - 10, y=y + 4, class_="label end")


def _number(text: str, y: float) -> Markup:
    return tag("text", text, x=_LABEL + _PLOT + _VALUE, y=y + 4, class_="value end")


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _figure(
    title: str, width: float, height: float, marks: Sequence[Markup], class_: str = "wide"
) -> Markup:
    drawing = tag(
        "svg",
        tag("title", title),
        *marks,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        class_=class_,
    )
    return tag("figure", tag("figcaption", title), drawing, class_=class_)
