"""Networks of each cell: the invariants of streaming, the exported graph, training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ossicle.model.cells.cell import Cell
from ossicle.model.config import (
    CELL_NAMES,
    FRAME_SAMPLES,
    MEMORY_CELLS,
    ModelConfig,
    NetworkConfig,
    RecurrenceConfig,
)
from ossicle.model.export import check_parity, export, load_weights, write_int8
from ossicle.model.network import Network, RecurrentLayer
from ossicle.model.runtime import AcousticModel, ModelError
from ossicle.model.training.config import TrainingConfig
from ossicle.model.training.losses import ctc_loss
from ossicle.model.training.module import SpeechModule

from tests.model.conftest import make_network
from tests.model.test_streaming import TOLERANCE, in_chunks, stream

OTHERS = [name for name in CELL_NAMES if name != "lstm"]


def network_of(cell: str, **sizes: int) -> Network:
    return make_network(recurrence=RecurrenceConfig(cell), **sizes)


@pytest.mark.parametrize("cell", CELL_NAMES)
@pytest.mark.parametrize("frames", [[1] * 12, [5, 1, 6], [2, 9, 1]], ids=str)
def test_chunked_equals_whole(cell: str, frames: list[int]) -> None:
    network = network_of(cell)
    samples = torch.randn(2, FRAME_SAMPLES * sum(frames)) * 0.1
    whole = stream(network, samples, [sum(frames)])
    torch.testing.assert_close(stream(network, samples, frames), whole, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_nothing_sees_beyond_the_lookahead_or_into_another_stream(cell: str) -> None:
    network = network_of(cell, lookahead=2)
    samples = torch.randn(3, FRAME_SAMPLES * 14) * 0.1
    changed = samples.clone()
    changed[:, FRAME_SAMPLES * 9 :] = torch.randn(3, FRAME_SAMPLES * 5)
    with torch.no_grad():
        before, after = network.transcribe_whole(samples), network.transcribe_whole(changed)
        alone = torch.cat([network.transcribe_whole(row[None]) for row in samples])
    torch.testing.assert_close(before[:, :7], after[:, :7], atol=1e-6, rtol=0)
    assert (before[:, 7] - after[:, 7]).abs().max() > 1e-4
    torch.testing.assert_close(before, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_state_is_of_zeros_and_constant_in_size(cell: str) -> None:
    network = network_of(cell)
    state = network.initial_state(2)
    assert ("memory" in state) == (cell in MEMORY_CELLS)
    assert not any(tensor.any() for tensor in state.values())
    with torch.no_grad():
        _, later = network(torch.zeros(2, FRAME_SAMPLES * 30), state)
    assert {n: t.shape for n, t in later.items()} == {n: t.shape for n, t in state.items()}


@pytest.fixture(scope="module", params=OTHERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("model")
    export(network_of(request.param, lookahead=2), path, name="tiny")
    return path


def test_the_graph_computes_what_the_network_computes(folder: Path, sample: np.ndarray) -> None:
    network = load_weights(folder)
    parity = check_parity(network, folder, "float", np.stack([sample, sample[::-1]]))
    assert parity.log_probs <= TOLERANCE
    with torch.no_grad():
        expected = network.transcribe_whole(torch.from_numpy(sample[None]))[0].numpy()
    for frames in (1, 7):
        np.testing.assert_allclose(
            in_chunks(AcousticModel.load(folder), sample, frames), expected, atol=TOLERANCE
        )


def test_the_float_graph_is_served_and_int8_refused(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "weights.safetensors",
        "model.onnx",
    }
    assert AcousticModel.load(folder).precision == "float"
    with pytest.raises(ModelError, match="cells, which have no int8 graph: choose float"):
        AcousticModel.load(folder, "int8")
    with pytest.raises(ValueError, match="cells have no int8 graph: use the float one"):
        write_int8(load_weights(folder), folder / "model.int8.onnx")


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_one_batch_is_learnt_by_heart(cell: str) -> None:
    config = TrainingConfig.load(Path("model/configs/tiny.yaml"))
    model = ModelConfig(
        network=NetworkConfig(channels=4, hidden=32, recurrence=RecurrenceConfig(cell), layers=2)
    )
    torch.manual_seed(0)
    module = SpeechModule(TrainingConfig(data=config.data, optim=config.optim, model=model))
    network = module.network
    # By the optimiser of training, which must find the gates of every cell.
    optimizer = module.configure_optimizers()["optimizer"]
    for group in optimizer.param_groups:
        group["lr"] = 5e-3
    log_mel, targets = torch.randn(2, 160, 80), torch.randint(1, 28, (2, 8))
    losses = []
    for _ in range(60):
        log_probs, _ = network.encode(log_mel, network.initial_state(2))
        loss = ctc_loss(log_probs, torch.tensor([40, 40]), targets, torch.tensor([8, 8]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("cell", OTHERS)
def test_mixed_precision_trains_cells_in_float32(cell: str) -> None:
    network = network_of(cell)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_probs, state = network.encode(torch.randn(2, 16, 80), network.initial_state(2))
        log_probs.sum().backward()
    assert log_probs.dtype == torch.float32
    for layer in network.layers:
        assert isinstance(layer, RecurrentLayer)
        if isinstance(layer.recurrence, Cell):
            assert state["hidden"].dtype == torch.float32
        assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)


def test_an_unknown_cell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"recurrence\.cell is 'lstn': use rnn, .*gru-no-reset"):
        RecurrenceConfig("lstn")
    text = Path("model/configs/tiny.yaml").read_text()
    path = tmp_path / "run.yaml"
    path.write_text(text.replace("layers: 2\n", "layers: 2\n    recurrence: {cell: lstn}\n"))
    with pytest.raises(ValueError, match=r"run\.yaml: recurrence\.cell is 'lstn'"):
        TrainingConfig.load(path)


def test_models_of_before_there_was_a_choice_are_lstms(tmp_path: Path) -> None:
    ModelConfig(network=NetworkConfig(recurrence=RecurrenceConfig("gru"))).save(tmp_path / "new")
    assert ModelConfig.load(tmp_path / "new").network.recurrence.cell == "gru"
    text = (tmp_path / "new").read_text()
    start, end = text.index(',\n    "recurrence"'), text.index("}", text.index("recurrence")) + 1
    (tmp_path / "old").write_text(text[:start] + text[end:])
    assert ModelConfig.load(tmp_path / "old").network.recurrence.cell == "lstm"
