"""Models of ours mixed into new ones: they say what they said, and what new texts say besides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.model.commands.lm import lm_app
from ossicle.model.ngram.arpa import read_arpa
from ossicle.model.ngram.back_off import BackOffModel
from ossicle.model.ngram.counting import count_ngrams, read_corpus
from ossicle.model.ngram.file import NgramTrie, read_trie, write_trie
from ossicle.model.ngram.merging import with_ngrams
from ossicle.model.ngram.model import NgramModel
from ossicle.model.ngram.smoothing import locate
from ossicle.model.ngram.text import TextSource
from ossicle.model.ngram.training import NgramTrainingConfig, train_ngrams
from ossicle.model.runtime import find_model
from typer.testing import CliRunner

NOVEL = """the captain went to the sea
the captain saw the mill by the sea
a mill by the river turned all the night
all the night the captain saw the river
he went by the mill to the river and saw the sea
"""
FIELD = [
    "press one to hear the captain",
    "press two to hear the sea",
    "the mill pressed the captain",
]


@pytest.fixture(scope="module")
def novel(tmp_path_factory: pytest.TempPathFactory) -> NgramTrie:
    """A pruned model: n-grams whose parts it has no longer are among its n-grams."""
    folder = tmp_path_factory.mktemp("novel")
    (folder / "novel.txt").write_text(NOVEL)
    text = TextSource(folder / "novel.txt")
    whole = train_ngrams([text], NgramTrainingConfig())
    trie = pruned(whole)
    assert sum(trie.counts) < sum(whole.counts)
    write_trie(trie, folder / "lm.ngram")
    return read_trie(folder / "lm.ngram")


def pruned(trie: NgramTrie) -> NgramTrie:
    """Without the pairs that no triple continues, and so without many a triple's last pair."""
    singles, pairs, *_ = trie.counts
    here = slice(singles, singles + pairs)
    keep = np.ones(len(trie.numbers), bool)
    keep[here] = trie.continuations[here] > 0
    firsts = np.repeat(np.arange(singles), trie.continuations[:singles])
    continuations = trie.continuations.copy()
    continuations[:singles] = np.bincount(firsts[keep[here]], minlength=singles)
    inner = np.flatnonzero(trie.continuations)
    back_offs = np.zeros(len(trie.numbers), np.float32)
    back_offs[inner] = trie.back_offs[1:]
    left = keep & (continuations > 0)
    return replace(
        trie,
        numbers=trie.numbers[keep],
        continuations=continuations[keep],
        codes=trie.codes[keep],
        back_offs=np.append(np.float32(0), back_offs[left]),
    )


@settings(deadline=None)
@given(data=st.data())
def test_it_says_what_it_said(novel: NgramTrie, data: st.DataObject) -> None:
    corpus = read_corpus([FIELD], 100, [dict.fromkeys(novel.words, 1.0)])
    model = BackOffModel.of_trie(novel, Path("novel/lm.ngram")).numbered(corpus)
    tables = with_ngrams(count_ngrams(corpus, 4), model)
    words = data.draw(st.lists(st.sampled_from(novel.words), min_size=1, max_size=8))
    numbers = [corpus.words.index(word) for word in words]
    tokens = np.array([corpus.bos, *numbers, corpus.eos], np.int32)
    weights = model.weights(corpus, tables)
    said = locate(tables, tokens, corpus.bos).probabilities(weights)
    np.testing.assert_allclose(np.log(said), NgramModel(novel).judge([" ".join(words)])[0], 1e-4)


def test_an_n_gram_counts_whose_last_words_the_file_has_not(tmp_path: Path) -> None:
    path = tmp_path / "pruned.arpa"
    path.write_text(
        "\\data\\\n\\1-grams:\n-1 <s> -0.2\n-1 </s>\n-0.5 press -0.3\n-0.7 one -0.4\n-0.9 two\n\n"
        "\\2-grams:\n-0.2 <s> press -0.1\n\n\\3-grams:\n-0.1 <s> press two\n\n\\end\\\n"
    )
    read = read_arpa(path)
    corpus = read_corpus([["the sea saw one"]], 20, [read.frequencies()])
    model = read.numbered(corpus)
    tables = with_ngrams(count_ngrams(corpus, 3), model)
    numbers = [corpus.words.index(word) for word in ("press", "two", "one")]
    tokens = np.array([corpus.bos, *numbers, corpus.eos], np.int32)
    said = locate(tables, tokens, corpus.bos).probabilities(model.weights(corpus, tables))
    np.testing.assert_allclose(np.log10(said), [-0.2, -0.1, -0.7, -0.4 - 1], atol=1e-5)


def test_a_models_own_is_mixed_in_by_its_name(tmp_path: Path) -> None:
    field = tmp_path / "field.txt"
    field.write_text("the subclass of the iterable is a namespace\nreturn the iterable\n" * 5)
    result = CliRunner().invoke(
        lm_app,
        [
            *("train", str(field), "--mix", "ossicle-small-en", "--weight", "1", "--weight", "1"),
            *("--order", "2", "--size", "6", "--output", str(tmp_path)),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "of ossicle-small-en/lm.ngram" in result.output
    mixed = NgramModel.load(tmp_path / "lm.ngram")
    shipped = NgramModel.load(find_model() / "lm.ngram")
    assert set(mixed.words) == {*shipped.words, "subclass", "iterable", "namespace"}
    field_text, general = "return the namespace", "he went down to the sea"
    assert mixed.judge([field_text])[0].sum() > shipped.judge([field_text])[0].sum() + 5
    # It has pairs only, and half of what it would have alone.
    assert mixed.judge([general])[0].sum() > shipped.judge([general])[0].sum() - 10
    assert mixed.about["models"][0]["name"] == "ossicle-small-en/lm.ngram"


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    field = tmp_path / "field.txt"
    field.write_text("return the iterable\n")
    for name, message in {
        "ossicle-large": "there is no model 'ossicle-large'",
        str(field): "neither a language model of `ossicle lm train` nor one in the ARPA format",
    }.items():
        arguments = ["train", str(field), "--mix", name, "--output", str(tmp_path / "lm.ngram")]
        result = CliRunner().invoke(lm_app, [*arguments, *["--weight", "1"] * 2])
        assert result.exit_code == 1
        assert message in " ".join(result.output.split())
        assert not (tmp_path / "lm.ngram").exists()


def test_a_models_own_is_shown_by_its_name() -> None:
    shown = CliRunner().invoke(lm_app, ["show", "ossicle-small-en"])
    assert json.loads(shown.output)["order"] == 4
