"""The engine: many streams, one step; on tapes whose words are known exactly."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from ossicle.service.admission import EngineStopped, NoFreeSlot
from ossicle.service.engine import Engine
from ossicle.service.events import Event, Final
from ossicle.service.session_config import SessionConfig

PAUSE = "_" * 40
CONFIG = SessionConfig(interim_results=False)


class Listener:
    """The owner of a stream."""

    def __init__(self, engine: Engine, on_events: Callable[[list[Event]], None] | None = None):
        self.events: list[Event] = []
        self.ends: list[Exception | None] = []
        self.ended = threading.Event()
        self.stream = engine.open(CONFIG, on_events or self.events.extend, self._end)

    def _end(self, error: Exception | None) -> None:
        self.ends.append(error)
        self.ended.set()

    def text(self) -> str:
        """Wait for the end and return what was said."""
        assert self.ended.wait(20)
        assert self.ends == [None]
        return " ".join(e.text for e in self.events if isinstance(e, Final) and e.text)


@contextmanager
def running(model: Any, **options: Any) -> Iterator[Engine]:
    engine = Engine(model, **options)
    engine.start()
    try:
        yield engine
    finally:
        assert engine.stop(timeout=10)


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_streams_do_not_mix(tapes: Any) -> None:
    """Twelve streams in turn through four slots, in chunks at random, each with its own letters."""
    chance = random.Random(1)
    with running(tapes.model, slots=4) as engine:

        def speak(number: int) -> tuple[str, str]:
            letter = "abcdefghijkl"[number]
            said = f'{letter}" {letter}{PAUSE}"{letter}{PAUSE}{letter * 3}'
            recorded = tapes.record(said)
            while True:
                try:
                    listener = Listener(engine)
                    break
                except NoFreeSlot:
                    time.sleep(0.005)
            position = 0
            while position < len(recorded):
                size = chance.choice([1, 100, 640, 5000])
                listener.stream.write(recorded[position : position + size])
                position += size
                time.sleep(0.0005)
            listener.stream.close()
            return listener.text(), f"{letter}{letter} {letter} {letter} {letter * 3}"

        results: list[tuple[str, str]] = []
        threads = [threading.Thread(target=lambda n=n: results.append(speak(n))) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(results) == 12
    assert all(heard == said for heard, said in results)


def test_ready_streams_are_stepped_together(tapes: Any) -> None:
    batches: list[int] = []

    class Counting(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            batches.append(len(samples))
            return super().step(samples, state)

    with running(Counting(), slots=8) as engine:
        assert engine.wait_ready(10)
        batches.clear()
        listeners = [Listener(engine) for _ in range(8)]
        for listener in listeners:
            listener.stream.write(tapes.record("hello" * 20))
            listener.stream.close()
        assert {listener.text() for listener in listeners} == {"hello" * 20}
    assert batches.count(8) > len(batches) / 2


def test_a_slow_stream_delays_nobody(tapes: Any) -> None:
    with running(tapes.model, slots=2) as engine:
        slow = Listener(engine)
        slow.stream.write(tapes.record("a")[:100])
        quick = Listener(engine)
        quick.stream.write(tapes.record("quick"))
        quick.stream.close()
        assert quick.text() == "quick"
        slow.stream.close()
        assert slow.text() == "a"


def test_who_asks_for_many_finals_lets_others_have_their_turn(tapes: Any) -> None:
    with running(tapes.model, slots=2) as engine:
        assert engine.wait_ready(10)
        finals: list[Event] = []
        seen: list[int] = []
        greedy = Listener(engine, lambda events: (time.sleep(0.002), finals.extend(events)))
        quick = Listener(engine, lambda events: seen.append(len(finals)))
        for _ in range(500):
            greedy.stream.finalize()
        quick.stream.write(tapes.record("quick"))
        quick.stream.close()
        greedy.stream.close()
        assert quick.ended.wait(20)
        assert seen[-1] < 400
        assert greedy.ended.wait(20)
        assert len(finals) == 501


def test_a_full_engine_refuses_and_a_cancelled_stream_frees_its_slot(tapes: Any) -> None:
    with running(tapes.model, slots=2) as engine:
        first, second = Listener(engine), Listener(engine)
        with pytest.raises(NoFreeSlot, match="all 2 streams are taken"):
            Listener(engine)
        first.stream.write(tapes.record("gone"))
        first.stream.cancel()
        assert until(lambda: engine.active == 1)
        third = Listener(engine)
        third.stream.write(tapes.record('"new'))
        third.stream.close()
        assert third.text() == "new", "nothing is left in the slot"
        assert first.ends == []
        second.stream.close()
        assert second.text() == ""


def test_a_failing_owner_ends_only_its_own_stream(tapes: Any) -> None:
    def fail(events: list[Event]) -> None:
        raise KeyError("owner")

    with running(tapes.model, slots=2) as engine:
        bad, good = Listener(engine, fail), Listener(engine)
        for listener in (bad, good):
            listener.stream.write(tapes.record("hello" + PAUSE))
        assert bad.ended.wait(10)
        assert isinstance(bad.ends[0], KeyError)
        good.stream.write(tapes.record("again"))
        good.stream.close()
        assert good.text() == "hello again"
        assert engine.active == 0


def test_a_failing_decoder_ends_only_its_own_stream(tapes: Any) -> None:
    with running(tapes.model, slots=3) as engine:
        listeners = [Listener(engine) for _ in range(3)]
        bad, *good = listeners

        def fail(log_probs: Any) -> None:
            raise KeyError("decoder")

        bad.stream.session.decoder.advance = fail
        for listener in listeners:
            listener.stream.write(tapes.record("hello" + PAUSE))
        assert bad.ended.wait(10)
        assert isinstance(bad.ends[0], KeyError)
        for listener in good:
            listener.stream.write(tapes.record("again"))
            listener.stream.close()
            assert listener.text() == "hello again"
        assert engine.active == 0


def test_a_failing_model_ends_every_stream_and_admits_no_more(tapes: Any) -> None:
    class Failing(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            if samples.any():
                raise ArithmeticError("broken")
            return super().step(samples, state)

    failures: list[Exception] = []
    with running(Failing(), slots=3, on_failure=failures.append) as engine:
        speaking, waiting = Listener(engine), Listener(engine)
        speaking.stream.write(tapes.record("hello"))
        for listener in (speaking, waiting):
            assert listener.ended.wait(10)
            (end,) = listener.ends
            assert isinstance(end, EngineStopped)
            assert "broken" in str(end)
        refused = []
        for _ in range(2):
            with pytest.raises(EngineStopped, match="broken") as told:
                Listener(engine)
            refused.append(told.value)
        # One that all were told would remember all of them, with what they had sent.
        assert len({id(end) for end in [*speaking.ends, *waiting.ends, *refused]}) == 4
        assert until(lambda: bool(failures))
        assert waiting.stream.wait_for_room(1), "a producer is not left waiting"


def test_a_model_that_does_not_run_fails_the_start(tapes: Any) -> None:
    class Failing(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            raise ArithmeticError("broken")

    with running(Failing()) as engine, pytest.raises(EngineStopped, match="broken"):
        engine.wait_ready(10)


def test_a_producer_waits_for_room(tapes: Any) -> None:
    """What waits is bounded by the limit and one chunk, however fast the producer is."""
    go = threading.Event()

    class Slow(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            assert go.wait(20)
            return super().step(samples, state)

    engine = Engine(Slow(), slots=1, queue_seconds=1)
    engine.start()
    listener = Listener(engine)
    chunk = tapes.record("hello")
    for _ in range(3):
        assert listener.stream.wait_for_room(0)
        listener.stream.write(chunk)
    assert not listener.stream.wait_for_room(0.05)
    assert 16_000 <= listener.stream.backlog < 16_000 + len(chunk)
    go.set()
    assert listener.stream.wait_for_room(10)
    listener.stream.close()
    assert listener.text() == "hello" * 3
    assert engine.stop()


def test_stopping_is_bounded_even_in_a_step_that_hangs(tapes: Any) -> None:
    hangs, go = threading.Event(), threading.Event()

    class Hanging(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            if samples.any():
                hangs.set()
                go.wait(20)
            return super().step(samples, state)

    engine = Engine(Hanging(), slots=2)
    engine.start()
    listener = Listener(engine)
    listener.stream.write(tapes.record("hello"))
    assert hangs.wait(10)
    started = time.monotonic()
    assert not engine.stop(timeout=0.2)
    assert time.monotonic() - started < 2
    assert isinstance(listener.ends[0], EngineStopped)
    go.set()
    assert engine.stop(timeout=10)
    assert len(listener.ends) == 1


def test_stopping_ends_waiting_streams(tapes: Any) -> None:
    with running(tapes.model, slots=2) as engine:
        listener = Listener(engine)
        assert engine.stop(timeout=10)
        assert isinstance(listener.ends[0], EngineStopped)
        with pytest.raises(EngineStopped):
            Listener(engine)


def test_a_finished_stream_ignores_what_still_comes(tapes: Any) -> None:
    with running(tapes.model, slots=1) as engine:
        listener = Listener(engine)
        listener.stream.write(tapes.record("one"))
        listener.stream.close()
        assert listener.text() == "one"
        listener.stream.write(np.zeros(16_000, np.float32))
        listener.stream.finalize()
        assert listener.stream.has_room()
        assert not listener.stream.inbox


def test_settings_that_cannot_work_are_refused(tapes: Any) -> None:
    with pytest.raises(ValueError, match=r"queue_seconds is 1; a block alone has 1\.28 s"):
        Engine(tapes.model, block_frames=32, queue_seconds=1)
    with pytest.raises(ValueError, match="slots"):
        Engine(tapes.model, slots=0)


def test_what_is_given_up_makes_room_at_once(tapes: Any) -> None:
    """Also while the step under way still needs its slot."""
    under_way, go_on = threading.Event(), threading.Event()

    class Slow(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            if samples.any():
                under_way.set()
                assert go_on.wait(20)
            return super().step(samples, state)

    with running(Slow(), slots=1) as engine:
        first = Listener(engine)
        first.stream.write(tapes.record("one" + PAUSE))
        assert under_way.wait(20)
        with pytest.raises(NoFreeSlot, match="all 1 streams are taken"):
            Listener(engine)
        first.stream.cancel()
        second = Listener(engine)
        with pytest.raises(NoFreeSlot, match="all 1 streams are taken"):
            Listener(engine)
        go_on.set()
        second.stream.write(tapes.record("two"))
        second.stream.close()
        assert second.text() == "two"
        assert first.events == []
        assert until(lambda: engine.active == 0)
