"""`ossicle lm`: from texts to a model and its perplexity, and what is refused."""

from __future__ import annotations

import gzip
import json
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
from ossicle.data.digest import file_digest
from ossicle.data.manifest import Utterance, write_manifest
from ossicle.model.commands.lm import lm_app
from ossicle.model.ngram.file import NgramError, encode_trie
from ossicle.model.ngram.model import NgramModel
from ossicle.model.ngram.perplexity import perplexity
from ossicle.model.ngram.text import TextSource, WordList, at_most
from ossicle.model.ngram.training import NgramTrainingConfig, estimate_weights, train_ngrams
from typer.testing import CliRunner

PLACES = ("sea", "hill", "town", "road", "wood")
PEOPLE = ("captain", "miller", "doctor", "baker")


@pytest.fixture
def novels(tmp_path: Path) -> TextSource:
    """300 sentences of one pattern, as they are printed."""
    draw = np.random.default_rng(0)
    with lzma.open(tmp_path / "novels.txt.xz", "wt", encoding="utf-8") as file:
        for _ in range(300):
            person, place = draw.choice(PEOPLE), draw.choice(PLACES)
            file.write(f"The {person} went to the {place}, and the {draw.choice(PEOPLE)} saw 1.\n")
    return TextSource(tmp_path / "novels.txt.xz")


@pytest.fixture
def prompts(tmp_path: Path) -> TextSource:
    """A manifest of telephone prompts and of a wake word that many people said."""
    texts = [("press one to listen", "asterisk"), ("press two to go on", "asterisk")]
    texts += [("computer", "wake")] * 50
    write_manifest(
        tmp_path / "train.jsonl",
        [Utterance(tmp_path / "a.wav", 1.0, text, source=source) for text, source in texts],
    )
    return TextSource(tmp_path / "train.jsonl")


def ossicle_lm(*arguments: object):
    return CliRunner().invoke(lm_app, [str(argument) for argument in arguments])


def test_train_show_and_score(novels: TextSource, prompts: TextSource, tmp_path: Path) -> None:
    path = tmp_path / "model" / "lm.ngram"
    (tmp_path / "judged.txt").write_text("press one to go on\nthe baker went to the sea\n")
    trained = ossicle_lm(
        *("train", novels.path, f"{prompts.path}:asterisk", "--output", path, "--order", 3),
        *("--size", 0.02, "--validation", tmp_path / "judged.txt"),
    )
    assert trained.exit_code == 0, trained.output
    assert "of novels.txt.xz" in trained.output
    assert path.stat().st_size <= 20_000

    shown = json.loads(ossicle_lm("show", path).output)
    assert shown["order"] == 3
    assert [text["name"] for text in shown["texts"]] == ["novels.txt.xz", "train.jsonl:asterisk"]
    assert sum(text["weight"] for text in shown["texts"]) == pytest.approx(1, abs=1e-3)
    assert shown["texts"][1]["words"] == 9
    assert shown["texts"][0]["sha256"] == file_digest(novels.path)
    assert "computer" not in NgramModel.load(path).words

    scored = ossicle_lm("score", path.parent, tmp_path / "judged.txt", "--json")
    numbers = json.loads(scored.output)[str(tmp_path / "judged.txt")]
    assert (numbers["sentences"], numbers["words"], numbers["unknown_words"]) == (2, 11, 0)
    assert numbers["perplexity"] == pytest.approx(shown["validation"][0]["perplexity"], abs=0.1)
    assert 1 < numbers["perplexity"] < 12
    assert "perplexity" in ossicle_lm("score", path, novels.path).output


def test_model_predicts_what_it_has_read(novels: TextSource, prompts: TextSource) -> None:
    trie = train_ngrams([novels, prompts], NgramTrainingConfig(weights=(8.0, 2.0)))
    assert [text["weight"] for text in trie.about["texts"]] == [0.8, 0.2]
    model = NgramModel(trie)
    seen = perplexity(model, ["the doctor went to the hill and the miller saw one"])
    shuffled = perplexity(model, ["hill the saw one went doctor and to the miller the"])
    assert seen.value < 4 < shuffled.value
    # One word alone is a sentence, too.
    context = np.array([model.start()])
    said, context = model.score(context, model.numbers(["computer"]))
    ended, _ = model.score(context, np.array([model.eos], np.int32))
    assert np.exp(said + ended)[0] > 0.05


@pytest.fixture
def modern(tmp_path: Path) -> WordList:
    """Words that no novel has, but one."""
    (tmp_path / "modern.txt").write_text("Bluetooth 3\nsea 6\n\nlatency\t1e0\n")
    return WordList(tmp_path / "modern.txt")


