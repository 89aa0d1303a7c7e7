"""What the holder of a token may use, on a clock that the tests move."""

from __future__ import annotations

import pytest
from ossicle.service.pace import Pace
from ossicle.service.security.quota import OverQuota, Quota
from ossicle.service.security.tokens import Token

HASH = "0" * 64


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_calls_of_a_minute_may_come_at_once_and_then_evenly() -> None:
    clock = Clock()
    quota, token = Quota(clock), Token("a", HASH, max_calls_per_minute=6)
    for _ in range(6):
        quota.call(token)
    with pytest.raises(OverQuota, match=r"made the 6 calls.*try again in 10 s") as refused:
        quota.call(token)
    assert refused.value.retry_seconds == 10
    clock.now += 9.5
    with pytest.raises(OverQuota, match="try again in 1 s"):
        quota.call(token)
    clock.now += 0.5
    quota.call(token)
    with pytest.raises(OverQuota):
        quota.call(token)
    clock.now += 3600
    for _ in range(6):
        quota.call(token)
    with pytest.raises(OverQuota):
        quota.call(token)


def test_tokens_do_not_use_up_each_others_calls_and_streams() -> None:
    quota = Quota(Clock())
    first, second = (Token(name, HASH, 1, 1) for name in "ab")
    for token in (first, second):
        quota.call(token)
        quota.begin_stream(token)
    for token in (first, second):
        with pytest.raises(OverQuota):
            quota.call(token)
        with pytest.raises(OverQuota, match=f"{token.name} has 1 stream open"):
            quota.begin_stream(token)
    quota.end_stream(first)
    quota.begin_stream(first)
    with pytest.raises(OverQuota):
        quota.begin_stream(second)


def test_limits_that_are_changed_count_at_once() -> None:
    clock = Clock()
    quota = Quota(clock)
    for _ in range(100):
        quota.call(Token("a", HASH))
        quota.begin_stream(Token("a", HASH))
    with pytest.raises(OverQuota, match="100 streams"):
        quota.begin_stream(Token("a", HASH, max_streams=50))
    for _ in range(10):
        quota.call(Token("a", HASH, max_calls_per_minute=10))
    with pytest.raises(OverQuota):
        quota.call(Token("a", HASH, max_calls_per_minute=5))


def test_messages_come_evenly_after_a_burst() -> None:
    clock = Clock()
    pace = Pace(10, burst_seconds=2, clock=clock)
    assert [pace.delay() for _ in range(20)] == pytest.approx([0.0] * 20, abs=1e-9)
    assert pace.delay() == pytest.approx(0.1)
    assert pace.delay() == pytest.approx(0.2)
    clock.now += 0.2
    assert pace.delay() == pytest.approx(0.1)
    clock.now += 1000
    assert [pace.delay() for _ in range(20)] == pytest.approx([0.0] * 20, abs=1e-9)
    assert pace.delay() == pytest.approx(0.1)
