"""Something that happens to a server in the midst of a stream, and what must come of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from calls import SECOND
from ossicle.service.client import Result

LINEAR16: dict[str, Any] = {"encoding": "linear16", "sample_rate": 16_000}
CHUNK = SECOND // 10
STEPS = {"words": True, "interim_results": True}

Finals = list[tuple[str, float, list[tuple[str, float, float]]]]


def finals(results: list[Result]) -> Finals:
    """What was said and when; without confidences, which float in the last bits."""
    return [
        (result.text, result.end, [(word.text, word.start, word.end) for word in result.words])
        for result in results
        if result.is_final
    ]


def cut(audio: bytes, size: int = CHUNK) -> list[bytes]:
    return [audio[start : start + size] for start in range(0, len(audio), size)]


class Trouble:
    """Something that happens once while a sentence is being said.

    The chunks of the first seconds are sent, the rest when it has happened.

    Args:
        happen: what.
        words: after how many of a partial result.
        before: chunks.
    """

    def __init__(self, happen: Callable[[], None], words: int, before: int) -> None:
        self._happen = happen
        self._words = words
        self._before = before
        self._happened = threading.Event()

    def chunks(self, chunks: list[bytes]) -> Iterator[bytes]:
        yield from chunks[: self._before]
        assert self._happened.wait(60)
        yield from chunks[self._before :]

    async def chunks_async(self, chunks: list[bytes]) -> AsyncIterator[bytes]:
        for chunk in chunks[: self._before]:
            yield chunk
        assert await asyncio.to_thread(self._happened.wait, 60)
        for chunk in chunks[self._before :]:
            yield chunk

    def look_at(self, result: Result) -> None:
        ripe = not result.is_final and len(result.text.split()) >= self._words
        if ripe and not self._happened.is_set():
            self._happen()
            self._happened.set()

    @property
    def happened(self) -> bool:
        return self._happened.is_set()
