"""What a call to a server can fail with.

::

    OssicleError                      any failed call
    ├── RequestError                  the request cannot work; repeating it will not help
    │   ├── InvalidRequestError       INVALID_ARGUMENT    wrong value, wrong order, not that audio
    │   ├── UnknownModelError         NOT_FOUND           the message lists the models there are
    │   ├── UnsupportedError          UNIMPLEMENTED       a feature the server does not have
    │   ├── LimitError                OUT_OF_RANGE        past a limit of the server
    │   │                             RESOURCE_EXHAUSTED  a message far past it, refused by gRPC
    │   └── AuthenticationError       UNAUTHENTICATED, PERMISSION_DENIED
    ├── BusyError                     RESOURCE_EXHAUSTED  no free stream; see ``retry_after``
    ├── UnavailableError              UNAVAILABLE         not reachable, or shutting down
    ├── TimedOutError                 DEADLINE_EXCEEDED   no answer in time, or idle for too long
    ├── CallCancelledError            CANCELLED           ended by the client
    └── ServerError                   every other status: a fault of the server

Wrong arguments that need no server to be noticed raise ``ValueError`` or ``TypeError`` instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from .access import CLEAR_TEXT, Access


class OssicleError(Exception):
    """A call to a server failed.

    Attributes:
        message: what went wrong and what to do about it.
        status: the gRPC status code.
        request_id: the call's name in the server's log; "" if the server did not say it.
        retry_after: seconds after which the server expects to be free, None if it did not say.
        processes: of the server that share the load by connections; if there are several, another
            connection may find room where this one did not.
    """

    def __init__(
        self,
        message: str,
        status: grpc.StatusCode,
        request_id: str = "",
        retry_after: float | None = None,
        processes: int = 1,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.processes = processes


class RequestError(OssicleError):
    """The server refused the request; repeating it will not help."""


class InvalidRequestError(RequestError):
    """A value is out of range, or the audio is not what it was said to be."""


class UnknownModelError(RequestError):
    """The server has no such model; the message lists those it has."""


class UnsupportedError(RequestError):
    """The server does not have this feature."""


class LimitError(RequestError):
    """The recording, the session or a message is longer than the server allows."""


class AuthenticationError(RequestError):
    """The server wants to know who is calling, or does not let this caller in."""


class BusyError(OssicleError):
    """Every stream of the server is taken; try again after ``retry_after`` seconds."""


class UnavailableError(OssicleError):
    """The server cannot be reached or is shutting down."""


class TimedOutError(OssicleError):
    """The call took longer than its timeout, or sent no audio for longer than the server waits."""


class CallCancelledError(OssicleError):
    """The call was cancelled on this side."""


class ServerError(OssicleError):
    """The server has a fault; its log has more under ``request_id``."""


# The reason of a google.rpc.ErrorInfo: one of several processes has no room.
_PROCESS_FULL = "PROCESS_FULL"

_BY_STATUS: dict[grpc.StatusCode, type[OssicleError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: UnknownModelError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
    grpc.StatusCode.OUT_OF_RANGE: LimitError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: AuthenticationError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: BusyError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOutError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
}


def error_of(status: grpc.StatusCode, message: str) -> OssicleError:
    """The exception for a call that ends with a status, wherever it was answered."""
    return _BY_STATUS.get(status, ServerError)(message, status)


def from_rpc_error(error: grpc.RpcError, address: str, access: Access = CLEAR_TEXT) -> OssicleError:
    """The exception for a failed call; works for the errors of ``grpc`` and of ``grpc.aio``.

    Args:
        error: what gRPC raised.
        address: where the call went.
        access: how the client connects there.
    """
    status = error.code()
    details = error.details() or status.name
    kind = _BY_STATUS.get(status, ServerError)
    # What the server itself says comes with trailers; without any, the call did not get there.
    # By iteration: grpc.aio's metadata also has keys, which in some versions are pairs.
    pairs = iter(cast("Iterable[tuple[str, str]]", error.trailing_metadata() or ()))
    trailers = dict(pairs)
    if status is grpc.StatusCode.UNAVAILABLE and not trailers:
        cause = access.explain(details)
        message = (
            f"cannot use the server at {address}: {cause}"
            if cause
            else f"cannot reach a server at {address}: {_reason(details)}; "
            "check the address, or start one with: ossicle serve"
        )
    elif status is grpc.StatusCode.DEADLINE_EXCEEDED and not trailers:
        message = f"no answer from {address} within the timeout of this call"
    elif status is grpc.StatusCode.RESOURCE_EXHAUSTED and not trailers:
        message = f"{details}; send the recording in parts, as a stream"
        kind = LimitError
    else:
        message = details
    return kind(message, status, trailers.get("x-request-id", ""), *_details(error))


def _details(error: grpc.RpcError) -> tuple[float | None, int]:
    """``retry_after`` and ``processes``, as far as they are told."""
    status = rpc_status.from_call(error)
    retry_after, processes = None, 1
    delay, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(delay):
            retry_after = float(delay.retry_delay.ToTimedelta().total_seconds())
        elif detail.Unpack(info) and info.reason == _PROCESS_FULL:
            with suppress(ValueError):
                processes = int(info.metadata["processes"])
    return retry_after, processes


def _reason(details: str) -> str:
    """What gRPC says of a connection that it could not make, without its inner history."""
    if "Connection refused" in details:
        return "nothing listens there"
    if "errors resolving" in details or "lookup failed" in details:
        return "there is no such host"
    return details
