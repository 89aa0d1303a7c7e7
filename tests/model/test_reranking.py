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
from ossicle.model.decoding.reranking import Reranker, RescoringWeights
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
WEIGHTS = RescoringWeights(weight=0.5, word_score=1.5)


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


def test_texts_are_sorted_by_both_judgements(rescorer: Rescorer) -> None:
    texts, scores = Reranker(rescorer, WEIGHTS)(TEXTS, SCORES)
    judged = rescorer.score(TEXTS)
    truth = {
        text: score + 0.5 * float(log_prob) + 1.5 * len(text.split())
        for text, score, log_prob in zip(TEXTS, SCORES, judged, strict=True)
    }
    assert dict(zip(texts, scores, strict=True)) == pytest.approx(truth, abs=1e-4)
    assert scores == sorted(scores, reverse=True)
    assert texts != TEXTS


def test_what_was_said_before_a_stream_is_as_good_as_what_was_said_in_it(
    rescorer: Rescorer,
) -> None:
    one, other = Reranker(rescorer, WEIGHTS), Reranker(rescorer, WEIGHTS, ["a dog", "", "it sat"])
    fresh = one(TEXTS, SCORES)
    for text in ("a dog", "", "it sat"):
        one.remember(text)
    assert one(TEXTS, SCORES) == other(TEXTS, SCORES) != fresh


def test_only_the_best_texts_are_judged(rescorer: Rescorer) -> None:
    texts, _ = Reranker(rescorer, replace(WEIGHTS, texts=2))(TEXTS, SCORES)
    assert sorted(texts) == sorted(TEXTS[:2])


def test_what_was_said_before_is_context(rescorer: Rescorer) -> None:
    reranker = Reranker(rescorer, WEIGHTS)
    fresh = reranker(TEXTS, SCORES)
    reranker.remember("")
    assert reranker(TEXTS, SCORES) == fresh
    for utterance in ("we see the sea", "they see it"):
        reranker.remember(utterance)
    texts, scores = reranker(TEXTS, SCORES)
    judged = rescorer.score(texts, "we see the sea\nthey see it")
    words = [len(text.split()) for text in texts]
    old = [SCORES[TEXTS.index(text)] for text in texts]
    np.testing.assert_allclose(
        scores, np.array(old) + 0.5 * judged + 1.5 * np.array(words), atol=1e-4
    )
    assert scores != fresh[1]


def test_finals_are_reranked_and_known_to_the_next(ngrams: NgramModel, rescorer: Rescorer) -> None:
    log_probs = np.log(np.random.default_rng(5).dirichlet(np.full(len(INFO.tokens), 0.1), 40))
    log_probs = np.maximum(log_probs, -30).astype(np.float32)
    plain = Decoding(INFO, ngrams).decoder()
    plain.advance(log_probs)
    before = plain.finish(16)
    values = {"rescoring_weight": 0.5, "rescoring_word_score": 1.5}
    decoder = Decoding(INFO, ngrams, values, rescorer).decoder()
    reranker = Reranker(rescorer, WEIGHTS)
    for _ in range(2):
        decoder.advance(log_probs)
        after = decoder.finish(16)
        assert decoder.finish(16) == after
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
    score = rescorer.score

    def reading(texts: list[str], said: str = "") -> NDArray[np.float32]:
        read.extend(texts)
        return score(texts, said)

    monkeypatch.setattr(rescorer, "score", reading)
    tokens = ModelConfig(units="phonemes").tokens
    info = replace(INFO, tokens=tokens, units="phonemes")
    decoding = Decoding(info, ngrams, {"rescoring_weight": 0.1}, rescorer, pronunciations)
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
    log_probs = np.log(np.random.default_rng(5).dirichlet(np.full(len(INFO.tokens), 0.1), 40))
    log_probs = np.maximum(log_probs, -30).astype(np.float32)
    finals = []
    for each in (decoding, rescoring):
        decoder = each.decoder()
        decoder.advance(log_probs)
        finals.append(decoder.finish()[0])
    assert finals[0] != finals[1]
