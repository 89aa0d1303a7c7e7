"""Sub-word units: words cut into pieces learnt from text, so that any word has a score.

Byte-pair encoding (Sennrich, Haddow and Birch 2016, "Neural machine translation of rare words with
subword units"): start from characters, and join the most frequent pair of neighbours again and
again. A unit that opens a word begins with a space, so the text can be read off its units, and
there is no unknown word: an acoustic model spells what it hears, names included.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from ossicle.data.text import CHARACTERS

END = "<end>"
"""Unit 0: the end of a sentence, and what stands before its first unit."""

_LETTERS = tuple(character for character in CHARACTERS if character != " ")
BASE = (END, *_LETTERS, *(f" {letter}" for letter in _LETTERS))
"""The units that make any normal text writable; the learnt ones follow, in order of merging."""


class Units:
    """The units of a language model, and how text is cut into them.

    Attributes:
        names: every unit in order of its number; `BASE` first.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Take units such as `learn_units` gives.

        Raises:
            ValueError: they do not begin with `BASE` or are not distinct.
        """
        self.names = tuple(names)
        if self.names[: len(BASE)] != BASE:
            raise ValueError(f"units must begin with the {len(BASE)} of the alphabet")
        self._numbers = {name: number for number, name in enumerate(self.names)}
        if len(self._numbers) != len(self.names):
            raise ValueError("units are not distinct")
        # Of the instance: a cache on the method would keep every instance alive.
        self._cut = lru_cache(maxsize=200_000)(self._cut_word)

    def encode(self, text: str) -> list[int]:
        """Numbers of the units of a text in normal form, without the end.

        Raises:
            ValueError: naming a word with other characters; `normalize` removes them.
        """
        return [number for word in text.split() for number in self._cut(word)]

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of unit numbers; ends are left out."""
        return "".join(self.names[number] for number in numbers if number).strip()

    def _cut_word(self, word: str) -> tuple[int, ...]:
        pieces = [f" {word[0]}", *word[1:]]
        if not all(piece in self._numbers for piece in pieces):
            raise ValueError(f"{word!r} is not in normal form: normalize the text first")
        while len(pieces) > 1:
            # Numbers are ranks: the pair that was joined first in learning is joined first here.
            ranks = [self._numbers.get(a + b, len(self.names)) for a, b in pairwise(pieces)]
            best = min(ranks)
            if best == len(self.names):
                break
            at = ranks.index(best)
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
        return tuple(self._numbers[piece] for piece in pieces)


def learn_units(words: Mapping[str, int], size: int) -> Units:
    """Units for words with their counts; fewer than `size` where no pair comes twice.

    Raises:
        ValueError: `size` leaves nothing to learn.
    """
    if size <= len(BASE):
        raise ValueError(f"{size} units: take more than the {len(BASE)} of the alphabet")
    spelt = [[f" {word[0]}", *word[1:]] for word in words]
    counts = list(words.values())
    pairs: Counter[tuple[str, str]] = Counter()
    places: dict[tuple[str, str], set[int]] = defaultdict(set)
    for index, pieces in enumerate(spelt):
        for pair in pairwise(pieces):
            pairs[pair] += counts[index]
            places[pair].add(index)
    # Counts fall when neighbours are joined, so an entry counts only if it is still true.
    queue = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(queue)
    names = list(BASE)
    known = set(names)
    while queue and len(names) < size:
        negative, pair = heapq.heappop(queue)
        if pairs[pair] != -negative:
            continue
        if -negative < 2:
            break
        unit = pair[0] + pair[1]
        if unit not in known:  # the same string can be joined from other halves
            known.add(unit)
            names.append(unit)
        changed: set[tuple[str, str]] = set()
        for index in places.pop(pair):
            old = spelt[index]
            new = _join(old, pair)
            for gone in pairwise(old):
                pairs[gone] -= counts[index]
                changed.add(gone)
            for come in pairwise(new):
                pairs[come] += counts[index]
                places[come].add(index)
                changed.add(come)
            spelt[index] = new
        pairs[pair] = 0
        for other in changed:
            if pairs[other] > 0:
                heapq.heappush(queue, (-pairs[other], other))
    return Units(names)


def _join(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    at = 0
    while at < len(pieces):
        if tuple(pieces[at : at + 2]) == pair:
            joined.append(pair[0] + pair[1])
            at += 2
        else:
            joined.append(pieces[at])
            at += 1
    return joined
