"""Forced alignment against torchaudio's, and the times of final words against it."""

from __future__ import annotations

import time
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ossicle.data.audio import read_audio
from ossicle.data.manifest import read_manifest
from ossicle.data.sample import sample_text
from ossicle.model.decoding import alignment
from ossicle.model.decoding.alignment import TimeShift, align
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.decoding.hypothesis import Hypothesis
from ossicle.model.runtime import AcousticModel, find_model, transcribe_whole
from torchaudio.functional import forced_align

SPEECH = Path(__file__).resolve().parents[3] / "shared" / "speech"
JUDGED = 0.08  # seconds that a word may be away from the judge's


def judge(log_probs: NDArray[np.floating], tokens: list[int]) -> NDArray[np.int64]:
    """The token of each frame, (U,), by torchaudio."""
    path, _ = forced_align(
        torch.from_numpy(np.asarray(log_probs, dtype=np.float64))[None],
        torch.tensor([tokens], dtype=torch.int32),
    )
    return path[0].numpy()


def path_of(log_probs: NDArray[np.floating], tokens: list[int]) -> NDArray[np.int64]:
    """The same by `align`."""
    path = np.zeros(len(log_probs), dtype=np.int64)
    for span in align(log_probs, tokens):
        path[span.frame : span.end_frame] = span.token
    return path


def random_log_probs(frames: int, vocabulary: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.full(vocabulary, 0.3), frames) + 1e-9)


@settings(max_examples=60)
@given(
    tokens=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    spare=st.integers(0, 20),
    seed=st.integers(0, 9999),
)
def test_equals_torchaudio(tokens: list[int], spare: int, seed: int) -> None:
    repeats = sum(a == b for a, b in pairwise(tokens))
    log_probs = random_log_probs(len(tokens) + repeats + spare, 5, seed)
    np.testing.assert_array_equal(path_of(log_probs, tokens), judge(log_probs, tokens))


