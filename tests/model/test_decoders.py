"""Which decoder a request gets, and what it is told if it asks for what cannot be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.beam import BeamConfig
from ossicle.model.decoding.beam_decoder import BeamDecoder
from ossicle.model.decoding.decoders import Decoding, DecodingConfig, DecodingSettings, Phrase
from ossicle.model.decoding.hypothesis import GreedyDecoder
from ossicle.model.decoding.language import LanguageWeights
from ossicle.model.decoding.reranking import RescoringWeights
from ossicle.model.ngram.model import NgramModel
from ossicle.model.pronunciation.dictionary import DICTIONARY, GRAPHONES
from ossicle.model.runtime import ModelError, ModelInfo, find_model

INFO = ModelInfo("test", "", "en-US", "", Tokenizer().tokens, 0)
PHRASES = (Phrase("Ossicle", 5.0),)


def test_without_language_model_search_is_greedy_unless_phrases_or_a_beam_are_asked_for() -> None:
    decoding = Decoding(INFO)
    assert isinstance(decoding.decoder(), GreedyDecoder)
    assert isinstance(decoding.decoder(DecodingConfig(search="beam")), BeamDecoder)
    assert isinstance(decoding.decoder(DecodingConfig(phrases=PHRASES)), BeamDecoder)


def test_with_a_language_model_search_is_a_beam_unless_greedy_is_asked_for(
    ngrams: NgramModel,
) -> None:
    decoding = Decoding(INFO, ngrams)
    assert isinstance(decoding.decoder(), BeamDecoder)
    assert isinstance(decoding.decoder(DecodingConfig(search="greedy")), GreedyDecoder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DecodingConfig("best"), "search is 'best'; give beam or greedy"),  # type: ignore[arg-type]
        (DecodingConfig(beam_width=-1), "beam_width is -1; give 1 to 256"),
        (DecodingConfig("beam", 257), "beam_width is 257; give 1 to 256"),
        (DecodingConfig("greedy", 8), "beam_width is 8, but the search is greedy"),
        (DecodingConfig(beam_width=8), "beam_width is 8, but the search is greedy"),
        (DecodingConfig("greedy", phrases=PHRASES), "phrases need a beam search"),
        (DecodingConfig("beam", phrases=(Phrase("...", 1.0),)), "'...' has nothing that is spoken"),
        (DecodingConfig("beam", phrases=(Phrase("Ossicle", 21.0),)), "is 21.0; give 0 to 20"),
    ],
)
def test_what_cannot_be_is_refused(config: DecodingConfig, message: str) -> None:
    decoding = Decoding(INFO)
    with pytest.raises(ValueError, match=message):
        decoding.check(config)
    with pytest.raises(ValueError, match=message):
        decoding.decoder(config)


def test_phrases_must_be_spelt_with_the_models_tokens() -> None:
    decoding = Decoding(replace(INFO, tokens=("<blank>", " ", "a", "b")))
    decoding.check(DecodingConfig(phrases=(Phrase("Abba", 1.0),)))
    with pytest.raises(ValueError, match=r"cannot spell the phrase 'Abbot'.*no token for o, t"):
        decoding.check(DecodingConfig(phrases=(Phrase("Abbot", 1.0),)))


def test_a_model_without_separator_is_only_decoded_greedily() -> None:
    decoding = Decoding(replace(INFO, tokens=("<blank>", "a", "b")))
    assert isinstance(decoding.decoder(), GreedyDecoder)
    with pytest.raises(ValueError, match="no token that separates words"):
        decoding.check(DecodingConfig(search="beam"))


def test_settings_are_what_the_file_says() -> None:
    settings = DecodingSettings(
        BeamConfig(width=5, margin=7.0), LanguageWeights(lm_weight=0.1), RescoringWeights(0.4)
    )
    assert DecodingSettings.from_dict(settings.to_dict()) == settings
    assert DecodingSettings.from_dict({"confidence": {}}) == DecodingSettings()
    decoding = Decoding(INFO, None, {"beam_width": 3, "lm_weight": 0.25})
    assert decoding.settings.beam.width == 3
    assert decoding.settings.language.lm_weight == 0.25


@pytest.fixture
def folder(tmp_path: Path, ngram_file: Path) -> Path:
    for name in ("config.json", DICTIONARY, GRAPHONES):
        shutil.copy(find_model() / name, tmp_path)
    shutil.copy(ngram_file, tmp_path)
    return tmp_path


def test_a_folder_has_what_its_files_say(folder: Path) -> None:
    info = ModelInfo.load(folder)
    (folder / "decoding.json").write_text(json.dumps({"beam_width": 7}))
    decoding = Decoding.load(folder, info)
    assert isinstance(decoding.decoder(), BeamDecoder)
    assert decoding.settings.beam.width == 7
    (folder / "lm.ngram").unlink()
    assert isinstance(Decoding.load(folder, info).decoder(), GreedyDecoder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "decoding.json cannot be used"),
        ("[]", "holds no JSON object"),
        ('{"lm_weight": "much"}', "\"lm_weight\" is 'much', not a number"),
        ('{"word_score": NaN}', '"word_score" is nan; give a finite number'),
        ('{"beam_margin": 0}', '"beam_margin" is 0; give more than 0'),
        ('{"beam_least_probable": 0.001}', '"beam_least_probable" is 0.001; it is the natural'),
        ('{"beam_certain_blank": -10}', '"beam_certain_blank" is -10; it is the natural log'),
        ('{"beam_width": 0}', '"beam_width" is 0; give 1 to 256'),
        ('{"rescoring_texts": 1.5}', '"rescoring_texts" is 1.5'),
        ('{"rescoring_margin": 0}', '"rescoring_margin" is 0; give more than 0'),
        ('{"rescoring_weight": 1.5}', '"rescoring_weight" is 1.5; it is a share, 0 to 1'),
        ('{"times": {"start": 3}}', '"times"'),
        ('{"lm_wieght": 0.5}', '"lm_wieght" is no setting; these are: beam_certain_blank, '),
    ],
)
def test_a_damaged_settings_file_is_named(folder: Path, content: str, message: str) -> None:
    (folder / "decoding.json").write_text(content)
    with pytest.raises(ModelError, match=r"decoding\.json") as refused:
        Decoding.load(folder, ModelInfo.load(folder))
    assert message in str(refused.value)


def test_a_damaged_language_model_is_named(folder: Path) -> None:
    (folder / "lm.ngram").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"lm\.ngram"):
        Decoding.load(folder, ModelInfo.load(folder))
