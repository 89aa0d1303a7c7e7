"""The curves of a run: read over all resumptions, and drawn."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

FILE = "metrics.csv"


def read_curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Points (step, value) of every curve of a run, by name.

    A resumed run repeats the steps since its checkpoint: the later record counts.
    """
    points: dict[str, dict[int, float]] = {}
    for path in sorted(run.glob(f"curves/*/{FILE}"), key=lambda p: int(p.parent.name)):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
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
    """Draw the loss and the error rates over the steps, as PNG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from ossicle.model.pictures.figure import LOOK

    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        loss, rates = figure.subplots(1, 2)
        for name, points in curves.items():
            steps, values = zip(*points, strict=True)
            if name == "train/loss":
                # One batch is noise: a running mean shows where it goes.
                smooth, mean = [], values[0]
                for value in values:
                    mean += 0.1 * (value - mean)
                    smooth.append(mean)
                loss.plot(steps, smooth, label="training")
            elif name.endswith("/loss"):
                loss.plot(steps, values, marker=".", label=name.removesuffix("/loss"))
            elif name.endswith(("/wer", "/cer")):
                style = "-" if name.endswith("/wer") else "--"
                rates.plot(steps, [100 * v for v in values], style, marker=".", label=name)
        loss.set(xlabel="step", ylabel="CTC loss per token")
        rates.set(xlabel="step", ylabel="error rate, %", ylim=(0, 105))
        for axes in (loss, rates):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid()
            if axes.lines:
                axes.legend(fontsize="small", frameon=False)
        figure.savefig(path, dpi=110)
