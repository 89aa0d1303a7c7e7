"""The words that are known, as a tree of their letters or of their phonemes.

Each node of the tree is the beginning of a word; where words sound alike, the end of several.
While a word is being spelled, its score is not known yet; the best of all words that begin alike
stands for it ("language model look-ahead", Ortmanns, Ney and Eiden 1996, with unigrams).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROOT = 0
"""The node at which every word begins."""

MOST_ALIKE = 12
"""Words that are kept of those that are written alike, the likeliest."""

_PADDING = 255
_LETTERS = 64  # whose bits are in one number


class Lexicon:
    """A prefix tree of words, in three arrays with an entry for each of M nodes.

    A node is numbered by its place when all nodes are sorted by their depth and their letters, so
    the nodes below one node follow each other, and the edge to a node has its number.

    Attributes:
        nodes: M. The last of them, `outside`, is no beginning of a word: whoever leaves the tree
            is there and stays there.
        words: (M,) int32, the number of the likeliest word that ends at each node, -1 if none does.
        alike: (M,) int32, how many words end there, at most `MOST_ALIKE`.
        numbers: those of all words, the likeliest of each node first.
        first: (M,) int32, the place in `numbers` of the first of each node.
        look_ahead: (M,) float32, the score of the likeliest word that begins so; -inf outside.

    Args:
        words: how each of W words is written in tokens.
        scores: (W,) of the words.
        tokens: all V tokens, at most 255, the blank first. Words that they cannot spell are left
            out.
    """

    def __init__(
        self, words: Sequence[str], scores: NDArray[np.float32], tokens: Sequence[str]
    ) -> None:
        self._tokens = len(tokens)
        spelled, numbers = _spell(words, tokens)
        scores = scores[numbers]
        lengths = (spelled != _PADDING).sum(axis=1)
        # The first letter in which a word differs from the one before it.
        differs = np.ones(spelled.shape, dtype=bool)
        differs[1:] = np.logical_or.accumulate(spelled[1:] != spelled[:-1], axis=1)
        keys: list[NDArray[np.int64]] = []
        begins, counts = [np.zeros(1, np.int64)], [np.array([len(spelled)])]
        rising = scores.argsort(kind="stable")
        likeliest = [rising[-1:]]
        node = np.zeros(len(spelled), dtype=np.int64)
        count = 1
        for depth in range(spelled.shape[1]):
            reaches = lengths > depth
            fresh = differs[:, depth] & reaches
            keys.append(node[fresh] * self._tokens + spelled[fresh, depth])
            place = np.cumsum(fresh) - 1
            begins.append(np.flatnonzero(fresh))
            counts.append(np.bincount(place[reaches], minlength=len(begins[-1])))
            best = np.zeros(int(fresh.sum()), dtype=np.int64)
            reaching = rising[reaches[rising]]
            best[place[reaching]] = reaching  # of those with the same place the last stays
            likeliest.append(best)
            node = np.where(reaches, count + place, node)
            count += len(best)
        self.nodes = count + 1
        self.outside = count
        # The words below a node follow each other: the first of them, and how many there are.
        self._begins = np.concatenate([*begins, [0]]).astype(np.int32)
        self._counts = np.concatenate([*counts, [0]]).astype(np.int32)
        self._sorted, self._scores = numbers.astype(np.int32), scores
        best = np.concatenate(likeliest)
        # Without a word, there still is the node at which all begin.
        self.look_ahead = np.full(self.nodes, -np.inf, dtype=np.float32)
        self.look_ahead[: len(best)] = scores[best]
        order = np.lexsort((-scores, node))
        node, numbers = node[order], numbers[order]
        rank = np.arange(len(node)) - node.searchsorted(node)
        node, self.numbers = node[rank < MOST_ALIKE], numbers[rank < MOST_ALIKE].astype(np.int32)
        self.alike = np.bincount(node, minlength=self.nodes).astype(np.int32)
        self.first = (np.cumsum(self.alike) - self.alike).astype(np.int32)
        self.words = np.full(self.nodes, -1, dtype=np.int32)
        ending = self.alike > 0
        self.words[ending] = self.numbers[self.first[ending]]
        self._link(np.concatenate(keys).astype(np.int64) if keys else np.zeros(0, np.int64))

    def beginning(self, node: int, most: int) -> NDArray[np.int32]:
        """The numbers of the likeliest words that begin as a node does, in no order."""
        begin, count = int(self._begins[node]), int(self._counts[node])
        words = self._sorted[begin : begin + count]
        if count > most:
            words = words[self._scores[begin : begin + count].argpartition(-most)[-most:]]
        return words

    def _link(self, edges: NDArray[np.int64]) -> None:
        """Make an index of the edges, sorted: the upper node's number times V, plus the letter.

        Of each node and each `_LETTERS` letters it has one bit for each letter that leads on, and
        the number of the lower node of the first: those of the others follow.
        """
        self._groups = -(-self._tokens // _LETTERS)
        self._bits = np.uint64(1) << (np.arange(self._tokens) % _LETTERS).astype(np.uint64)
        nodes, letters = np.divmod(edges, self._tokens)
        entries = nodes * self._groups + letters // _LETTERS
        self._letters = np.zeros(self.nodes * self._groups, dtype=np.uint64)
        np.bitwise_or.at(self._letters, entries, self._bits[letters])
        self._first = np.zeros(self.nodes * self._groups, dtype=np.int32)
        fresh = np.flatnonzero(np.diff(entries, prepend=-1))
        self._first[entries[fresh]] = fresh + 1

    def leading(self, nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which tokens lead from nodes (N,) to others that begin a word, (N, V)."""
        entries = self._letters.reshape(self.nodes, self._groups)[nodes].astype("<u8")
        bits = np.unpackbits(entries.view(np.uint8), axis=1, bitorder="little")
        return bits[:, : self._tokens].view(np.bool_)

    def follow(self, nodes: NDArray[np.int64], letters: NDArray[np.int64]) -> NDArray[np.int64]:
        """The nodes (N,) to which letters (N,), token numbers, lead from nodes (N,)."""
        entries = nodes * self._groups + letters // _LETTERS
        leading = self._letters[entries]
        bits = self._bits[letters]
        before = np.bitwise_count(leading & (bits - np.uint64(1)))
        return np.where(leading & bits, self._first[entries] + before, self.outside)


def _spell(
    words: Sequence[str], tokens: Sequence[str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Words as rows of token numbers, sorted, and the number of the word in each row."""
    letters = {ord(token): number for number, token in enumerate(tokens) if len(token) == 1}
    letters.pop(ord(" "), None)
    beyond = max(letters, default=0) + 1
    characters = np.full(beyond + 1, _PADDING, dtype=np.uint8)
    characters[list(letters)] = list(letters.values())
    kept = [number for number, word in enumerate(words) if word]
    lengths = np.array([len(words[number]) for number in kept], dtype=np.int64)
    text = "".join(words[number] for number in kept)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    rows = np.full((len(kept), int(lengths.max(initial=0))), _PADDING, dtype=np.uint8)
    inside = np.arange(rows.shape[1]) < lengths[:, None]
    rows[inside] = characters[np.minimum(codes, beyond)]
    spellable = ~((rows == _PADDING) & inside).any(axis=1)
    rows, numbers = rows[spellable], np.array(kept, dtype=np.int64)[spellable]
    # A shorter word comes before those that go on from it: the padding, seen as -1, is lowest.
    order = np.lexsort((rows + np.uint8(1)).T[::-1]) if rows.size else np.arange(0)
    return rows[order], numbers[order]
