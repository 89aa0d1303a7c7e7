"""How many live streams an engine answers in time, from how long its rounds take."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import median

from .rounds import Round

# Few enough to notice within seconds that a machine has become slow, enough not to mind a stall.
_ROUNDS = 32
# Until speech was heard: decoding takes about as long as the network.
_SLOWNESS_AT_FIRST = 2.0
# Streams are taken again once there are so many fewer, so that refusals do not flicker.
_RELIEF = 0.9


class Capacity:
    """The streams that an engine may have so that none is late.

    A round with n streams takes r (a + b n) seconds. a and b are what the network needs for silence
    on an idle machine; r, what decoding, speech and other programs make of it, is the median of the
    last rounds. Each of N live streams has a block of B seconds ready every B seconds, so that a
    round of T seconds, which answers a stream, has blocks of (N - 1) T / B others. A block waits
    for the round that is under way and for its own: T may be half of the delay that is allowed,
    and no more than B, after which streams would fall behind for ever. Put together, N may be
    1 + B / b (1 / r - (a + b) / T).

    A stream that is sent faster than speech has a block in every round and no more than that; it
    counts as one that is live. :meth:`note` is for the engine's thread; the rest for any.

    Args:
        block_seconds: B.
        max_delay_seconds: that is allowed.
    """

    def __init__(self, block_seconds: float, max_delay_seconds: float) -> None:
        self.max_delay_seconds = max_delay_seconds
        self._block = block_seconds
        self._longest = min(max_delay_seconds / 2, block_seconds)
        self._fixed, self._each = 0.0, math.inf
        self._slowness = deque([_SLOWNESS_AT_FIRST] * _ROUNDS, _ROUNDS)
        self._streams = 1.0
        self._full = False

    @property
    def streams(self) -> int:
        """How many streams it may have, at least one."""
        return int(self._streams)

    def warmed_up(self, seconds: Mapping[int, float]) -> None:
        """Take note of how long steps took by their number of streams, one or two of them."""
        small, large = min(seconds), max(seconds)
        # At least a tenth of a large step grows with it, whatever disturbed the small one.
        least = seconds[large] / large * (1.0 if small == large else 0.1)
        slope = (seconds[large] - seconds[small]) / max(large - small, 1)
        self._each = max(slope, least)
        self._fixed = max(seconds[small] - small * self._each, 0.0)
        self._update()

    def note(self, done: Round) -> None:
        """Take note of a round."""
        expected = self._fixed + self._each * done.streams
        self._slowness.append((done.network + done.answering) / expected)
        self._update()

    def admits(self, streams: int) -> bool:
        """Whether there may be another stream beside so many.

        Once there may not, some have to go before there may again.
        """
        room = self._streams * (_RELIEF if self._full else 1.0)
        self._full = streams > 0 and streams + 1 > room
        return not self._full

    def _update(self) -> None:
        slowness = median(self._slowness)
        alone = self._fixed + self._each
        others = self._block / self._each * (1 / slowness - alone / self._longest)
        self._streams = 1.0 + max(others, 0.0)
