"""The limits of a server as it tells them."""

from __future__ import annotations

from ossicle.service.limits import Limits


def test_limits_are_told_as_they_would_be_typed() -> None:
    limits = Limits(idle_timeout_seconds=0.25, max_session_seconds=1_234_567)
    lines = [line.split()[:2] for line in limits.describe()]
    assert lines == [
        ["--max-streams", "64"],
        ["--queue-seconds", "10"],
        ["--idle-timeout-seconds", "0.25"],
        ["--max-session-seconds", "1234567"],
        ["--max-message-bytes", "16777216"],
        ["--max-unary-seconds", "120"],
        ["--grace-seconds", "10"],
    ]
