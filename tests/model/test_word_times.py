"""Pauses in sound, and the shift that follows from words around them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from ossicle.model.decoding.alignment import TimeShift
from ossicle.model.decoding.word_times import FEWEST, Lateness, pauses

RATE = 16_000
WORDS = [(0.5, 0.9), (1.0, 1.4), (2.0, 2.3)]  # the first two are too near for a pause


def sound(words: list[tuple[float, float]], length: float, noise: float = 1e-4) -> NDArray:
    """Noise bursts in quiet noise, (N,)."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, noise, round(length * RATE))
    for start, end in words:
        begin, stop = round(start * RATE), round(end * RATE)
        samples[begin:stop] += rng.normal(0, 0.1, stop - begin)
    return samples.astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-3])
def test_pauses_are_where_nothing_is_said(noise: float) -> None:
    found = pauses(sound(WORDS, 3.005, noise))
    expected = [(0.0, 0.5), (1.4, 2.0), (2.3, 3.005)]
    assert len(found) == len(expected)
    for pause, truth in zip(found, expected, strict=True):
        assert pause == pytest.approx(truth, abs=0.0201)
    assert found[0][0] == 0.0
    assert found[-1][1] == 3.005


def test_the_shortest_recordings_have_none() -> None:
    assert pauses(np.zeros(0, np.float32)) == []
    assert pauses(np.zeros(300, np.float32)) == []


def measured(late: tuple[float, float], sure: list[bool], times: int = 1) -> Lateness:
    lateness = Lateness()
    words = [(start + late[0], end + late[1]) for start, end in WORDS]
    for _ in range(times):
        lateness.add(sound(WORDS, 3.0), words, sure)
    return lateness


def test_words_at_pauses_are_measured() -> None:
    lateness = measured((0.06, 0.03), [True] * 3)
    assert lateness.starts == pytest.approx([0.06, 0.06], abs=0.0201)
    assert lateness.ends == pytest.approx([0.03, 0.03], abs=0.0201)


def test_words_that_were_not_said_are_not() -> None:
    lateness = measured((0.06, 0.03), [True, False, False])
    assert (len(lateness.starts), len(lateness.ends)) == (1, 0)


def test_a_pause_with_an_unheard_word_is_not() -> None:
    lateness = Lateness()
    # The word in the middle of the recording was missed: its pauses lie in one gap of two words.
    lateness.add(
        sound([(0.5, 0.8), (1.2, 1.5), (1.9, 2.2)], 2.2), [(0.5, 0.8), (1.9, 2.2)], [True] * 2
    )
    assert lateness.starts == pytest.approx([0.0], abs=0.0201)  # of the first word
    assert lateness.ends == []


def test_shift_takes_lateness_away() -> None:
    lateness = measured((0.06, 0.03), [True] * 3, times=FEWEST // 2)
    shift = lateness.shift()
    assert shift is not None
    assert (shift.start, shift.end) == pytest.approx((-0.06, -0.03), abs=0.0201)


def test_shift_goes_no_further_than_it_may() -> None:
    lateness = Lateness(starts=[0.3] * FEWEST, ends=[-0.2] * FEWEST)
    assert lateness.shift() == TimeShift(-0.08, 0.08)


def test_a_few_pauses_tell_nothing() -> None:
    assert measured((0.06, 0.03), [True] * 3).shift() is None
    assert Lateness(starts=[0.1] * FEWEST, ends=[0.1] * (FEWEST - 1)).shift() is None
