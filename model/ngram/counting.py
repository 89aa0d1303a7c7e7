"""Counting n-grams: every distinct one of several texts, and how often each text has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise

import numpy as np
from numpy.typing import NDArray
from ossicle.model.ngram.file import SPECIAL_NUMBERS, NgramError

_BOS, _EOS = "<s>", "</s>"  # no words: normal text has no brackets
_CHUNK = 20_000
"""Sentences split into words at once: as strings, the words of a library fill the memory."""


@dataclass(frozen=True)
class Corpus:
    """Several texts as word numbers.

    P is the number of tokens, each sentence being its words between a start and an end.

    Attributes:
        words: the vocabulary, sorted.
        tokens: (P,) int32 word numbers, all texts one after the other.
        parts: where each text starts in `tokens`, and the end of the last: M + 1 places.
        lists: of each word list the relative frequencies of all word numbers, those of words
            outside the vocabulary together.
    """

    words: tuple[str, ...]
    tokens: NDArray[np.int32]
    parts: tuple[int, ...]
    lists: tuple[NDArray[np.float32], ...] = ()

    @property
    def unk(self) -> int:
        """The number of words outside the vocabulary."""
        return len(self.words)

    @property
    def bos(self) -> int:
        """The number of the start of a sentence."""
        return len(self.words) + 1

    @property
    def eos(self) -> int:
        """The number of the end of a sentence."""
        return len(self.words) + 2


@dataclass(frozen=True)
class NgramTable:
    """All distinct n-grams of one order n, sorted by the first n - 1 words and then the last.

    G is their number, M that of the texts.

    Attributes:
        prefixes: (G,) int32, the place of the first n - 1 words in the table of order n - 1.
        suffixes: (G,) int32, the place of the last n - 1 words there.
        numbers: (G,) int32, the number of the last word.
        initial: (G,) bool, whether the first word is the start of a sentence.
        counts: (M, G) int32, how often each text has them.
    """

    prefixes: NDArray[np.int32]
    suffixes: NDArray[np.int32]
    numbers: NDArray[np.int32]
    initial: NDArray[np.bool_]
    counts: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.numbers)


def read_corpus(
    texts: Sequence[Iterable[str]],
    vocabulary: int,
    word_lists: Sequence[Mapping[str, float]] = (),
) -> Corpus:
    """Number the words of texts, with the most frequent words as the vocabulary.

    A word's frequency is the mean of its relative frequencies in the texts and lists, so that a
    short text of the domain has its words in the vocabulary beside a library's.

    Args:
        texts: each as sentences in normal form.
        vocabulary: words to keep at most; the others are unknown words.
        word_lists: relative frequencies of words.

    Raises:
        NgramError: a text has no words.
    """
    known: dict[str, int] = {_BOS: 0, _EOS: 1}
    parts = [_number_words(text, known) for text in texts]
    for place, part in enumerate(parts, start=1):
        if len(part) <= 2:
            raise NgramError(f"text {place} of {len(parts)} has no words: leave it out")
    for word in chain.from_iterable(word_lists):
        known.setdefault(word, len(known))
    shares = np.zeros(len(known))
    for part in parts:
        shares += np.bincount(part, minlength=len(known)) / len(part)
    for words in word_lists:
        for word, frequency in words.items():
            shares[known[word]] += frequency
    shares[:2] = 0  # start and end of a sentence are no words of the vocabulary
    spellings = list(known)
    kept = np.argsort(-shares, kind="stable")[: min(vocabulary, len(known) - 2)]
    vocabulary_words = tuple(sorted(spellings[place] for place in kept))
    size = len(vocabulary_words)
    numbers = np.full(len(known), size, np.int32)
    numbers[0], numbers[1] = size + 1, size + 2
    for number, word in enumerate(vocabulary_words):
        numbers[known[word]] = number
    return Corpus(
        words=vocabulary_words,
        tokens=np.concatenate([numbers[part] for part in parts]),
        parts=(0, *np.cumsum([len(part) for part in parts]).tolist()),
        lists=tuple(
            np.bincount(
                numbers[[known[word] for word in words]],
                list(words.values()),
                size + SPECIAL_NUMBERS,
            ).astype(np.float32)
            for words in word_lists
        ),
    )


def _number_words(sentences: Iterable[str], known: dict[str, int]) -> NDArray[np.int32]:
    """Word numbers of sentences with their starts and ends; new words are added to `known`."""
    pieces = []
    for chunk in _chunks(sentences):
        words = f"{_BOS} {f' {_EOS} {_BOS} '.join(chunk)} {_EOS}".split(" ")
        for word in words:
            known.setdefault(word, len(known))
        pieces.append(np.fromiter(map(known.__getitem__, words), np.int32, len(words)))
    return np.concatenate(pieces) if pieces else np.empty(0, np.int32)


def _chunks(sentences: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(sentences)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def count_ngrams(corpus: Corpus, order: int) -> list[NgramTable]:
    """The n-grams within sentences of a corpus, one table for each order from 1 on.

    The table of order 1 holds every word number, also of words that no text has.
    """
    vocabulary = len(corpus.words) + SPECIAL_NUMBERS
    places = corpus.tokens  # of the n-gram that starts at each token, in the last table
    inside = np.ones(len(places), bool)
    tables = [
        NgramTable(
            prefixes=np.zeros(vocabulary, np.int32),
            suffixes=np.zeros(vocabulary, np.int32),
            numbers=np.arange(vocabulary, dtype=np.int32),
            initial=np.arange(vocabulary) == corpus.bos,
            counts=_count_parts(places, inside, corpus.parts, vocabulary),
        )
    ]
    ends = corpus.tokens == corpus.eos
    for n in range(2, order + 1):
        # An n-gram goes on where the shorter one does, unless that ends its sentence.
        inside = inside[:-1] & ~ends[n - 2 : -1]
        starts = np.flatnonzero(inside)
        keys = places[starts].astype(np.int64) * vocabulary + corpus.tokens[starts + n - 1]
        by_key = np.argsort(keys)
        keys = keys[by_key]
        new = np.ones(len(keys), bool)
        new[1:] = keys[1:] != keys[:-1]
        distinct = keys[new]
        examples = starts[by_key[new]]
        following = np.zeros(len(inside), np.int32)
        following[starts[by_key]] = np.cumsum(new, dtype=np.int32) - 1
        prefixes = (distinct // vocabulary).astype(np.int32)
        tables.append(
            NgramTable(
                prefixes=prefixes,
                suffixes=places[examples + 1],
                numbers=(distinct % vocabulary).astype(np.int32),
                initial=tables[-1].initial[prefixes],
                counts=_count_parts(following, inside, corpus.parts, len(distinct)),
            )
        )
        places = following
    return tables


def find_ngrams(tables: Sequence[NgramTable], ngrams: NDArray[np.int32]) -> NDArray[np.int64]:
    """(G,) the places of (G, n) word numbers in the table of order n; -1 where it has them not."""
    size = len(tables[0])
    places = ngrams[:, 0].astype(np.int64)
    for table, numbers in zip(tables[1:], ngrams.T[1:], strict=False):
        places = find_longer(table, places, numbers, size)
    return places


def find_longer(
    table: NgramTable, histories: NDArray[np.int64], numbers: NDArray[np.int32], vocabulary: int
) -> NDArray[np.int64]:
    """(P,) the places of n-grams in a table; -1 where it does not have them.

    Args:
        histories: (P,) the places of their first n - 1 words in the table before; -1: nowhere.
        numbers: (P,) their last words.
        vocabulary: how many word numbers there are.
    """
    keys = table.prefixes.astype(np.int64) * vocabulary + table.numbers
    if not len(keys):
        return np.full(len(histories), -1)
    wanted = np.where(histories >= 0, histories * vocabulary + numbers, -1)
    places = np.minimum(keys.searchsorted(wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, places, -1)


def _count_parts(
    places: NDArray[np.int32], inside: NDArray[np.bool_], parts: Sequence[int], size: int
) -> NDArray[np.int32]:
    """(M, size), how often each text has each n-gram, from (P,) places of the n-grams."""
    return np.stack(
        [
            np.bincount(places[start:stop][inside[start:stop]], minlength=size)
            for start, stop in pairwise(parts)
        ]
    ).astype(np.int32)
