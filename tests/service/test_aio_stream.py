"""The asyncio side of a stream: order, and memory that is bounded on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from ossicle.service.admission import EngineStopped
from ossicle.service.aio_stream import MAX_UNREAD_EVENTS, AioStream
from ossicle.service.engine import Engine
from ossicle.service.events import Final, Partial
from ossicle.service.session_config import SessionConfig


@pytest.fixture
def engine(tapes: Any) -> Iterator[Engine]:
    engine = Engine(tapes.model, slots=2, queue_seconds=1)
    engine.start()
    yield engine
    engine.stop()


async def test_events_come_in_order_and_end(engine: Engine, tapes: Any) -> None:
    stream = AioStream(engine, SessionConfig())
    await stream.write(tapes.record("one two"))
    stream.close()
    events = [event async for event in stream.events()]
    assert isinstance(events[-1], Final)
    assert events[-1].text == "one two"
    assert stream.samples == len(tapes.record("one two"))


async def test_a_writer_waits_for_a_reader_who_does_not_read(engine: Engine, tapes: Any) -> None:
    stream = AioStream(engine, SessionConfig())
    finals = 3 * MAX_UNREAD_EVENTS

    async def write() -> None:
        for _ in range(finals):
            await stream.write(tapes.record("a"))
            await stream.finalize()
        stream.close()

    writer = asyncio.create_task(write())
    await asyncio.sleep(0.5)
    assert not writer.done()
    texts = [event.text async for event in stream.events() if isinstance(event, Final)]
    assert texts == ["a"] * finals + [""]


async def test_an_unread_partial_is_replaced_by_the_next(engine: Engine, tapes: Any) -> None:
    stream = AioStream(engine, SessionConfig())
    for _ in range(50):
        await stream.write(tapes.record("abc"))
    stream.close()
    await asyncio.sleep(0.5)
    events = [event async for event in stream.events()]
    assert sum(isinstance(event, Partial) for event in events) <= 1
    assert events[-1].text == "abc" * 50  # type: ignore[attr-defined]


async def test_a_cancelled_stream_ends_for_reader_and_writer(engine: Engine, tapes: Any) -> None:
    stream = AioStream(engine, SessionConfig())
    stream.cancel()
    assert [event async for event in stream.events()] == []
    await asyncio.wait_for(stream.write(tapes.record("a" * 100)), 5)
    await asyncio.wait_for(stream.write(tapes.record("a" * 100)), 5)


async def test_the_end_of_the_engine_reaches_the_reader(engine: Engine, tapes: Any) -> None:
    stream = AioStream(engine, SessionConfig())
    await asyncio.to_thread(engine.stop)
    with pytest.raises(EngineStopped):
        async for _ in stream.events():
            pass
