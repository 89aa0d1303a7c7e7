"""Calls of the contract that do not come over gRPC, answered as if they did.

They pass the same interceptors, so that tokens, quotas, limits, metrics, logs and traces are those
of every call, and end in the same methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from ossicle.service.telemetry.call import REQUEST_ID
from ossicle.service.waiting import let_go

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

Metadata = tuple[tuple[str, str], ...]

_STATUS_DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True)
class Caller:
    """Who makes a call.

    Attributes:
        metadata: what gRPC would have brought along.
        peer: the address that the log shows.
    """

    metadata: Metadata
    peer: str


@dataclass(frozen=True)
class Outcome:
    """How a call has ended.

    Attributes:
        status: as gRPC would have told it.
        request_id: the call's name in the server's log.
    """

    status: Status
    request_id: str

    @property
    def code(self) -> grpc.StatusCode:
        """The status code."""
        return _CODES[self.status.code]

    @property
    def retry_seconds(self) -> int:
        """When trying again makes sense; 0 if it does not."""
        info = RetryInfo()
        for detail in self.status.details:
            if detail.Unpack(info):
                return int(info.retry_delay.seconds)
        return 0


_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class LocalCalls:
    """Runs calls in the event loop of the server.

    Args:
        interceptors: those of the gRPC server, in the same order.
        methods: the handlers by the path of their methods.
    """

    def __init__(
        self,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        methods: Mapping[str, Handler],
    ) -> None:
        self._interceptors = interceptors
        self._methods = methods

    async def run(
        self,
        method: str,
        requests: AsyncIterator[Any],
        write: Callable[[Any], Awaitable[None]],
        caller: Caller,
    ) -> Outcome:
        """Answer one call; it is cancelled where this is.

        Args:
            method: the path of the method.
            requests: what is asked; not looked at unless the call is admitted.
            write: takes each response.
            caller: who asks.
        """
        # A task of its own, as with gRPC: what it holds is given back when the task ends.
        task = asyncio.create_task(self._answer(method, requests, _Context(caller, write)))
        try:
            await asyncio.wait({task})
        finally:
            let_go(task)
        return task.result()

    async def _answer(
        self, method: str, requests: AsyncIterator[Any], context: _Context
    ) -> Outcome:
        details = _Details(method, context.caller.metadata)
        handler = await self._intercepted(details, 0)
        behaviour = handler.stream_stream or handler.stream_unary
        try:
            response = await cast("Any", behaviour)(requests, context)
            if response is not None:
                await context.write(response)
        except grpc.aio.AbortError:
            pass  # the context knows why
        return context.outcome()

    async def _intercepted(self, details: _Details, number: int) -> Handler:
        if number == len(self._interceptors):
            return self._methods[details.method]

        async def inner(details: Any) -> Handler:
            return await self._intercepted(details, number + 1)

        return cast("Handler", await self._interceptors[number].intercept_service(inner, details))


@dataclass(frozen=True)
class _Details(grpc.HandlerCallDetails):
    method: str
    invocation_metadata: Metadata


class _Context:
    """What of a ``grpc.aio.ServicerContext`` the interceptors and methods of ours use."""

    def __init__(self, caller: Caller, write: Callable[[Any], Awaitable[None]]) -> None:
        self.caller = caller
        self.write = write
        self._status = Status()
        self._trailing: tuple[tuple[str, str | bytes], ...] = ()

    def invocation_metadata(self) -> Metadata:
        return self.caller.metadata

    def peer(self) -> str:
        return self.caller.peer

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str | bytes], ...]) -> None:
        self._trailing = metadata

    def code(self) -> int:
        return int(self._status.code)

    def details(self) -> str:
        return str(self._status.message)

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: tuple[tuple[str, str | bytes], ...] = (),
    ) -> NoReturn:
        self._status = Status(code=code.value[0], message=details)
        self._trailing = trailing_metadata
        raise grpc.aio.AbortError

    def outcome(self) -> Outcome:
        """How the call has ended."""
        trailing = dict(self._trailing)
        status = self._status
        if encoded := trailing.get(_STATUS_DETAILS):
            status = Status.FromString(cast("bytes", encoded))
        return Outcome(status, str(trailing.get(REQUEST_ID, "")))
