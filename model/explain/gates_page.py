"""The gates of an utterance as a page: pick a layer and a unit, and move along time."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ossicle.model.config import FRAME_SECONDS
from ossicle.model.explain.gates import (
    GATES,
    MEANING,
    Layer,
    signal_heat,
    sound_tracks,
)
from ossicle.model.pictures.colours import RAMP
from ossicle.model.pictures.inspection import Inspection
from ossicle.model.pictures.markup import Markup, join, tag
from ossicle.model.pictures.page import facts_list, page
from ossicle.model.pictures.player import player
from ossicle.model.pictures.timeline import STYLE, timeline
from ossicle.model.pictures.tracks import Lines

LISTED = 8
_HEIGHT = 256
_HERE = Path(__file__).parent


def gates_page(inspection: Inspection, layers: Sequence[Layer]) -> str:
    """A document that needs nothing but a browser."""
    first = layers[0]
    start = "forget" if "forget" in first.signals else "hidden"
    empty = np.zeros(len(first.signals["hidden"]))
    gates = [name for name in first.signals if name in GATES]
    states = [name for name in first.signals if name not in GATES]
    tracks = [
        *sound_tracks(inspection),
        signal_heat(first, start, "all units", _HEIGHT),
        Lines("one unit: gates", dict.fromkeys(gates, empty), FRAME_SECONDS),
        Lines("one unit: states", dict.fromkeys(states, empty), FRAME_SECONDS, -1, 1),
    ]
    curves = [*gates, *states]
    data = {
        "layers": [_numbers(layer) for layer in layers],
        "curves": curves,
        "gates": gates,
        "ramp": b64encode(RAMP.tobytes()).decode(),
        "frames": len(empty),
        "seconds": FRAME_SECONDS,
    }
    body = [
        tag("h1", f"{inspection.name}: the gates"),
        tag("p", inspection.heard.text or "No word was heard.", class_="transcript"),
        player(inspection.samples),
        _controls(layers, start),
        timeline(tracks, inspection.seconds),
        _readings(curves),
        tag(
            "p",
            "Click in the picture of all units to pick one; elsewhere, to hear from there. Units "
            "lie in the order of their times, which stand at the margin: how long a unit keeps "
            "what it has, at the mean of its forget gate over this recording, until 1 / e of it "
            "is left. Gates are drawn from 0, dark, to 1, bright; what can be negative from "
            "dark to bright with 0 between. The memory of one unit is drawn as large as it gets, "
            "where that is more than 1; its values stand above.",
            class_="note",
        ),
        _rankings(layers),
        facts_list({"model": inspection.model, "length": f"{inspection.seconds:.2f} s"}),
        # "<" would end the script if a text had "</script>" in it.
        tag(
            "script",
            Markup(json.dumps(data).replace("<", "\\u003c")),
            type="application/json",
            id="data",
        ),
        tag("script", Markup((_HERE / "gates.js").read_text(encoding="utf-8")), type="module"),
    ]
    return page(f"{inspection.name}: the gates", body, STYLE, _HERE / "gates.css")


def _numbers(layer: Layer) -> dict[str, Any]:
    return {
        "signals": {name: _bytes(layer, name) for name in layer.signals},
        "bounds": {name: layer.bounds(name) for name in layer.signals},
        "order": layer.order.tolist(),
        "times": None if layer.times is None else np.rint(layer.times).tolist(),
    }


def _bytes(layer: Layer, signal: str) -> str:
    """A signal in steps of 1/255 of its range, unit after unit."""
    low, high = layer.bounds(signal)
    share = (layer.signals[signal].T - low) / (high - low)
    return b64encode(np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8).tobytes()).decode()


def _controls(layers: Sequence[Layer], start: str) -> Markup:
    def option(value: object, text: str, *, chosen: bool) -> Markup:
        return tag("option", text, value=str(value), selected=chosen)

    numbers = [option(i, str(i + 1), chosen=i == 0) for i in range(len(layers))]
    signals = [option(n, MEANING[n], chosen=n == start) for n in layers[0].signals]
    last = len(layers[0].signals["hidden"]) - 1
    return tag(
        "form",
        tag("label", "layer ", tag("select", *numbers, id="layer")),
        tag("label", "all units: ", tag("select", *signals, id="signal")),
        tag(
            "label",
            "one unit: ",
            tag("input", type="number", id="unit", min=0, max=layers[0].units - 1, value=0),
        ),
        tag(
            "label",
            "time ",
            tag("input", type="range", id="time", min=0, max=last, value=0),
            class_="wide",
        ),
        class_="controls",
    )


def _readings(curves: Sequence[str]) -> Markup:
    names = [tag("th", name, scope="col", class_=f"c{i}") for i, name in enumerate(curves)]
    cells = [tag("td", id=f"value-{name}") for name in curves]
    return tag(
        "table",
        tag("caption", tag("span", id="where"), aria_live="polite"),
        tag("thead", tag("tr", *names)),
        tag("tbody", tag("tr", *cells)),
        class_="readings",
    )


def _rankings(layers: Sequence[Layer]) -> Markup:
    rows = []
    for number, layer in enumerate(layers):
        keep = join(["none: these cells have no forget gate"])
        if layer.times is not None:
            longest = layer.order[::-1][:LISTED]
            keep = _picks(number, [(int(u), f"{layer.times[u]:,.0f} ms") for u in longest])
        ends = np.argsort(-layer.word_ends, kind="stable")[:LISTED]
        fire = _picks(number, [(int(u), f"{layer.word_ends[u]:+.1f} σ") for u in ends])
        cells = (str(number + 1), keep, fire, f"{layer.chance:.1f} σ")
        rows.append(tag("tr", *(tag("td", cell) for cell in cells)))
    heads = ("layer", "units that keep longest", "units that fire when a word ends", "by chance")
    return tag(
        "table",
        tag(
            "caption",
            "σ: by how many standard deviations a unit's hidden state is larger, in size, in the "
            "120 ms from where the network ends a word with a space than else in this recording.",
        ),
        tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
        tag("tbody", *rows),
        class_="rankings",
    )


def _picks(layer: int, units: Sequence[tuple[int, str]]) -> Markup:
    return join(
        tag(
            "button",
            tag("b", str(unit)),
            f" {text}",
            type="button",
            data_layer=layer,
            data_unit=unit,
        )
        for unit, text in units
    )
