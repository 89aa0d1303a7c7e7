"""Making an n-gram model small: leave out the n-grams that change its predictions least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from ossicle.model.ngram.counting import NgramTable
from ossicle.model.ngram.file import NgramTrie, ProbabilityCode
from ossicle.model.ngram.smoothing import Floats, NgramWeights, normalizing_back_offs


def pruning_costs(
    tables: Sequence[NgramTable], weights: NgramWeights, text_weights: Sequence[float]
) -> list[Floats]:
    """What leaving out each n-gram costs, in nats a word, for each order from 2 on.

    It is the relative entropy between the model with and without the n-gram (Stolcke 1998,
    "Entropy-based pruning of backoff language models", equations 1 to 6), or that of an n-gram
    which continues it, if that is more, as it cannot be left out before. The probability of a
    history is taken from its counts: Kneser-Ney estimates of short n-grams are made for backing
    off and are no such probability (Siivola et al. 2007).

    Args:
        text_weights: (M,), how much each text counts in the probability of a history.
    """
    totals = tables[0].counts.sum(axis=1)
    costs = []
    for n in range(1, len(tables)):
        table, histories = tables[n], tables[n - 1]
        size = len(histories)
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
        frequency = np.zeros(size)
        for text, text_weight in enumerate(text_weights):
            frequency += text_weight / totals[text] * histories.counts[text]
        costs.append((-change * frequency[table.prefixes]).astype(np.float32))
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
    log_probs = [code.decode(code.encode(values)) for values in logs]
    rounded = []
    for probabilities, chosen, values in zip(weights.probabilities, keep, log_probs, strict=True):
        rounded.append(probabilities.copy())
        rounded[-1][chosen] = np.exp(values)
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
        log_probs=np.concatenate(log_probs),
        back_offs=np.concatenate(back_offs),
    )
