"""The n-grams of a model beside those of texts, so that both can be asked for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray
from ossicle.model.ngram.back_off import BackOffModel
from ossicle.model.ngram.counting import NgramTable, find_ngrams


def with_ngrams(tables: Sequence[NgramTable], model: BackOffModel) -> list[NgramTable]:
    """Tables that have a model's n-grams too, which no text has.

    Args:
        tables: n-grams by order.
        model: numbered as they are.
    """
    size = len(tables[0])
    merged = [tables[0]]
    moved = np.arange(size, dtype=np.int32)  # where the n-grams of the order before are now
    words = _with_parts([ngrams.words for ngrams in model.orders[: len(tables)]])
    for table, ngrams in zip(tables[1:], chain(words[1:], repeat(None)), strict=False):
        grown = replace(table, prefixes=moved[table.prefixes], suffixes=moved[table.suffixes])
        moved = np.arange(len(table), dtype=np.int32)
        if ngrams is not None:
            grown, moved = _grown(grown, merged, ngrams)
        merged.append(grown)
    return merged


def _with_parts(orders: Sequence[NDArray[np.int32]]) -> list[NDArray[np.int32]]:
    """N-grams by order, (G, n), and those that they begin and end with, some of them repeatedly.

    A model that was pruned need not have them.
    """
    whole = list(orders)
    for n in range(len(whole) - 1, 1, -1):
        whole[n - 1] = np.concatenate([whole[n - 1], whole[n][:, :-1], whole[n][:, 1:]])
    return whole


def _grown(
    table: NgramTable, shorter: Sequence[NgramTable], words: NDArray[np.int32]
) -> tuple[NgramTable, NDArray[np.int32]]:
    """A table with more n-grams, (G, n) word numbers, and where those that it had are now."""
    size = len(shorter[0])
    prefixes, suffixes = find_ngrams(shorter, words[:, :-1]), find_ngrams(shorter, words[:, 1:])
    held = table.prefixes.astype(np.int64) * size + table.numbers
    keys, first = np.unique(prefixes * size + words[:, -1], return_index=True)
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
