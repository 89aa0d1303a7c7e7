"""How much the holder of a token may use: streams at the same time, and calls in a minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

from .tokens import Token

# A stream lasts minutes.
_STREAM_SECONDS = 2


class OverQuota(Exception):  # noqa: N818 - a state of the service, not a fault
    """The holder of a token may not use more now.

    Args:
        message: what there is too much of, and what to do.
        retry_seconds: when trying again makes sense.
    """

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(message, retry_seconds)
        self.message = message
        self.retry_seconds = retry_seconds


class TokenQuota(Protocol):
    """What the calls of one process count by, wherever the counting is done; see :class:`Quota`."""

    async def call(self, token: Token) -> None:
        """Count a call.

        Raises:
            OverQuota: it has made too many.
        """

    async def begin_stream(self, token: Token) -> None:
        """Count a stream, until :meth:`end_stream` of the same token.

        Raises:
            OverQuota: it has too many; this one is not counted.
        """

    def end_stream(self, token: Token) -> None:
        """Count a stream no more."""


class OwnQuota:
    """Counting in the process itself, which shares its tokens with no other."""

    def __init__(self) -> None:
        self._quota = Quota()

    async def call(self, token: Token) -> None:
        """As :meth:`Quota.call`."""
        self._quota.call(token)

    async def begin_stream(self, token: Token) -> None:
        """As :meth:`Quota.begin_stream`."""
        self._quota.begin_stream(token)

    def end_stream(self, token: Token) -> None:
        """As :meth:`Quota.end_stream`."""
        self._quota.end_stream(token)


class Quota:
    """What each token has used; lives in one thread.

    Calls are counted by a token bucket: it holds a minute's calls, each call takes one, and they
    come back evenly. So a minute's calls may be made at once, after a pause.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._streams: dict[str, int] = {}
        # Calls left, and when that was so.
        self._buckets: dict[str, tuple[float, float]] = {}

    def call(self, token: Token) -> None:
        """Count a call.

        Raises:
            OverQuota: it has made too many.
        """
        most = token.max_calls_per_minute
        if not most:
            self._buckets.pop(token.name, None)
            return
        now = self._clock()
        left, then = self._buckets.get(token.name, (float(most), now))
        left = min(most, left + (now - then) * most / 60)
        if left >= 1:
            self._buckets[token.name] = (left - 1, now)
            return
        self._buckets[token.name] = (left, now)
        wait = math.ceil((1 - left) * 60 / most)
        raise OverQuota(
            f"the token {token.name} has made the {most} calls that it may make in a minute; try "
            f"again in {wait} s",
            wait,
        )

    def begin_stream(self, token: Token) -> None:
        """Count a stream, until :meth:`end_stream` of the same token.

        Raises:
            OverQuota: it has too many; this one is not counted.
        """
        count = self._streams.get(token.name, 0)
        if token.max_streams and count >= token.max_streams:
            plural = "s" if count > 1 else ""
            raise OverQuota(
                f"the token {token.name} has {count} stream{plural} open, as many as it may; end "
                f"one, or try again in {_STREAM_SECONDS} s",
                _STREAM_SECONDS,
            )
        self._streams[token.name] = count + 1

    def end_stream(self, token: Token) -> None:
        """Count a stream no more."""
        self._streams[token.name] -= 1
        if not self._streams[token.name]:
            del self._streams[token.name]
