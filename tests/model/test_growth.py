"""A deeper network begins as the one that it was made of, and learns from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ossicle.model.cells.equations import CELLS
from ossicle.model.config import FRAME_SAMPLES, RecurrenceConfig
from ossicle.model.export import average, export
from ossicle.model.growth import deepened
from ossicle.model.network import Network
from ossicle.model.training.train import start_from

from tests.model.conftest import make_network


def network_of(cell: str) -> Network:
    config = make_network().config
    recurrence = RecurrenceConfig(cell=cell)
    torch.manual_seed(3)
    return Network(replace(config, network=replace(config.network, recurrence=recurrence))).eval()


SPEECH = torch.randn(2, 20 * FRAME_SAMPLES, generator=torch.Generator().manual_seed(1)) * 0.1


@pytest.mark.parametrize("cell", CELLS)
def test_new_layers_pass_on_what_they_get(cell: str) -> None:
    network = network_of(cell)
    deeper = deepened(network, 4)
    assert len(deeper.layers) == 4
    torch.testing.assert_close(deeper.transcribe_whole(SPEECH), network.transcribe_whole(SPEECH))


@pytest.mark.parametrize("cell", CELLS)
def test_new_layers_learn(cell: str) -> None:
    """The first step moves what the input says, and with it the next what the past says."""
    deeper = deepened(network_of(cell), 3)
    optimizer = torch.optim.SGD(deeper.parameters(), lr=1e-1)
    for _ in range(2):
        optimizer.zero_grad()
        deeper.transcribe_whole(SPEECH)[:, :, 5].sum().backward()
        optimizer.step()
    matrices = [p for p in deeper.layers[2].parameters() if p.ndim > 1]
    assert all(p.abs().sum() > 0 for p in matrices)
    units = matrices[0].flatten(1)
    moved = units[units.abs().sum(1) > 0]
    assert len(moved.unique(dim=0)) == len(moved)


def test_a_deeper_network_starts_from_a_shallower_one(tmp_path: Path) -> None:
    shallow, deep = make_network(layers=2), make_network(seed=8, layers=5)
    export(shallow, tmp_path)
    (difference,) = start_from(deep, tmp_path)
    assert difference == (
        f"{tmp_path} has 2 layers, not 5: new ones pass on what they get at first"
    )
    torch.testing.assert_close(
        deep.transcribe_whole(SPEECH), shallow.transcribe_whole(SPEECH), atol=1e-2, rtol=1e-2
    )
    with pytest.raises(ValueError, match="another shape"):
        start_from(make_network(layers=1), tmp_path)


def test_the_mean_with_a_shallower_one_has_half_of_what_new_layers_say() -> None:
    shallow, deep = make_network(layers=2), make_network(seed=8, layers=3)
    before = {name: tensor.clone() for name, tensor in deep.state_dict().items()}
    average(deep, shallow, 0.5)
    after, old = deep.state_dict(), shallow.state_dict()
    weights = "layers.2.lstm.weight_ih_l0"
    torch.testing.assert_close(after[weights], before[weights] / 2)
    weights = "layers.1.lstm.weight_ih_l0"
    torch.testing.assert_close(after[weights], (before[weights] + old[weights]) / 2)
    with pytest.raises(ValueError, match="differ in shape"):
        average(shallow, deep, 0.5)
