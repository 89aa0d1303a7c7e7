"""The queue between a stream's owner, in any thread, and the engine's thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from .events import Event
from .session import Session

# Chunks and requests that may wait, besides the limit on the audio in them.
MAX_WAITING_ITEMS = 1024

EventsCallback = Callable[[list[Event]], None]
EndCallback = Callable[[Exception | None], None]
RoomCallback = Callable[[], None]


class Request(Enum):
    """What an owner queues besides samples."""

    FINALIZE = "finalize"
    CLOSE = "close"
    INTERRUPT = "interrupt"


class Stream:
    """One stream in an engine; made by :meth:`ossicle.service.engine.Engine.open`.

    Its owner uses the methods up to :meth:`wait_for_room`, one thread at a time; the rest is the
    engine's. Once the stream has ended, writing does nothing: the owner learns of it by ``on_end``.

    Args:
        number: its number among all streams of the engine.
        slot: its row of the engine's state.
        session: what its samples go through.
        on_events: see :meth:`Engine.open <ossicle.service.engine.Engine.open>`.
        on_end: likewise.
        on_room: likewise.
        queue_samples: samples that may wait.
        wake: makes the engine look at its streams.
    """

    def __init__(
        self,
        number: int,
        slot: int,
        session: Session,
        on_events: EventsCallback,
        on_end: EndCallback,
        on_room: RoomCallback,
        queue_samples: float,
        wake: Callable[[], None],
    ) -> None:
        self.number = number
        self.slot = slot
        self.session = session
        self.on_events = on_events
        self.on_end = on_end
        self.inbox: deque[NDArray[np.float32] | Request] = deque()
        self.consumed = 0  # samples, written by the engine's thread only
        self.opened_at = time.monotonic()
        self.busy_at = self.opened_at  # when a block of it was taken
        self.ahead = False  # of speech
        self.cancelled = False
        self.ended = False
        self._on_room = on_room
        self._written = 0  # samples, written by the owner only
        self._queue_samples = queue_samples
        self._wants_room = False
        self._room = threading.Event()
        self._wake = wake

    def write(self, samples: NDArray[np.float32]) -> None:
        """Queue samples, (N,), mono at the model's rate, and return at once.

        Ask :meth:`has_room` before: the queue itself takes whatever it is given.
        """
        if len(samples):
            self._written += len(samples)
            self._queue(samples)

    def finalize(self) -> None:
        """Ask for a final of what was written so far."""
        self._queue(Request.FINALIZE)

    def close(self, interrupted: bool = False) -> None:
        """Write no more: the last final follows and then ``on_end(None)``.

        Args:
            interrupted: the audio would have gone on, which that final tells.
        """
        self._queue(Request.INTERRUPT if interrupted else Request.CLOSE)

    def cancel(self) -> None:
        """Give up the stream and its slot; neither results nor the end are announced any more."""
        self.cancelled = True
        self._wake()

    @property
    def backlog(self) -> int:
        """Samples written and not yet recognised."""
        return max(self._written - self.consumed, 0)

    def has_room(self) -> bool:
        """Whether the queue is below its limit; if not, ``on_room`` is called once it is."""
        # Asked for before looking: the engine may make room between the two.
        self._wants_room = True
        room = self._below_limit()
        if room:
            self._wants_room = False
        return room

    def wait_for_room(self, timeout: float | None = None) -> bool:
        """Block until the queue is below its limit or the stream has ended.

        Args:
            timeout: seconds to wait at most; None for ever.

        Returns:
            Whether it is.
        """
        self._room.clear()
        return self.has_room() or self._room.wait(timeout)

    def announce_room(self) -> None:
        """Wake an owner that waits for room, if there is some."""
        if self._wants_room and self._below_limit():
            self._wants_room = False
            self._room.set()
            self._on_room()

    def deliver(self, events: list[Event]) -> None:
        """Hand events to the owner, if it is still there."""
        if events and not self.cancelled:
            self.on_events(events)

    def _below_limit(self) -> bool:
        return self.ended or (
            self.backlog < self._queue_samples and len(self.inbox) < MAX_WAITING_ITEMS
        )

    def _queue(self, item: NDArray[np.float32] | Request) -> None:
        if not self.ended:
            self.inbox.append(item)
            self._wake()
