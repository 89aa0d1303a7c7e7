"""What a microphone adds to every frame is taken off while a stream goes on."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.model.config import FeatureConfig
from ossicle.model.running_mean import MEMORY, PRIOR, RunningMean

from tests.model.conftest import make_network

BINS = 8
DEVIATION = torch.full((BINS,), 2.5)
# Of one colour, but as loud as without.
COLOUR = torch.linspace(-1.5, 1.5, BINS)


def frames(steps: int, batch: int = 2, seed: int = 0) -> torch.Tensor:
    """Normalised log-mel frames of so many output frames, as loud as speech."""
    return torch.randn(batch, 4 * steps, BINS, generator=torch.Generator().manual_seed(seed))


def run(share: float, x: torch.Tensor, cuts: list[int] | None = None) -> torch.Tensor:
    mean, state = RunningMean(BINS, share), torch.zeros(len(x), BINS + 1)
    pieces = []
    for piece in x.split([4 * cut for cut in cuts] if cuts else x.shape[1], dim=1):
        y, state = mean(piece, DEVIATION, state)
        pieces.append(y)
    return torch.cat(pieces, dim=1)


def test_it_is_the_formula() -> None:
    x = frames(50).double()
    total, count, expected = torch.zeros(2, BINS).double(), torch.zeros(2, 1).double(), []
    for block in x.split(4, dim=1):
        now = block.mean(1)
        weight = torch.sigmoid(2 * ((now * DEVIATION).mean(1, keepdim=True) + 1))
        keep = math.exp(-1 / MEMORY)
        total, count = keep * total + weight * now, keep * count + weight
        expected.append(block - 0.7 * (total / (count + PRIOR))[:, None])
    actual = run(0.7, x.float()).double()
    torch.testing.assert_close(actual, torch.cat(expected, 1), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_it_depends_on_no_chunks_and_no_company(cuts: list[int]) -> None:
    x = frames(sum(cuts), batch=3)
    whole = run(0.7, x)
    assert torch.equal(run(0.7, x, cuts), whole)
    assert torch.equal(run(0.7, x[1:2]), whole[1:2])


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_colour_of_a_microphone_fades(share: float) -> None:
    x = frames(1000)
    colour = (run(share, x + COLOUR) - run(share, x)).mean(0)
    torch.testing.assert_close(colour[:4], COLOUR.expand(4, -1), atol=0.05, rtol=0)
    heard = MEMORY * 0.88  # of frames as loud as these, which weigh so much
    left = 1 - share * heard / (heard + PRIOR)
    torch.testing.assert_close(colour[-400:].mean(0), left * COLOUR, atol=0.06, rtol=0)


def test_silence_says_nothing_of_it() -> None:
    silence = frames(500) - 4.0
    speech = frames(25, seed=1)
    after = run(1.0, torch.cat([silence, speech], dim=1))[:, 2000:]
    torch.testing.assert_close(after, run(1.0, speech), atol=0.01, rtol=0)


def test_a_network_without_it_has_no_such_state() -> None:
    assert "spectrum" not in make_network().initial_state(1)
    assert make_network(running_mean=0.7).initial_state(3)["spectrum"].shape == (3, 81)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match=r"features\.running_mean is .*: give 0 to 1"):
        FeatureConfig(running_mean=share)
