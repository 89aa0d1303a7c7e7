"""Waiting for something, but not for ever: what is given up leaves nothing, and says nothing."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from ossicle.service.waiting import NotInTimeError, in_time


class Held:
    """Something that a task knows."""


async def test_what_is_given_up_is_in_memory_no_longer() -> None:
    async def wait(held: Held) -> None:
        await asyncio.wait([asyncio.get_running_loop().create_future()])

    held = Held()
    kept = weakref.ref(held)
    gc.collect()
    gc.disable()
    try:
        work = wait(held)
        with pytest.raises(NotInTimeError):
            await in_time(work, 0.01)
        del held, work
        await asyncio.sleep(0.01)
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("seconds", [0.01, None])
async def test_an_error_of_what_is_given_up_is_not_logged(seconds: float | None) -> None:
    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("too late")

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
    waiting = asyncio.create_task(in_time(wait(), seconds))
    await asyncio.sleep(0)
    if seconds is None:
        await asyncio.sleep(0)
        waiting.cancel()
    with pytest.raises((NotInTimeError, asyncio.CancelledError)):
        await waiting
    await asyncio.sleep(0.01)
    gc.collect()
    assert complaints == []


async def test_an_error_in_time_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("in time")

    with pytest.raises(ValueError, match="in time"):
        await in_time(fail(), 1)
