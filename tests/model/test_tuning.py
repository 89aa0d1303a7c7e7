from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ossicle.data.manifest import Utterance, write_manifest
from ossicle.data.sample import sample_path
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.beam import BeamConfig
from ossicle.model.decoding.heard import HeardSet, hear_set, kept_file
from ossicle.model.decoding.language import Language, LanguageWeights
from ossicle.model.decoding.reranking import RescoringWeights
from ossicle.model.decoding.rescoring import Rescorer
from ossicle.model.decoding.tuning import MARGINS, TOLERANCE, WIDTHS, Trial, Tuner
from ossicle.model.ngram.model import NgramModel
from ossicle.model.runtime import AcousticModel

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
    narrowed = tuner.narrowed(best, start)
    assert narrowed.mean == 0.0
    assert narrowed.language == best.language
    # A narrow beam may have misled.
    assert tuner.narrowed(trials[0], best.language).language == best.language
    assert narrowed.beam.margin == MARGINS[0]
    assert narrowed.beam.width < WIDTHS[-1]


def test_no_less_is_searched_than_pays(ngrams: NgramModel) -> None:
    language = Language(ngrams, TOKENS, LanguageWeights())
    small = heard(("we see the sea", "we see the see"))
    tuner = Tuner([small], TOKENS, language, lambda trial: None)
    weights = LanguageWeights(lm_weight=3.0, word_score=0.0)
    narrowed = tuner.narrowed(tuner.try_out(BeamConfig(width=4, margin=1.0), weights), weights)
    best = tuner.try_out(BeamConfig(WIDTHS[-1], MARGINS[-1]), weights)
    assert narrowed.mean <= best.mean + TOLERANCE


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


def test_what_was_heard_is_kept_for_the_next_time(
    tmp_path: Path, shipped_int8: AcousticModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = sample_path().parent / "sample.jsonl"
    kept = tmp_path / "cache" / "heard.npz"
    first = hear_set(shipped_int8, manifest, str.upper, kept)
    heard_again = []

    def hear(model: AcousticModel, recordings: list[Any]) -> list[NDArray[np.float32]]:
        heard_again.append(len(recordings))
        return list(first.log_probs)

    monkeypatch.setattr("ossicle.model.decoding.heard.hear", hear)
    again = hear_set(shipped_int8, manifest, str.lower, kept)
    assert not heard_again
    assert again.references == tuple(text.lower() for text in first.references)
    for rows, before in zip(again.log_probs, first.log_probs, strict=True):
        np.testing.assert_allclose(rows, before, atol=0.01)
    # As a full disk leaves it.
    kept.write_bytes(kept.read_bytes()[:1000])
    hear_set(shipped_int8, manifest, str, kept)
    assert heard_again == [1]
    hear_set(shipped_int8, manifest, str, kept)
    assert heard_again == [1]


def test_other_weights_and_other_recordings_are_kept_elsewhere(tmp_path: Path) -> None:
    graph, places = tmp_path / "graph", [tmp_path / "a", tmp_path / "b"]
    graph.write_bytes(b"1")
    for place in places:
        place.mkdir()
        (place / "a.wav").write_bytes(b"sound")
        write_manifest(place / "set.jsonl", [Utterance(place / "a.wav", 1.0, "yes")])
    manifest = places[0] / "set.jsonl"
    here, elsewhere = (kept_file(tmp_path, graph, place / "set.jsonl") for place in places)
    assert kept_file(tmp_path, graph, manifest) == here
    graph.write_bytes(b"3")
    later = kept_file(tmp_path, graph, manifest)
    (places[0] / "a.wav").write_bytes(b"another sound")
    heard_anew = kept_file(tmp_path, graph, manifest)
    write_manifest(manifest, [Utterance(places[0] / "a.wav", 1.0, "no")])
    edited = kept_file(tmp_path, graph, manifest)
    assert len({here, elsewhere, later, heard_anew, edited}) == 5


def test_a_part_has_about_as_many_frames_as_asked_for() -> None:
    pairs = [("they see it", "they see it")] * 20
    part = heard(*pairs).part(100)
    assert sum(map(len, part.log_probs)) <= 100
    assert len(part.references) == len(part.log_probs) == 4


def test_a_part_has_something_that_is_said() -> None:
    part = heard(("", ""), ("", ""), ("they see it", "they see it"), ("", "")).part(1)
    assert part.references == ("they see it",)
    assert len(part.log_probs) == 1
