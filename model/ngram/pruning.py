"""Making an n-gram model small: leave out the n-grams that change its predictions least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from ossicle.model.ngram.counting import NgramTable
from ossicle.model.ngram.file import NgramTrie, ProbabilityCode
from ossicle.model.ngram.smoothing import Floats, NgramWeights, normalizing_back_offs


def counted(
    tables: Sequence[NgramTable], text_weights: Sequence[float]
) -> list[NDArray[np.float64]]:
    """How often texts have each n-gram, of all their tokens, for each order but the last.

    Args:
        text_weights: (M,), how much each text counts.
    """
    totals = tables[0].counts.sum(axis=1)
    shares = np.asarray(text_weights) / totals
    return [np.einsum("m,mg->g", shares, table.counts) for table in tables[:-1]]


def expected(
    tables: Sequence[NgramTable], weights: NgramWeights, bos: int, eos: int
) -> list[NDArray[np.float64]]:
    """How often a model without counts makes one expect each n-gram, for each order but the last.

    Args:
        bos, eos: numbers of the start and the end of a sentence, of which there are as many.
    """
    said = weights.probabilities[0].astype(np.float64)
    said[bos] = said[eos]
    frequencies = [said]
    for table, probabilities in zip(tables[1:-1], weights.probabilities[1:], strict=False):
        frequencies.append(frequencies[-1][table.prefixes] * probabilities)
    return frequencies


def pruning_costs(
    tables: Sequence[NgramTable],
    weights: NgramWeights,
    frequencies: Sequence[NDArray[np.float64]],
) -> list[Floats]:
    """What leaving out each n-gram costs, in nats a word, for each order from 2 on.

    It is the relative entropy between the model with and without the n-gram (Stolcke 1998,
    "Entropy-based pruning of backoff language models", equations 1 to 6), or that of an n-gram
    which continues it, if that is more, as it cannot be left out before.

    Args:
        frequencies: for each order but the last, (G,), how probable the n-grams are as histories:
            of texts as `counted`, as Kneser-Ney estimates of short n-grams are made for backing
            off and are no such probability (Siivola et al. 2007).
    """
    costs = []
    for n in range(1, len(tables)):
        table, size = tables[n], len(tables[n - 1])
        kept = weights.probabilities[n].astype(np.float64)
        shorter = weights.probabilities[n - 1][table.suffixes].astype(np.float64)
        own = np.maximum(1 - np.bincount(table.prefixes, kept, size), 1e-6)[table.prefixes]
        backed_off = np.maximum(1 - np.bincount(table.prefixes, shorter, size), 1e-6)[
            table.prefixes
        ]
        without = np.log((own + kept) / (backed_off + shorter))
        change = kept * (np.log(shorter) + without - np.log(kept)) + own * (
            without - np.log(own / backed_off)
        )
        costs.append((-change * frequencies[n - 1][table.prefixes]).astype(np.float32))
    for n in range(len(costs) - 2, -1, -1):
        np.maximum.at(costs[n], tables[n + 2].prefixes, costs[n + 1])
    return costs


def most_costly(costs: Sequence[Floats], ngrams: int) -> list[NDArray[np.bool_]]:
    """Which n-grams of each order from 2 on to keep, so that there are at most so many of them."""
    everything = np.concatenate(costs)
    if ngrams >= len(everything):
        return [np.ones(len(cost), bool) for cost in costs]
    if ngrams <= 0:
        return [np.zeros(len(cost), bool) for cost in costs]
    # Those above the threshold: n-grams that cost the same are kept or left out together, so
    # that none stays without those it continues.
    threshold = np.partition(everything, len(everything) - ngrams - 1)[-ngrams - 1]
    return [cost > threshold for cost in costs]


def build_trie(
    words: tuple[str, ...],
    tables: Sequence[NgramTable],
    weights: NgramWeights,
    kept: Sequence[NDArray[np.bool_]],
) -> NgramTrie:
    """The model of the kept n-grams, with probabilities as the file can hold them.

    Back-off weights are computed from those, so that rounding takes nothing from the sum.

    Args:
        kept: for each order from 2 on, (G,).
    """
    keep = [np.ones(len(tables[0]), bool), *kept]
    with np.errstate(divide="ignore"):
        logs = [
            np.log(probabilities[chosen])
            for probabilities, chosen in zip(weights.probabilities, keep, strict=True)
        ]
    code = ProbabilityCode.fitting(np.concatenate(logs))
    codes = [code.encode(values) for values in logs]
    rounded = []
    for probabilities, chosen, values in zip(weights.probabilities, keep, codes, strict=True):
        rounded.append(probabilities.copy())
        rounded[-1][chosen] = np.exp(code.decode(values))
    factors = normalizing_back_offs(tables, rounded, keep)
    continuations = []
    back_offs = [np.zeros(1, np.float32)]
    for n, chosen in enumerate(keep):
        if n + 1 == len(tables):
            continuations.append(np.zeros(int(chosen.sum()), np.int32))
            break
        longer = tables[n + 1].prefixes[keep[n + 1]]
        following = np.bincount(longer, minlength=len(chosen))[chosen]
        continuations.append(following.astype(np.int32))
        back_offs.append(np.log(factors[n][chosen][following > 0]))
    return NgramTrie(
        words=words,
        order=len(tables),
        numbers=np.concatenate(
            [table.numbers[chosen] for table, chosen in zip(tables, keep, strict=True)]
        ),
        continuations=np.concatenate(continuations),
        codes=np.concatenate(codes),
        code=code,
        back_offs=np.concatenate(back_offs),
    )
