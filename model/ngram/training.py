"""Making an n-gram model from texts: count, smooth, mix, prune, and store what it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ossicle.data.digest import file_digest
from ossicle.data.shared_text import HeldOutText
from ossicle.model.ngram.arpa import read_arpa
from ossicle.model.ngram.back_off import BackOffModel
from ossicle.model.ngram.counting import Corpus, NgramTable, count_ngrams, read_corpus
from ossicle.model.ngram.file import NgramError, NgramTrie, encode_trie, is_trie, read_trie
from ossicle.model.ngram.merging import with_ngrams
from ossicle.model.ngram.model import NgramModel
from ossicle.model.ngram.perplexity import perplexity
from ossicle.model.ngram.pruning import (
    build_trie,
    counted,
    expected,
    most_costly,
    pruning_costs,
)
from ossicle.model.ngram.smoothing import (
    NgramWeights,
    kneser_ney,
    listed_words,
    locate,
    mixture,
)
from ossicle.model.ngram.text import TextSource, WordList, at_most

_BYTES_PER_NGRAM = 2.8
"""A first guess; what the n-grams of a text take is measured."""

_WORDS_OF_TEXTS = 60_000
"""Words to know at most, unless told: rarer ones of large texts are mostly slips and names."""

_ABOUT_BYTES = 10_000
"""Room left in the file for what it tells of itself."""

_ESTIMATIONS = 60
"""Rounds of expectation maximisation; weights of a few texts settle within."""


@dataclass(frozen=True)
class NgramTrainingConfig:
    """What to make of the texts.

    Attributes:
        order: words in the longest n-grams.
        vocabulary: words that the model knows at most; None: 60 000, and as many as the models that
            are mixed in know.
        size: megabytes (10^6 bytes) of the file at most; None: keep all n-grams.
        repeats: how often an identical sentence of a text is counted at most.
        weights: one for each text, then each word list, then each model, of any sum; None: by
            validation texts, or else by length.
    """

    order: int = 4
    vocabulary: int | None = None
    size: float | None = None
    repeats: int = 3
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.order <= 6:
            raise NgramError(f"the order is {self.order}: give 2 to 6 words")
        if self.vocabulary is not None and self.vocabulary < 1:
            raise NgramError(f"the vocabulary is {self.vocabulary} words: give 1 or more")
        if self.size is not None and not 0 < self.size < inf:
            raise NgramError(f"the size is {self.size} MB: give a finite number above 0")
        if self.repeats < 1:
            raise NgramError(f"repeats is {self.repeats}: count a sentence at least once")
        if self.weights is not None and not all(0 < weight < inf for weight in self.weights):
            raise NgramError(
                f"the weights are {self.weights}: give each text a finite number above 0"
            )


def train_ngrams(
    texts: Sequence[TextSource],
    config: NgramTrainingConfig,
    *,
    word_lists: Sequence[WordList] = (),
    others: Sequence[Path] = (),
    validation: Sequence[TextSource] = (),
    exclude: Sequence[TextSource] = (),
    report: Callable[[str], None] = lambda _: None,
) -> NgramTrie:
    """Make a model of texts.

    Each text is smoothed on its own (modified Kneser-Ney) and all are interpolated. What the model
    was made from, and what it makes of the validation texts, is stored in it.

    Args:
        texts: to count.
        word_lists: words that are known besides, mixed in as one more text would be.
        others: models that are there already, mixed in likewise: files of ours, or of other tools
            in the ARPA format.
        validation: texts to choose the weights by, unless they are given; each counts the same.
        exclude: texts of which no sentence may be learnt, but for short ones; see `HeldOutText`.
        report: called with a line on each step.

    Raises:
        NgramError: a text has no words, a model is damaged, weights do not match the texts or
            cannot be chosen, or nothing fits the size.
        TextFileError, ManifestError: a text cannot be read.
    """
    _check_weights(config, texts, word_lists, others, validation)
    models_read = [_read_model(path) for path in others]
    mixed_sources = [*texts, *word_lists, *models_read]
    excluded = HeldOutText(chain.from_iterable(source.sentences() for source in exclude))
    corpus = read_corpus(
        [_learnt(source, config.repeats, excluded) for source in texts],
        _vocabulary(config, models_read),
        [
            *(words.frequencies() for words in word_lists),
            *(model.frequencies() for model in models_read),
        ],
    )
    report(
        f"{len(corpus.tokens)} words and ends of sentences, {len(corpus.words)} words known, "
        f"{excluded.left_out} sentences excluded"
    )
    tables = count_ngrams(corpus, config.order)
    numbered = [model.numbered(corpus) for model in models_read]
    for model in numbered:
        tables = with_ngrams(tables, model)
    report(f"n-grams by order: {', '.join(str(len(table)) for table in tables)}")
    models = [kneser_ney(tables, text) for text in range(len(texts))]
    lists = corpus.lists[: len(word_lists)]
    models += [listed_words(tables, frequencies) for frequencies in lists]
    models += [model.weights(corpus, tables) for model in numbered]
    weights = _text_weights(corpus, tables, models, config, validation)
    for source, weight in zip(mixed_sources, weights, strict=True):
        report(f"weight {weight:.4f} of {source}")
    mixed = mixture(tables, models, weights)
    frequencies = counted(tables, weights[: len(texts)])
    of_models = range(len(mixed_sources) - len(numbered), len(mixed_sources))
    for place in of_models:
        own = expected(tables, models[place], corpus.bos, corpus.eos)
        for total, part in zip(frequencies, own, strict=True):
            total += weights[place] * part
    trie = prune(corpus, tables, mixed, frequencies, config.size, report)
    about = {
        "settings": asdict(config),
        "texts": [
            _facts(source) | {"words": int(words), "weight": round(weight, 4)}
            for source, words, weight in zip(texts, _words(corpus), weights, strict=False)
        ],
        "word_lists": [
            _facts(source) | {"weight": round(weight, 4)}
            for source, weight in zip(word_lists, weights[len(texts) :], strict=False)
        ],
        "models": [
            _facts(models_read[place - of_models.start]) | {"weight": round(weights[place], 4)}
            for place in of_models
        ],
        "excluded": [_facts(source) for source in exclude],
        "validation": _judge(trie, validation, report),
    }
    return replace(trie, about=about)


def _check_weights(
    config: NgramTrainingConfig,
    texts: Sequence[TextSource],
    word_lists: Sequence[WordList],
    others: Sequence[Path],
    validation: Sequence[TextSource],
) -> None:
    parts = {"texts": texts, "word lists": word_lists, "models": others}
    given = " and ".join(f"{len(part)} {name}" for name, part in parts.items() if part)
    if config.weights is None:
        if (word_lists or others) and not validation:
            raise NgramError(
                "a word list and a model have no length to be weighed by: give a validation text, "
                "or weights"
            )
    elif len(config.weights) != sum(map(len, parts.values())):
        raise NgramError(f"{len(config.weights)} weights for {given}: give one for each")


def _read_model(path: Path) -> BackOffModel:
    return BackOffModel.of_trie(read_trie(path), path) if is_trie(path) else read_arpa(path)


def _vocabulary(config: NgramTrainingConfig, models: Sequence[BackOffModel]) -> int:
    if config.vocabulary is not None:
        return config.vocabulary
    return _WORDS_OF_TEXTS + sum(len(model.words) for model in models)


def _learnt(source: TextSource, repeats: int, excluded: HeldOutText) -> Iterator[str]:
    return at_most(repeats, excluded.leave_out(source.sentences()))


def _words(corpus: Corpus) -> NDArray[np.int64]:
    """(M,) words of each text, without starts and ends of sentences."""
    is_word = np.append(corpus.tokens <= corpus.unk, False)
    return np.add.reduceat(is_word, corpus.parts[:-1], dtype=np.int64)


def _text_weights(
    corpus: Corpus,
    tables: Sequence[NgramTable],
    models: Sequence[NgramWeights],
    config: NgramTrainingConfig,
    validation: Sequence[TextSource],
) -> list[float]:
    if config.weights is not None:
        given = np.array(config.weights)
        return [float(weight) for weight in given / given.sum()]
    if not validation or len(models) == 1:
        words = _words(corpus)
        return [float(share) for share in words / words.sum()]
    judgements = []
    for source in validation:
        text = locate(tables, _tokens(corpus, source.sentences()), corpus.bos)
        judgements.append(np.stack([text.probabilities(model) for model in models]))
    return [float(weight) for weight in estimate_weights(judgements)]


def estimate_weights(judgements: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Weights of a linear mixture with which held-out texts are most probable, (M,).

    By expectation maximisation (Jelinek and Mercer 1980); each text counts the same, however long.

    Args:
        judgements: for each held-out text (M, P): what each of M models says of each of P words.
    """
    weights = np.full(len(judgements[0]), 1 / len(judgements[0]))
    for _ in range(_ESTIMATIONS):
        shares = np.zeros_like(weights)
        for judgement in judgements:
            joint = weights[:, None] * judgement
            shares += (joint / joint.sum(axis=0)).mean(axis=1)
        weights = shares / shares.sum()
    return weights


