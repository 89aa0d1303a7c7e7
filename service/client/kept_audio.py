"""The audio of a stream that another server might have to be sent again."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ossicle.service.values import Finalize

# What Python needs for a piece besides its bytes, about.
_OVERHEAD_BYTES = 200


class Piece(NamedTuple):
    """A part of what was sent.

    Attributes:
        content: bytes of audio, or a request for a final.
        position: bytes before it.
        requests: requests for a final before it.
    """

    content: bytes | Finalize
    position: int
    requests: int


class KeptAudio:
    """What was sent, in order, from some byte on; the oldest goes when it is too much.

    Pieces are numbered from 0 in the order in which they were added.

    Args:
        limit: bytes to keep at most, the cost of many small pieces included; may be infinite.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._pieces: deque[Piece] = deque()
        self._size = 0
        self._end = 0
        self._requests = 0
        self.first = 0
        """The number of the first piece that is kept."""
        self.start = 0
        """The position of the first byte that is kept."""

    @property
    def count(self) -> int:
        """Pieces so far, those that are kept no more included."""
        return self.first + len(self._pieces)

    def add(self, content: bytes | Finalize) -> None:
        """Append a piece, and drop the oldest if that is too much."""
        self._pieces.append(Piece(content, self._end, self._requests))
        self._size += _cost(content)
        if isinstance(content, Finalize):
            self._requests += 1
        else:
            self._end += len(content)
        while self._size > self._limit:
            self.forget_first()

    def forget(self, position: int, requests: int) -> None:
        """Drop the pieces that come before a byte, and the first requests for a final.

        Args:
            position: bytes that are not needed.
            requests: requests, of all so far, that are not needed.
        """
        while self._pieces:
            content, start, before = self._pieces[0]
            if isinstance(content, Finalize):
                needed = before >= requests
            else:
                needed = start + len(content) > position
            if needed:
                return
            self.forget_first()

    def piece(self, number: int) -> Piece:
        """A piece that is kept."""
        return self._pieces[number - self.first]

    def forget_first(self) -> None:
        """Drop the first piece that is kept."""
        content, position, _ = self._pieces.popleft()
        self._size -= _cost(content)
        self.first += 1
        self.start = position + (0 if isinstance(content, Finalize) else len(content))


def _cost(content: bytes | Finalize) -> int:
    return _OVERHEAD_BYTES + (0 if isinstance(content, Finalize) else len(content))
