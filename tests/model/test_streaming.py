"""Invariants 1 and 2: chunked equals whole, and nothing sees further than the look-ahead."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.model.config import FRAME_SAMPLES
from ossicle.model.network import Network
from ossicle.model.runtime import SETTLING_FRAMES, AcousticModel, transcribe_whole

from tests.model.conftest import make_network

TOLERANCE = 1e-4
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def stream(network: Network, samples: torch.Tensor, frames: list[int]) -> torch.Tensor:
    """All outputs of (B, N) samples fed in chunks of so many frames."""
    state, outputs = network.initial_state(samples.shape[0]), []
    with torch.no_grad():
        for piece in samples.split([FRAME_SAMPLES * count for count in frames], dim=1):
            log_probs, state = network(piece, state)
            outputs.append(log_probs)
    return torch.cat(outputs, dim=1)


both_means = pytest.mark.parametrize("running_mean", [0.0, 0.7])


@both_means
@pytest.mark.parametrize("lookahead", [0, 1, 4])
@settings(max_examples=15)
@given(frames=cuts, seed=st.integers(0, 99))
def test_chunked_equals_whole(
    lookahead: int, running_mean: float, frames: list[int], seed: int
) -> None:
    network = make_network(lookahead=lookahead, running_mean=running_mean)
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(2, FRAME_SAMPLES * sum(frames), generator=generator) * 0.1
    whole = stream(network, samples, [sum(frames)])
    torch.testing.assert_close(stream(network, samples, frames), whole, atol=TOLERANCE, rtol=0)


@both_means
@pytest.mark.parametrize("lookahead", [0, 1, 4])
def test_future_beyond_the_lookahead_changes_nothing(lookahead: int, running_mean: float) -> None:
    network = make_network(lookahead=lookahead, running_mean=running_mean)
    samples = torch.randn(1, FRAME_SAMPLES * 20) * 0.1
    changed = samples.clone()
    moment = 11  # output frames 0..10 end before this one
    changed[:, FRAME_SAMPLES * moment :] = torch.randn(1, FRAME_SAMPLES * (20 - moment))
    with torch.no_grad():
        before, after = network.transcribe_whole(samples), network.transcribe_whole(changed)
    same = moment - lookahead
    torch.testing.assert_close(before[:, :same], after[:, :same], atol=1e-6, rtol=0)
    # The stated look-ahead is used, not merely allowed: the very next output does change.
    assert (before[:, same] - after[:, same]).abs().max() > 1e-4


@both_means
def test_streams_of_a_batch_are_alone(running_mean: float) -> None:
    network = make_network(running_mean=running_mean)
    samples = torch.randn(3, FRAME_SAMPLES * 12) * 0.1
    with torch.no_grad():
        together = network.transcribe_whole(samples)
        alone = torch.cat([network.transcribe_whole(row[None]) for row in samples])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@both_means
def test_state_is_constant_in_size(running_mean: float) -> None:
    network = make_network(running_mean=running_mean)
    state = network.initial_state(1)
    with torch.no_grad():
        _, later = network(torch.zeros(1, FRAME_SAMPLES * 50), state)
    assert {n: t.shape for n, t in later.items()} == {n: t.shape for n, t in state.items()}


class TestShippedModel:
    """The same on the trained weights and real speech."""

    @settings(max_examples=6)
    @given(data=st.data())
    def test_torch(self, data: st.DataObject, shipped_network: Network, sample: np.ndarray) -> None:
        frames = data.draw(st.lists(st.integers(1, 40), min_size=2, max_size=8))
        samples = torch.from_numpy(sample[None, : FRAME_SAMPLES * sum(frames)].copy())
        frames[-1] -= sum(frames) - samples.shape[1] // FRAME_SAMPLES
        if frames[-1] <= 0:
            frames = [samples.shape[1] // FRAME_SAMPLES]
        samples = samples[:, : FRAME_SAMPLES * sum(frames)]
        whole = stream(shipped_network, samples, [sum(frames)])
        chunked = stream(shipped_network, samples, frames)
        torch.testing.assert_close(chunked, whole, atol=TOLERANCE, rtol=0)

    @pytest.mark.parametrize("frames", [1, 3, 4, 25])
    def test_onnx_in_chunks_equals_torch_in_one_pass(
        self,
        frames: int,
        shipped_network: Network,
        shipped_float: AcousticModel,
        sample: np.ndarray,
    ) -> None:
        with torch.no_grad():
            expected = shipped_network.transcribe_whole(torch.from_numpy(sample[None]))[0].numpy()
        actual = in_chunks(shipped_float, sample, frames)
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() <= TOLERANCE

    def test_int8_hears_the_same_in_any_chunks(
        self, shipped_int8: AcousticModel, sample: np.ndarray
    ) -> None:
        from ossicle.model.decoding.hypothesis import GreedyDecoder

        texts = set()
        for frames in (1, 4, 7, 32, 200):
            decoder = GreedyDecoder(shipped_int8.info.tokens, shipped_int8.info.frame_seconds)
            decoder.advance(in_chunks(shipped_int8, sample, frames))
            texts.add(decoder.hypothesis().text)
        assert len(texts) == 1


def in_chunks(
    model: AcousticModel, samples: np.ndarray, frames: int, *, settled: bool = False
) -> np.ndarray:
    """Log-probabilities (U, V) of a recording (N,) fed in chunks of so many frames."""
    start = model.settled_state(1) if settled else model.initial_state(1)

    def step(padded, state):
        pieces = []
        for begin in range(0, padded.shape[1], frames * FRAME_SAMPLES):
            piece, state = model.step(padded[:, begin : begin + frames * FRAME_SAMPLES], state)
            pieces.append(piece)
        return np.concatenate(pieces, axis=1), state

    return transcribe_whole(step, start, samples[None], model.info.lookahead_frames)[0]


def test_a_stream_begins_as_if_silence_had_been_heard(
    shipped_network: Network, shipped_float: AcousticModel, sample: np.ndarray
) -> None:
    silence = np.zeros(SETTLING_FRAMES * FRAME_SAMPLES, np.float32)
    after = torch.from_numpy(np.concatenate([silence, sample])[None])
    with torch.no_grad():
        expected = shipped_network.transcribe_whole(after)[0].numpy()[SETTLING_FRAMES:]
    actual = in_chunks(shipped_float, sample, 4, settled=True)
    np.testing.assert_allclose(actual, expected, atol=TOLERANCE)
    assert np.abs(in_chunks(shipped_float, sample, 4) - expected).max() > 100 * TOLERANCE
