"""What the engine tells of its rounds."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from calls import until
from ossicle.service.endpoint import EndpointConfig
from ossicle.service.engine import Engine
from ossicle.service.rounds import Round
from ossicle.service.session_config import SessionConfig

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


def test_a_file_makes_others_wait_for_the_round_under_way_and_no_longer(
    held: Any, tapes: Any
) -> None:
    """Who has much to recognise gets a block in each round, as everybody does."""
    rounds: list[Round] = []
    engine = Engine(held, slots=4, on_round=rounds.append)
    engine.start()
    assert engine.wait_ready(20)
    block = tapes.record("ab")
    *files, microphone = (engine.open(SessionConfig(), lambda events: None) for _ in range(4))
    for file in files:
        file.write(np.tile(block, 50))
    assert held.began.acquire(timeout=20)
    for spoken in range(1, 4):
        microphone.write(block)  # comes during a round, and is in the next
        held.go_on.release()
        assert until(lambda count=spoken: len(rounds) == count)
        assert held.began.acquire(timeout=20)
    assert [each.streams for each in rounds[1:]] == [4, 4]
    assert all(each.audio == len(block) for each in rounds)
    assert microphone.consumed == 2 * len(block)
    held.go_on.release()
    assert until(lambda: microphone.consumed == 3 * len(block))
    assert all(file.backlog >= 40 * len(block) for file in files)
    held.go_on.release(200)
    assert engine.stop()


def test_files_get_what_those_who_speak_leave(held: Any, tapes: Any) -> None:
    rounds: list[Round] = []
    engine = Engine(held, slots=7, live_first=True, on_round=rounds.append)
    engine.start()
    assert engine.wait_ready(20)
    block = tapes.record("ab")
    # One utterance each: after a cut, blocks begin elsewhere, and the last would be half full.
    whole = SessionConfig(endpointing=EndpointConfig(max_utterance_duration=300))
    files = [engine.open(whole, lambda events: None) for _ in range(6)]
    for file in files:
        file.write(np.tile(block, 200))
    held.go_on.release(100)
    for _ in range(101):
        assert held.began.acquire(timeout=20)
    assert all(file.ahead for file in files)
    microphone = engine.open(SessionConfig(), lambda events: None)
    for count, spoken in enumerate((False, True, True, False), start=101):
        if spoken:
            microphone.write(block)
        held.go_on.release()
        assert until(lambda count=count: len(rounds) == count)
        assert held.began.acquire(timeout=20)
    held.go_on.release(2000)
    assert until(lambda: len(rounds) > 105)
    # All while nobody speaks, some while somebody may, one beside each that does.
    assert [each.streams for each in rounds[99:105]] == [6, 6, 4, 2, 2, 4]
    assert until(lambda: not any(file.backlog for file in files))
    assert {file.consumed for file in files} == {200 * len(block)}, "none is forgotten"
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
