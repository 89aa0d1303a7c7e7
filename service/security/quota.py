"""How much the holder of a token may use: streams at the same time, and calls in a minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import grpc
from ossicle.service.errors import RETRY_SECONDS, ServiceError

from .tokens import Token


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
            ServiceError: RESOURCE_EXHAUSTED, and when to come again.
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
        raise ServiceError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"the token {token.name} has made the {most} calls that it may make in a minute; try "
            f"again in {wait} s",
            wait,
        )

    def begin_stream(self, token: Token) -> None:
        """Count a stream, until :meth:`end_stream` of the same token.

        Raises:
            ServiceError: RESOURCE_EXHAUSTED; it is not counted then.
        """
        count = self._streams.get(token.name, 0)
        if token.max_streams and count >= token.max_streams:
            plural = "s" if count > 1 else ""
            raise ServiceError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the token {token.name} has {count} stream{plural} open, as many as it may; end "
                f"one, or try again in {RETRY_SECONDS} s",
                RETRY_SECONDS,
            )
        self._streams[token.name] = count + 1

    def end_stream(self, token: Token) -> None:
        """Count a stream no more."""
        self._streams[token.name] -= 1
        if not self._streams[token.name]:
            del self._streams[token.name]
