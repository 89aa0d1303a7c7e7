"""Probabilities from counts: modified Kneser-Ney smoothing, and mixtures of several texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ossicle.model.ngram.counting import NgramTable, find_longer

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class NgramWeights:
    """What a back-off model consists of, beside tables of n-grams.

    Attributes:
        probabilities: for each order, (G,) of the last word after the others.
        back_offs: for each order but the last, (G,): the factor for words that no n-gram of the
            next order has after these.
    """

    probabilities: list[Floats]
    back_offs: list[Floats]


def kneser_ney(tables: Sequence[NgramTable], text: int) -> NgramWeights:
    """Interpolated modified Kneser-Ney estimates of one of the counted texts.

    The longest n-grams count as often as they occur, shorter ones once for each word that they
    occur after, unless they start a sentence, before which there is none (Chen and Goodman 1999,
    "An empirical study of smoothing techniques for language modeling", section 3). An n-gram that
    this text does not have gets the probability of its suffix, weighted.
    """
    probabilities: list[Floats] = []
    back_offs: list[Floats] = []
    for n, table in enumerate(tables):
        counts = _adjusted_counts(tables, n, text)
        classes = np.minimum(counts, 3)
        subtracted = discounts(counts)[classes]
        size = 1 if n == 0 else len(tables[n - 1])
        totals = np.bincount(table.prefixes, counts, size)
        with np.errstate(invalid="ignore"):
            left_over = np.bincount(table.prefixes, subtracted, size) / totals
            share = (counts - subtracted) / totals[table.prefixes]
        # A history that the text does not have says nothing: all is left to the shorter one.
        left_over = np.where(totals > 0, left_over, 1.0)
        share = np.where(totals[table.prefixes] > 0, share, 0.0)
        if n == 0:
            shorter = np.where(table.initial, 0.0, 1 / (len(table) - 1))
        else:
            shorter = probabilities[-1][table.suffixes]
            back_offs.append(left_over.astype(np.float32))
        share += left_over[table.prefixes] * shorter
        probabilities.append(share.astype(np.float32))
    return NgramWeights(probabilities, back_offs)


def listed_words(tables: Sequence[NgramTable], frequencies: Floats) -> NgramWeights:
    """The estimates of a word list, to which the words before a word say nothing.

    Args:
        tables: the n-grams of the texts that it is mixed with.
        frequencies: of all word numbers; they sum to 1.
    """
    probabilities = [frequencies]
    back_offs: list[Floats] = []
    for table in tables[1:]:
        back_offs.append(np.ones(len(probabilities[-1]), np.float32))
        probabilities.append(probabilities[-1][table.suffixes])
    return NgramWeights(probabilities, back_offs)


def _adjusted_counts(tables: Sequence[NgramTable], n: int, text: int) -> NDArray[np.int64]:
    table = tables[n]
    counts: NDArray[np.int64] = table.counts[text].astype(np.int64)
    if n + 1 < len(tables):
        longer = tables[n + 1]
        seen = longer.suffixes[longer.counts[text] > 0]
        counts = np.where(table.initial, counts, np.bincount(seen, minlength=len(table)))
    if n == 0:
        counts[table.initial] = 0  # the start of a sentence is never predicted
    return counts


def discounts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """What is subtracted from n-grams counted 0, 1, 2 and 3 or more times, (4,).

    Chen and Goodman 1999, equation 17, from the numbers of n-grams counted once to four times.
    Where a small or repetitive text gives no sensible value, 0.5, 1 and 1.5 are taken.
    """
    n1, n2, n3, n4 = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].tolist()
    if not (n1 and n2 and n3 and n4):
        return np.array([0, 0.5, 1, 1.5])
    y = n1 / (n1 + 2 * n2)
    found = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    if (found[1:] <= 0).any() or (found > [0, 1, 2, 3]).any():
        return np.array([0, 0.5, 1, 1.5])
    return found


def mixture(
    tables: Sequence[NgramTable], texts: Sequence[NgramWeights], weights: Sequence[float]
) -> NgramWeights:
    """Interpolate the estimates of several texts into one back-off model.

    A text weighs more in histories that are typical of it: its weight is multiplied by the
    probability that it gives to the history (Weintraub et al. 1996, Bayesian interpolation), so
    that "press one" is continued as telephone prompts continue it, whatever the novels say.

    Args:
        tables: the n-grams of all the texts.
        texts: their estimates over these tables.
        weights: prior weights of the texts; they sum to 1.
    """
    if len(texts) == 1:
        return texts[0]
    probabilities = []
    # (M, G) how probable each text is given a history, up to a factor of the history.
    belief = np.asarray(weights, np.float32)[:, None]
    for n, table in enumerate(tables):
        of_texts = np.stack([text.probabilities[n] for text in texts])
        belief /= belief.sum(axis=0)
        after = belief[:, table.prefixes]
        probabilities.append(np.einsum("mg,mg->g", after, of_texts))
        if n + 1 < len(tables):
            belief = after * np.where(table.initial, 1.0, of_texts) if n == 0 else after * of_texts
            belief = np.maximum(belief, np.float32(1e-30)).astype(np.float32)
    kept = [np.ones(len(table), bool) for table in tables]
    return NgramWeights(probabilities, normalizing_back_offs(tables, probabilities, kept))


def normalizing_back_offs(
    tables: Sequence[NgramTable],
    probabilities: Sequence[Floats],
    kept: Sequence[NDArray[np.bool_]],
) -> list[Floats]:
    """The back-off weights with which the words after each history sum to 1.

    Args:
        tables: n-grams by order.
        probabilities: for each order, (G,), of the n-grams that are kept.
        kept: for each order, (G,): the model has no others. Suffixes of kept n-grams need not be
            kept: their probabilities are then themselves backed off to.
    """
    back_offs: list[Floats] = []
    lower = probabilities[0]  # what the model of the lower orders says of each of its n-grams
    for n in range(1, len(tables)):
        table, keep = tables[n], kept[n]
        size = len(tables[n - 1])
        shorter = lower[table.suffixes]
        prefixes = table.prefixes[keep]
        own = np.bincount(prefixes, probabilities[n][keep], size)
        backed_off = np.bincount(prefixes, shorter[keep], size)
        # Rounded unigrams need not sum to 1, and what is left of them may be less than they miss.
        whole = probabilities[0].sum(dtype=np.float64) if n == 1 else 1.0
        # Rounding must not make a weight negative where the n-grams take all there is.
        weights = np.maximum(1 - own, 1e-5) / np.maximum(whole - backed_off, 1e-5)
        weights[~_with_continuation(prefixes, size)] = 1
        back_offs.append(weights.astype(np.float32))
        lower = np.where(keep, probabilities[n], back_offs[-1][table.prefixes] * shorter)
    return back_offs


def _with_continuation(prefixes: NDArray[np.int32], size: int) -> NDArray[np.bool_]:
    found = np.zeros(size, bool)
    found[prefixes] = True
    return found


@dataclass(frozen=True)
class LocatedText:
    """A text as places of its n-grams in tables, so that many models can be asked for it.

    Attributes:
        predicted: (P,) bool, tokens that are predicted: all but starts of sentences.
        ngrams: for each order, (P,) int64, the place of the n-gram that ends at each token; -1 if
            the table does not have it.
    """

    predicted: NDArray[np.bool_]
    ngrams: list[NDArray[np.int64]]

    def probabilities(self, weights: NgramWeights) -> Floats:
        """What a model over the tables says of each predicted token after its sentence so far."""
        result = weights.probabilities[0][self.ngrams[0]]
        for n in range(1, len(self.ngrams)):
            place = self.ngrams[n]
            history = np.append(-1, self.ngrams[n - 1][:-1])
            backed_off = np.where(history >= 0, weights.back_offs[n - 1][history], 1) * result
            result = np.where(place >= 0, weights.probabilities[n][place], backed_off)
        return result[self.predicted]


def locate(tables: Sequence[NgramTable], tokens: NDArray[np.int32], bos: int) -> LocatedText:
    """Find the n-grams of a text, (P,) word numbers with starts and ends of sentences."""
    size = len(tables[0])
    ngrams = [tokens.astype(np.int64)]
    for table in tables[1:]:
        # None spans two sentences, as no table has an n-gram with an end before its last word.
        history = np.append(-1, ngrams[-1][:-1])
        ngrams.append(find_longer(table, history, tokens, size))
    return LocatedText(tokens != bos, ngrams)