def _tokens(corpus: Corpus, sentences: Iterator[str]) -> NDArray[np.int32]:
    numbers = {word: number for number, word in enumerate(corpus.words)}
    tokens: list[int] = []
    for sentence in sentences:
        tokens.append(corpus.bos)
        tokens.extend(numbers.get(word, corpus.unk) for word in sentence.split())
        tokens.append(corpus.eos)
    return np.array(tokens, np.int32)


def prune(
    corpus: Corpus,
    tables: Sequence[NgramTable],
    weights: NgramWeights,
    frequencies: Sequence[NDArray[np.float64]],
    megabytes: float | None,
    report: Callable[[str], None] = lambda _: None,
) -> NgramTrie:
    """The model of estimates, with as many n-grams as its file has room for; None: with all.

    Args:
        frequencies: of histories, as `pruning_costs` takes them.

    Raises:
        NgramError: the words alone take more.
    """
    if megabytes is None:
        everything = [np.ones(len(table), bool) for table in tables[1:]]
        return build_trie(corpus.words, tables, weights, everything)
    limit = megabytes * 1e6 - _ABOUT_BYTES
    costs = pruning_costs(tables, weights, frequencies)
    ngrams = sum(map(len, costs))
    wanted = min(ngrams, int(limit / _BYTES_PER_NGRAM))
    best = None
    # The size follows the number of n-grams closely: the second or third guess is right.
    for _ in range(4):
        trie = build_trie(corpus.words, tables, weights, most_costly(costs, wanted))
        size = len(encode_trie(trie))
        report(f"{sum(trie.counts)} n-grams take {size / 1e6:.2f} MB")
        if size <= limit:
            best = trie
            if wanted == ngrams or size > 0.97 * limit:
                return best
        wanted = min(ngrams, int(wanted * 0.99 * limit / size))
    if best is None:
        alone = build_trie(corpus.words, tables, weights, most_costly(costs, 0))
        least = (len(encode_trie(alone)) + _ABOUT_BYTES) / 1e6
        if least > megabytes:
            raise NgramError(
                f"{len(corpus.words)} words alone take {least:.2f} MB, {megabytes} are allowed: "
                "allow a larger size or take a smaller vocabulary"
            )
        best = alone
    return best


def _facts(source: TextSource | WordList | BackOffModel) -> dict[str, Any]:
    return {"name": str(source), "sha256": file_digest(source.path)}


def _judge(
    trie: NgramTrie, validation: Sequence[TextSource], report: Callable[[str], None]
) -> list[dict[str, Any]]:
    model = NgramModel(trie)
    judged = []
    for source in validation:
        result = perplexity(model, source.sentences())
        report(f"perplexity {result.value:.1f} of {source}")
        judged.append(
            _facts(source)
            | {
                "perplexity": round(result.value, 1),
                "unknown_words": round(result.unknown_share, 4),
            }
        )
    return judged
