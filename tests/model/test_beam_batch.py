"""Searches that advance together find what each finds alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.beam import BeamConfig, BeamSearch, advance_together
from ossicle.model.decoding.beam_batch import best_of_each
from ossicle.model.decoding.language import Language, LanguageWeights, TextScorer
from ossicle.model.decoding.phrases import Phrase, PhraseMatcher
from ossicle.model.decoding.together import SomeFailedError
from ossicle.model.ngram.model import NgramModel

TOKENS = Tokenizer().tokens
SPACE = TOKENS.index(" ")


@pytest.fixture(scope="module")
def scorers(ngrams: NgramModel) -> list[TextScorer]:
    """Of streams with a language model, of some with phrases besides, and of one without either."""
    language = Language(ngrams, TOKENS, LanguageWeights(0.7, 0.3, -5.0, -0.5))
    matchers = [
        PhraseMatcher([Phrase(text, 9.0)], TOKENS, language.unknown_prices)
        for text in ("the cat", "zyq")
    ]
    phrases = [None, *matchers]
    return [TextScorer(SPACE), *(TextScorer(SPACE, language, each) for each in phrases)]


def speech(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Log-probabilities (U, V) of a network that is more or less sure."""
    logits = rng.normal(size=(frames, len(TOKENS))) * rng.uniform(1, 4)
    logits[:, 0] += rng.uniform(0, 8, size=frames)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    kinds=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, 6, 20])), max_size=7),
    pieces=st.integers(1, 9),
)
def test_any_mixture_and_any_pieces_find_the_same_to_the_last_bit(
    scorers: list[TextScorer], seed: int, kinds: list[tuple[int, int]], pieces: int
) -> None:
    rng = np.random.default_rng(seed)
    heard = [speech(rng, int(rng.integers(0, 40))) for _ in kinds]
    made = [
        [BeamSearch(scorers[kind], BeamConfig(width, margin=8.0)) for kind, width in kinds]
        for _ in range(2)
    ]
    alone, together = made
    for search, frames in zip(alone, heard, strict=True):
        search.advance(frames)
    # Each is given its frames in random pieces, some of them empty, beside random others.
    cuts = [np.sort(rng.integers(0, len(frames) + 1, pieces)) for frames in heard]
    parts = [np.split(frames, where) for frames, where in zip(heard, cuts, strict=True)]
    for number in range(pieces + 1):
        order = rng.permutation(len(kinds)).tolist()
        advance_together([together[i] for i in order], [parts[i][number] for i in order])
    for one, other in zip(alone, together, strict=True):
        assert other.best() == one.best()
        assert other.finished() == one.finished()
        assert other.empty_lead() == one.empty_lead()


class BrokenScorer(TextScorer):
    """Of a search that fails where others go on."""

    def start(self) -> Any:
        return np.full_like(super().start(), 1 << 40)


def test_a_search_that_fails_leaves_the_others_as_if_they_were_alone(
    scorers: list[TextScorer],
) -> None:
    rng = np.random.default_rng(3)
    language = scorers[1].language
    kinds = [scorers[0], scorers[1], BrokenScorer(SPACE, language), scorers[1], scorers[2]]
    heard = [speech(rng, frames) for frames in (30, 40, 35, 20, 10)]
    alone, together = ([BeamSearch(kind, BeamConfig(6)) for kind in kinds] for _ in range(2))
    with pytest.raises(SomeFailedError) as failed:
        advance_together(together, heard)
    assert failed.value.errors.keys() == {2}
    with pytest.raises(IndexError):
        alone[2].advance(heard[2])
    for number in (0, 1, 3, 4):
        alone[number].advance(heard[number])
        assert together[number].best() == alone[number].best()


def test_beams_are_as_wide_as_they_may_be_where_all_is_equally_likely() -> None:
    search = BeamSearch(TextScorer(SPACE), BeamConfig(width=10))
    search.advance(np.full((20, len(TOKENS)), -np.log(len(TOKENS)), dtype=np.float32))
    assert 1 <= len(search.finished()) <= 10


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-20, 20)), min_size=1, max_size=60),
    st.integers(1, 8),
    st.floats(0.5, 30.0),
)
def test_the_best_of_each_beam_are_kept(
    scored: list[tuple[int, int]], width: int, margin: float
) -> None:
    beams, scores = (np.array(column) for column in zip(*scored, strict=True))
    kept = best_of_each(scores.astype(float), beams, 4, BeamConfig(width, margin))
    for beam in range(4):
        own = [(-score, place) for place, (of, score) in enumerate(scored) if of == beam]
        within = [(worse, place) for worse, place in own if worse - min(own)[0] < margin]
        wanted = {place for _, place in sorted(within)[:width]}
        assert set(np.flatnonzero(kept & (beams == beam)).tolist()) == wanted
