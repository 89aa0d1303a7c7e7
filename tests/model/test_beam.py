"""The search alone: what it finds is what all CTC paths together say."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.model.decoding.beam import BeamConfig, BeamSearch
from ossicle.model.decoding.beam_batch import ENTRY
from ossicle.model.decoding.language import TextScorer

SPACE = 1
VOCABULARY = 4  # blank, space, two letters
EVERYTHING = BeamConfig(width=10_000, margin=1e9, least_probable=-1e9, certain_blank=0.0)


def frames(count: int, seed: int, vocabulary: int = VOCABULARY) -> np.ndarray:
    """Random log-probabilities (U, V), some of them nearly certain."""
    logits = np.random.default_rng(seed).normal(size=(count, vocabulary)) * 3
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def text_of(path: tuple[int, ...]) -> tuple[int, ...]:
    """What a CTC path says: repeats merged, blanks dropped, single spaces, none at the ends."""
    text: list[int] = []
    for token, _ in itertools.groupby(path):
        if token and (token != SPACE or (text and text[-1] != SPACE)):
            text.append(token)
    return tuple(text[:-1] if text and text[-1] == SPACE else text)


def by_enumeration(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """The log-probability of every text: the sum over all its paths."""
    texts: dict[tuple[int, ...], float] = defaultdict(lambda: -np.inf)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        score = sum(float(log_probs[frame, token]) for frame, token in enumerate(path))
        texts[text_of(path)] = np.logaddexp(texts[text_of(path)], score)
    return texts


def search(log_probs: np.ndarray, config: BeamConfig, cuts: tuple[int, ...] = ()) -> BeamSearch:
    beam = BeamSearch(TextScorer(SPACE), config)
    for piece in np.split(log_probs, cuts):
        beam.advance(piece)
    return beam


@pytest.mark.parametrize("count", [0, 1, 2, 4, 6])
@pytest.mark.parametrize("seed", range(5))
def test_a_beam_without_limits_finds_every_text_and_its_probability(count: int, seed: int) -> None:
    log_probs = frames(count, seed)
    truth = by_enumeration(log_probs)
    found = search(log_probs, EVERYTHING).finished()
    assert {candidate.tokens for candidate in found} == set(truth)
    for candidate in found:
        assert candidate.score == pytest.approx(truth[candidate.tokens], abs=1e-5)
    assert found[0].score == max(candidate.score for candidate in found)


@pytest.mark.parametrize("seed", range(10))
def test_a_narrow_beam_finds_the_best_text_and_hardly_less_than_its_probability(seed: int) -> None:
    log_probs = frames(7, seed)
    truth = by_enumeration(log_probs)
    best = search(log_probs, BeamConfig(width=16, least_probable=np.log(1e-4))).finished()[0]
    assert truth[best.tokens] == max(truth.values())
    assert truth[best.tokens] - 0.02 < best.score <= truth[best.tokens] + 1e-6


@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 60),
    width=st.integers(1, 12),
    cuts=st.lists(st.integers(0, 60), max_size=8).map(lambda c: tuple(sorted(c))),
)
def test_pieces_do_not_matter(seed: int, count: int, width: int, cuts: tuple[int, ...]) -> None:
    log_probs = frames(count, seed, vocabulary=12)
    whole = search(log_probs, BeamConfig(width=width))
    pieces = search(log_probs, BeamConfig(width=width), tuple(min(c, count) for c in cuts))
    assert pieces.best() == whole.best()
    assert pieces.finished() == whole.finished()


@given(seed=st.integers(0, 1000), width=st.integers(1, 40))
def test_alternatives_are_distinct_and_sorted(seed: int, width: int) -> None:
    beam = search(frames(40, seed, vocabulary=8), BeamConfig(width=width))
    found = beam.finished()
    assert 1 <= len(found) <= width
    assert len({candidate.tokens for candidate in found}) == len(found)
    scores = [candidate.score for candidate in found]
    assert scores == sorted(scores, reverse=True)
    for candidate in found:
        assert not candidate.tokens or SPACE not in (candidate.tokens[0], candidate.tokens[-1])


@given(seed=st.integers(0, 1000), width=st.integers(1, 40), count=st.integers(1, 40))
def test_the_agreement_on_words_is_the_share_of_the_texts_that_begin_with_them(
    seed: int, width: int, count: int
) -> None:
    beam = search(frames(count, seed, vocabulary=6), BeamConfig(width=width))
    best = beam.best()
    assert list(best.frames) == sorted(set(best.frames))
    lengths = [
        end
        for end in range(1, len(best.tokens) + 1)
        if best.tokens[end - 1] != SPACE and best.tokens[end : end + 1] in ((), (SPACE,))
    ]
    table = beam._beam.table
    texts = [tuple(text) for text in beam._beam.tree.texts(table[ENTRY].tolist())]
    weights = np.exp(beam._beam.scores() - best.score)
    weights[weights <= 0.01] = 0.0
    expected = [
        sum(
            weight
            for text, weight in zip(texts, weights, strict=True)
            if (*text, SPACE)[: end + 1] == (*best.tokens[:end], SPACE)
        )
        / weights.sum()
        for end in lengths
    ]
    assert beam.agreement(lengths) == pytest.approx(expected)
    assert expected == sorted(expected, reverse=True)


def test_tokens_are_where_they_were_said() -> None:
    log_probs = np.full((40, 5), np.log(0.002), dtype=np.float32)
    log_probs[:, 0] = np.log(0.992)
    for frame, token in ((10, 2), (11, 2), (14, 3), (20, 1), (30, 4)):
        # Each token is faintly there already, two frames before.
        log_probs[frame - 2] = np.log(
            [0.94, *(0.04 if t == token else 0.0067 for t in range(1, 5))]
        )
        log_probs[frame] = np.log([0.05, *(0.9 if t == token else 0.0167 for t in range(1, 5))])
    best = search(log_probs, BeamConfig()).best()
    assert best.tokens == (2, 3, 1, 4)
    assert best.frames == (10, 14, 20, 30)


def test_skipping_certain_blanks_changes_nothing_that_matters() -> None:
    log_probs = frames(60, 3, vocabulary=8)
    log_probs[20:40] = np.log(2e-5)
    log_probs[20:40, 0] = np.log(1 - 7 * 2e-5)
    skipped = search(log_probs, BeamConfig(certain_blank=np.log(0.999))).finished()
    looked_at = search(log_probs, BeamConfig(certain_blank=0.0)).finished()
    assert skipped[0].tokens == looked_at[0].tokens
    assert skipped[0].score == pytest.approx(looked_at[0].score, abs=0.01)


def test_impossible_frames_do_not_break_the_search() -> None:
    log_probs = frames(20, 1)
    log_probs[5] = -np.inf
    found = search(log_probs, BeamConfig()).finished()
    assert found
    assert np.isfinite(found[0].score)
