"""Images of error flow and of compared cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ossicle.model.explain.clipping import Descent, loss
from ossicle.model.explain.comparison import DEPTHS, Result
from ossicle.model.explain.copying import CopyResults
from ossicle.model.explain.flow import Flow
from ossicle.model.pictures.colours import FAINT, MARK, WARM
from ossicle.model.pictures.figure import LOOK

_COLOURS = {
    "rnn": "#b3541e",
    "lstm-no-forget": "#8a6d00",
    "lstm": "#1f6f8b",
    "lstm-peephole": "#6d4aa3",
    "lstm-coupled": "#3f51b5",
    "gru": "#4d7c0f",
    "gru-no-reset": "#0f9b8e",
}
_DPI = 110


def plot_flow(
    groups: Mapping[str, Sequence[Flow]],
    scalars: Sequence[Flow],
    clipped: Descent,
    unclipped: Descent,
    power: int,
    path: Path,
) -> None:
    """Draw groups of flows side by side, and below what clipping does.

    Args:
        groups: flows by the title of their panel.
        scalars: drawn in each panel.
        clipped, unclipped: descents on w to the power of `power`.
    """
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(5.6 * max(len(groups), 2), 8.2), layout="constrained")
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[1.5, 1])[:, 0]
        panels = top.subplots(1, len(groups), squeeze=False, sharey=True)[0]
        for axes, (title, flows) in zip(panels, groups.items(), strict=True):
            _flow_panel(axes, title, flows, scalars)
        panels[0].set_ylabel("error k steps back, as a share of the error now")
        cliff, track = bottom.subplots(1, 2)
        _cliff(cliff, clipped, power)
        _updates(track, clipped, unclipped)
        figure.savefig(path, dpi=_DPI)


def _flow_panel(axes: Axes, title: str, flows: Sequence[Flow], scalars: Sequence[Flow]) -> None:
    for flow in flows:
        axes.plot(flow.log10, label=flow.name, **_style(flow.name))
    for flow in scalars:
        axes.plot(flow.log10, color=FAINT, linewidth=0.8, linestyle=":")
        if len(flow.log10) > 100:
            axes.plot(100, flow.at(100), "o", color=FAINT, markersize=3)
            axes.annotate(
                f"{flow.name.replace('k', '100')} = {_number(10 ** flow.at(100))}",
                (100, flow.at(100)),
                (6, 6 if flow.at(100) > 0 else -4),
                textcoords="offset points",
                color=FAINT,
            )
    axes.set(title=title, xlabel="k, steps of 40 ms", ylim=(-60, 30))
    axes.set_yticks(range(-60, 31, 10), [f"$10^{{{n}}}$" for n in range(-60, 31, 10)])
    axes.grid(alpha=0.5)
    axes.legend(fontsize="small", loc="upper right", ncols=2)


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 1 else f"{value:.2g}"


def _style(name: str) -> dict[str, Any]:
    cell = name.split(",")[0]
    style: dict[str, Any] = {"color": _COLOURS.get(cell, "#1d1f23"), "linewidth": 1.5}
    if "," in name:
        style["linestyle"] = "--"
    return style


def _cliff(axes: Axes, descent: Descent, power: int) -> None:
    weights = np.linspace(0.9, 1.11, 400)
    axes.plot(weights, [loss(float(w), power) for w in weights], linewidth=1, color=FAINT)
    axes.plot(descent.weights, descent.losses, ".", color=MARK, label="with clipping")
    axes.annotate(
        "without: thrown\nout of the picture",
        (descent.weights[0], descent.losses[0]),
        (-150, 0),
        textcoords="offset points",
        va="center",
        color=WARM,
        arrowprops={"arrowstyle": "<-", "color": WARM},
    )
    axes.set(
        yscale="log",
        ylim=(1e-5, 1e10),
        xlabel="w",
        title=f"loss of a unit that is to answer 1 after {power} steps",
    )
    axes.grid(alpha=0.5)
    axes.legend(loc="upper left")


def _updates(axes: Axes, clipped: Descent, unclipped: Descent) -> None:
    axes.plot(clipped.weights, marker=".", markersize=3, label="with clipping")
    axes.plot([0, 1], [unclipped.weights[0], 0.9], label="without")
    thrown = f"{unclipped.weights[1]:,.0f}".replace(",", " ")
    axes.annotate(f"  w = {thrown} after one update", (1, 0.905), color=WARM)
    axes.set(xlabel="update", ylabel="w", ylim=(0.9, 1.11), title="gradient descent on w")
    axes.grid(alpha=0.5)
    axes.legend(loc="upper right")


def plot_cells(results: Sequence[Result], path: Path) -> None:
    """Draw WER against steps, seconds and parameters, and against depth."""
    cells = [r for r in results if r.name == r.cell]
    depths = sorted((r for r in results if r.cell == "lstm"), key=lambda r: r.layers)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(11.5, 8), layout="constrained")
        (steps, seconds), (parameters, depth) = figure.subplots(2, 2)
        for result in cells:
            at, wer = [n for n, _ in result.curve], [rate for _, rate in result.curve]
            style = {**_style(result.cell), "label": result.cell, "marker": "."}
            steps.plot(at, _percent(wer), **style)
            seconds.plot([n * result.step_seconds for n in at], _percent(wer), **style)
        for i, result in enumerate(sorted(cells, key=lambda r: r.parameters)):
            # Above and below by turns: some have as many parameters as others.
            _point(parameters, result.parameters / 1000, result, result.cell, -12 if i % 2 else 5)
        for result in depths:
            _point(depth, result.layers, result, f"{result.step_seconds * 1000:.0f} ms a step", 5)
        steps.set(xlabel="steps of training", ylabel="WER, %")
        seconds.set(xlabel="seconds of one core", ylabel="WER, %")
        parameters.set(xlabel="thousand parameters", ylabel="WER at the end, %, with 95 % interval")
        depth.set(xlabel="layers of LSTM", ylabel="WER at the end, %", xticks=list(DEPTHS))
        parameters.margins(x=0.2)
        depth.margins(x=0.15)
        for axes in (steps, seconds, parameters, depth):
            axes.grid(alpha=0.5)
        steps.legend()
        figure.savefig(path, dpi=_DPI)


def _point(axes: Axes, x: float, result: Result, text: str, rise: int) -> None:
    error = [[100 * (result.wer - result.low)], [100 * (result.high - result.wer)]]
    colour = _COLOURS[result.cell]
    axes.errorbar(x, 100 * result.wer, error, marker="o", color=colour, linewidth=1)
    axes.annotate(text, (x, 100 * result.wer), (5, rise), textcoords="offset points", fontsize=7)


def _percent(rates: Sequence[float]) -> list[float]:
    return [100 * rate for rate in rates]


def plot_copying(results: CopyResults, path: Path) -> None:
    """Draw what is remembered against the lag, from both starts."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(11.5, 4), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        tables = {
            "gates start as usual": results.usual,
            "gates start with times up to the lag": results.spread,
        }
        for axes, (title, table) in zip(panels, tables.items(), strict=True):
            for cell, row in table.items():
                lags = sorted(row)
                axes.plot(
                    lags, [100 * row[lag] for lag in lags], marker="o", label=cell, **_style(cell)
                )
            axes.axhline(100 / results.task.symbols, color=FAINT, linestyle=":", linewidth=0.8)
            axes.annotate("chance", (results.task.lags[0], 100 / results.task.symbols + 1.5))
            axes.set(title=title, xscale="log", xlabel="lag, steps", ylim=(0, 103))
            axes.set_xticks(results.task.lags, [str(lag) for lag in results.task.lags])
            axes.minorticks_off()
            axes.grid(alpha=0.5)
        panels[0].set_ylabel("symbols told right, %")
        panels[0].legend(fontsize="small", loc="center right")
        figure.savefig(path, dpi=_DPI)
