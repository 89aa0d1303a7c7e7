"""The int8 graph: LSTM products in 8 bits, with scales that never depend on other data.

ONNX Runtime's dynamic quantisation takes its scale from the largest value in the whole tensor, so
that one loud stream would change the rounding of all others in its batch, and the size of a
chunk would change the transcript. Here every scale is a constant of the model:

- weights: symmetric, one scale per gate unit, 7 bits, so that the 16-bit sums of processors
  without VNNI cannot saturate and every machine computes the same;
- the LSTM's output h lies between -1 and 1 by its equations: scale 1/127;
- its input is a layer-normalised vector. Gain and offset of the norm are folded into the weights,
  which leaves values of mean 0 and variance 1: scale `INPUT_RANGE`/127.

Sums are exact integers; gates, memory, features, convolutions and head stay in float32.

Only LSTM nodes are rewritten: networks of other cells are served in float.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from ossicle.model.network import Network, RecurrentLayer

INPUT_RANGE = 8.0  # standard deviations; what lies beyond is clipped
WEIGHT_LEVELS = 63
ACTIVATION_LEVELS = 127
ZERO = 128  # activations are unsigned bytes around this: the fast kernels want them so


def fold_norms(network: Network) -> Network:
    """A copy whose norms before LSTMs have gain 1 and offset 0, and which computes the same."""
    folded = copy.deepcopy(network)
    with torch.no_grad():
        for layer in folded.layers:
            assert isinstance(layer, RecurrentLayer)
            weight = layer.recurrence.get_parameter("weight_ih_l0")
            layer.recurrence.get_parameter("bias_ih_l0").add_(weight @ layer.norm.bias)
            weight.mul_(layer.norm.weight)
            layer.norm.weight.fill_(1.0)
            layer.norm.bias.zero_()
    return folded


def quantize_lstms(source: Path, target: Path) -> None:
    """Rewrite every LSTM of a float graph whose norms are folded.

    Raises:
        ValueError: the graph has no LSTM.
    """
    model = onnx.load(str(source))
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rewritten: list[onnx.NodeProto] = []
    added: list[onnx.TensorProto] = []
    unused: set[str] = set()
    count = 0
    for node in graph.node:
        # Equal tensors are stored once by the exporter, and named again by Identity.
        if node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        if node.op_type != "LSTM":
            rewritten.append(node)
            continue
        nodes, tensors = _int8_lstm(node, constants, f"lstm{count}")
        rewritten += nodes
        added += tensors
        unused |= set(node.input[1:4])
        count += 1
    if count == 0:
        raise ValueError(f"{source} has no LSTM to quantise")
    rewritten = [node for node in rewritten if node.output[0] not in unused]
    needed = {name for node in rewritten for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(rewritten)
    graph.initializer.extend([*kept, *added])
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def quantize_rows(
    weight: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round (rows, columns) to integers of at most `WEIGHT_LEVELS`, with a scale for each row."""
    scale = np.maximum(np.abs(weight).max(axis=1), 1e-8) / WEIGHT_LEVELS
    return np.rint(weight / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _int8_lstm(
    node: onnx.NodeProto, constants: dict[str, NDArray[np.float32]], name: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes and constants that stand in for one LSTM node with hidden and memory as inputs.

    ONNX orders gates input, output, forget, candidate; X is (U, B, H), Y is (U, 1, B, H).
    """
    x, w, r, b, _, hidden, memory = node.input
    y, last_hidden, last_memory = node.output
    input_weight, input_scale = quantize_rows(constants[w][0])
    state_weight, state_scale = quantize_rows(constants[r][0])
    four_hidden = len(input_weight)
    x_scale, h_scale = INPUT_RANGE / ACTIVATION_LEVELS, 1.0 / ACTIVATION_LEVELS
    bias = constants[b][0, :four_hidden] + constants[b][0, four_hidden:]

    tensors = {
        "x_scale": np.float32(x_scale),
        "h_scale": np.float32(h_scale),
        "zero": np.uint8(ZERO),
        "input_weight": np.ascontiguousarray(input_weight.T),
        "input_scale": input_scale * np.float32(x_scale),
        "state_weight": np.ascontiguousarray(state_weight.T),
        "state_scale": state_scale * np.float32(h_scale),
        "bias": bias.astype(np.float32),
        "axis0": np.array([0], dtype=np.int64),
        "axis1": np.array([1], dtype=np.int64),
    }

    def own(part: str) -> str:
        return f"{name}.{part}"

    step = _step_graph(own, four_hidden // 4)
    make = helper.make_node
    nodes = [
        make("QuantizeLinear", [x, own("x_scale"), own("zero")], [own("x8")]),
        make("MatMulInteger", [own("x8"), own("input_weight"), own("zero")], [own("gx32")]),
        make("Cast", [own("gx32")], [own("gxf")], to=TensorProto.FLOAT),
        make("Mul", [own("gxf"), own("input_scale")], [own("gxs")]),
        make("Add", [own("gxs"), own("bias")], [own("gx")]),
        make("Squeeze", [hidden, own("axis0")], [own("h0")]),
        make("Squeeze", [memory, own("axis0")], [own("c0")]),
        make(
            "Scan",
            [own("h0"), own("c0"), own("gx")],
            [own("hn"), own("cn"), own("hs")],
            num_scan_inputs=1,
            body=step,
        ),
        make("Unsqueeze", [own("hs"), own("axis1")], [y]),
        make("Unsqueeze", [own("hn"), own("axis0")], [last_hidden]),
        make("Unsqueeze", [own("cn"), own("axis0")], [last_memory]),
    ]
    return nodes, [numpy_helper.from_array(np.asarray(v), own(n)) for n, v in tensors.items()]


def _step_graph(own, hidden: int) -> onnx.GraphProto:  # type: ignore[no-untyped-def]
    """One step of the recurrence: h, c (B, H) and the input's share of the gates (B, 4H)."""
    make = helper.make_node
    nodes = [
        make("QuantizeLinear", ["h", own("h_scale"), own("zero")], ["h8"]),
        make("MatMulInteger", ["h8", own("state_weight"), own("zero")], ["gh32"]),
        make("Cast", ["gh32"], ["ghf"], to=TensorProto.FLOAT),
        make("Mul", ["ghf", own("state_scale")], ["ghs"]),
        make("Add", ["ghs", "gx_t"], ["gates"]),
        make("Split", ["gates"], ["zi", "zo", "zf", "zc"], axis=1),
        make("Sigmoid", ["zi"], ["i"]),
        make("Sigmoid", ["zo"], ["o"]),
        make("Sigmoid", ["zf"], ["f"]),
        make("Tanh", ["zc"], ["candidate"]),
        make("Mul", ["f", "c"], ["kept"]),
        make("Mul", ["i", "candidate"], ["added"]),
        make("Add", ["kept", "added"], ["c_next"]),
        make("Tanh", ["c_next"], ["shown"]),
        make("Mul", ["o", "shown"], ["h_next"]),
        make("Identity", ["h_next"], ["h_out"]),
    ]

    def tensor(name: str, width: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])

    return helper.make_graph(
        nodes,
        "lstm_step",
        [tensor("h", hidden), tensor("c", hidden), tensor("gx_t", 4 * hidden)],
        [tensor("h_next", hidden), tensor("c_next", hidden), tensor("h_out", hidden)],
    )
