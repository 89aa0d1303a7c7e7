"""A stream of the engine, seen from asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import numpy as np
from numpy.typing import NDArray

from .engine import Engine
from .events import Event, Partial
from .session_config import SessionConfig
from .stream import Stream

# A client that sends but does not read is not listened to once it has so many messages unread.
MAX_UNREAD_EVENTS = 256


class AioStream:
    """A stream of the engine whose results wait for this event loop.

    Memory is bounded on both sides: a writer waits while too much audio waits for the engine or too
    many events wait for the reader, and an unread partial is replaced by the next.

    Args:
        engine: where to take a slot.
        config: how to answer.

    Raises:
        NoFreeSlot: all slots are taken.
        EngineStopped: the engine has failed or was stopped.
    """

    def __init__(self, engine: Engine, config: SessionConfig) -> None:
        loop = asyncio.get_running_loop()

        def call(function: Callable[..., None], *arguments: object) -> None:
            loop.call_soon_threadsafe(function, *arguments)

        self._events: deque[Event] = deque()
        self._error: Exception | None = None
        self._ended = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self.samples = 0  # written so far
        # Until it is cancelled: it knows this one too, and a pair that knows each other would stay
        # in memory, with all that was heard, until Python looks for such pairs, which is seldom.
        self._stream: Stream | None = engine.open(
            config,
            lambda events: call(self._take_events, events),
            lambda error: call(self._take_end, error),
            lambda: call(self._room.set),
        )

    @property
    def ended(self) -> bool:
        """Whether it takes no more: what is written then goes nowhere.

        Its reader may not have been told yet.
        """
        return self._ended or self._stream is None or self._stream.ended

    async def write(self, samples: NDArray[np.float32]) -> None:
        """Queue samples, (N,), after waiting for room."""
        await self._wait_for_room()
        self.samples += len(samples)
        if self._stream:
            self._stream.write(samples)

    async def finalize(self) -> None:
        """Ask for a final of what was written so far, after waiting for room."""
        await self._wait_for_room()
        if self._stream:
            self._stream.finalize()

    def close(self, interrupted: bool = False) -> None:
        """Write no more; the last final follows, and tells if the audio would have gone on."""
        if self._stream:
            self._stream.close(interrupted)

    def cancel(self) -> None:
        """Give up the stream; its slot is free soon and its events end."""
        if self._stream:
            self._stream.cancel()
        self._stream = None
        self._take_end(None)

    async def events(self) -> AsyncIterator[Event]:
        """What happens, until the stream ends.

        Raises:
            Exception: the error that ended the stream, after the events before it.
        """
        while True:
            while self._events:
                event = self._events.popleft()
                self._room.set()
                yield event
            if self._ended:
                break
            self._news.clear()
            await self._news.wait()
        error, self._error = self._error, None
        try:
            if error:
                raise error
        finally:
            del error  # which knows this frame, and the frame it

    async def _wait_for_room(self) -> None:
        while True:
            self._room.clear()
            if self._ended or self._stream is None:
                return
            if len(self._events) < MAX_UNREAD_EVENTS and self._stream.has_room():
                return
            await self._room.wait()

    def _take_events(self, events: list[Event]) -> None:
        for event in events:
            unread = self._events[-1] if self._events else None
            if isinstance(event, Partial) and isinstance(unread, Partial):
                self._events.pop()
            self._events.append(event)
        self._news.set()

    def _take_end(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._error = error
        self._news.set()
        self._room.set()