def test_words_of_a_list_are_known_besides(novels: TextSource, modern: WordList) -> None:
    assert modern.frequencies() == {"bluetooth": 0.3, "sea": 0.6, "latency": 0.1}
    trie = train_ngrams([novels], NgramTrainingConfig(weights=(9.0, 1.0)), word_lists=[modern])
    assert trie.about["texts"][0]["weight"] == 0.9
    listed = {"name": "modern.txt", "sha256": file_digest(modern.path), "weight": 0.1}
    assert trie.about["word_lists"] == [listed]
    model = NgramModel(trie)
    words = model.numbers(["bluetooth", "latency"])
    anywhere, _ = model.score(np.zeros(2, np.int64), words)
    # To the novels they are words like any other that they never met.
    bluetooth, latency = np.exp(anywhere)
    assert bluetooth - latency == pytest.approx(0.1 * (0.3 - 0.1), rel=0.05)
    context = np.array([model.start()])
    for word in ("the", "doctor", "went", "to", "the"):
        _, context = model.score(context, model.numbers([word]))
    # Where the novels know what comes next, a list says little.
    expected, unexpected = model.score(np.repeat(context, 2), model.numbers(["hill", "bluetooth"]))[
        0
    ]
    assert expected - unexpected > 4
    every = np.arange(model.eos + 1, dtype=np.int32)
    every = every[every != model.bos]
    for history in (0, int(context[0])):
        says, _ = model.score(np.full(len(every), history), every)
        assert np.exp(says.astype(np.float64)).sum() == pytest.approx(1, abs=0.01)


def test_weight_of_a_list_is_found_by_validation_text(
    novels: TextSource, modern: WordList, tmp_path: Path
) -> None:
    (tmp_path / "judged.txt").write_text("the doctor went to the bluetooth\n")
    path = tmp_path / "lm.ngram"
    trained = ossicle_lm(
        *("train", novels.path, "--words", modern.path, "-o", path),
        *("--validation", tmp_path / "judged.txt"),
    )
    assert trained.exit_code == 0, trained.output
    weight = json.loads(ossicle_lm("show", path).output)["word_lists"][0]["weight"]
    assert 0.05 < weight < 0.5
    assert f"weight {weight:.4f} of modern.txt" in trained.output


