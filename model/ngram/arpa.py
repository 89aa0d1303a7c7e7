"""Back-off models of other tools, read from the ARPA format, as one more part of a mixture.

The format is text: after `\\data\\` the number of n-grams of each order, then for each order a line
an n-gram, with log10 of its probability, its words, and log10 of its back-off weight
(ngram-format(5) of the SRI Language Modeling Toolkit).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.data.text import normalize
from ossicle.data.text_file import read_lines
from ossicle.model.ngram.counting import Corpus, NgramTable, find_ngrams
from ossicle.model.ngram.file import NgramError
from ossicle.model.ngram.smoothing import Floats, NgramWeights

_BOS, _EOS = "<s>", "</s>"
_SECTION = re.compile(r"\\(\d+)-grams:")


@dataclass(frozen=True)
class ArpaNgrams:
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
class ArpaModel:
    """A back-off model in the ARPA format, of words in normal form.

    Attributes:
        path: the file; may be `.gz` or `.xz`.
        words: its words in lower case, the start and end of a sentence among them. N-grams with
            words that are not in normal form, such as `<unk>` and "3rd", are left out.
        orders: the n-grams of each order from 1 on.
    """

    path: Path
    words: tuple[str, ...]
    orders: tuple[ArpaNgrams, ...]

    def __str__(self) -> str:
        return self.path.name

    @classmethod
    def read(cls, path: Path) -> ArpaModel:
        """Read a file.

        Raises:
            TextFileError: it cannot be read.
            NgramError: it is not in the ARPA format, or has no words in normal form.
        """
        known: dict[str, int] = {_BOS: 0, _EOS: 1}
        lines = enumerate(read_lines(path), start=1)
        if not any(line.strip() == "\\data\\" for _, line in lines):
            raise NgramError(f"{path} is no model in the ARPA format: it has no line \\data\\")
        orders: list[ArpaNgrams] = []
        ended = False
        for place, line in lines:
            if ended := line.strip() == "\\end\\":
                break
            if section := _SECTION.fullmatch(line.strip()):
                if int(section[1]) != len(orders) + 1:
                    raise NgramError(
                        f"{path}, line {place}: {len(orders) + 1}-grams should come next"
                    )
                orders.append(_read_order(path, lines, len(orders) + 1, known))
        if not ended:
            raise NgramError(f"{path} is cut off: it has no line \\end\\")
        if len(known) <= 2:
            raise NgramError(f"{path} has no words in normal form: a to z and apostrophes")
        return cls(path, tuple(known), tuple(orders))

    def frequencies(self) -> dict[str, float]:
        """The probability of each word when nothing is known of the words before."""
        places = self.orders[0].words[:, 0].tolist()
        words = zip(places, self.orders[0].probabilities.tolist(), strict=True)
        return {self.words[place]: share for place, share in words if place > 1}

    def numbered(self, corpus: Corpus) -> ArpaModel:
        """The n-grams of words that a corpus knows, with its numbers for them."""
        numbers = {word: number for number, word in enumerate(corpus.words)}
        numbers |= {_BOS: corpus.bos, _EOS: corpus.eos}
        of_words = np.array([numbers.get(word, -1) for word in self.words], np.int32)
        orders = []
        for ngrams in self.orders:
            words = of_words[ngrams.words]
            kept = (words >= 0).all(axis=1)
            # As in a text: a sentence starts before its words, and ends after them.
            kept &= (words[:, 1:] != corpus.bos).all(axis=1)
            kept &= (words[:, :-1] != corpus.eos).all(axis=1)
            orders.append(
                ArpaNgrams(words[kept], ngrams.probabilities[kept], ngrams.back_offs[kept])
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


def _read_order(
    path: Path, lines: Iterator[tuple[int, str]], n: int, known: dict[str, int]
) -> ArpaNgrams:
    """The n-grams up to the next empty line; new words of order 1 are added to `known`."""
    words: list[list[int]] = []
    numbers: list[tuple[float, float]] = []
    for place, line in lines:
        fields = line.split()
        if not fields:
            break
        try:
            log_prob, back_off = float(fields[0]), float(fields[n + 1]) if fields[n + 1 :] else 0.0
        except ValueError:
            fields = []
        else:
            if math.isnan(log_prob) or math.isnan(back_off):
                fields = []
        if not n + 1 <= len(fields) <= n + 2:
            raise NgramError(
                f"{path}, line {place}: {line.strip()[:60]!r} is not a number, {n} words and "
                "perhaps one more number"
            )
        spelled = [field.lower() for field in fields[1 : n + 1]]
        if n == 1 and spelled[0] not in known and normalize(spelled[0]) == spelled[0]:
            known[spelled[0]] = len(known)
        if all(word in known for word in spelled):
            words.append([known[word] for word in spelled])
            numbers.append((log_prob, back_off))
    factors = 10 ** np.array(numbers, np.float64).reshape(-1, 2)
    # "The" and "the" are one word here, as likely as both; the likelier says what follows.
    numbered = np.array(words, np.int32).reshape(-1, n)
    ngrams, places = np.unique(numbered, axis=0, return_inverse=True)
    places = places.ravel()  # numpy 2.0 gives it the shape of what it numbers
    order = np.argsort(factors[:, 0], kind="stable")
    back_offs = np.ones(len(ngrams))
    back_offs[places[order]] = factors[order, 1]
    probabilities = np.bincount(places, factors[:, 0], len(ngrams))
    return ArpaNgrams(
        ngrams, np.minimum(probabilities, 1).astype(np.float32), back_offs.astype(np.float32)
    )


def with_ngrams(tables: Sequence[NgramTable], model: ArpaModel) -> list[NgramTable]:
    """Tables that have a model's n-grams too, which no text has.

    Those of a model whose first or last words it does not have are left out.

    Args:
        tables: n-grams by order.
        model: numbered as they are.
    """
    size = len(tables[0])
    merged = [tables[0]]
    moved = np.arange(size, dtype=np.int32)  # where the n-grams of the order before are now
    orders = chain(model.orders[1:], repeat(None))
    for table, ngrams in zip(tables[1:], orders, strict=False):
        grown = replace(table, prefixes=moved[table.prefixes], suffixes=moved[table.suffixes])
        moved = np.arange(len(table), dtype=np.int32)
        if ngrams is not None:
            grown, moved = _grown(grown, merged, ngrams.words)
        merged.append(grown)
    return merged


def _grown(
    table: NgramTable, shorter: Sequence[NgramTable], words: NDArray[np.int32]
) -> tuple[NgramTable, NDArray[np.int32]]:
    """A table with more n-grams, (G, n) word numbers, and where those that it had are now."""
    size = len(shorter[0])
    prefixes, suffixes = find_ngrams(shorter, words[:, :-1]), find_ngrams(shorter, words[:, 1:])
    held = table.prefixes.astype(np.int64) * size + table.numbers
    keys, first = np.unique(prefixes * size + words[:, -1], return_index=True)
    first = first[(prefixes[first] >= 0) & (suffixes[first] >= 0)]
    keys = prefixes[first] * size + words[first, -1]
    new = ~np.isin(keys, held, assume_unique=True)
    keys, first = keys[new], first[new]
    # Both are sorted: each goes behind as many of its own as before, and those of the other.
    moved = np.arange(len(held)) + keys.searchsorted(held)
    added = np.arange(len(keys)) + held.searchsorted(keys)

    def joined(old: NDArray[np.int32], of_new: NDArray[np.int64]) -> NDArray[np.int32]:
        values = np.empty(len(held) + len(keys), np.int32)
        values[moved] = old
        values[added] = of_new
        return values

    counts = np.zeros((len(table.counts), len(held) + len(keys)), np.int32)
    counts[:, moved] = table.counts
    all_prefixes = joined(table.prefixes, prefixes[first])
    grown = NgramTable(
        prefixes=all_prefixes,
        suffixes=joined(table.suffixes, suffixes[first]),
        numbers=joined(table.numbers, words[first, -1].astype(np.int64)),
        initial=shorter[-1].initial[all_prefixes],
        counts=counts,
    )
    return grown, moved.astype(np.int32)
