"""The limits of a server: each has a default, a flag and an environment variable."""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field, fields
from typing import Any


def _limit(default: float, text: str) -> Any:
    return field(default=default, metadata={"help": text})


CLIENTS_SEND_BYTES = 1 << 16
"""Audio that our own clients, the page and the HTTP endpoints send at once, in one message.

No server has a lower limit, and a partial may come between two.
"""


@dataclass(frozen=True)
class Limits:
    """What a server lets its clients do. ``help`` in each field's metadata says what it limits.

    Raises:
        ValueError: for a value out of its range.
    """

    max_streams: int = _limit(64, "Streams and recordings at the same time; costs memory.")
    queue_seconds: float = _limit(10, "Audio of one stream that may wait, in seconds, from 1.")
    max_delay_seconds: float = _limit(
        0.15, "Streams that would make live ones wait longer are refused; 0 for no limit."
    )
    idle_timeout_seconds: float = _limit(60, "A client may send nothing for so long.")
    max_session_seconds: float = _limit(0, "Most audio of one stream, in seconds; 0 for no limit.")
    max_call_seconds: float = _limit(0, "A stream may stay open for so long; 0 for no limit.")
    max_message_bytes: int = _limit(16 << 20, "Most bytes of audio in one message.")
    max_messages_per_second: int = _limit(500, "Messages of a stream; faster ones have to wait.")
    max_unary_seconds: float = _limit(120, "Longest recording for Recognize, in seconds.")
    grace_seconds: float = _limit(10, "Time to send the last finals at shutdown, in seconds.")

    def __post_init__(self) -> None:
        """Check the ranges."""
        lowest = {
            "queue_seconds": 1.0,
            "max_delay_seconds": 0.0,
            "max_session_seconds": 0.0,
            "max_call_seconds": 0.0,
            "grace_seconds": 0.0,
        }
        for limit in fields(self):
            value = getattr(self, limit.name)
            least = lowest.get(limit.name, 1.0 if limit.type == "int" else 0.001)
            if not (math.isfinite(value) and value >= least):
                raise ValueError(f"{flag(limit)} is {value:.15g}; give {least:g} or more")
        if self.max_message_bytes > 1 << 30:
            raise ValueError(
                f"--max-message-bytes is {self.max_message_bytes}; gRPC's messages end at "
                f"{1 << 30}: longer recordings go in several"
            )

    @property
    def max_calls(self) -> int:
        """Calls open at the same time, those that have no stream yet or get none included."""
        return 2 * self.max_streams + 16

    @property
    def max_connections(self) -> int:
        """Connections open at the same time."""
        return 2 * self.max_calls

    @property
    def recording_arrival_seconds(self) -> float:
        """Time in which a recording for Recognize must have arrived as a whole."""
        return self.max_unary_seconds + self.idle_timeout_seconds

    def describe(self) -> list[str]:
        """One line for each limit: its flag, its value and what it limits."""
        return [
            f"{flag(limit)} {getattr(self, limit.name):.15g}".ljust(32) + limit.metadata["help"]
            for limit in fields(self)
        ]


def flag(limit: Field[Any]) -> str:
    """The command line's name of a limit, such as ``--max-streams``."""
    return "--" + limit.name.replace("_", "-")


def environment_variable(limit: Field[Any]) -> str:
    """The environment's name of a limit, such as ``OSSICLE_MAX_STREAMS``."""
    return "OSSICLE_" + limit.name.upper()
