"""How well an n-gram model predicts a text: perplexity, and words it does not know."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from ossicle.model.ngram.model import NgramModel

_BATCH = 1024
"""Sentences asked at once."""


@dataclass(frozen=True)
class Perplexity:
    """What a model says of a text.

    Attributes:
        sentences: sentences of the text.
        words: words of the text.
        unknown: those of them that the model does not know.
        log_prob: natural logarithm of the text's probability, ends of sentences and unknown words
            included; an unknown word has the probability of being any unknown word.
        unknown_log_prob: the part of it that is the unknown words'.
    """

    sentences: int
    words: int
    unknown: int
    log_prob: float
    unknown_log_prob: float

    @property
    def value(self) -> float:
        """The perplexity per word and end of sentence."""
        return math.exp(-self.log_prob / (self.words + self.sentences))

    @property
    def of_known_words(self) -> float:
        """The perplexity without the unknown words, which other tools give."""
        known = self.words + self.sentences - self.unknown
        return math.exp(-(self.log_prob - self.unknown_log_prob) / known)

    @property
    def unknown_share(self) -> float:
        """The share of the words that the model does not know."""
        return self.unknown / self.words


def perplexity(model: NgramModel, sentences: Iterable[str]) -> Perplexity:
    """Ask a model for all of a text.

    Args:
        sentences: in normal form, without empty ones.

    Raises:
        ValueError: there is no sentence.
    """
    count = words = unknown = 0
    log_prob = unknown_log_prob = 0.0
    for batch in _batches(model, sentences):
        predicted = batch >= 0
        log_probs = _log_probs(model, batch)
        out = batch == model.unk
        count += len(batch)
        words += int(predicted.sum()) - len(batch)
        unknown += int(out.sum())
        log_prob += float(log_probs[predicted].sum(dtype=np.float64))
        unknown_log_prob += float(log_probs[out].sum(dtype=np.float64))
    if not count:
        raise ValueError("there is no sentence to ask the model for")
    return Perplexity(count, words, unknown, log_prob, unknown_log_prob)


def _batches(model: NgramModel, sentences: Iterable[str]) -> Iterator[NDArray[np.int32]]:
    """(B, U) word numbers with the end of each sentence, -1 after it."""
    remaining = iter(sentences)
    while chunk := list(islice(remaining, _BATCH)):
        numbers = [model.numbers(sentence.split()) for sentence in chunk]
        batch = np.full((len(chunk), max(map(len, numbers)) + 1), -1, np.int32)
        for row, sentence in zip(batch, numbers, strict=True):
            row[: len(sentence)] = sentence
            row[len(sentence)] = model.eos
        yield batch


def _log_probs(model: NgramModel, batch: NDArray[np.int32]) -> NDArray[np.float32]:
    """(B, U) natural-log probabilities of word numbers after their sentences so far."""
    result = np.zeros(batch.shape, np.float32)
    contexts = np.full(len(batch), model.start(), np.int64)
    for place, words in enumerate(batch.T):
        open_ = words >= 0
        result[open_, place], contexts[open_] = model.score(contexts[open_], words[open_])
    return result
