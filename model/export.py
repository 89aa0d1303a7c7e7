"""From a training checkpoint to a model folder, and the check that both say the same.

The folder holds `config.json`, `weights.safetensors` (float16), `model.onnx` (float32) and
`model.int8.onnx` (the LSTMs in 8 bits; see `model/quantization.py`), which networks of other cells
do not have.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ossicle.model.config import FRAME_SAMPLES, ModelConfig
from ossicle.model.growth import deepened
from ossicle.model.network import Network, RecurrentLayer
from ossicle.model.quantization import fold_norms, quantize_lstms
from ossicle.model.runtime import INT8_CELLS, AcousticModel, Precision, transcribe_whole
from ossicle.model.training.curves import keep_curves
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WEIGHTS = "weights.safetensors"
FLOAT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Parity:
    """Largest absolute differences of probabilities and log-probabilities from torch's.

    Attributes:
        log_probs: over all frames and tokens.
        probabilities: the same for probabilities.
        agreement: share of frames with the same best token.
    """

    precision: str
    log_probs: float
    probabilities: float
    agreement: float

    def __str__(self) -> str:
        return (
            f"{self.precision}: largest difference {self.log_probs:.2e} in log-probability, "
            f"{self.probabilities:.2e} in probability; same best token in "
            f"{100 * self.agreement:.2f} % of frames"
        )


class _Graph(nn.Module):
    """The network with its state as positional arguments, as the exporter wants it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        for layer in network.layers:
            assert isinstance(layer, RecurrentLayer)
            layer.script()
        self.names = list(network.initial_state(1))

    def forward(self, samples: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        log_probs, new = self.network(samples, dict(zip(self.names, state, strict=True)))
        return log_probs, *(new[name] for name in self.names)


def load_checkpoint(checkpoint: Path, config: ModelConfig | None = None) -> Network:
    """The network of a training checkpoint, averaged weights, ready to evaluate.

    Args:
        config: the model's; None takes it from `config.yaml` beside the checkpoint.

    Raises:
        ValueError: the checkpoint has no configuration beside it, or another shape.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=False)["state_dict"]
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{checkpoint} is no checkpoint of `ossicle train`: {error}") from error
    if config is None:
        from ossicle.model.training.config import TrainingConfig

        config = TrainingConfig.load(checkpoint.parent / "config.yaml").model
    network = Network(config)
    try:
        network.load_state_dict(
            {n.removeprefix("network."): t for n, t in state.items() if n.startswith("network.")}
        )
    except RuntimeError as error:
        raise ValueError(f"{checkpoint} does not fit its configuration: {error}") from error
    return network.eval()


def load_weights(folder: Path) -> Network:
    """The network of a model folder from its `weights.safetensors`, ready to evaluate.

    Raises:
        ValueError: the weights are damaged or do not fit the folder's `config.json`.
        OSError: one of the two is missing.
    """
    network = Network(ModelConfig.load(folder / "config.json"))
    try:
        weights = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is damaged: {error}") from error
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except RuntimeError as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit config.json: {error}") from error
    return network.eval()


def average(network: Network, other: Network, share: float) -> None:
    """Move a network's weights towards those of another, `share` of the way, 0 to 1.

    Of a network and the one it was trained on from, the mean often understands more than either
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). Of networks that were not
    trained from one another it understands nothing. A network that was trained on with more layers
    has the other's mean with layers that pass on what they get.

    Raises:
        ValueError: the two differ in shape or features, or the share is out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of the other weights is {share}: give 0 to 1")
    layers = network.config.network.layers
    if layers > other.config.network.layers:
        other = deepened(other, layers)
    mine, others = network.state_dict(), other.state_dict()
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in (mine, others)]
    if shapes[0] != shapes[1]:
        raise ValueError("the networks to average differ in shape")
    constants = ("features.mean", "features.deviation")
    if not all(torch.allclose(mine[n], others[n], rtol=1e-2, atol=1e-2) for n in constants):
        raise ValueError("the networks to average have other feature statistics: not one's descent")
    network.load_state_dict({n: torch.lerp(mine[n], others[n], share) for n in mine})


