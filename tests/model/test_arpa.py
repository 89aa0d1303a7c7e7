"""Back-off models in the ARPA format: what they say, in mixtures too, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.model.commands.lm import lm_app
from ossicle.model.ngram.arpa import read_arpa
from ossicle.model.ngram.back_off import BackOffModel
from ossicle.model.ngram.counting import Corpus, NgramTable, count_ngrams, read_corpus
from ossicle.model.ngram.file import NgramError
from ossicle.model.ngram.merging import with_ngrams
from ossicle.model.ngram.model import NgramModel
from ossicle.model.ngram.pruning import counted, expected
from ossicle.model.ngram.smoothing import NgramWeights, kneser_ney, locate, mixture
from typer.testing import CliRunner

TELEPHONE = """\
made by hand; upper case, as that of LibriSpeech

\\data\\
ngram 1=6
ngram 2=4
ngram 3=2

\\1-grams:
-99\t<s>\t-0.3
-1.0\t</s>
-0.7\tPRESS\t-0.2
-0.8\tONE\t-0.1
-1.2\tTWO
-1.5\t3RD\t-0.1

\\2-grams:
-0.1\t<s> PRESS\t-0.4
-0.3\tPRESS ONE\t-0.15
-0.9\tONE </s>
-0.5\tPRESS 3RD

\\3-grams:
-0.05\t<s> PRESS ONE
-0.2\tPRESS ONE </s>

