"""Back-off models that are there already, as one more part of a mixture: ours and other tools'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.model.ngram.counting import Corpus, NgramTable, find_ngrams
from ossicle.model.ngram.file import NgramTrie
from ossicle.model.ngram.smoothing import Floats, NgramWeights

BOS, EOS = "<s>", "</s>"
_UNKNOWN = "<unk>"
_NO_WORDS = (BOS, EOS, _UNKNOWN)


@dataclass(frozen=True)
class BackOffNgrams:
    """The n-grams of one order n.

    Attributes:
        words: (G, n) int32, places in the list of the model's words.
        probabilities: (G,) of the last word after the others.
        back_offs: (G,), the factor for words that no longer n-gram has after these.
    """

    words: NDArray[np.int32]
    probabilities: Floats
    back_offs: Floats


@dataclass(frozen=True)
class BackOffModel:
    """A back-off model of words in normal form.

    Attributes:
        path: its file.
        name: what it is called in what is made of it.
        words: its words, the start and the end of a sentence among them.
        orders: the n-grams of each order from 1 on.
    """

    path: Path
    name: str
    words: tuple[str, ...]
    orders: tuple[BackOffNgrams, ...]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def of_trie(cls, trie: NgramTrie, path: Path) -> BackOffModel:
        """The model of a file of `ossicle lm train`, called by the folder that it is in."""
        words = (*trie.words, _UNKNOWN, BOS, EOS)
        inner = np.flatnonzero(trie.continuations)
        factors = np.ones(len(trie.numbers), np.float32)
        # The first is that of no words at all, which are an n-gram to the file alone.
        factors[inner] = np.exp(trie.back_offs[1:])
        probabilities = np.exp(trie.code.decode(trie.codes))
        orders = []
        start = 0
        ngrams = np.empty((1, 0), np.int32)
        continuations = np.array([trie.counts[0]])
        for count in trie.counts:
            here = slice(start, start + count)
            ngrams = np.column_stack(
                [np.repeat(ngrams, continuations, axis=0), trie.numbers[here]]
            ).astype(np.int32)
            orders.append(BackOffNgrams(ngrams, probabilities[here], factors[here]))
            continuations = trie.continuations[here]
            start += count
        name = f"{path.absolute().parent.name}/{path.name}"
        return cls(path, name, words, tuple(orders))

    def frequencies(self) -> dict[str, float]:
        """The probability of each word when nothing is known of the words before."""
        places = self.orders[0].words[:, 0].tolist()
        words = zip(places, self.orders[0].probabilities.tolist(), strict=True)
        return {
            self.words[place]: share for place, share in words if self.words[place] not in _NO_WORDS
        }

    def numbered(self, corpus: Corpus) -> BackOffModel:
        """The n-grams of words that a corpus knows, with its numbers for them."""
        numbers = {word: number for number, word in enumerate(corpus.words)}
        numbers |= {BOS: corpus.bos, EOS: corpus.eos}
        of_words = np.array([numbers.get(word, -1) for word in self.words], np.int32)
        orders = []
        for ngrams in self.orders:
            words = of_words[ngrams.words]
            kept = (words >= 0).all(axis=1)
            # As in a text: a sentence starts before its words, and ends after them.
            kept &= (words[:, 1:] != corpus.bos).all(axis=1)
            kept &= (words[:, :-1] != corpus.eos).all(axis=1)
            orders.append(
                BackOffNgrams(words[kept], ngrams.probabilities[kept], ngrams.back_offs[kept])
            )
        return replace(self, orders=tuple(orders))

    def weights(self, corpus: Corpus, tables: Sequence[NgramTable]) -> NgramWeights:
        """What the model, `numbered`, says of n-grams that it need not have.

        Args:
            corpus: by whose words it is numbered.
            tables: n-grams by order.
        """
        probabilities: list[Floats] = []
        back_offs: list[Floats] = []
        for n, table in enumerate(tables):
            if n == 0:
                said = np.zeros(len(table), np.float32)
            else:
                said = back_offs[n - 1][table.prefixes] * probabilities[n - 1][table.suffixes]
            factors = np.ones(len(table), np.float32)
            if n < len(self.orders):
                ngrams = self.orders[n]
                places = find_ngrams(tables, ngrams.words)
                there = places >= 0
                said[places[there]] = ngrams.probabilities[there]
                factors[places[there]] = ngrams.back_offs[there]
            if n == 0:
                said[corpus.bos] = 0  # is never predicted
                said[corpus.unk] = max(0.0, 1 - float(said.sum(dtype=np.float64)))
            probabilities.append(said)
            back_offs.append(factors)
        return NgramWeights(probabilities, back_offs[:-1])
