"""Counts, Kneser-Ney estimates, mixtures and pruning, against values worked out by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.model.ngram.counting import Corpus, NgramTable, count_ngrams, read_corpus
from ossicle.model.ngram.file import NgramError
from ossicle.model.ngram.model import NgramModel
from ossicle.model.ngram.pruning import build_trie, counted, most_costly, pruning_costs
from ossicle.model.ngram.smoothing import (
    NgramWeights,
    discounts,
    kneser_ney,
    locate,
    mixture,
)

WORDS = [f"w{chr(97 + i)}" for i in range(20)]


def sentences(seed: int, count: int = 400) -> list[str]:
    """Sentences in which some words are frequent, and what follows depends on the last word."""
    draw = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        words = [int(draw.zipf(1.6)) % 19]
        while draw.random() < 0.8:
            words.append(int(words[-1] * 3 + draw.zipf(1.8)) % 19)
        result.append(" ".join(WORDS[word] for word in words))
    return result


def after(
    corpus: Corpus, tables: list[NgramTable], weights: NgramWeights, words: list[str]
) -> dict[str, float]:
    """The probability of every word after a sentence's start and these words."""
    known = {word: number for number, word in enumerate(corpus.words)}
    history = [corpus.bos, *(known.get(word, corpus.unk) for word in words)]
    names = {**known, "<unk>": corpus.unk, "</s>": corpus.eos}
    return {
        name: float(probabilities(corpus, tables, weights, [*history, number])[-1])
        for name, number in names.items()
    }


def probabilities(
    corpus: Corpus, tables: list[NgramTable], weights: NgramWeights, tokens: Sequence[int]
) -> np.ndarray:
    return locate(tables, np.array(tokens, np.int32), corpus.bos).probabilities(weights)


@pytest.fixture(scope="module")
def mixed() -> tuple[Corpus, list[NgramTable], NgramWeights]:
    corpus = read_corpus([sentences(1), sentences(2, 80)], vocabulary=15)
    tables = count_ngrams(corpus, 4)
    models = [kneser_ney(tables, text) for text in range(2)]
    return corpus, tables, mixture(tables, models, [0.7, 0.3])


def test_counts() -> None:
    corpus = read_corpus([["a b", "a c"], ["a b a b"]], vocabulary=9)
    tables = count_ngrams(corpus, 3)
    a, b, c, unk, bos, eos = range(6)
    assert tables[0].counts.tolist() == [[2, 1, 1, 0, 2, 2], [2, 2, 0, 0, 1, 1]]
    pairs = {
        (int(prefix), int(number)): counts.tolist()
        for prefix, number, counts in zip(
            tables[1].prefixes, tables[1].numbers, tables[1].counts.T, strict=True
        )
    }
    assert pairs == {
        (a, b): [1, 2],
        (a, c): [1, 0],
        (b, a): [0, 1],
        (b, eos): [1, 1],
        (c, eos): [1, 0],
        (bos, a): [2, 1],
    }
    triples = [
        (int(tables[1].prefixes[prefix]), int(tables[1].numbers[prefix]), int(number))
        for prefix, number in zip(tables[2].prefixes, tables[2].numbers, strict=True)
    ]
    assert triples == [
        (a, b, a),
        (a, b, eos),
        (a, c, eos),
        (b, a, b),
        (bos, a, b),
        (bos, a, c),
    ]
    assert tables[2].initial.tolist() == [False] * 4 + [True] * 2
    suffixes = tables[2].suffixes
    assert [int(tables[1].prefixes[place]) for place in suffixes] == [b, b, c, a, a, a]
    assert unk not in tables[1].numbers


def test_vocabulary_is_what_is_frequent_in_any_text() -> None:
    novels = ["the whale the sea the ship"] * 50 + ["a harpoon"]
    corpus = read_corpus([novels, ["press pound"]], vocabulary=6)
    assert corpus.words == ("pound", "press", "sea", "ship", "the", "whale")
    assert (corpus.tokens == corpus.unk).sum() == 2
    with pytest.raises(NgramError, match="text 2 of 2 has no words"):
        read_corpus([["a"], []], vocabulary=6)


