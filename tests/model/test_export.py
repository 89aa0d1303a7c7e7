"""The exported graphs compute what the network computes, and int8 depends on nothing but itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ossicle.model.config import FRAME_SAMPLES, ModelConfig
from ossicle.model.export import average, check_parity, copy_record, export, load_weights
from ossicle.model.quantization import WEIGHT_LEVELS, fold_norms, quantize_lstms, quantize_rows
from ossicle.model.runtime import AcousticModel, ModelError, ModelInfo, find_model, list_models

from tests.model.conftest import make_network


@pytest.fixture(
    scope="module",
    params=[{"lookahead": 0}, {"lookahead": 3}, {"running_mean": 0.7}],
    ids=["no-lookahead", "lookahead-3", "running-mean"],
)
def folder(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    export(make_network(**request.param), path, name="tiny")
    return path


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_average_is_between_two_networks(share: float) -> None:
    one, other = make_network(seed=1), make_network(seed=2)
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    average(one, other, share)
    for name, tensor in one.state_dict().items():
        expected = (1 - share) * before[name] + share * other.state_dict()[name]
        torch.testing.assert_close(tensor, expected)


def test_networks_that_are_not_kin_are_not_averaged() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        average(make_network(lookahead=0), make_network(lookahead=3), 0.5)
    with pytest.raises(ValueError, match=r"1\.5: give 0 to 1"):
        average(make_network(), make_network(), 1.5)
    stranger = make_network()
    stranger.features.mean += 1
    with pytest.raises(ValueError, match="feature statistics"):
        average(make_network(), stranger, 0.5)


def noise(batch: int, frames: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((batch, frames * FRAME_SAMPLES)) * 0.1).astype(np.float32)


def test_a_model_folder_is_whole(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "weights.safetensors", "model.onnx", "model.int8.onnx"}
    info = ModelInfo.load(folder)
    assert info.name == "tiny"
    assert info.lookahead_ms == 40 * info.lookahead_frames
    for path in (folder / "model.onnx", folder / "model.int8.onnx"):
        onnx.checker.check_model(onnx.load(str(path)), full_check=True)


@pytest.mark.parametrize("precision", ["float", "int8"])
def test_parity(folder: Path, precision) -> None:
    parity = check_parity(load_weights(folder), folder, precision, noise(3, 40)[:, :-123])
    assert parity.log_probs <= (1e-4 if precision == "float" else 0.1)
    assert parity.agreement > 0.9  # random weights hardly prefer one token
    assert precision in str(parity)


def test_folding_norms_changes_nothing() -> None:
    network = make_network()
    with torch.no_grad():
        for layer in network.layers:
            layer.norm.weight.uniform_(0.2, 3)
            layer.norm.bias.uniform_(-1, 1)
        samples = torch.from_numpy(noise(2, 20))
        before = network.transcribe_whole(samples)
        after = fold_norms(network).transcribe_whole(samples)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)


def test_rows_are_rounded_within_half_a_step() -> None:
    weight = np.random.default_rng(0).standard_normal((6, 50)).astype(np.float32)
    weight[3] = 0
    integers, scale = quantize_rows(weight)
    assert np.abs(integers).max() == WEIGHT_LEVELS
    assert (np.abs(integers * scale[:, None] - weight) <= scale[:, None] / 2 + 1e-7).all()


def test_int8_rounding_of_a_stream_does_not_depend_on_its_company(folder: Path) -> None:
    model = AcousticModel.load(folder)
    quiet, loud = noise(1, 12), noise(1, 12, seed=1) * 9
    alone, state = model.step(quiet, model.initial_state(1))
    both, states = model.step(np.concatenate([quiet, loud]), model.initial_state(2))
    np.testing.assert_allclose(both[:1], alone, atol=1e-4)
    for name, axis in model.state_axes.items():
        np.testing.assert_allclose(states[name].take([0], axis), state[name], atol=1e-4)


@pytest.mark.parametrize("frames", [1, 5, 12])
def test_int8_chunks_equal_the_whole(folder: Path, frames: int) -> None:
    model = AcousticModel.load(folder)
    samples = noise(2, 60)
    whole, _ = model.step(samples, model.initial_state(2))
    state, pieces = model.initial_state(2), []
    for piece in np.split(samples, 60 // frames, axis=1):
        log_probs, state = model.step(np.ascontiguousarray(piece), state)
        pieces.append(log_probs)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-3)


def test_a_graph_without_lstm_is_refused(tmp_path: Path) -> None:
    graph = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[1] x) => (float[1] y) {y = Relu(x)}'
    )
    onnx.save(graph, str(tmp_path / "relu.onnx"))
    with pytest.raises(ValueError, match="has no LSTM"):
        quantize_lstms(tmp_path / "relu.onnx", tmp_path / "out.onnx")


def test_copy_record_needs_a_run(tmp_path: Path) -> None:
    assert not copy_record(tmp_path, tmp_path)


class TestFinding:
    def test_the_default_model_is_bundled(self) -> None:
        names = [info.name for info in list_models()]
        assert ModelInfo.load(find_model()).name in names

    def test_a_path_will_do(self, folder: Path) -> None:
        assert find_model(str(folder)) == folder

    def test_unknown_names_list_the_known(self) -> None:
        with pytest.raises(ModelError, match=r"no model 'nope': bundled models are .*small"):
            find_model("nope")

    def test_missing_graph_names_the_remedy(self, tmp_path: Path) -> None:
        ModelConfig().save(tmp_path / "config.json")
        with pytest.raises(ModelError, match=r"no model\.onnx: make it with `ossicle export`"):
            AcousticModel.load(tmp_path, "float")

    def test_broken_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"has no config\.json"):
            ModelInfo.load(tmp_path)
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(ModelError, match=r"config\.json is no model configuration"):
            ModelInfo.load(tmp_path)
        ModelConfig().save(tmp_path / "config.json")
        (tmp_path / "model.int8.onnx").write_bytes(b"not a graph")
        with pytest.raises(ModelError, match=r"cannot load .*model\.int8\.onnx"):
            AcousticModel.load(tmp_path)
