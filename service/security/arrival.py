"""How requests arrive: readable, not too large, and the one of a call that is no stream in time."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf.message import DecodeError
from ossicle.service.errors import ServiceError, as_service_error, invalid
from ossicle.service.telemetry.call import current_call
from ossicle.service.waiting import NotInTimeError, in_time

from .message_size import sized

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]


def awaiting(handler: Handler, seconds: float) -> Handler:
    """A handler that does the same as one of a single request, but waits for it not for ever.

    gRPC itself would, and a request that never arrives would be held in memory as long. To a client
    both are the same: a stream of one request.

    Args:
        handler: a handler whose requests are no stream.
        seconds: how long the request may take to arrive.
    """
    if handler.response_streaming:
        behaviour = cast("Callable[..., Any]", handler.unary_stream)
        make = grpc.stream_stream_rpc_method_handler
    else:
        behaviour = cast("Callable[..., Any]", handler.unary_unary)
        make = grpc.stream_unary_rpc_method_handler

    async def answer(requests: AsyncIterator[Any], context: Context) -> Any:
        return await behaviour(await _arrived(requests, context, seconds), context)

    async def answers(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async for response in behaviour(await _arrived(requests, context, seconds), context):
            yield response

    chosen: Callable[..., Any] = answers if inspect.isasyncgenfunction(behaviour) else answer
    return make(chosen, _deserializer(handler), handler.response_serializer)


def reading(handler: Handler, seconds: float) -> Handler:
    """A handler of a stream that does the same, but refuses messages that cannot be read.

    To gRPC they are a fault of the server. Handlers that write their responses themselves see to it
    themselves, and to clients that say nothing.

    Args:
        handler: a handler whose requests are a stream.
        seconds: how long the client may say nothing.
    """
    behaviour = cast("Callable[..., Any]", handler.stream_stream)
    deserialize = _deserializer(handler)
    if not inspect.isasyncgenfunction(behaviour):
        return grpc.stream_stream_rpc_method_handler(
            behaviour, deserialize, handler.response_serializer
        )

    async def answers(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        try:
            async for response in behaviour(_in_time(requests, seconds), context):
                yield response
        except (DecodeError, ServiceError) as error:
            await as_service_error(error).abort(context, name_of_call())

    return grpc.stream_stream_rpc_method_handler(answers, deserialize, handler.response_serializer)


def name_of_call() -> str:
    """The name of the running call, or one for a call that nobody has named."""
    call = current_call.get()
    return call.request_id if call else uuid.uuid4().hex


def _deserializer(handler: Handler) -> Callable[[bytes], Any]:
    return sized(cast("Callable[[bytes], Any]", handler.request_deserializer))


async def _in_time(requests: AsyncIterator[Any], seconds: float) -> AsyncIterator[Any]:
    """The same requests.

    Raises:
        ServiceError: DEADLINE_EXCEEDED if none comes for too long.
    """
    while True:
        try:
            request = await in_time(anext(requests, None), seconds)
        except NotInTimeError:
            raise ServiceError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"nothing was sent for {seconds:g} s; ask, or half-close",
            ) from None
        if request is None:
            return
        yield request


async def _arrived(requests: AsyncIterator[Any], context: Context, seconds: float) -> Any:
    """The request.

    Raises:
        grpc.aio.AbortError: it has not arrived in time, there is none, or it is no message.
    """
    refusal = invalid("the request is missing; send one")
    request = None
    try:
        request = await in_time(anext(requests, None), seconds)
    except NotInTimeError:
        refusal = ServiceError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"the request has not arrived within {seconds:g} s; send long recordings as a stream",
        )
    except (DecodeError, ServiceError) as error:
        refusal = as_service_error(error)
    if request is None:
        await refusal.abort(context, name_of_call())
    return request
