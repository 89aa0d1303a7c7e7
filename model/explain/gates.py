"""The gates of a network while it hears one utterance, unit by unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from ossicle.model.config import FRAME_SAMPLES, FRAME_SECONDS
from ossicle.model.explain.layers import layer_cells, trace_layers
from ossicle.model.network import Network
from ossicle.model.pictures.inspection import Inspection
from ossicle.model.pictures.tracks import Heat, Track, Wave, Words

MEANING = {
    "input": "input gate: what is let in",
    "forget": "forget gate: what is kept",
    "output": "output gate: what is shown",
    "reset": "reset gate: what the candidate sees",
    "candidate": "candidate: what could be written",
    "memory": "memory",
    "hidden": "hidden state: what the next layer hears",
}
"""Signals in the order in which they are drawn, and what they are."""
GATES = ("input", "forget", "output", "reset")
_AFTER_SPACE = 3  # frames from the one in which a space is written, 120 ms, heard before it is
_FAR = 20  # frames between what is said and what cannot be meant by it


@dataclass(frozen=True)
class Layer:
    """One layer over one utterance.

    Attributes:
        signals: by name, (U, H) each.
        times: how long each unit keeps what it has, in ms: the time after which a share of 1 / e
            of it is left, at the mean of its forget gate; None where there is no such gate.
        word_ends: by how many standard deviations each unit's hidden state is larger, in size,
            when the network ends a word with a space than else, (H,).
        chance: what the largest of those reaches by chance.
        order: units from the shortest to the longest time.
    """

    signals: dict[str, NDArray[np.float32]]
    times: NDArray[np.float64] | None
    word_ends: NDArray[np.float64]
    chance: float

    @property
    def units(self) -> int:
        """H."""
        return int(self.signals["hidden"].shape[1])

    @property
    def order(self) -> NDArray[np.int64]:
        """Units from the shortest to the longest time, or in their own order."""
        if self.times is None:
            return np.arange(self.units)
        return np.argsort(self.times, kind="stable")

    def bounds(self, signal: str) -> tuple[float, float]:
        """Between which values a signal is drawn."""
        if signal in GATES:
            return 0.0, 1.0
        if signal != "memory":
            return -1.0, 1.0
        largest = float(np.percentile(np.abs(self.signals["memory"]), 98))
        return -max(largest, 1.0), max(largest, 1.0)


def trace_gates(network: Network, inspection: Inspection) -> list[Layer]:
    """What each layer of a network does while it hears an inspected recording."""
    samples = inspection.samples
    frames = -(-len(samples) // FRAME_SAMPLES)
    padded = np.zeros((1, frames * FRAME_SAMPLES), dtype=np.float32)
    padded[0, : len(samples)] = samples
    traces = trace_layers(network, torch.from_numpy(padded))
    spaces = [token.frame for token in inspection.heard.tokens if token.text == " "]
    layers = []
    for cell, trace in zip(layer_cells(network), traces, strict=True):
        names = [n for n in MEANING if n in trace and (n != "memory" or cell.has_memory)]
        signals = {name: trace[name][0].numpy() for name in names}
        times = keeping_times(signals["forget"]) if "forget" in signals else None
        layers.append(Layer(signals, times, *firing(signals["hidden"], spaces)))
    return layers


def keeping_times(forget: NDArray[np.float32]) -> NDArray[np.float64]:
    """Time constants in ms of forget gates (U, H): where f^(t / 40 ms) = 1 / e, f their mean."""
    mean = np.clip(forget.mean(axis=0, dtype=np.float64), 1e-6, 1 - 1e-6)
    result: NDArray[np.float64] = -1000 * FRAME_SECONDS / np.log(mean)
    return result


def firing(hidden: NDArray[np.float32], frames: Sequence[int]) -> tuple[NDArray[np.float64], float]:
    """How many standard deviations larger, in size, units (U, H) are in some frames than else.

    Args:
        frames: from each of which on they are looked at for `_AFTER_SPACE` frames.

    Returns:
        (H,), 0 if there are no frames; and what the largest of them reaches by chance in one case
        of twenty, found by moving the frames along the recording, as in a circle, past all that
        they could mean.
    """
    marked = np.zeros(len(hidden), dtype=bool)
    for frame in frames:
        marked[frame : frame + _AFTER_SPACE] = True
    size = np.abs(hidden).astype(np.float64)
    shifts = range(_FAR, len(hidden) - _FAR, 5)
    largest = [float(_contrast(size, np.roll(marked, shift)).max()) for shift in shifts]
    return _contrast(size, marked), float(np.percentile(largest or [0.0], 95))


def _contrast(size: NDArray[np.float64], marked: NDArray[np.bool_]) -> NDArray[np.float64]:
    if not marked.any() or marked.all():
        return np.zeros(size.shape[1])
    difference = size[marked].mean(0) - size[~marked].mean(0)
    result: NDArray[np.float64] = difference / np.maximum(size.std(0), 1e-6)
    return result


def gate_tracks(inspection: Inspection, layers: Sequence[Layer], chosen: int | None) -> list[Track]:
    """Waveform, log-mel and words, and below them each signal of each layer as a heat map.

    Args:
        chosen: the one layer to draw, counted from 1; None draws all, smaller.
    """
    tracks: list[Track] = sound_tracks(inspection)
    for number, layer in enumerate(layers, 1):
        if chosen not in (None, number):
            continue
        for name in layer.signals:
            title = f"layer {number}, {MEANING[name]}"
            tracks.append(signal_heat(layer, name, title, 60 if chosen is None else 130))
    return tracks


def sound_tracks(inspection: Inspection) -> list[Track]:
    """Of an inspection, waveform, log-mel and words."""
    return [
        track
        for track in inspection.tracks()
        if isinstance(track, Wave | Words) or track.title == "log-mel"
    ]


def signal_heat(layer: Layer, signal: str, title: str, height: int) -> Heat:
    """A signal of all units, those with the longest times on top."""
    low, high = layer.bounds(signal)
    values = (layer.signals[signal][:, layer.order] - low) / (high - low)
    labels = {}
    if layer.times is not None:
        sorted_times = layer.times[layer.order]
        labels = {row: _time(sorted_times[row]) for row in (0, layer.units // 2, layer.units - 1)}
    return Heat(title, values, FRAME_SECONDS, labels, height)


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
