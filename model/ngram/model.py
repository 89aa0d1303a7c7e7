"""A back-off word n-gram model as decoding asks it: many words after many contexts at once.

A context is one number: that of the longest stored n-gram that ends the words so far and is
continued by any other. Two histories that the model cannot tell apart have the same context.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.model.ngram.file import SPECIAL_NUMBERS, NgramError, NgramTrie, read_trie

__all__ = ["NgramError", "NgramModel"]

_EMPTY = 0
"""The context in which nothing is known of the words before."""


class NgramModel:
    """A back-off word n-gram model (Katz 1987), loaded from one file.

    Its arrays are only read: threads may share it.

    Attributes:
        words: sorted; a word's number is its place.
        order: words in the longest n-grams.
        unk: the number of any word that is not in `words`.
        bos: the number of the start of a sentence; it is in contexts, never predicted.
        eos: the number of the end of a sentence.
        about: facts that its maker stored: texts, settings, perplexities.
    """

    def __init__(self, trie: NgramTrie) -> None:
        self.words = trie.words
        self.order = trie.order
        self.about = trie.about
        self.counts = trie.counts
        self.unk, self.bos, self.eos = range(len(trie.words), len(trie.words) + SPECIAL_NUMBERS)
        self._vocabulary = len(trie.words) + SPECIAL_NUMBERS
        self._codes, self._code = trie.codes, trie.code
        self._back_offs = trie.back_offs
        continued = trie.continuations > 0
        # The context that an n-gram is, or none (0) if nothing continues it; the last entry is for
        # all n-grams of the highest order.
        self._inner = sum(self.counts[:-1])
        inner = np.append(continued[: self._inner], False)
        self._contexts = np.where(inner, np.cumsum(inner, dtype=np.int32), np.int32(0))
        # An n-gram is found by its key: the context that its first words are, and its last word.
        self._keys = np.repeat(
            np.arange(len(trie.back_offs), dtype=np.int64),
            np.concatenate(([self._vocabulary], trie.continuations[continued])),
        )
        self._keys *= self._vocabulary
        self._keys += trie.numbers
        self._shorter = self._shorter_contexts(trie)

    @classmethod
    def load(cls, path: Path) -> NgramModel:
        """Read a model that `ossicle lm train` made.

        Raises:
            NgramError: there is no such file, or it is no n-gram model or damaged.
        """
        return cls(read_trie(path))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def number(self, word: str) -> int:
        """The number of a word, `unk` if the model does not know it."""
        return self._numbers.get(word, self.unk)

    def numbers(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The numbers of words, (N,)."""
        return np.array([self._numbers.get(word, self.unk) for word in words], np.int32)

    def start(self) -> int:
        """The context at the start of a sentence."""
        return int(self._contexts[self.bos])

    @property
    def unigrams(self) -> NDArray[np.float32]:
        """Natural-log probabilities of `words` when nothing is known of the words before, (W,)."""
        return self._code.decode(self._codes[: len(self.words)])

    def score(
        self, contexts: NDArray[np.int64], words: NDArray[np.int32]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Natural-log probabilities of words after contexts, and the contexts after those words.

        Args:
            contexts: (N,), of `start` or of an earlier call.
            words: (N,) word numbers, `unk` and `eos` among them.

        Returns:
            (N,) log-probabilities and (N,) contexts.
        """
        size = len(contexts)
        log_probs = np.zeros(size, np.float32)
        after = np.zeros(size, np.int64)
        rows = np.arange(size)
        unscored = np.ones(size, bool)
        context = np.asarray(contexts, np.int64)
        number = np.asarray(words, np.int64)
        # Each round forgets one more word of the context, until the n-gram is found for its
        # probability, and one that is a context itself for the next query.
        while True:
            place, found = self._find(context, number)
            gain = np.where(found, self._code.decode(self._codes[place]), self._back_offs[context])
            log_probs[rows] += np.where(unscored, gain, np.float32(0))
            longest = np.where(found, self._context_of(place), 0)
            after[rows] = longest
            left = (longest == 0) & (context != _EMPTY)
            if not left.any():
                return log_probs, after
            unscored = (unscored & ~found)[left]
            rows, number = rows[left], number[left]
            context = self._shorter[context[left]].astype(np.int64)

    def judge(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """How probable the words of texts are after those before them, and their ends.

        Args:
            texts: words between single spaces; all are judged at once.

        Returns:
            Of each text of W words, natural-log probabilities (W + 1,).
        """
        rows = [[*self.numbers(text.split()).tolist(), self.eos] for text in texts]
        judged = [np.zeros(len(row), np.float32) for row in rows]
        contexts = np.full(len(rows), self.start(), np.int64)
        for place in range(max(map(len, rows), default=0)):
            longer = [number for number, row in enumerate(rows) if len(row) > place]
            words = np.array([rows[number][place] for number in longer], np.int32)
            log_probs, contexts[longer] = self.score(contexts[longer], words)
            for number, log_prob in zip(longer, log_probs, strict=True):
                judged[number][place] = log_prob
        return judged

    def _find(
        self, contexts: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Places of the n-grams of these contexts and words, and whether there are such."""
        wanted = contexts * self._vocabulary + numbers
        # Without the last key, so that the place of what follows all keys is a place, too.
        places = self._keys[:-1].searchsorted(wanted)
        return places, self._keys[places] == wanted

    def _context_of(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """The contexts that n-grams are, or 0."""
        return self._contexts[np.minimum(places, self._inner)]

    def _shorter_contexts(self, trie: NgramTrie) -> NDArray[np.int32]:
        """(S,), for each context the longest one that lacks at least its first word."""
        shorter = np.zeros(len(trie.back_offs), np.int32)
        start = 0
        for count in self.counts[:-1]:
            entries = start + np.flatnonzero(trie.continuations[start : start + count])
            if start:
                longer, number = np.divmod(self._keys[entries], self._vocabulary)
                shorter[self._contexts[entries]] = self._context_after(shorter, longer, number)
            start += count
        return shorter

    def _context_after(
        self, shorter: NDArray[np.int32], longer: NDArray[np.int64], number: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The longest context that ends `longer` without its first word, and then `number`."""
        after = np.zeros(len(longer), np.int64)
        rows = np.arange(len(longer))
        context = shorter[longer].astype(np.int64)
        while True:
            known = context != _EMPTY
            after[rows[~known]] = self._contexts[number[~known]]
            rows, context, number = rows[known], context[known], number[known]
            if not len(rows):
                return after
            place, found = self._find(context, number)
            longest = np.where(found, self._context_of(place), 0)
            after[rows] = longest
            left = longest == 0
            rows, number = rows[left], number[left]
            context = shorter[context[left]].astype(np.int64)
