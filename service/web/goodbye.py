"""The last that a client is told, which it may never read."""

from __future__ import annotations

from collections.abc import Awaitable

from aiohttp import web
from ossicle.service.waiting import NotInTimeError, in_time

SECONDS = 10.0
"""For a client to read what it has not read yet, and the end."""


async def tell_or_hang_up(request: web.Request, goodbye: Awaitable[None]) -> None:
    """Tell a client the end; who does not read it in time is hung up on.

    Otherwise the connection of one that reads nothing more would stay, and hold up a shutdown.
    """
    try:
        await in_time(goodbye, SECONDS)
    except NotInTimeError:
        if request.transport:
            request.transport.abort()
