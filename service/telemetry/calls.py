"""Observing every call of a server: its name, its log line, its metrics and its trace."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import grpc
from ossicle.service.security.caller import caller

from .call import REQUEST_ID, Call, current_call, request_id
from .metrics import ServerMetrics

if TYPE_CHECKING:
    from .tracing import Tracing

    Handler = grpc.RpcMethodHandler[Any, Any]
    Details = grpc.HandlerCallDetails

log = logging.getLogger(__name__)

_MAKERS: dict[str, Callable[..., Handler]] = {
    "unary_unary": grpc.unary_unary_rpc_method_handler,
    "unary_stream": grpc.unary_stream_rpc_method_handler,
    "stream_unary": grpc.stream_unary_rpc_method_handler,
    "stream_stream": grpc.stream_stream_rpc_method_handler,
}
# Of the calls that monitoring makes all day long, only failures are worth a line.
_QUIET = ("/grpc.health.", "/grpc.reflection.")
_FINE = (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED)


class CallObserver(grpc.aio.ServerInterceptor):
    """Observes all calls; to be the first interceptor, so that it sees what others refuse.

    Args:
        metrics: where calls are counted.
        tracing: where spans go; None for no traces.
    """

    def __init__(self, metrics: ServerMetrics, tracing: Tracing | None = None) -> None:
        self._metrics = metrics
        self._tracing = tracing

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler | None]], details: Details
    ) -> Handler | None:
        """Give a call's handler an observer."""
        handler = await continuation(details)
        if handler is None:
            # The method is the client's invention: as a label it could be anything.
            self._metrics.calls.labels("unknown", grpc.StatusCode.UNIMPLEMENTED.name).inc()
            return None
        kind = "_".join(
            "stream" if streaming else "unary"
            for streaming in (handler.request_streaming, handler.response_streaming)
        )
        behaviour = self._observed(getattr(handler, kind), details.method)
        return _MAKERS[kind](behaviour, handler.request_deserializer, handler.response_serializer)

    def _observed(self, behaviour: Callable[..., Any], path: str) -> Callable[..., Any]:
        if inspect.isasyncgenfunction(behaviour):
            # Not a generator, which gRPC leaves as it is when a client leaves: it would be closed
            # when Python finds it, long after its call.
            async def write(request: Any, context: Any) -> None:
                try:
                    with self._call(path, context):
                        async with aclosing(behaviour(request, context)) as responses:
                            async for response in responses:
                                await context.write(response)
                except grpc.aio.AbortError as aborted:
                    del request, context
                    raise _bare(aborted) from None

            return write

        async def answer(request: Any, context: Any) -> Any:
            try:
                with self._call(path, context):
                    return await behaviour(request, context)
            except grpc.aio.AbortError as aborted:
                del request, context
                raise _bare(aborted) from None

        return answer

    @contextmanager
    def _call(self, path: str, context: grpc.aio.ServicerContext[Any, Any]) -> Iterator[None]:
        """Observe one call from its start to its end; the task that runs it is its own."""
        metadata = context.invocation_metadata()
        peer = context.peer()  # of a call that is over, gRPC would read memory that is free
        call = Call(request_id(metadata), path.rpartition("/")[2])
        if caller.get():
            call.facts["client"] = caller.get()
        current_call.set(call)
        # Not initial metadata, after which gRPC's clients may not retry a call that is refused.
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        active = self._metrics.calls_active.labels(call.method)
        active.inc()
        began = time.perf_counter()
        span = self._tracing.call(path, call, metadata) if self._tracing else nullcontext()
        code = grpc.StatusCode.OK
        with span as end:
            try:
                yield
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED  # the client has left, or its deadline has come
                raise
            except BaseException:
                code = _code(context)
                raise
            finally:
                seconds = time.perf_counter() - began
                active.dec()
                self._metrics.calls.labels(call.method, code.name).inc()
                self._metrics.call_seconds.labels(call.method).observe(seconds)
                if end is not None:
                    end(code)
                _log_end(path, call, code, seconds, peer, context)


def _bare(aborted: grpc.aio.AbortError) -> grpc.aio.AbortError:
    """An error that no longer knows where it came through and what it came from.

    gRPC keeps it with the call that it ended. The frames that it knows by its traceback know the
    call in turn, and what the call had: a decoder's memory, too. All that would stay until Python
    looks for objects that know each other, which is seldom, and does not see how large they are.
    """
    aborted.__context__ = None
    return aborted.with_traceback(None)


def _code(context: grpc.aio.ServicerContext[Any, Any]) -> grpc.StatusCode:
    """The status of a call whose handler has raised: what it aborted with, else UNKNOWN."""
    number = context.code()  # grpc.aio gives a number here
    for code in grpc.StatusCode:
        if number in (code, code.value[0]) and code is not grpc.StatusCode.OK:
            return code
    return grpc.StatusCode.UNKNOWN


def _log_end(
    path: str,
    call: Call,
    code: grpc.StatusCode,
    seconds: float,
    peer: str,
    context: grpc.aio.ServicerContext[Any, Any],
) -> None:
    quiet = path.startswith(_QUIET) and code in _FINE
    level = logging.DEBUG if quiet else logging.INFO
    if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        level = logging.ERROR
    if not log.isEnabledFor(level):
        return
    facts: dict[str, Any] = {
        "request_id": call.request_id,
        "method": call.method,
        "code": code.name,
        "seconds": round(seconds, 3),
        "peer": peer,
        **call.facts,
    }
    if code not in _FINE:
        facts.setdefault("reason", context.details())
    log.log(level, "call ended", extra={"facts": facts})
