"""The curves of a run: read over all resumptions, and drawn."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

FILE = "metrics.csv"


def read_curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Points (step, value) of every curve of a run, by name.

    A resumed run repeats the steps since its checkpoint, or since the plateau: what it does counts,
    and what was done after them before does not.
    """
    points: dict[str, dict[int, float]] = {}
    for path in sorted(run.glob(f"curves/*/{FILE}"), key=lambda p: int(p.parent.name)):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        first = min((int(row["step"]) for row in rows), default=math.inf)
        points = {
            name: {step: value for step, value in known.items() if step < first}
            for name, known in points.items()
        }
        for row in rows:
            step = int(row.pop("step"))
            row.pop("epoch", None)
            for name, value in row.items():
                if value:
                    points.setdefault(name, {})[step] = float(value)
    return {name: sorted(values.items()) for name, values in sorted(points.items())}


def next_part(run: Path) -> str:
    """The name of the folder, below `run`, for the curves of the run's next stretch.

    Lightning's CSV logger overwrites what it finds, so each resumption writes its own.
    """
    return f"curves/{len(list(run.glob(f'curves/*/{FILE}')))}"


def write_curves(curves: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> None:
    """Write as CSV with the columns curve, step, value."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["curve", "step", "value"])
        for name, points in curves.items():
            writer.writerows([name, step, f"{value:.6g}"] for step, value in points)


def plot_curves(curves: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> None:
    """Draw the losses, and the error rates if there are any, over the steps, as PNG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from ossicle.model.pictures.figure import LOOK

    rates = {name: points for name, points in curves.items() if name.endswith(("/wer", "/cer"))}
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(9 if rates else 4.5, 3.6), layout="constrained")
        panels = figure.subplots(1, 2 if rates else 1, squeeze=False)[0]
        for name, points in curves.items():
            steps, values = zip(*points, strict=True)
            if name == "train/loss":
                # One batch is noise: a running mean, over a tenth of the run at most, shows where
                # it goes.
                smooth, mean = [], values[0]
                for value in values:
                    mean += max(0.1, min(10 / len(values), 1.0)) * (value - mean)
                    smooth.append(mean)
                panels[0].plot(steps, smooth, label="training")
            elif name.endswith("/loss"):
                panels[0].plot(steps, values, marker=".", label=name.removesuffix("/loss"))
        for name, points in rates.items():
            steps, values = zip(*points, strict=True)
            style = "-" if name.endswith("/wer") else "--"
            panels[1].plot(steps, [100 * v for v in values], style, marker=".", label=name)
            panels[1].set_ylim(bottom=0)
        for axes, label in zip(panels, ("loss per token", "error rate, %"), strict=False):
            axes.set(xlabel="step", ylabel=label)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid()
            if axes.lines:
                axes.legend(fontsize="small", frameon=False)
        figure.savefig(path, dpi=110)


def keep_curves(run: Path, folder: Path) -> None:
    """Write the curves of a run as `curves.csv` and `curves.png`, if it has any yet."""
    curves = read_curves(run)
    if curves:
        write_curves(curves, folder / "curves.csv")
        plot_curves(curves, folder / "curves.png")