def export(network: Network, folder: Path, *, name: str | None = None) -> None:
    """Write a model folder.

    Weights are rounded to float16 first, so that every file of the folder is made from the same
    numbers; `network` is left with the rounded weights.

    Args:
        name: the model's name in its configuration, if not to stay as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = replace(network.config, name=name) if name else network.config
    config.save(folder / "config.json")
    half = {n: t.detach().half().contiguous() for n, t in network.state_dict().items()}
    save_file(half, folder / WEIGHTS)
    network.load_state_dict({n: t.float() for n, t in half.items()})
    write_onnx(network, folder / "model.onnx")
    if config.network.recurrence.cell in INT8_CELLS:
        write_int8(network, folder / "model.int8.onnx")


def copy_record(run: Path, folder: Path) -> bool:
    """Put a run's configuration, facts and curves beside the model: the raw part of its card.

    Returns:
        Whether `run` was the folder of a run.
    """
    if not (run / "config.yaml").exists():
        return False
    (folder / "training.yaml").write_bytes((run / "config.yaml").read_bytes())
    (folder / "training.json").unlink(missing_ok=True)
    if (run / "run.json").exists():
        (folder / "training.json").write_bytes((run / "run.json").read_bytes())
    keep_curves(run, folder)
    return True


def write_onnx(network: Network, path: Path) -> None:
    """Write the float32 graph: `samples` and `state.*` to `log_probs` and `next.*`."""
    # As a whole: the exporter restores the mode of its argument, children included.
    graph = _Graph(copy.deepcopy(network)).eval()
    # Two streams: a batch of one would be folded into the graph as a constant.
    state = network.initial_state(2)
    inputs = ["samples", *(f"state.{n}" for n in graph.names)]
    outputs = ["log_probs", *(f"next.{n}" for n in graph.names)]
    batch_axis = {n: 1 if n in ("hidden", "memory") else 0 for n in graph.names}
    axes: dict[str, dict[int, str]] = {
        "samples": {0: "batch", 1: "samples"},
        "log_probs": {0: "batch", 1: "frames"},
    }
    for state_name, axis in batch_axis.items():
        axes[f"state.{state_name}"] = axes[f"next.{state_name}"] = {axis: "batch"}
    example = (torch.zeros(2, 4 * FRAME_SAMPLES), *state.values())
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns of LSTMs with a batch other than 1 even where the state is an input.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            # Traced here: the exporter's own tracer knows no scripted modules.
            torch.jit.trace(graph, example, check_trace=False),  # type: ignore[no-untyped-call]
            example,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=17,
            # The newer exporter decomposes LSTMs into steps, which run slower.
            dynamo=False,
        )


def write_int8(network: Network, path: Path) -> None:
    """Write the int8 graph; see `model/quantization.py`.

    Raises:
        ValueError: the network's cells have none.
    """
    cell = network.config.network.recurrence.cell
    if cell not in INT8_CELLS:
        raise ValueError(f"{cell} cells have no int8 graph: use the float one, model.onnx")
    with tempfile.TemporaryDirectory() as folder:
        float_graph = Path(folder) / "folded.onnx"
        write_onnx(fold_norms(network), float_graph)
        quantize_lstms(float_graph, path)


def check_parity(
    network: Network, folder: Path, precision: Precision, samples: NDArray[np.float32]
) -> Parity:
    """Compare ONNX Runtime in chunks of four frames with torch in one pass.

    Args:
        samples: recordings (B, N).
    """
    model = AcousticModel.load(folder, precision)
    with torch.no_grad():
        expected = network.transcribe_whole(torch.from_numpy(samples)).numpy()

    def in_chunks(padded: NDArray[np.float32], state: dict[str, NDArray[np.float32]]):  # type: ignore[no-untyped-def]
        pieces = []
        for begin in range(0, padded.shape[1], 4 * FRAME_SAMPLES):
            piece, state = model.step(padded[:, begin : begin + 4 * FRAME_SAMPLES], state)
            pieces.append(piece)
        return np.concatenate(pieces, axis=1), state

    state = model.initial_state(len(samples))
    actual = transcribe_whole(in_chunks, state, samples, model.info.lookahead_frames)
    return Parity(
        precision,
        float(np.abs(actual - expected).max()),
        float(np.abs(np.exp(actual) - np.exp(expected)).max()),
        float((actual.argmax(-1) == expected.argmax(-1)).mean()),
    )
