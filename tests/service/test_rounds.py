"""What the engine tells of its rounds."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from calls import until
from ossicle.service.engine import Engine
from ossicle.service.rounds import Round
from ossicle.service.session import SessionConfig

HELD_SECONDS = 0.1


@pytest.fixture
def held(tapes: Any) -> Any:
    """A recogniser whose steps of sound say that they began, and last until they are let go."""

    class Held(type(tapes.model)):  # type: ignore[misc]
        def __init__(self) -> None:
            self.began = threading.Semaphore(0)
            self.go_on = threading.Semaphore(0)

        def step(self, samples: Any, state: Any) -> Any:
            if samples.any():
                self.began.release()
                assert self.go_on.acquire(timeout=20)
            return super().step(samples, state)

    return Held()


def test_a_round_tells_its_batch_its_times_and_how_long_the_first_chunk_waited(
    held: Any, tapes: Any
) -> None:
    rounds: list[Round] = []
    engine = Engine(held, slots=2, on_round=rounds.append)
    engine.start()
    assert engine.wait_ready(20)
    block = tapes.record("ab")  # four frames
    one, two = (engine.open(SessionConfig(), lambda events: None) for _ in range(2))
    one.write(block)
    assert held.began.acquire(timeout=20)
    two.write(block)  # comes during the step and waits for its end
    time.sleep(HELD_SECONDS)
    held.go_on.release(2)
    assert until(lambda: len(rounds) == 2)
    first, second = rounds
    assert (first.streams, second.streams) == (1, 1)
    assert (first.audio, second.audio) == (len(block), len(block))
    assert first.waited is not None
    assert first.network >= HELD_SECONDS
    assert second.waited is not None
    assert second.waited >= HELD_SECONDS
    assert min(first.answering, second.answering, second.network) > 0
    assert engine.stop()


def test_what_nobody_has_just_sent_is_not_said_to_have_waited(held: Any, tapes: Any) -> None:
    rounds: list[Round] = []
    engine = Engine(held, slots=1, on_round=rounds.append)
    engine.start()
    assert engine.wait_ready(20)
    stream = engine.open(SessionConfig(), lambda events: None)
    stream.write(tapes.record("ababab"))  # three blocks at once
    held.go_on.release(3)
    assert until(lambda: len(rounds) == 3)
    assert [each.waited is None for each in rounds] == [False, True, True]
    assert engine.stop()
