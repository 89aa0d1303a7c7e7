"""How fast messages may follow each other."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Spreads messages that come too fast (the generic cell rate algorithm of ATM networks).

    Args:
        per_second: messages in a second, in the long run.
        burst_seconds: what is not used for so long may be made up for at once.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        per_second: float,
        burst_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = 1 / per_second
        self._burst = burst_seconds
        self._clock = clock
        self._due = -float("inf")  # when the next message would come, were they evenly spread

    def delay(self) -> float:
        """Count a message; the seconds that it has to wait."""
        now = self._clock()
        self._due = max(self._due, now - self._burst) + self._interval
        return max(0.0, self._due - now)