def test_pruned_to_the_size(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    letters = np.array(list("abcdefghij"))
    words = ["".join(draw.choice(letters, 4)) for _ in range(300)]
    with (tmp_path / "text.txt").open("w") as file:
        for _ in range(1500):
            file.write(" ".join(words[min(draw.zipf(1.3), 300) - 1] for _ in range(12)) + "\n")
    text = TextSource(tmp_path / "text.txt")
    lines: list[str] = []
    trie = train_ngrams([text], NgramTrainingConfig(size=0.04), report=lines.append)
    assert 0.028e6 < len(encode_trie(trie)) <= 0.04e6
    assert sum("n-grams take" in line for line in lines) <= 4
    everything = train_ngrams([text], NgramTrainingConfig())
    assert len(encode_trie(everything)) > 0.05e6
    sentences = list(text.sentences())
    assert (
        perplexity(NgramModel(everything), sentences).value
        < perplexity(NgramModel(trie), sentences).value
        < perplexity(
            NgramModel(train_ngrams([text], NgramTrainingConfig(size=0.013))), sentences
        ).value
    )
    with pytest.raises(NgramError, match=r"words alone take 0\.01 MB, 0\.005 are allowed"):
        train_ngrams([text], NgramTrainingConfig(size=0.005))


def test_excluded_sentences_are_not_learnt(tmp_path: Path) -> None:
    judged = ["he was not at home that day i am afraid", "we shall see what we see", "good morning"]
    kept = ["good morning", "he was not at home that day", "i shall see what we see"]
    left_out = [
        "we shall see what we see",
        "perhaps he was not at home that day i",
        "so was not at home that day i am too",
    ]
    (tmp_path / "text.txt").write_text("\n".join([*kept, *left_out]))
    (tmp_path / "judged.txt").write_text("\n".join(judged))
    trie = train_ngrams(
        [TextSource(tmp_path / "text.txt")],
        NgramTrainingConfig(),
        exclude=[TextSource(tmp_path / "judged.txt")],
    )
    assert "perhaps" not in trie.words
    assert "home" in trie.words
    assert trie.about["excluded"][0]["name"] == "judged.txt"


def test_repeats() -> None:
    said = ["jarvis", "hello", "jarvis", "jarvis"]
    assert list(at_most(2, said)) == ["jarvis", "hello", "jarvis"]


def test_texts_in_any_form(tmp_path: Path, prompts: TextSource) -> None:
    (tmp_path / "a.txt").write_text("It's 5 o'clock!\n\n--\nall's well\n")
    assert list(TextSource(tmp_path / "a.txt").sentences()) == ["it's five o'clock", "all's well"]
    with gzip.open(tmp_path / "a.txt.gz", "wt") as file:
        file.write("Ahoy")
    assert list(TextSource(tmp_path / "a.txt.gz").sentences()) == ["ahoy"]
    wake = TextSource.parse(f"{prompts.path}:wake")
    assert set(wake.sentences()) == {"computer"}
    assert str(wake) == "train.jsonl:wake"


def test_weights_are_those_that_predict_held_out_text_best() -> None:
    # A model that is right about two words in three, and one that is right about the third.
    judgement = np.array([[0.9, 0.9, 0.1], [0.1, 0.1, 0.9]], np.float32)
    weights = estimate_weights([judgement])
    best = max(
        np.linspace(0.001, 0.999, 999),
        key=lambda w: float(np.log(w * judgement[0] + (1 - w) * judgement[1]).sum()),
    )
    assert weights[0] == pytest.approx(best, abs=0.002)
    # A second text for the second model: each text counts the same, however long.
    both = estimate_weights([judgement, np.array([[0.1], [0.9]], np.float32)])
    assert both[0] < 0.4


def test_perplexity_by_hand(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b\na c\na b\n")
    trie = train_ngrams([TextSource(tmp_path / "a.txt")], NgramTrainingConfig(order=2))
    result = perplexity(NgramModel(trie), ["a b", "a zebra"])
    assert (result.sentences, result.words, result.unknown) == (2, 4, 1)
    # See test_ngram_smoothing: after <s> a, after a b or unknown, after those the end.
    by_hand = [0.6, 1 / 3 + 0.1, 1 / 2 + 0.15, 0.6, 0.05, 0.3]
    assert math.log(result.value) == pytest.approx(-np.log(by_hand).mean(), abs=0.02)
    known = [p for p in by_hand if p != 0.05]
    assert math.log(result.of_known_words) == pytest.approx(-np.log(known).mean(), abs=0.02)
    with pytest.raises(ValueError, match="there is no sentence"):
        perplexity(NgramModel(trie), [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.txt"], "there is no text nowhere.txt"),
        (["{novels}:asterisk"], "only of a manifest"),
        (["{prompts}:asterisk,nobody"], "train.jsonl has no utterance of the source 'nobody'"),
        (["{empty}"], "empty.txt holds no words"),
        (["{novels}", "--order", 1], "the order is 1: give 2 to 6 words"),
        (["{novels}", "--vocabulary", 0], "the vocabulary is 0 words"),
        (["{novels}", "--size", -1], "the size is -1.0 MB"),
        (["{novels}", "--repeats", 0], "repeats is 0"),
        (["{novels}", "--weight", 1, "--weight", 2], "2 weights for 1 texts: give one for each"),
        (["{novels}", "--weight", 1, "--words", "{modern}"], "1 weights for 1 texts and 1 word"),
        (["{novels}", "--words", "{modern}"], "give a validation text, or weights"),
        (["{novels}", "--words", "nowhere.txt", "--weight", 1, "--weight", 1], "cannot read nowh"),
        (["{novels}", "--words", "{none}", "--weight", 1, "--weight", 1], "none.txt holds no word"),
        (
            ["{novels}", "--words", "{prompts}", "--weight", 1, "--weight", 1],
            "train.jsonl, line 1: ",
        ),
        (["{novels}", "--weight", 0], "give each text a finite number above 0"),
        (["{novels}", "--weight", "nan"], "give each text a finite number above 0"),
    ],
)
def test_refusals(
    novels: TextSource,
    prompts: TextSource,
    modern: WordList,
    tmp_path: Path,
    arguments: list,
    message: str,
) -> None:
    (tmp_path / "empty.txt").write_text("--\n")
    (tmp_path / "none.txt").write_text("")
    paths = {
        **{"novels": novels.path, "prompts": prompts.path, "modern": modern.path},
        **{"empty": tmp_path / "empty.txt", "none": tmp_path / "none.txt"},
    }
    filled = [str(argument).format(**paths) for argument in arguments]
    result = ossicle_lm("train", *filled, "--output", tmp_path / "lm.ngram")
    assert result.exit_code == 1
    assert message in result.output.replace("\n", " ")
    assert not (tmp_path / "lm.ngram").exists()


@pytest.mark.parametrize("line", ["wifi", "wi fi 3", "wifi 0", "wifi -1", "wifi inf", "-- 3", "3"])
def test_line_that_is_no_word_and_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "words.txt").write_text(f"usb 2\n{line}\n")
    with pytest.raises(NgramError, match=r"words\.txt, line 2: .* is not a word, a space and how"):
        WordList(tmp_path / "words.txt").frequencies()


def test_score_refuses_what_is_no_model(novels: TextSource) -> None:
    result = ossicle_lm("score", novels.path, novels.path)
    assert result.exit_code == 1
    assert "is no n-gram model of Ossicle" in result.output
