"""How a call of ``grpc.aio`` has ended, as it was when it ended."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

import grpc
import grpc.aio

T = TypeVar("T")


def status_now(call: grpc.aio.Call) -> grpc.aio.AioRpcError:
    """The status of a call that has just ended, kept before gRPC may overwrite it.

    A write that was under way when the server ended the call fails after the status has come,
    and grpc.aio then reports that failure as INTERNAL in its place (grpc/grpc#36066).
    """
    return grpc.aio.AioRpcError(
        _result_now(call.code()),
        grpc.aio.Metadata(),
        _result_now(call.trailing_metadata()),
        _result_now(call.details()),
    )


def _result_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for, outside the event loop."""
    try:
        coroutine.send(None)
    except StopIteration as result:
        return cast("T", result.value)
    coroutine.close()
    raise RuntimeError("the call has ended, yet its status has to be waited for")