def test_which_words_are_known_is_the_same_in_every_process() -> None:
    code = (
        "from ossicle.model.ngram.counting import read_corpus\n"
        "print(read_corpus([['the cat sat', 'a dog ran', 'one two flew high']], 4).words)"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in range(3)
    }
    assert seen == {"('a', 'cat', 'sat', 'the')\n"}


def test_discounts() -> None:
    # Ten n-grams seen once, five twice, three three times, two four times: Y = 10 / 20.
    counts = np.repeat([0, 1, 2, 3, 4, 9], [7, 10, 5, 3, 2, 1])
    assert discounts(counts) == pytest.approx([0, 0.5, 1.1, 3 - 4 * 0.5 * 2 / 3])
    assert discounts(np.repeat([1, 2, 3], [10, 5, 3])) == pytest.approx([0, 0.5, 1, 1.5])
    # More n-grams seen four times than three times: no sensible discount.
    assert discounts(np.repeat([1, 2, 3, 4], [4, 4, 1, 9])) == pytest.approx([0, 0.5, 1, 1.5])


def test_kneser_ney_by_hand() -> None:
    corpus = read_corpus([["a b", "a c", "a b"]], vocabulary=3)
    tables = count_ngrams(corpus, 2)
    model = kneser_ney(tables, 0)
    # Words follow 1, 1, 1 different ones, the end 2: less discounts 0.5 and 1 of 5, the rest
    # being shared by five (with the unknown word).
    alone = dict(zip([*"abc", "<unk>", "<s>", "</s>"], model.probabilities[0], strict=True))
    assert alone == pytest.approx(
        {"a": 0.2, "b": 0.2, "c": 0.2, "<unk>": 0.1, "<s>": 0, "</s>": 0.3}
    )
    # After a: b twice, c once, less 1 and 0.5 of 3, which goes to the single words.
    assert after(corpus, tables, model, ["a"]) == pytest.approx(
        {
            "a": 0.1,
            "b": 1 / 3 + 0.1,
            "c": 0.5 / 3 + 0.1,
            "<unk>": 0.05,
            "</s>": 0.15,
        }
    )
    assert after(corpus, tables, model, [])["a"] == pytest.approx(1.5 / 3 + 0.5 * 0.2)


