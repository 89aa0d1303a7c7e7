"""Training on a graphics card, as far as that can be seen without one.

On a card that is not there (`card.py`) the same comes of it as on the processor, and no operation
has some of its tensors in main memory and some on the card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from card import DEVICE, Card, TwoDevicesError, train_on_card
from ossicle.model.lstm_lm.config import (
    LanguageModelConfig,
    LanguageTrainingConfig,
    TextConfig,
    TextSet,
)
from ossicle.model.lstm_lm.module import LanguageModule
from ossicle.model.lstm_lm.train import train_language_model
from ossicle.model.training.config import OptimConfig
from ossicle.model.training.module import SpeechModule
from ossicle.model.training.train import train
from tiny_run import configuration
from torch import nn

Weights = dict[str, torch.Tensor]


def test_a_card_takes_no_tensors_of_main_memory() -> None:
    with Card() as card:
        here = torch.ones(2, 3, device=DEVICE)
        assert (here @ torch.ones(3, device=DEVICE)).device == DEVICE
        assert (here * torch.tensor(2.0)).device == DEVICE
        with pytest.raises(TwoDevicesError, match="mm"):
            here @ torch.ones(3, 1)
        assert card.waits == 0
        assert here.cpu().sum() == 6
        assert float(here.sum()) == 6
        assert card.waits == 2


def test_an_lstm_is_the_same_on_a_card() -> None:
    torch.manual_seed(0)
    plain = nn.LSTM(3, 4)
    x, results = torch.randn(5, 2, 3), []
    with Card():
        for device in (torch.device("cpu"), DEVICE):
            layer = nn.LSTM(3, 4, device=device)
            layer.load_state_dict({name: p.to(device) for name, p in plain.state_dict().items()})
            heard, (_, cell) = layer(x.to(device))
            (heard.square().sum() + cell.sum()).backward()
            results.append([heard.cpu(), *(p.grad.cpu() for p in layer.parameters())])
    torch.testing.assert_close(*results)


@contextmanager
def watched(
    kind: type[pl.LightningModule], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[set[torch.device], list[int]]]:
    """A card to train on; yields where weights are in the steps, and how often each step waits."""
    devices: set[torch.device] = set()
    waits: list[int] = []
    training_step: Callable[..., torch.Tensor] = kind.training_step

    def step(self: pl.LightningModule, *arguments: Any) -> torch.Tensor:
        before = card.waits
        devices.update(p.device for p in self.parameters())
        loss = training_step(self, *arguments)
        devices.add(loss.device)
        waits.append(card.waits - before)
        return loss

    train_on_card(monkeypatch)
    monkeypatch.setattr(kind, "training_step", step)
    with Card() as card:
        yield devices, waits


def assert_same(one: nn.Module, other: nn.Module) -> None:
    expected = other.state_dict()
    for name, weights in one.state_dict().items():
        torch.testing.assert_close(weights.cpu(), expected[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("seldom", [0, 1], ids=["CTC", "two views, all texts"])
def test_a_network_learns_the_same_on_a_card(
    manifest: Path, tmp_path: Path, seldom: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(manifest)
    config = replace(
        config,
        # Another device drops other units.
        model=replace(config.model, network=replace(config.model.network, dropout=0.0)),
        optim=replace(config.optim, steps=6),
        consistency=0.2 * seldom,
        discrimination=0.5 * seldom,
    )
    expected = train(config, tmp_path / "plain", accelerator="cpu", quiet=True)
    with watched(SpeechModule, monkeypatch) as (devices, waits):
        module = train(config, tmp_path / "card", quiet=True)
    assert devices == {DEVICE}
    # For how long the recordings are, on which masks depend, once for each view and for the curve.
    assert max(waits) <= 3
    assert_same(module.network, expected.network)


def test_a_language_model_learns_the_same_on_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the ear of a dog\nsound is heard by the ear\nthree bones\n" * 20)
    config = LanguageTrainingConfig(
        kind="language-model",
        data=TextConfig(train=(TextSet(text),), validation=(text,), batch=4, window=8),
        optim=OptimConfig(steps=12, warmup_steps=2, learning_rate=1e-2),
        model=LanguageModelConfig(units=70, embedding=8, hidden=8, layers=2, dropout=0.0),
        precision="32-true",
        validate_every=5,
        checkpoint_every=4,
    )
    expected = train_language_model(config, tmp_path / "plain", accelerator="cpu", quiet=True)
    with watched(LanguageModule, monkeypatch) as (devices, waits):
        module = train_language_model(config, tmp_path / "card", quiet=True)
    assert devices == {DEVICE}
    assert max(waits) == 0
    assert_same(module.network, expected.network)
