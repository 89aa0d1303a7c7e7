"""Times as the contract's messages hold them."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration


def seconds(duration: Duration) -> float:
    """A duration as a number.

    Raises:
        ValueError: its parts contradict each other.
    """
    if abs(duration.nanos) >= 10**9 or duration.seconds * duration.nanos < 0:
        raise ValueError(
            f"a duration has seconds {duration.seconds} and nanos {duration.nanos}; give fewer "
            "than 1000000000 nanos, of the sign of the seconds"
        )
    return round(duration.seconds + duration.nanos / 1e9, 9)


def duration(seconds: float) -> Duration:
    """A number of seconds as a duration, to the microsecond."""
    message = Duration()
    message.FromMicroseconds(round(seconds * 1_000_000))
    return message
