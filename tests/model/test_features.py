"""The log-mel module against two other implementations, and its independence of chunks."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.data import text
from ossicle.model import config, mel
from ossicle.model.config import HOP, WINDOW, FeatureConfig
from ossicle.model.features import OVERLAP, LogMel

CONFIG = FeatureConfig()
# librosa and torchaudio centre a 400-sample window in the 512 samples of the transform.
PAD = (CONFIG.fft_size - WINDOW) // 2


@pytest.fixture(scope="module")
def log_mel() -> LogMel:
    return LogMel(CONFIG)


def ours(module: LogMel, samples: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        frames = (len(samples) - OVERLAP) // HOP
        return module.log_mel(torch.from_numpy(samples[None, : OVERLAP + frames * HOP]))[0].numpy()


def test_filters_are_librosas() -> None:
    expected = librosa.filters.mel(
        sr=16_000, n_fft=512, n_mels=80, fmin=20.0, fmax=8000.0, htk=False, norm="slaney"
    )
    np.testing.assert_allclose(mel.mel_filters(CONFIG).T, expected, atol=1e-6)


def test_batches_are_padded_to_the_networks_frames() -> None:
    assert text.FRAME_SAMPLES == config.FRAME_SAMPLES


def test_every_filter_hears_something() -> None:
    assert (mel.mel_filters(CONFIG).sum(axis=0) > 0).all()


def test_equals_librosa(log_mel: LogMel, sample: np.ndarray) -> None:
    spectrum = librosa.feature.melspectrogram(
        y=np.pad(sample, PAD),
        sr=16_000,
        n_fft=512,
        win_length=WINDOW,
        hop_length=HOP,
        window="hann",
        center=False,
        power=2.0,
        n_mels=80,
        fmin=20.0,
        fmax=8000.0,
    )
    mine = ours(log_mel, sample)
    np.testing.assert_allclose(mine, np.log(spectrum.T + CONFIG.floor)[: len(mine)], atol=2e-3)


def test_equals_torchaudio(log_mel: LogMel, sample: np.ndarray) -> None:
    transform = torchaudio.transforms.MelSpectrogram(
        sample_rate=16_000,
        n_fft=512,
        win_length=WINDOW,
        hop_length=HOP,
        center=False,
        f_min=20.0,
        f_max=8000.0,
        n_mels=80,
        norm="slaney",
        mel_scale="slaney",
    )
    spectrum = transform(torch.from_numpy(np.pad(sample, PAD)))
    mine = ours(log_mel, sample)
    expected = torch.log(spectrum.T + CONFIG.floor)[: len(mine)].numpy()
    np.testing.assert_allclose(mine, expected, atol=2e-3)


@pytest.mark.parametrize("length", [1, HOP, 7001])
def test_the_picture_shows_what_the_network_sees(
    log_mel: LogMel, sample: np.ndarray, length: int
) -> None:
    frames = -(-length // HOP)
    padded = np.zeros(OVERLAP + frames * HOP, np.float32)
    padded[OVERLAP : OVERLAP + length] = sample[20_000 : 20_000 + length]
    drawn = mel.log_mel(sample[20_000 : 20_000 + length], CONFIG)
    np.testing.assert_allclose(drawn, ours(log_mel, padded), atol=2e-3)


@settings(max_examples=25)
@given(hops=st.lists(st.integers(1, 12), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_chunks_give_the_frames_of_the_whole(hops: list[int], seed: int) -> None:
    module = LogMel(CONFIG)
    samples = torch.randn(2, HOP * sum(hops), generator=torch.Generator().manual_seed(seed))
    whole, last = module(samples, torch.zeros(2, OVERLAP))
    state, pieces = torch.zeros(2, OVERLAP), []
    for piece in samples.split([HOP * count for count in hops], dim=1):
        frames, state = module(piece, state)
        pieces.append(frames)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(state, last)


def test_silence_is_finite_and_normalised(log_mel: LogMel) -> None:
    frames, _ = log_mel(torch.zeros(1, 10 * HOP), torch.zeros(1, OVERLAP))
    assert torch.allclose(frames, torch.tensor(np.log(CONFIG.floor), dtype=torch.float32))
