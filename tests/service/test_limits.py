"""The limits of a server: which make sense, and how it tells them."""

from __future__ import annotations

from typing import Any

import pytest
from ossicle.service.limits import Limits


def test_limits_are_told_as_they_would_be_typed() -> None:
    limits = Limits(idle_timeout_seconds=0.25, max_session_seconds=1_234_567)
    lines = [line.split()[:2] for line in limits.describe()]
    assert lines == [
        ["--max-streams", "64"],
        ["--queue-seconds", "10"],
        ["--max-delay-seconds", "0.15"],
        ["--idle-timeout-seconds", "0.25"],
        ["--max-session-seconds", "1234567"],
        ["--max-call-seconds", "0"],
        ["--max-message-bytes", "16777216"],
        ["--max-messages-per-second", "500"],
        ["--max-unary-seconds", "120"],
        ["--grace-seconds", "10"],
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_streams": 0}, "--max-streams is 0; give 1 or more"),
        ({"queue_seconds": 0.5}, "--queue-seconds is 0.5; give 1 or more"),
        ({"max_delay_seconds": -1}, "--max-delay-seconds is -1; give 0 or more"),
        ({"idle_timeout_seconds": 0}, "--idle-timeout-seconds is 0; give"),
        ({"max_session_seconds": -1}, "--max-session-seconds is -1; give 0 or more"),
        ({"max_call_seconds": -1}, "--max-call-seconds is -1; give 0 or more"),
        ({"max_messages_per_second": 0}, "--max-messages-per-second is 0; give 1 or more"),
        ({"max_message_bytes": 1 << 31}, "--max-message-bytes is 2147483648"),
    ],
)
def test_limits_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits(**fields)