@settings(max_examples=15)
@given(history=st.lists(st.sampled_from(WORDS), max_size=5))
def test_probabilities_sum_to_one(
    mixed: tuple[Corpus, list[NgramTable], NgramWeights], history: list[str]
) -> None:
    corpus, tables, weights = mixed
    assert sum(after(corpus, tables, weights, history).values()) == pytest.approx(1, abs=1e-3)
    alone = kneser_ney(tables, 1)
    assert sum(after(corpus, tables, alone, history).values()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_words_that_follow_every_history_leave_the_rest_its_share(seed: int) -> None:
    """With few words, all are seen after each: next to nothing is left to back off to."""
    rng = np.random.default_rng(seed)
    said = [" ".join(rng.choice(WORDS[:14], rng.integers(3, 9))) for _ in range(400)]
    corpus = read_corpus([said], 14)
    tables = count_ngrams(corpus, 3)
    weights = kneser_ney(tables, 0)
    kept = [np.ones(len(table), bool) for table in tables[1:]]
    model = NgramModel(build_trie(corpus.words, tables, weights, kept))
    choices = np.array([*range(len(model.words)), model.unk, model.eos], dtype=np.int32)
    start = np.array([model.start()])
    for first in model.words:
        _, context = model.score(start, model.numbers([first]))
        for second in model.words:
            _, after_two = model.score(context, model.numbers([second]))
            log_probs, _ = model.score(np.repeat(after_two, len(choices)), choices)
            assert np.exp(log_probs).sum() == pytest.approx(1, abs=0.05)
            assert log_probs.max() <= 0


@pytest.fixture(scope="module")
def pruned(mixed: tuple[Corpus, list[NgramTable], NgramWeights]) -> NgramModel:
    corpus, tables, weights = mixed
    kept = most_costly(pruning_costs(tables, weights, counted(tables, [0.7, 0.3])), 150)
    return NgramModel(build_trie(corpus.words, tables, weights, kept))


@settings(max_examples=30)
@given(history=st.lists(st.sampled_from(WORDS), max_size=5))
def test_pruned_and_rounded_probabilities_sum_to_one(
    pruned: NgramModel, history: list[str]
) -> None:
    context = np.array([pruned.start()])
    for word in history:
        _, context = pruned.score(context, pruned.numbers([word]))
    choices = [*range(len(pruned.words)), pruned.unk, pruned.eos]
    log_probs, _ = pruned.score(np.repeat(context, len(choices)), np.array(choices, dtype=np.int32))
    assert np.exp(log_probs).sum() == pytest.approx(1, abs=0.02)


def test_unpruned_model_says_what_its_tables_say(
    mixed: tuple[Corpus, list[NgramTable], NgramWeights],
) -> None:
    corpus, tables, weights = mixed
    everything = [np.ones(len(table), bool) for table in tables[1:]]
    model = NgramModel(build_trie(corpus.words, tables, weights, everything))
    assert model.counts == [len(table) for table in tables]
    tokens = corpus.tokens[:500]
    exact = iter(probabilities(corpus, tables, weights, tokens))
    for token in tokens:
        if token == corpus.bos:
            context = np.array([model.start()])
            continue
        log_prob, context = model.score(context, np.array([token]))
        assert np.exp(log_prob[0]) == pytest.approx(next(exact), rel=0.05)
    assert next(exact, None) is None


def test_pruning_takes_least_costly_first_and_leaves_no_orphan(
    mixed: tuple[Corpus, list[NgramTable], NgramWeights],
) -> None:
    _, tables, weights = mixed
    costs = pruning_costs(tables, weights, counted(tables, [0.7, 0.3]))
    kept = most_costly(costs, 150)
    assert 130 <= sum(int(keep.sum()) for keep in kept) <= 150
    for n in (1, 2):
        assert kept[n - 1][tables[n + 1].prefixes[kept[n]]].all()
    dearest_left_out = max(float(c[~k].max()) for c, k in zip(costs, kept, strict=True))
    assert dearest_left_out < min(float(c[k].min()) for c, k in zip(costs, kept, strict=True))
    assert all(keep.all() for keep in most_costly(costs, 10**9))
    assert not any(keep.any() for keep in most_costly(costs, 0))


def test_cost_is_the_relative_entropy() -> None:
    # Leaving out one pair of a pair model: the cost is the difference of the distributions.
    corpus = read_corpus([["a b", "a c", "a b", "b c", "c a"]], vocabulary=3)
    tables = count_ngrams(corpus, 2)
    model = kneser_ney(tables, 0)
    costs = pruning_costs(tables, model, counted(tables, [1.0]))
    pair = int(np.flatnonzero((tables[1].prefixes == 0) & (tables[1].numbers == 2))[0])  # a c
    keep = np.ones(len(tables[1]), bool)
    keep[pair] = False
    trie = build_trie(corpus.words, tables, model, [keep])
    without = NgramModel(trie)
    before = after(corpus, tables, model, ["a"])
    numbers = np.array([*range(3), without.unk, without.eos], np.int32)
    _, context = without.score(np.array([without.start()]), np.array([0], np.int32))
    log_probs, _ = without.score(np.repeat(context, 5), numbers)
    p = np.array(list(before.values()))
    share_of_a = 4 / 15  # of words, starts and ends of sentences
    expected = share_of_a * float((p * (np.log(p) - log_probs)).sum())
    assert costs[0][pair] == pytest.approx(expected, abs=0.002)
    assert costs[0][pair] > 0


def test_mixture_follows_the_text_that_knows_the_history() -> None:
    novels = ["press on said the captain", "one fine day", "the captain said no"] * 20
    prompts = ["press one to listen", "press one now"] * 3
    corpus = read_corpus([novels, prompts], vocabulary=50)
    tables = count_ngrams(corpus, 3)
    models = [kneser_ney(tables, text) for text in range(2)]
    weights = mixture(tables, models, [0.9, 0.1])
    prompted = after(corpus, tables, weights, ["press", "one"])
    assert prompted["to"] > prompted["fine"]
    assert after(corpus, tables, weights, ["one"])["fine"] > 0.3
    single = mixture(tables, models[:1], [1.0])
    assert single is models[0]
