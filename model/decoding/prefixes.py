"""The texts of all hypotheses of a beam, as one tree of back-pointers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

NO_ENTRY = -1
"""The entry of the empty text."""

_FIRST_CAPACITY = 1024


class PrefixTree:
    """Hypotheses as paths to a root: entry e adds a token to entry `parent[e]`.

    The beginning that all live hypotheses share is kept once, and entries of hypotheses that died
    are dropped now and then, so the tree stays about as large as the beam's texts.
    """

    def __init__(self) -> None:
        self._size = 0
        # Rows: the parent, the token, the frame that emitted it.
        self._entries = np.empty((3, _FIRST_CAPACITY), dtype=np.int64)
        self._trunk = 0  # so many first entries are a chain that every live hypothesis begins with

    def __len__(self) -> int:
        return self._size

    def add(
        self, parents: NDArray[np.int64], tokens: NDArray[np.int64], frames: NDArray[np.int64]
    ) -> None:
        """Append tokens (N,), emitted at `frames` (N,), to the entries `parents` (N,), -1 for none.

        The new entries are numbered on from `len`; a parent may be one of them.
        """
        size = self._size + len(parents)
        if size > self._entries.shape[1]:
            larger = np.empty((3, 2 * size), dtype=np.int64)
            larger[:, : self._size] = self._entries[:, : self._size]
            self._entries = larger
        new = self._entries[:, self._size : size]
        new[0], new[1], new[2] = parents, tokens, frames
        self._size = size

    def move(self, entries: NDArray[np.int64], frames: NDArray[np.int64]) -> None:
        """Say that the last tokens of `entries` (N,) were rather emitted at `frames` (N,).

        Of several frames for one entry the last counts.
        """
        self._entries[2, entries] = frames

    @property
    def crowded(self) -> bool:
        """Whether it is time to `compact`."""
        return self._size > self._entries.shape[1] - _FIRST_CAPACITY // 4

    def compact(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """Drop what none of the `live` entries (K,) begins with.

        Returns:
            The numbers (K,) that the live entries have from now on.
        """
        parents = self._entries[0, : self._size].tolist()
        reached = bytearray(self._size + 1)  # one more: -1 is the last
        reached[: self._trunk] = b"\1" * self._trunk
        reached[NO_ENTRY] = 1
        for entry in live.tolist():
            while not reached[entry]:
                reached[entry] = 1
                entry = parents[entry]
        kept = np.frombuffer(reached[:-1], dtype=np.uint8).nonzero()[0]
        renumbered = np.full(self._size + 1, NO_ENTRY, dtype=np.int64)
        renumbered[kept] = np.arange(len(kept))
        entries = self._entries[:, kept]
        entries[0] = renumbered[entries[0]]
        self._size = len(kept)
        capacity = max(2 * self._size, _FIRST_CAPACITY)
        self._entries = np.empty((3, capacity), dtype=np.int64)
        self._entries[:, : self._size] = entries
        live = renumbered[live]
        # The chain at the root ends where an entry follows another than the one before it, where
        # something else branches off, and where a hypothesis ends.
        branches = np.flatnonzero(entries[0] != np.arange(self._size) - 1)
        ends = (live, branches - 1, entries[0, branches])
        self._trunk = 1 + int(np.concatenate([*ends, [self._size - 1]]).min())
        return live

    def tokens(self, entry: int) -> tuple[list[int], list[int]]:
        """The tokens of a hypothesis and the frames that emitted them, in order."""
        parents = self._entries[0]
        path = []
        while entry >= self._trunk:
            path.append(entry)
            entry = int(parents[entry])
        path.reverse()
        chosen = [*range(entry + 1), *path]
        _, tokens, frames = self._entries[:, chosen]
        # A token that was moved must not lie behind the next.
        places = np.arange(len(frames))
        frames = np.minimum.accumulate((frames - places)[::-1])[::-1] + places
        return tokens.tolist(), frames.tolist()

    def texts(self, entries: Iterable[int]) -> list[list[int]]:
        """The tokens of several hypotheses."""
        parents, tokens = self._entries[:2, : self._size].tolist()
        texts = []
        for entry in entries:
            text = []
            while entry >= self._trunk:
                text.append(tokens[entry])
                entry = parents[entry]
            text.reverse()
            texts.append(tokens[: entry + 1] + text)
        return texts

    def shared(self, entry: int, others: Iterable[int]) -> list[tuple[int, int | None]]:
        """How far other live hypotheses say the same as the live one at `entry`.

        Returns:
            Of each, with how many of the same tokens it begins, and its next one, None if it ends.
        """
        parents, tokens = self._entries[:2, : self._size].tolist()
        path = []
        while entry >= self._trunk:
            path.append(entry)
            entry = parents[entry]
        path.reverse()
        said = tokens[: entry + 1] + [tokens[on_path] for on_path in path]
        # Other hypotheses share much among each other, too: each entry is looked at once.
        known: dict[int, tuple[int, int | None]] = {
            on_path: (length, None) for length, on_path in enumerate(path, entry + 2)
        }
        found = []
        for other in others:
            rest = []
            while other >= self._trunk and other not in known:
                rest.append(other)
                other = parents[other]
            agrees = known.get(other, (other + 1, None))
            # A text that died and came again has other entries for the same tokens.
            for ours in reversed(rest):
                same, following = agrees
                if following is None:
                    token = tokens[ours]
                    repeats = same < len(said) and said[same] == token
                    agrees = (same + 1, None) if repeats else (same, token)
                known[ours] = agrees
            found.append(agrees)
        return found
