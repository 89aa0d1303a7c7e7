"""The LSTM language model's say, with a small network of random weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from ossicle.data.text import Tokenizer
from ossicle.model.config import ModelConfig
from ossicle.model.decoding.decoders import Decoding, DecodingConfig, Phrase
from ossicle.model.decoding.language import Language, LanguageWeights
from ossicle.model.decoding.reranking import Reranker, RescoringWeights, advantage
from ossicle.model.decoding.rescoring import Rescorer
from ossicle.model.lstm_lm.config import LanguageModelConfig
from ossicle.model.lstm_lm.export import export_language_model
from ossicle.model.lstm_lm.network import LanguageNetwork
from ossicle.model.lstm_lm.units import BASE, Units
from ossicle.model.ngram.model import NgramModel
from ossicle.model.pronunciation.dictionary import DICTIONARY, GRAPHONES, Pronunciations
from ossicle.model.runtime import ModelInfo, find_model

INFO = ModelInfo("test", "", "en-US", "", Tokenizer().tokens, 0)
TEXTS = ["the cat sat", "the cat", "a cat sat on", "the mat", ""]
SCORES = [-1.0, -1.5, -1.75, -2.0, -9.0]
WEIGHTS = RescoringWeights(weight=0.5, lead=0.0)
LANGUAGE_WEIGHTS = LanguageWeights(lm_weight=0.8)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    sizes = LanguageModelConfig(units=len(BASE), embedding=8, hidden=12)
    network = LanguageNetwork(sizes).eval()
    for parameter in network.parameters():  # what random weights say would differ too little
        parameter.data *= 4
    return export_language_model(network, Units(BASE), tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def rescorer(language_model: Path) -> Rescorer:
    rescorer = Rescorer.load(language_model.parent)
    assert rescorer
    return rescorer


@pytest.fixture(scope="module")
def language(ngrams: NgramModel) -> Language:
    return Language(ngrams, INFO.tokens, LANGUAGE_WEIGHTS)


def expected(
    rescorer: Rescorer, ngrams: NgramModel, count: int, context: str = ""
) -> dict[str, float]:
    """The new scores of `TEXTS`, of which so many are judged."""
    judged = advantage(rescorer, ngrams, TEXTS, context)
    return {
        text: score + 0.5 * 0.8 * float(judged[number if number < count else 0])
        for number, (text, score) in enumerate(zip(TEXTS, SCORES, strict=True))
    }


def test_words_that_the_search_does_not_know_do_not_count(
    rescorer: Rescorer, ngrams: NgramModel
) -> None:
    text = "the zebra sat"
    the, zebra, sat, end = rescorer.judge([text])[0] - ngrams.judge([text])[0]
    assert advantage(rescorer, ngrams, [text]) == pytest.approx([the + sat + end], abs=1e-4)
    assert abs(zebra) > 1
    plain = rescorer.score(["the cat sat"]) - sum(ngrams.judge(["the cat sat"])[0])
    assert advantage(rescorer, ngrams, ["the cat sat"]) == pytest.approx(plain, abs=1e-4)


def test_one_language_model_takes_over_a_share_of_the_others_say(
    rescorer: Rescorer, language: Language
) -> None:
    texts, scores = Reranker(rescorer, language, WEIGHTS)(TEXTS, SCORES)
    truth = expected(rescorer, language.ngram, 4)
    assert dict(zip(texts, scores, strict=True)) == pytest.approx(truth, abs=1e-4)
    assert scores == sorted(scores, reverse=True)
    assert texts != TEXTS


@pytest.mark.parametrize(
    ("weights", "count"),
    [
        (replace(WEIGHTS, texts=2), 2),
        (replace(WEIGHTS, margin=0.6), 2),
        (replace(WEIGHTS, margin=100.0), 5),
        (replace(WEIGHTS, margin=0.75), 3),
    ],
)
def test_what_is_far_behind_is_not_judged_and_keeps_its_distance(
    rescorer: Rescorer, language: Language, weights: RescoringWeights, count: int
) -> None:
    texts, scores = Reranker(rescorer, language, weights)(TEXTS, SCORES)
    truth = expected(rescorer, language.ngram, count)
    assert dict(zip(texts, scores, strict=True)) == pytest.approx(truth, abs=1e-4)


@pytest.mark.parametrize("lead", [0.4, 100.0])
def test_what_was_shown_gives_way_only_to_what_is_better_by_more(
    rescorer: Rescorer, language: Language, lead: float
) -> None:
    texts, scores = Reranker(rescorer, language, replace(WEIGHTS, lead=lead))(TEXTS, SCORES)
    truth = expected(rescorer, language.ngram, 4)
    truth[TEXTS[0]] += lead
    assert dict(zip(texts, scores, strict=True)) == pytest.approx(truth, abs=1e-4)
    assert scores == sorted(scores, reverse=True)
    assert (texts[0] == TEXTS[0]) == (truth[TEXTS[0]] == max(truth.values()))


@pytest.mark.parametrize("weights", [replace(WEIGHTS, texts=1), replace(WEIGHTS, margin=0.1)])
def test_a_single_text_is_not_judged(
    rescorer: Rescorer,
    language: Language,
    weights: RescoringWeights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rescorer, "judge", None)
    assert Reranker(rescorer, language, weights)(TEXTS, SCORES) == (TEXTS, SCORES)


def test_what_was_said_before_a_stream_is_as_good_as_what_was_said_in_it(
    rescorer: Rescorer, language: Language
) -> None:
    one = Reranker(rescorer, language, WEIGHTS)
    other = Reranker(rescorer, language, WEIGHTS, ["a dog", "", "it sat"])
    fresh = one(TEXTS, SCORES)
    for text in ("a dog", "", "it sat"):
        one.remember(text)
    assert one(TEXTS, SCORES) == other(TEXTS, SCORES) != fresh


def test_what_was_said_before_is_context(rescorer: Rescorer, language: Language) -> None:
    reranker = Reranker(rescorer, language, WEIGHTS)
    fresh = reranker(TEXTS, SCORES)
    reranker.remember("")
    assert reranker(TEXTS, SCORES) == fresh
    for utterance in ("we see the sea", "they see it"):
        reranker.remember(utterance)
    texts, scores = reranker(TEXTS, SCORES)
    truth = expected(rescorer, language.ngram, 4, "we see the sea\nthey see it")
    assert dict(zip(texts, scores, strict=True)) == pytest.approx(truth, abs=1e-4)
    assert scores != fresh[1]


def test_finals_are_reranked_and_known_to_the_next(ngrams: NgramModel, rescorer: Rescorer) -> None:
    log_probs = np.log(np.random.default_rng(5).dirichlet(np.full(len(INFO.tokens), 0.1), 40))
    log_probs = np.maximum(log_probs, -30).astype(np.float32)
    plain = Decoding(INFO, ngrams, {"lm_weight": 0.8}).decoder()
    plain.advance(log_probs)
    before = plain.finish(32)
    values = {"lm_weight": 0.8, "rescoring_weight": 0.5, "rescoring_lead": 0.0}
    decoder = Decoding(INFO, ngrams, values, rescorer).decoder()
    reranker = Reranker(rescorer, Language(ngrams, INFO.tokens, LANGUAGE_WEIGHTS), WEIGHTS)
    for _ in range(2):
        decoder.advance(log_probs)
        after = decoder.finish(32)
        assert decoder.finish(32) == after
        texts, scores = reranker([h.text for h in before], [h.score for h in before])
        assert [hypothesis.text for hypothesis in after] == texts
        assert [hypothesis.score for hypothesis in after] == pytest.approx(scores)
        decoder.reset()
        reranker.remember(texts[0])


def test_it_reads_words_as_the_final_spells_them(
    ngrams: NgramModel,
    rescorer: Rescorer,
    pronunciations: Pronunciations,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    judge = rescorer.judge

    def reading(texts: list[str], said: str = "") -> list[NDArray[np.float32]]:
        read.extend(texts)
        return judge(texts, said)

    monkeypatch.setattr(rescorer, "judge", reading)
    tokens = ModelConfig(units="phonemes").tokens
    info = replace(INFO, tokens=tokens, units="phonemes")
    decoding = Decoding(
        info, ngrams, {"rescoring_weight": 0.1, "rescoring_margin": 50.0}, rescorer, pronunciations
    )
    decoder = decoding.decoder(DecodingConfig(phrases=(Phrase("Kat", 20.0),)))
    log_probs = np.full((12, len(tokens)), -8.0, np.float32)
    for place, token in enumerate("ðə kæt"):
        log_probs[2 * place, tokens.index(token)] = log_probs[2 * place + 1, 0] = -0.01
    decoder.advance(log_probs)
    final = decoder.finish()[0]
    assert final.text == read[0] == "the kat"


def test_it_is_asked_only_if_it_has_a_weight(
    language_model: Path, ngram_file: Path, tmp_path: Path
) -> None:
    shipped = [find_model() / name for name in ("config.json", DICTIONARY, GRAPHONES)]
    for file in (*shipped, ngram_file, language_model):
        shutil.copy(file, tmp_path)
    decoding = Decoding.load(tmp_path, ModelInfo.load(tmp_path))
    assert decoding.rescorer is not None
    assert decoding.settings.rescoring.weight == 0
    (tmp_path / "decoding.json").write_text('{"rescoring_weight": 0.5}')
    rescoring = Decoding.load(tmp_path, ModelInfo.load(tmp_path))
    tokens = len(ModelInfo.load(tmp_path).tokens)
    log_probs = np.log(np.random.default_rng(5).dirichlet(np.full(tokens, 0.1), 40))
    log_probs = np.maximum(log_probs, -30).astype(np.float32)
    finals = []
    for each in (decoding, rescoring):
        decoder = each.decoder()
        decoder.advance(log_probs)
        finals.append(decoder.finish()[0])
    assert finals[0] != finals[1]
