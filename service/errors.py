"""Refusals of the service: a status code, a message for people, and what goes with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from ossicle.data.audio import AudioError, AudioTooLongError

from .admission import EngineStopped, NoFreeSlot, Overloaded

# The status travels in HTTP headers, twice and escaped, and clients refuse long ones.
LONGEST_MESSAGE_BYTES = 1000
# What of a request's value is quoted: the message must have room for the remedy after it.
QUOTED_CHARACTERS = 40
# The reason of a google.rpc.ErrorInfo: other processes on the port may have room.
PROCESS_FULL = "PROCESS_FULL"
DOMAIN = "ossicle"
# A stream lasts minutes; asking more often than this finds no other answer.
RETRY_SECONDS = 2


class ServiceError(Exception):
    """A call ends with this status.

    Args:
        code: the status code.
        message: what is wrong, naming the value, and what to do.
        retry_seconds: when trying again makes sense; 0 if it does not.
        logged: what the log says instead, where the message quotes words or audio of the client.
        processes: that share the server's port; another connection may reach another of them.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        retry_seconds: int = 0,
        logged: str | None = None,
        processes: int = 1,
    ) -> None:
        super().__init__(message)
        self.code = code
        encoded = message.encode(errors="replace")[:LONGEST_MESSAGE_BYTES]
        self.message = encoded.decode(errors="ignore")
        self.retry_seconds = retry_seconds
        self.logged = logged
        self.processes = processes

    async def abort(self, context: grpc.aio.ServicerContext[Any, Any], request_id: str) -> NoReturn:
        """End the call; ``request_id`` goes with the status as ``x-request-id``.

        Raises:
            grpc.aio.AbortError: always; it is how gRPC ends a handler.
        """
        status = Status(code=self.code.value[0], message=self.message)
        if self.retry_seconds:
            _add(status, RetryInfo(retry_delay=Duration(seconds=self.retry_seconds)))
        if self.processes > 1:
            _add(
                status,
                ErrorInfo(
                    reason=PROCESS_FULL,
                    domain=DOMAIN,
                    metadata={"processes": str(self.processes)},
                ),
            )
        details = rpc_status.to_status(status).trailing_metadata
        await context.abort(self.code, self.message, (*details, ("x-request-id", request_id)))
        raise AssertionError("abort has returned")


def _add(status: Status, detail: Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def quoted(value: str) -> str:
    """A value of a request for a message, cut if it is long."""
    return repr(value if len(value) <= QUOTED_CHARACTERS else value[:QUOTED_CHARACTERS] + "…")


def invalid(message: str, logged: str | None = None) -> ServiceError:
    """The refusal of a request that is wrong in itself."""
    return ServiceError(grpc.StatusCode.INVALID_ARGUMENT, message, logged=logged)


def unimplemented(message: str) -> ServiceError:
    """The refusal of a request for what we do not do."""
    return ServiceError(grpc.StatusCode.UNIMPLEMENTED, message)


def no_such_model(name: str, known: Iterable[str]) -> ServiceError:
    """The refusal of a request for a model that is not there."""
    names = list(known)
    there = "there is" if len(names) == 1 else "there are"
    return ServiceError(
        grpc.StatusCode.NOT_FOUND,
        f"there is no model {quoted(name)}; {there}: {', '.join(names)}",
    )


def draining() -> ServiceError:
    """The refusal while the server shuts down."""
    return ServiceError(
        grpc.StatusCode.UNAVAILABLE, "the server is shutting down; connect again", RETRY_SECONDS
    )


def as_service_error(error: Exception) -> ServiceError:
    """The status for an error of the messages, the decoders or the engine; INTERNAL for others."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, DecodeError):
        return invalid(f"{error}; send the messages of this server's contract")
    if isinstance(error, AudioTooLongError):
        return ServiceError(grpc.StatusCode.OUT_OF_RANGE, str(error))
    if isinstance(error, AudioError):
        # The message shows how the audio begins.
        return invalid(str(error), logged="the audio cannot be read as it is said to be")
    if isinstance(error, NoFreeSlot):
        limit = "max_delay_seconds" if isinstance(error, Overloaded) else "max_streams"
        return ServiceError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"{error}; try again in {RETRY_SECONDS} s or raise the server's {limit}",
            RETRY_SECONDS,
        )
    if isinstance(error, EngineStopped):
        return ServiceError(grpc.StatusCode.UNAVAILABLE, str(error))
    return ServiceError(
        grpc.StatusCode.INTERNAL, f"this stream has failed: {type(error).__name__}: {error}"
    )
