"""The standard health service, whose watchers do not hold up a shutdown."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from .waiting import let_go

# The last status is on its way to a watcher for less than this.
_LAST_STATUS_SECONDS = 0.2


class HealthServicer(health.aio.HealthServicer):  # type: ignore[misc]
    """Answers health checks; ``Watch`` ends once NOT_SERVING was said for good.

    gRPC's own watches on for ever, and a server that stops waits for it as for any call.
    """

    def __init__(self) -> None:
        super().__init__()
        self._leaving = asyncio.Event()

    async def Watch(  # noqa: N802 - the contract's name
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        """Tell the present status and each change of it, until the server shuts down."""
        watch = asyncio.ensure_future(super().Watch(request, context))
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            await asyncio.wait({watch, leaving}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({watch}, timeout=_LAST_STATUS_SECONDS)
        finally:
            let_go(leaving)
            let_go(watch)
        if watch.done():
            await watch

    async def enter_graceful_shutdown(self) -> None:
        """Say NOT_SERVING from now on, and let the watchers go."""
        await super().enter_graceful_shutdown()
        self._leaving.set()
