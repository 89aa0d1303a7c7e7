"""Recordings in another order, and the word times that it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from ossicle.data.audio import SAMPLE_RATE
from ossicle.data.bucketing import Key
from ossicle.data.datamodule import DataConfig, SpeechDataModule, TrainSet
from ossicle.data.manifest import Utterance, read_manifest, write_manifest
from ossicle.data.reorder import FRAME, ReorderConfig, find_cuts, reorder

WORDS = ["one", "two", "three", "four"]
PITCHES = [300.0, 500.0, 800.0, 1200.0]
TIMES = [(0.2, 0.5), (0.6, 0.9), (0.9, 1.2), (1.5, 1.9)]


def spoken(noise: float = 1e-4) -> NDArray[np.float32]:
    """Two seconds in which each word is a tone; between the second and the third is no pause."""
    samples = np.random.default_rng(0).normal(0, noise, 2 * SAMPLE_RATE)
    for (start, end), pitch in zip(TIMES, PITCHES, strict=True):
        time = np.arange(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))
        samples[time] += 0.3 * np.sin(2 * np.pi * pitch * time / SAMPLE_RATE)
    return samples.astype(np.float32)


def heard(samples: NDArray[np.float32]) -> list[str]:
    """The words whose tones follow each other."""
    frames = samples[: len(samples) // 800 * 800].reshape(-1, 800)  # 50 ms, 20 Hz
    loud = frames[np.abs(frames).mean(axis=1) > 0.15]
    pitches = 20.0 * np.abs(np.fft.rfft(loud)).argmax(axis=1)
    said = [WORDS[np.abs(np.array(PITCHES) - pitch).argmin()] for pitch in pitches]
    return [word for word, before in zip(said, ["", *said], strict=False) if word != before]


def test_cuts_are_where_it_is_quiet() -> None:
    cuts = find_cuts(spoken(), TIMES)
    assert [word for word, _ in cuts] == [1, 3], "not between words without a pause"
    assert [place / SAMPLE_RATE for _, place in cuts] == pytest.approx([0.55, 1.35], abs=0.03)
    assert all(place % FRAME == 0 for _, place in cuts)


def test_word_times_need_not_be_exact() -> None:
    late = [(start + 0.05, end + 0.05) for start, end in TIMES]
    assert find_cuts(spoken(), late) == find_cuts(spoken(), TIMES)


@pytest.mark.parametrize(
    ("samples", "times"),
    [
        (spoken(noise=0.1), TIMES),
        (spoken(), TIMES[:1]),
        (spoken(), []),
        (np.zeros(100, np.float32), TIMES[:2]),
        (np.zeros(SAMPLE_RATE, np.float32), [(0.0, 0.9), (3.0, 4.0)]),
    ],
    ids=["loud", "one word", "none", "short", "times behind the end"],
)
def test_what_has_no_quiet_place_is_not_cut(
    samples: NDArray[np.float32], times: list[tuple[float, float]]
) -> None:
    assert find_cuts(samples, times) == []
    words = WORDS[: len(times)]
    same, said = reorder(samples, words, times, np.random.default_rng(0))
    np.testing.assert_array_equal(same, samples)
    assert said == words


@given(seed=st.integers(0, 2**32))
def test_words_are_said_in_the_new_order(seed: int) -> None:
    before = spoken()
    samples, words = reorder(before, WORDS, TIMES, np.random.default_rng(seed))
    assert heard(samples) == words
    assert sorted(words) == sorted(WORDS)
    assert words.index("three") == words.index("two") + 1
    assert len(samples) == len(before)
    np.testing.assert_array_equal(before, spoken(), "the recording itself stays as it was")
    # No click at a cut, but for the noise.
    assert np.abs(np.diff(samples)).max() <= np.abs(np.diff(before)).max()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", spoken(), SAMPLE_RATE)
    soundfile.write(tmp_path / "b.wav", spoken(), SAMPLE_RATE)
    known = Utterance(tmp_path / "a.wav", 2.0, " ".join(WORDS), word_times=tuple(TIMES))
    unknown = Utterance(tmp_path / "b.wav", 2.0, " ".join(WORDS))
    write_manifest(tmp_path / "train.jsonl", [known, unknown])
    return tmp_path / "train.jsonl"


def module(manifest: Path, probability: float) -> SpeechDataModule:
    config = DataConfig((TrainSet(manifest),), cache=manifest.parent / "cache", workers=0)
    return SpeechDataModule(config, None, seed=3, reordering=ReorderConfig(probability))


def test_training_hears_new_orders_of_what_has_word_times(manifest: Path) -> None:
    data = module(manifest, 0.5)
    data.prepare_data()
    data.setup()
    (batch,) = data.train_dataloader()
    assert batch.sample_counts.tolist() == [2 * SAMPLE_RATE] * 2
    orders: list[set[str]] = [set(), set()]
    as_it_is = 0
    for epoch in range(100):
        for recording in (0, 1):
            samples, tokens, _ = data.train_recordings[Key(epoch, recording)]
            text = data.tokenizer.decode(tokens)
            assert heard(samples) == text.split()
            orders[recording].add(text)
            as_it_is += not recording and text.split() == WORDS
    assert [len(texts) for texts in orders] == [6, 1], "of three parts, and of what has no times"
    # One in six new orders is the old one.
    assert 40 <= as_it_is <= 76


def test_what_cannot_be_reordered_is_refused(manifest: Path) -> None:
    known, unknown = read_manifest(manifest)
    write_manifest(manifest, [replace(known, text="one two"), unknown])
    with pytest.raises(ValueError, match=r"a\.wav has 4 word times for 2 words; `ossicle align`"):
        module(manifest, 0.5).prepare_data()
    write_manifest(manifest, [unknown])
    with pytest.raises(ValueError, match=r"no manifest has any: add them with `ossicle align`"):
        module(manifest, 0.5).prepare_data()
    assert not (manifest.parent / "cache").exists(), "refused before anything was decoded"
    with pytest.raises(ValueError, match=r"probability of reorder is 1\.5: give 0 to 1"):
        ReorderConfig(1.5)
