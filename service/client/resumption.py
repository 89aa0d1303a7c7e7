"""When a stream that lost its server is tried again, and when it is given up."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from ossicle.service.waiting import doubled

from .errors import BusyError, OssicleError, UnavailableError, UnknownModelError
from .replicas import connections_for

# A stream that no server has answered yet is tried for as long as a unary call.
_PATIENCE_AT_START = 2.0
_LEAST_KEPT_BYTES = 1 << 20
# gRPC's words for a connection that something between client and server has cut, and for a write
# that failed with it.
_CUT_OFF = ("Received RST_STREAM", "Internal error from Core")


@dataclass(frozen=True)
class Resumption:
    """How a stream goes on when its server does not.

    Each address is tried once, in turn; then there is a wait, which doubles each time and is made
    longer or shorter by up to a half at random, so that a server that comes back does not meet all
    of its clients at once.

    Attributes:
        patience: seconds without any answer after which a stream is given up.
        attempts: connections that were answered and then broke, without a final result between
            them, after which it is given up: its audio may be what fells the servers.
        first_wait: seconds after all addresses were tried once.
        longest_wait: seconds at most.
        keep_bytes: audio to keep at most. Audio without a header is kept since the last final
            result or silence, as long as an utterance may be, and the oldest is dropped when there
            is too much; of a container format all is kept, since it can only be read from its
            start. A stream whose audio is not kept any more ends with its server.

    Raises:
        ValueError: a value is out of its range.
    """

    patience: float = 60.0
    attempts: int = 20
    first_wait: float = 0.1
    longest_wait: float = 5.0
    keep_bytes: int = 32 << 20

    def __post_init__(self) -> None:
        """Check the ranges."""
        least = {"patience": 0.0, "attempts": 1, "keep_bytes": _LEAST_KEPT_BYTES}
        for part in fields(self):
            value = getattr(self, part.name)
            lowest = least.get(part.name, 0.001)
            if not (math.isfinite(value) and value >= lowest):
                raise ValueError(f"{part.name} is {value}; give {lowest:g} or more")


DEFAULT_RESUMPTION = Resumption()


class Attempts:
    """The attempts of one stream.

    Args:
        resumption: how often to try.
        addresses: how many there are to choose from.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, resumption: Resumption, addresses: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._resumption = resumption
        self._addresses = addresses
        self._clock = clock
        self._begun = False
        self._was_answered = False  # the present connection
        self._broken = 0
        self._failures = 0
        self._failing_since: float | None = None
        self._full = 0  # processes of the present server that had no room, one after the other

    def answered(self, finally_: bool) -> None:
        """Note that something new came, and whether it came to stay."""
        self._begun = self._was_answered = True
        self._failing_since = None
        self._full = 0
        if finally_:
            self._failures = self._broken = 0

    def another_connection(self, error: OssicleError) -> bool:
        """Whether the same server should be tried over another connection, at once."""
        if isinstance(error, BusyError) and error.processes > 1:
            self._full += 1
            if self._full < connections_for(error.processes):
                return True
        self._full = 0
        return False

    def wait_after(self, error: OssicleError) -> float | None:
        """Seconds to wait before the next attempt, at the next address.

        Returns:
            None if there should be no other.
        """
        busy = isinstance(error, BusyError)
        # A server that was given other models is no longer one to go on at; others may be.
        no_replica = self._begun and isinstance(error, UnknownModelError)
        if not (busy or no_replica or is_passing(error)):
            return None
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        self._failures += 1
        rounds, others = divmod(self._failures, self._addresses)
        self._broken += self._was_answered
        self._was_answered = False
        if self._broken >= self._resumption.attempts:
            return None
        if others:
            return 0.0
        if busy and not self._begun:
            return None
        settings = self._resumption
        wait = doubled(settings.first_wait, rounds - 1, settings.longest_wait)
        wait *= random.uniform(0.5, 1.5)
        if busy:
            wait = max(wait, error.retry_after or 0.0)
        patience = settings.patience if self._begun else min(_PATIENCE_AT_START, settings.patience)
        return None if now + wait - self._failing_since > patience else wait


def is_passing(error: OssicleError) -> bool:
    """Whether the connection or the server is to blame, so that another one might do better."""
    return isinstance(error, UnavailableError) or any(words in error.message for words in _CUT_OFF)
