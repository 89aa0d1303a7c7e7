"""From a language model's checkpoint to `lm.lstm.onnx`, and the check that both say the same.

LSTM products are computed in 8 bits (`model/quantization.py`). The other matrices are stored in 8
bits, with a scale for each row, and computed with in float32: ONNX Runtime unpacks them once, when
it loads the file. The units are stored in the file, without which its numbers mean nothing.
"""

from __future__ import annotations

import json
import pickle
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from ossicle.model.decoding.rescoring import FILE, Rescorer
from ossicle.model.lstm_lm.config import (
    LanguageModelConfig,
    LanguageTrainingConfig,
    is_language_model,
)
from ossicle.model.lstm_lm.network import LanguageNetwork
from ossicle.model.lstm_lm.units import Units
from ossicle.model.quantization import quantize_lstms
from torch import Tensor, nn

TOLERANCE = 0.05
"""Largest difference of a text's log-probability, in nats per unit, that 8 bits may make."""
PARITY_TEXTS = (
    "no",
    "she sells sea shells by the sea shore",
    "he said that the ship had left two hours before and that nobody knew where it was bound",
    "to record your message press one",
    "the quick brown fox jumps over the lazy dog",
)
_LEVELS = 127
_LEAST_ROWS = 64  # smaller matrices are not worth the nodes


class _Graph(nn.Module):
    """`LanguageNetwork.score` as the exporter wants it."""

    def __init__(self, network: LanguageNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, units: Tensor, following: Tensor, hidden: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.network.score(units, following, hidden, memory)


def is_language_checkpoint(checkpoint: Path) -> bool:
    """Whether the run that a checkpoint lies in is of a language model."""
    return is_language_model(checkpoint.parent / "config.yaml")


def load_language_checkpoint(
    checkpoint: Path, config: LanguageModelConfig | None = None
) -> tuple[LanguageNetwork, Units]:
    """The network of a checkpoint, averaged weights, ready to evaluate, and its units.

    Args:
        config: the model's; None takes it from `config.yaml` beside the checkpoint.

    Raises:
        ValueError: it is damaged, no language model, or of another shape than configured.
    """
    try:
        stored = torch.load(checkpoint, map_location="cpu", weights_only=False)
        state, units = stored["state_dict"], Units(stored["units"])
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{checkpoint} is no checkpoint of a language model: {error}") from error
    if config is None:
        config = LanguageTrainingConfig.load(checkpoint.parent / "config.yaml").model
    network = LanguageNetwork(replace(config, units=len(units.names)))
    try:
        network.load_state_dict(
            {n.removeprefix("network."): t for n, t in state.items() if n.startswith("network.")}
        )
    except RuntimeError as error:
        raise ValueError(f"{checkpoint} does not fit its configuration: {error}") from error
    return network.eval(), units


def training_record(run: Path) -> dict[str, Any]:
    """A run's configuration and facts, to be stored in the file that is made of it."""
    record: dict[str, Any] = {"config": LanguageTrainingConfig.load(run / "config.yaml").to_dict()}
    if (run / "run.json").exists():  # not yet in a run that goes on
        record["run"] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return record


def export_language_model(
    network: LanguageNetwork, units: Units, folder: Path, record: Mapping[str, Any] | None = None
) -> Path:
    """Write `lm.lstm.onnx` into a folder, which may be a model's; returns its path.

    Args:
        record: how the network was trained, to be stored with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    with tempfile.TemporaryDirectory() as temporary:
        float_graph, int8_graph = Path(temporary) / "float.onnx", Path(temporary) / "int8.onnx"
        _write_onnx(network, float_graph)
        quantize_lstms(float_graph, int8_graph)
        model = onnx.load(str(int8_graph))
    _compress_matrices(model.graph)
    properties = {"units": json.dumps(units.names), "training": json.dumps(record or {})}
    helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def _write_onnx(network: LanguageNetwork, path: Path) -> None:
    # Two texts of three units: a batch of one would be folded into the graph as a constant.
    hidden, memory = network.initial_state(2)
    units = torch.zeros(3, 2, dtype=torch.int64)
    texts = {0: "units", 1: "texts"}
    with warnings.catch_warnings():
        # The tracer warns of LSTMs with a batch other than 1 even where the state is an input.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Graph(network).eval(),
            (units, units, hidden, memory),
            str(path),
            input_names=["units", "following", "hidden", "memory"],
            output_names=["log_probs", "next_hidden", "next_memory"],
            dynamic_axes={
                "units": texts,
                "following": texts,
                "log_probs": texts,
                **{name: {1: "texts"} for name in ("hidden", "memory")},
                **{name: {1: "texts"} for name in ("next_hidden", "next_memory")},
            },
            opset_version=17,
            # The newer exporter decomposes LSTMs into steps, which run slower.
            dynamo=False,
        )


def _compress_matrices(graph: onnx.GraphProto) -> None:
    """Store each large float matrix as integers and a scale for each row."""
    nodes: list[onnx.NodeProto] = []
    kept: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim != 2 or len(values) < _LEAST_ROWS:
            kept.append(tensor)
            continue
        scale = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-8) / _LEVELS
        name = tensor.name
        kept += [
            numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}.int8"),
            numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale"),
        ]
        nodes += [
            helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]),
        ]
    nodes += graph.node
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


@dataclass(frozen=True)
class LanguageParity:
    """How far the exported graph is from the network.

    Attributes:
        difference: largest difference of a text's natural-log probability per unit.
        size: of the file, bytes.
    """

    difference: float
    size: int

    def __str__(self) -> str:
        return (
            f"{FILE}: {self.size / 1e6:.2f} MB; largest difference {self.difference:.2e} nats a "
            "unit"
        )


def check_language_parity(
    network: LanguageNetwork,
    units: Units,
    folder: Path,
    texts: Sequence[str] = PARITY_TEXTS,
) -> LanguageParity:
    """Compare ONNX Runtime with torch on texts in normal form."""
    rescorer = Rescorer.load(folder)
    assert rescorer is not None
    actual = rescorer.score(texts)
    differences = []
    for text, score in zip(texts, actual, strict=True):
        row = torch.tensor([[0, *units.encode(text), 0]]).T
        with torch.no_grad():
            log_probs, _, _ = network.score(row[:-1], row[1:], *network.initial_state(1))
        differences.append(abs(float(log_probs.sum()) - float(score)) / len(log_probs))
    return LanguageParity(max(differences), (folder / FILE).stat().st_size)