def network_output(model: AcousticModel, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    state = model.settled_state(1)
    return transcribe_whole(model.step, state, samples[None], model.info.lookahead_frames)[0]


def spell(model: AcousticModel, text: str) -> list[int]:
    written = Decoding.load(find_model(), model.info).write(text)
    return [model.info.tokens.index(character) for character in written]


def test_equals_torchaudio_on_a_networks_output(
    shipped_int8: AcousticModel, sample: NDArray[np.float32]
) -> None:
    log_probs = network_output(shipped_int8, sample)
    tokens = spell(shipped_int8, sample_text())
    np.testing.assert_array_equal(path_of(log_probs, tokens), judge(log_probs, tokens))


def test_spans_tell_frames_and_probabilities() -> None:
    probabilities = np.full((6, 3), 0.1)
    probabilities[[0, 1, 2, 3, 4, 5], [0, 1, 1, 0, 2, 0]] = [0.8, 0.8, 0.4, 0.5, 0.8, 0.8]
    first, second = align(np.log(probabilities), [1, 2])
    assert (first.token, first.frame, first.end_frame) == (1, 1, 3)
    assert first.mean_log_prob == pytest.approx((np.log(0.8) + np.log(0.4)) / 2)
    assert first.max_log_prob == pytest.approx(np.log(0.8))
    assert (second.token, second.frame, second.end_frame) == (2, 4, 5)


def test_no_tokens_have_no_spans() -> None:
    assert align(random_log_probs(3, 4, 0), []) == []
    assert align(np.zeros((0, 4)), []) == []


@pytest.mark.parametrize(
    ("tokens", "frames", "message"),
    [
        ([1, 2, 3], 2, "3 tokens need at least 3 frames, there are 2"),
        ([1, 1, 2], 3, "3 tokens need at least 4 frames, there are 3"),
        ([1], 0, "there are 0"),
        ([2, 0], 9, "token 0 is not one of 1 to 3"),
        ([2, 4], 9, "token 4 is not one of 1 to 3"),
    ],
)
def test_what_cannot_be_aligned_is_refused(tokens: list[int], frames: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        align(np.zeros((frames, 4)), tokens)


def test_is_fast_enough_for_every_final() -> None:
    log_probs, tokens = random_log_probs(500, 29, 0), (1 + np.arange(300) % 28).tolist()
    taken = []
    for _ in range(5):
        start = time.process_time()
        align(log_probs, tokens)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.05  # 0.008 on one core of 2024; more is a loop over states in Python


def test_a_long_utterance_takes_little_memory() -> None:
    log_probs, tokens = random_log_probs(2500, 29, 0), (1 + np.arange(1400) % 28).tolist()
    tracemalloc.start()
    align(log_probs, tokens)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2500 * 2801  # a byte for each frame of each state, and little else


@settings(max_examples=20)
@given(
    tokens=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    spare=st.integers(0, 40),
    seed=st.integers(0, 99),
    most=st.integers(1, 300),
)
def test_long_texts_are_aligned_in_stretches(
    tokens: list[int], spare: int, seed: int, most: int
) -> None:
    log_probs = random_log_probs(2 * len(tokens) + spare, 5, seed)
    whole = align(log_probs, tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "_MOST_MOVES", most)
        assert align(log_probs, tokens) == whole


class TestTimeShift:
    def test_moves_words_alike(self) -> None:
        shifted = TimeShift(-0.06, -0.04)([(0.4, 0.6), (0.8, 1.0)])
        assert shifted == [pytest.approx((0.34, 0.56)), pytest.approx((0.74, 0.96))]

    def test_words_stay_in_order_and_in_the_utterance(self) -> None:
        shifted = TimeShift(-0.08, 0.08)([(0.04, 0.2), (0.24, 0.4), (0.4, 0.44)])
        assert shifted == [
            pytest.approx(times) for times in ((0.0, 0.16), (0.16, 0.32), (0.32, 0.52))
        ]
        assert TimeShift(0.08, -0.08)([(1.0, 1.04)]) == [pytest.approx((1.08, 1.08))]

    @pytest.mark.parametrize("value", [-0.081, 0.5, float("nan")])
    def test_never_moves_a_word_further_than_it_may(self, value: float) -> None:
        with pytest.raises(ValueError, match=f"start is {value} s: at most 0.08"):
            TimeShift(start=value)
        with pytest.raises(ValueError, match="end is"):
            TimeShift(end=value)


def judged_words(
    log_probs: NDArray[np.float32], tokens: list[int], separator: int, frame_seconds: float
) -> list[tuple[float, float]]:
    """Start and end of each word by torchaudio, in seconds."""
    path = judge(log_probs, tokens)
    times: list[tuple[float, float]] = []
    new, previous = True, 0
    for frame, token in enumerate(path.tolist()):
        if token == separator:
            new = True
        elif token:
            begin, end = frame * frame_seconds, (frame + 1) * frame_seconds
            if new:
                times.append((begin, end))
            else:
                times[-1] = (times[-1][0], end)
            new = False
        previous = token
    assert previous != separator
    return times


def check_times(model: AcousticModel, final: Hypothesis, log_probs: NDArray[np.float32]):
    tokens = [model.info.tokens.index(token) for token in final.written]
    separator = model.info.tokens.index(" ")
    judged = judged_words(log_probs, tokens, separator, model.info.frame_seconds)
    assert len(judged) == len(final.words)
    for word, (start, end) in zip(final.words, judged, strict=True):
        assert word.start == pytest.approx(start, abs=JUDGED + 1e-6), word
        assert word.end == pytest.approx(end, abs=JUDGED + 1e-6), word


@pytest.fixture(params=["greedy", "beam"])
def finals(request, shipped_int8: AcousticModel):
    """From log-probabilities to the final, by the shipped model's decoder."""
    decoding = Decoding.load(find_model(), shipped_int8.info)
    config = DecodingConfig(search=request.param)
    try:
        decoding.check(config)
    except ValueError as error:
        pytest.skip(str(error))

    def decode(log_probs: NDArray[np.float32]) -> Hypothesis:
        decoder = decoding.decoder(config)
        for piece in np.array_split(log_probs, max(len(log_probs) // 4, 1)):
            decoder.advance(piece)
        return decoder.finish()[0]

    return decode


class TestFinalWords:
    """Word times are within 80 ms of torchaudio's alignment of the final's own words."""

    def test_of_the_bundled_recording(
        self, shipped_int8: AcousticModel, sample: NDArray[np.float32], finals
    ) -> None:
        log_probs = network_output(shipped_int8, sample)
        final = finals(log_probs)
        assert len(final.words) > 10
        check_times(shipped_int8, final, log_probs)

    @pytest.mark.parametrize("name", ["dev-libri", "dev-crowd", "dev-prompts", "dev-acted"])
    def test_of_development_speech(self, shipped_int8: AcousticModel, finals, name: str) -> None:
        if not SPEECH.is_dir():
            pytest.skip(f"there is no development speech in {SPEECH}")
        count = 0
        for utterance in read_manifest(SPEECH / f"{name}.jsonl")[:3]:
            log_probs = network_output(shipped_int8, read_audio(utterance.audio_filepath))
            final = finals(log_probs)
            count += len(final.words)
            check_times(shipped_int8, final, log_probs)
        assert count > 10
