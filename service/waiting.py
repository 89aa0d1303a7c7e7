"""Waiting for something, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class NotInTimeError(Exception):
    """What was waited for has not come."""


def doubled(first: float, times: int, longest: float) -> float:
    """Seconds to wait after so many failures: the first wait, doubled so often, up to a longest."""
    # A power of thousands would overflow, long after the longest was reached.
    return min(first * 2.0 ** min(times, 100), longest)


async def in_time(
    work: Awaitable[T],
    seconds: float | None = None,
    unless: Iterable[asyncio.Future[Any]] = (),
) -> T:
    """What ``work`` returns; it is cancelled if it is not done in time.

    Args:
        work: what is waited for.
        seconds: how long it may take; None for as long as it takes.
        unless: the waiting ends, too, when one of these is done.

    Raises:
        NotInTimeError: it is not done.
        Exception: its own.
    """
    # Not wait_for, which before Python 3.12 may lose that it was cancelled.
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, *unless), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        let_go(task)
        del task  # whose error knows this frame: the two would stay in memory
    raise NotInTimeError


def let_go(task: asyncio.Future[Any]) -> None:
    """Cancel a task that nobody waits for any more, and leave nothing of it in memory.

    What it is cancelled with knows its frames, and one of `asyncio.wait`, since Python 3.14, the
    task: without this the garbage collector would find them, some time.
    """
    if task.done():
        _forget(task)
    else:
        task.cancel()
        task.add_done_callback(_forget)


def _forget(task: asyncio.Future[Any]) -> None:
    # A cancelled task that has said why does not keep it, and an error that came at the same time
    # is not logged as one that nobody has seen to.
    with suppress(asyncio.CancelledError):
        task.exception()