\\end\\
"""


@pytest.fixture
def telephone(tmp_path: Path) -> Path:
    path = tmp_path / "telephone.arpa"
    path.write_text(TELEPHONE)
    return path


@pytest.fixture
def tables_with_it(telephone: Path) -> tuple[Corpus, list[NgramTable], BackOffModel]:
    model = read_arpa(telephone)
    texts = [["the sea saw one", "press the sea", "two saw two"], ["one two the sea"]]
    corpus = read_corpus(texts, 20, [model.frequencies()])
    numbered = model.numbered(corpus)
    return corpus, with_ngrams(count_ngrams(corpus, 4), numbered), numbered


def said(corpus: Corpus, tables: list[NgramTable], weights: NgramWeights, words: str) -> np.ndarray:
    """The probability of each word of a sentence and of its end."""
    numbers = {word: number for number, word in enumerate(corpus.words)}
    tokens = [corpus.bos, *(numbers.get(word, corpus.unk) for word in words.split()), corpus.eos]
    return locate(tables, np.array(tokens, np.int32), corpus.bos).probabilities(weights)


@pytest.mark.parametrize(
    ("sentence", "log10"),
    [
        # <s> press | <s> press one | press one </s>
        ("press one", [-0.1, -0.05, -0.2]),
        # one after <s>: backed off; </s> after "one" alone is known
        ("one", [-0.3 - 0.8, -0.9]),
        # two after "<s> press" has neither three nor two words: both factors; "two" has none
        ("press two", [-0.1, -0.4 - 0.2 - 1.2, -1.0]),
        # one after "two" and then press after "two one"
        ("two one press", [-0.3 - 1.2, -0.8, -0.1 - 0.7, -0.2 - 1.0]),
    ],
)
def test_it_says_what_the_file_says(
    tables_with_it: tuple[Corpus, list[NgramTable], BackOffModel], sentence: str, log10: list[float]
) -> None:
    corpus, tables, model = tables_with_it
    weights = model.weights(corpus, tables)
    np.testing.assert_allclose(np.log10(said(corpus, tables, weights, sentence)), log10, atol=1e-5)


def test_unknown_words_have_what_is_left(
    tables_with_it: tuple[Corpus, list[NgramTable], BackOffModel],
) -> None:
    corpus, tables, model = tables_with_it
    single = model.weights(corpus, tables).probabilities[0]
    known = sum(10**p for p in (-1.0, -0.7, -0.8, -1.2))  # "3rd" is no word in normal form
    assert "rd" not in "".join(corpus.words)
    assert single[corpus.unk] == pytest.approx(1 - known, abs=1e-6)
    assert single[corpus.bos] == 0
    assert single[corpus.words.index("sea")] == 0, "the texts' words are none of its own"


def test_texts_count_as_without_it(
    tables_with_it: tuple[Corpus, list[NgramTable], BackOffModel],
) -> None:
    corpus, tables, _ = tables_with_it
    alone = count_ngrams(corpus, 4)
    assert len(tables[1]) == len(alone[1]) + 1  # "press one", not "press 3rd"
    assert len(tables[2]) == len(alone[2]) + 2
    assert len(tables[3]) == len(alone[3])
    for sentence in ("the sea saw one", "press one two", "two saw the sea press"):
        np.testing.assert_allclose(
            said(corpus, tables, kneser_ney(tables, 0), sentence),
            said(corpus, alone, kneser_ney(alone, 0), sentence),
            rtol=1e-5,
        )
    for n, table in enumerate(tables[1:], start=1):
        keys = table.prefixes.astype(np.int64) * len(tables[0]) + table.numbers
        assert (np.diff(keys) > 0).all()
        assert (tables[n - 1].numbers[table.suffixes] == table.numbers).all()
        np.testing.assert_array_equal(table.initial, tables[n - 1].initial[table.prefixes])
        np.testing.assert_array_equal(table.counts.sum(axis=1), alone[n].counts.sum(axis=1))


@given(data=st.data())
def test_probabilities_of_a_mixture_sum_to_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("arpa") / "telephone.arpa"
    path.write_text(TELEPHONE)
    model = read_arpa(path)
    texts = [["the sea saw one", "press the sea", "two saw two"]]
    corpus = read_corpus(texts, 20, [model.frequencies()])
    tables = with_ngrams(count_ngrams(corpus, 3), model.numbered(corpus))
    parts = [kneser_ney(tables, 0), model.numbered(corpus).weights(corpus, tables)]
    mixed = mixture(tables, parts, [0.6, 0.4])
    history = data.draw(st.lists(st.sampled_from(corpus.words), max_size=4))
    names = [*corpus.words, "unknown"]
    shares = [said(corpus, tables, mixed, " ".join([*history, name]))[-2] for name in names]
    end = said(corpus, tables, mixed, " ".join(history))[-1]
    assert sum(shares) + end == pytest.approx(1, abs=2e-3)


def test_its_histories_count(tables_with_it: tuple[Corpus, list[NgramTable], BackOffModel]) -> None:
    corpus, tables, model = tables_with_it
    weights = model.weights(corpus, tables)
    frequencies = expected(tables, weights, corpus.bos, corpus.eos)
    assert [len(each) for each in frequencies] == [len(table) for table in tables[:-1]]
    assert frequencies[0][corpus.bos] == pytest.approx(0.1)
    start = (tables[1].prefixes == corpus.bos) & (tables[1].numbers == corpus.words.index("press"))
    assert frequencies[1][start] == pytest.approx(0.1 * 10**-0.1)
    assert counted(tables, [0.5, 0.5])[1][start] == pytest.approx(0.5 / 16)


def test_lm_train_mixes_it(telephone: Path, tmp_path: Path) -> None:
    novel = tmp_path / "novel.txt"
    novel.write_text("the captain went to the sea\nthe captain saw the mill\n" * 20)
    with gzip.open(tmp_path / "telephone.arpa.gz", "wt") as file:
        file.write(TELEPHONE)
    (tmp_path / "judged.txt").write_text("press one\npress one\nthe captain went to the mill\n")
    path = tmp_path / "lm.ngram"
    result = CliRunner().invoke(
        lm_app,
        [
            *("train", str(novel), "--mix", str(tmp_path / "telephone.arpa.gz")),
            *("--validation", str(tmp_path / "judged.txt"), "--output", str(tmp_path)),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "of telephone.arpa.gz" in result.output
    assert str(path) in result.output.replace("\n", "")
    model = NgramModel.load(path)
    assert {"press", "one", "two", "captain"} <= set(model.words)
    first, one, _ = np.exp(model.judge(["press one"])[0])
    assert first > 0.2
    assert one > 0.5
    shown = json.loads(CliRunner().invoke(lm_app, ["show", str(path)]).output)
    assert shown["models"][0]["name"] == "telephone.arpa.gz"
    assert 0.2 < shown["models"][0]["weight"] < 0.8


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("\\data\\", "data", "has no line \\data\\"),
        ("\\end\\\n", "", "is cut off"),
        (
            "-0.3\tPRESS ONE\t-0.15",
            "-0.3\tPRESS",
            "line 18: '-0.3\\tPRESS' is not a number, 2 words",
        ),
        ("-0.3\tPRESS ONE\t-0.15", "p\tPRESS ONE", "line 18: "),
        ("-0.3\tPRESS ONE\t-0.15", "-0.3 PRESS ONE TWO -0.15", "line 18: "),
        ("-0.3\tPRESS ONE\t-0.15", "nan\tPRESS ONE", "line 18: "),
        ("\\2-grams:", "\\3-grams:", "line 16: 2-grams should come next"),
    ],
)
def test_damaged_files(telephone: Path, found: str, instead: str, message: str) -> None:
    assert found in TELEPHONE
    telephone.write_text(TELEPHONE.replace(found, instead, 1))
    with pytest.raises(NgramError) as caught:
        read_arpa(telephone)
    assert message in str(caught.value)


def test_words_of_either_case_are_one_as_likely_as_both(telephone: Path) -> None:
    text = TELEPHONE.replace("-1.2\tTWO", "-1.2\tTWO\t-0.6\n-2.0\tTwo\t-0.9\n-0.9\ttwo\t-0.5")
    telephone.write_text(text.replace("-0.3\tPRESS ONE", "-0.6\tPress One\n-0.3\tPRESS ONE"))
    model = read_arpa(telephone)
    shares = {share: 10**share for share in (-1.2, -2.0, -0.9, -0.6, -0.3)}
    expected = shares[-1.2] + shares[-2.0] + shares[-0.9]
    assert model.frequencies()["two"] == pytest.approx(expected, rel=1e-5)
    singles, pairs, _ = model.orders
    place = singles.words[:, 0].tolist().index(model.words.index("two"))
    assert singles.back_offs[place] == pytest.approx(10**-0.5)
    pair = [model.words.index(word) for word in ("press", "one")]
    assert pairs.probabilities[pairs.words.tolist().index(pair)] == pytest.approx(
        shares[-0.6] + shares[-0.3], rel=1e-5
    )


def test_words_of_another_kind(telephone: Path) -> None:
    text = TELEPHONE
    for word in ("PRESS", "ONE", "TWO"):
        text = text.replace(word, f"{word[0]}É{word[1:]}2")
    telephone.write_text(text)
    with pytest.raises(NgramError, match="has no words in normal form"):
        read_arpa(telephone)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "give a validation text, or weights"),
        (["--weight", "1"], "1 weights for 1 texts and 1 models: give one for each"),
    ],
)
def test_weights_are_needed(
    telephone: Path, tmp_path: Path, weights: list[str], message: str
) -> None:
    (tmp_path / "novel.txt").write_text("the captain went to the sea\n")
    output = tmp_path / "lm.ngram"
    result = CliRunner().invoke(
        lm_app,
        [
            *("train", str(tmp_path / "novel.txt"), "--mix", str(telephone)),
            *("--output", str(output), *weights),
        ],
    )
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert not output.exists()
