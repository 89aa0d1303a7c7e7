"""Who is served: which streams have a slot, and whether there may be another."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from copy import copy

from .capacity import Capacity
from .stream import Stream
from .turns import count_busy


class EngineError(RuntimeError):
    """The engine cannot serve a stream."""


class NoFreeSlot(EngineError):  # noqa: N818 - a state of the service, not a fault
    """All slots are taken."""


class Overloaded(NoFreeSlot):
    """Slots are free, but another stream would make all of them late."""


class EngineStopped(EngineError):  # noqa: N818 - a state of the service, not a fault
    """The engine was stopped or has failed; it serves nobody any more."""


SPARE = 4
"""Slots beyond those of the streams that there may be."""


class Admission:
    """The slots of an engine and the streams in them; for any thread.

    Args:
        slots: streams at the same time.
        block_samples: samples of a stream in one step.
        capacity: how many streams are answered in time; None for as many as there are slots.

    Attributes:
        rows: slots that there are: a stream that is given up keeps its own until the step under way
            is over, and another may come before that.
    """

    def __init__(self, slots: int, block_samples: int, capacity: Capacity | None) -> None:
        self.slots = slots
        self.rows = slots + SPARE
        self._block = block_samples
        self._capacity = capacity
        self._lock = threading.Lock()  # guards the rest
        self._free = list(range(self.rows))
        self._streams: dict[int, Stream] = {}
        self._end: EngineStopped | None = None

    @property
    def active(self) -> int:
        """Slots that are taken."""
        with self._lock:
            return self.rows - len(self._free)

    @property
    def capacity(self) -> int:
        """Busy streams that are taken now."""
        return min(self.slots, self._capacity.streams) if self._capacity else self.slots

    @property
    def streams(self) -> list[Stream]:
        """Those that have a slot."""
        with self._lock:
            return list(self._streams.values())

    def check_open(self) -> None:
        """Nothing, unless nobody is served any more.

        Raises:
            EngineStopped: that is so.
        """
        with self._lock:
            self._check_open()

    def check_room(self) -> None:
        """Nothing, if another stream would be admitted now; raises as `admit`."""
        with self._lock:
            self._check_room()

    def admit(self, make: Callable[[int], Stream]) -> Stream:
        """Give a slot to a new stream.

        Args:
            make: the stream, of its slot.

        Raises:
            NoFreeSlot: if all are taken.
            Overloaded: if as many streams are busy as are answered in time.
            EngineStopped: if nobody is served any more.
        """
        with self._lock:
            self._check_room()
            slot = heapq.heappop(self._free)
            stream = self._streams[slot] = make(slot)
        return stream

    def free(self, stream: Stream) -> None:
        """Take the slot of a stream back, if it still has it."""
        with self._lock:
            if self._streams.get(stream.slot) is stream:
                del self._streams[stream.slot]
                heapq.heappush(self._free, stream.slot)

    def end(self, end: EngineStopped) -> list[Stream]:
        """Serve nobody any more; the first reason is the one that is told.

        Returns:
            The streams that had a slot.
        """
        with self._lock:
            self._end = self._end or end
            streams = list(self._streams.values())
            self._streams.clear()
            self._free = list(range(self.rows))
        return streams

    def _served(self) -> list[Stream]:
        return [stream for stream in self._streams.values() if not stream.cancelled]

    def _check_open(self) -> None:
        if self._end:
            # One of its own for each caller: an exception remembers all whom it went through.
            raise copy(self._end)

    def _check_room(self) -> None:
        self._check_open()
        if not self._free or len(self._served()) >= self.slots:
            raise NoFreeSlot(f"all {self.slots} streams are taken")
        if self._capacity is None:
            return
        busy = count_busy(self._served(), self._block)
        if not self._capacity.admits(busy):
            raise Overloaded(
                "as many streams are busy as are answered within "
                f"{self._capacity.max_delay_seconds:g} s: {busy}"
            )
