"""Invariant 1 from PCM to log-probabilities: any chunking of the samples, on the shipped model.

The samples go through the service's own `Session`, which cuts them into the network's blocks; the
expected values come from one pass of the torch network over the whole recording.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.model.decoding.hypothesis import GreedyDecoder
from ossicle.model.network import Network
from ossicle.model.runtime import AcousticModel
from ossicle.service.endpoint import EndpointConfig
from ossicle.service.session import Session
from ossicle.service.session_config import SessionConfig

TOLERANCE = 1e-4
# No rule may end an utterance here: that would restart the network.
NEVER = EndpointConfig(leading_silence_timeout=0, trailing_silence=0, max_utterance_duration=300)
SECONDS = 3


class Recorder:
    """A session and its model, remembering every log-probability about the audio."""

    def __init__(self, model: AcousticModel, block_frames: int) -> None:
        self._model = model
        self._block = block_frames
        decoder = GreedyDecoder(model.info.tokens, model.info.frame_seconds)
        self._session = Session(model.info, SessionConfig(endpointing=NEVER), decoder)
        self._state = model.initial_state(1)
        self._outputs: list[np.ndarray] = []

    def feed(self, samples: np.ndarray) -> None:
        self._session.accept(samples)
        self._step()

    def finish(self, samples: int) -> np.ndarray:
        self._session.close()
        self._step()
        everything = np.concatenate(self._outputs)[self._model.info.lookahead_frames :]
        return everything[: -(-samples // self._model.info.frame_samples)]

    def _step(self) -> None:
        while (block := self._session.take(self._block)) is not None:
            log_probs, self._state = self._model.step(block[None], self._state)
            self._outputs.append(log_probs[0])
            self._session.put(log_probs[0])


@pytest.fixture(scope="module")
def speech(sample: np.ndarray) -> np.ndarray:
    # Not a whole number of frames: the last one is filled up.
    return sample[16_000 : 16_000 + SECONDS * 16_000 + 77]


@pytest.fixture(scope="module")
def whole(shipped_network: Network, speech: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return shipped_network.transcribe_whole(torch.from_numpy(speech[None]))[0].numpy()


@pytest.mark.parametrize(
    "chunk",
    [1, 7, 160, 2560, 10**9],
    ids=["1-sample", "7-samples", "10-ms", "160-ms", "all-at-once"],
)
def test_even_chunks(
    chunk: int, shipped_float: AcousticModel, speech: np.ndarray, whole: np.ndarray
) -> None:
    recorder = Recorder(shipped_float, block_frames=4)
    for begin in range(0, len(speech), chunk):
        recorder.feed(speech[begin : begin + chunk])
    actual = recorder.finish(len(speech))
    assert actual.shape == whole.shape
    assert np.abs(actual - whole).max() <= TOLERANCE


@settings(max_examples=10)
@given(
    sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=12),
    block=st.sampled_from([1, 3, 4, 32]),
)
def test_uneven_chunks_and_blocks(
    sizes: list[int],
    block: int,
    shipped_float: AcousticModel,
    speech: np.ndarray,
    whole: np.ndarray,
) -> None:
    recorder = Recorder(shipped_float, block)
    cuts = [min(cut, len(speech)) for cut in itertools.accumulate(sizes, initial=0)]
    for begin, end in itertools.pairwise([*cuts, len(speech)]):
        recorder.feed(speech[begin:end])
    assert np.abs(recorder.finish(len(speech)) - whole).max() <= TOLERANCE
