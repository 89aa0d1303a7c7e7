from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.beam import BeamConfig
from ossicle.model.decoding.language import Language, LanguageWeights
from ossicle.model.decoding.reranking import RescoringWeights
from ossicle.model.decoding.rescoring import Rescorer
from ossicle.model.decoding.tuning import WIDTHS, HeardSet, Trial, Tuner, cache_file, load, save
from ossicle.model.ngram.model import NgramModel

TOKENS = Tokenizer().tokens


def heard(*pairs: tuple[str, str]) -> HeardSet:
    """A set whose sound is of the second texts, a little, and of the first, a little less."""
    log_probs = []
    for reference, sound in pairs:
        rows = np.full((2 * len(sound), len(TOKENS)), 1e-4)
        rows[:, 0] += 0.997
        for frame, (true, letter) in enumerate(zip(reference, sound, strict=True)):
            rows[2 * frame, 0] = 1e-4
            rows[2 * frame, TOKENS.index(letter)] += 0.55
            rows[2 * frame, TOKENS.index(true)] += 0.44
        log_probs.append(np.log(rows).astype(np.float32))
    return HeardSet("small", tuple(reference for reference, _ in pairs), tuple(log_probs))


def test_tuning_finds_that_the_language_model_helps(ngrams: NgramModel) -> None:
    language = Language(ngrams, TOKENS, LanguageWeights())
    small = heard(("they see it", "they sea it"), ("we see the sea", "we see the see"))
    trials: list[Trial] = []
    tuner = Tuner([small], TOKENS, language, trials.append)
    start = LanguageWeights(lm_weight=0.0, word_score=0.0)
    best = tuner.weights(BeamConfig(), start)
    assert trials[0].language == start
    assert trials[0].mean == pytest.approx(2 / 7)
    assert best.mean == 0.0
    assert best.language.lm_weight > 0
    assert len({(trial.beam, trial.language) for trial in trials}) == len(trials)
    narrowest = tuner.width(best)
    assert narrowest.beam.width in WIDTHS
    assert narrowest.mean == 0.0


class Knowing(Rescorer):
    """Finds some texts likely, and all others not."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def judge(self, texts: Sequence[str], context: str = "") -> list[NDArray[np.float32]]:
        likely = [0.0 if text in self._texts else -40.0 for text in texts]
        ends = zip(texts, likely, strict=True)
        return [np.array([0.0] * len(text.split()) + [end], np.float32) for text, end in ends]


@pytest.mark.parametrize(
    ("known", "helps"),
    [(("they see it", "we see the sea"), True), (("they sea it", "we see the see"), False)],
)
def test_rescoring_counts_if_it_helps(
    ngrams: NgramModel, known: tuple[str, ...], helps: bool
) -> None:
    language = Language(ngrams, TOKENS, LanguageWeights())
    small = heard(("they see it", "they sea it"), ("we see the sea", "we see the see"))
    tuner = Tuner([small], TOKENS, language, lambda trial: None)
    plain = tuner.try_out(BeamConfig(), LanguageWeights(lm_weight=0.02, word_score=0.0))
    assert plain.mean == pytest.approx(2 / 7)
    weights, rate = tuner.rescoring(plain, RescoringWeights(lead=0.1), Knowing(known))
    assert (weights.weight > 0) == helps
    assert weights.lead == 0.1
    assert rate == (0.0 if helps else plain.mean)


def test_what_was_heard_is_kept_for_the_next_time(tmp_path: Path) -> None:
    small = heard(("they see it", "they sea it"), ("a cat", "a kat"))
    model, manifest = tmp_path / "model", tmp_path / "set.jsonl"
    model.write_bytes(b"1")
    manifest.write_bytes(b"2")
    path = cache_file(tmp_path / "cache", model, manifest)
    save(small, path)
    again = load("small", path)
    assert again.references == small.references
    for kept, rows in zip(again.log_probs, small.log_probs, strict=True):
        np.testing.assert_allclose(kept, rows, atol=0.01)
    model.write_bytes(b"3")
    assert cache_file(tmp_path / "cache", model, manifest) != path


def test_a_part_has_about_as_many_frames_as_asked_for() -> None:
    pairs = [("they see it", "they see it")] * 20
    part = heard(*pairs).part(100)
    assert sum(map(len, part.log_probs)) <= 100
    assert len(part.references) == len(part.log_probs) == 4
