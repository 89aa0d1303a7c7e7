"""The gate of a server: who may call, and how much at once, before a byte of a request is read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import grpc
from ossicle.service.errors import RETRY_SECONDS, ServiceError
from ossicle.service.limits import Limits

from .arrival import awaiting, name_of_call, reading
from .caller import caller
from .quota import OverQuota, OwnQuota, TokenQuota
from .tokens import Token, find_token
from .watched import Watched

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]

# Whoever starts, stops and balances servers asks for their health and has no token.
_HEALTH = "/grpc.health.v1.Health/"
_STREAMS = ("/StreamingRecognize", "/Recognize")
# Enough for everybody who asks for a server's health, and, apart from them, who watches it.
_MOST_HEALTH_CALLS = 100


class Gate(grpc.aio.ServerInterceptor):
    """Admits calls or refuses them; a refused call's messages are not even received.

    Lives in one event loop. What a call holds is given back when the task that answers it ends, in
    whatever way.

    Args:
        tokens: who may call; None lets everybody in.
        limits: how many calls may be open, health checks apart, and how long a request may take
            to arrive.
        on_refusal: told of each refusal in one word, for a metric.
        quota: where it is counted what tokens use; None for here.
        processes: that share the port with this one, itself included.
    """

    def __init__(
        self,
        tokens: Watched[tuple[Token, ...]] | None,
        limits: Limits,
        on_refusal: Callable[[str], None] = lambda reason: None,
        quota: TokenQuota | None = None,
        processes: int = 1,
    ) -> None:
        self._tokens = tokens
        self._limits = limits
        self._on_refusal = on_refusal
        self._quota = quota or OwnQuota()
        self._processes = processes
        # Of health checks, of those who watch it, and of all else: who fills one fills no other.
        self._open: Counter[str] = Counter()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The handler of a call, or one that refuses it."""
        handler = await continuation(details)
        if handler is None:
            return None  # there is no such method, whoever asks
        try:
            await self._admit(details.method, details.invocation_metadata)
        except _RefusalError as refused:
            self._on_refusal(refused.reason)
            return _refusing(refused.error)
        if handler.request_streaming:
            return reading(handler, self._limits.idle_timeout_seconds)
        return awaiting(handler, self._limits.recording_arrival_seconds)

    async def _admit(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Let a call in.

        Raises:
            _RefusalError: it may not.
        """
        health = method.startswith(_HEALTH)
        token = None if health or self._tokens is None else _shown(metadata, self._tokens.current())
        most = _MOST_HEALTH_CALLS if health else self._limits.max_calls
        kind = method if health else ""
        if self._open[kind] >= most:
            raise _RefusalError(
                "open_calls",
                ServiceError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{most} calls are open, as many as this server answers at the same time; try "
                    f"again in {RETRY_SECONDS} s",
                    RETRY_SECONDS,
                    processes=self._processes,
                ),
            )
        # Before anything is waited for, so that calls that come together are all counted.
        self._open[kind] += 1
        self._when_over(lambda: self._close(kind))
        if token:
            caller.set(token.name)
            await self._count(token, method)

    async def _count(self, token: Token, method: str) -> None:
        try:
            await self._quota.call(token)
        except OverQuota as over:
            raise _over_quota("token_rate", over) from None
        if method.endswith(_STREAMS):
            try:
                await self._quota.begin_stream(token)
            except OverQuota as over:
                raise _over_quota("token_streams", over) from None
            self._when_over(lambda: self._quota.end_stream(token))

    def _close(self, kind: str) -> None:
        self._open[kind] -= 1

    @staticmethod
    def _when_over(done: Callable[[], None]) -> None:
        """Call ``done`` when the present call is over; gRPC answers each in a task of its own."""
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: done())


class _RefusalError(Exception):
    """A call may not be made.

    Args:
        reason: why, in one word.
        error: the status that says so.
    """

    def __init__(self, reason: str, error: ServiceError) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error


def _shown(metadata: Iterable[tuple[str, str | bytes]], tokens: tuple[Token, ...]) -> Token:
    """The token that a call came with.

    Raises:
        _RefusalError: it came with none that counts.
    """
    values = [value for key, value in metadata if key == "authorization"]
    if not values:
        raise _unauthenticated(
            "no_token",
            "no token was sent and this server asks for one; send the metadata authorization: "
            "Bearer TOKEN (ossicle: OSSICLE_TOKEN or --token-file)",
        )
    scheme, _, secret = str(values[0]).partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not secret.strip():
        raise _unauthenticated(
            "bad_token", "the metadata authorization is not one Bearer TOKEN; send it so"
        )
    token = find_token(tokens, secret.strip())
    if token is None:
        raise _unauthenticated(
            "unknown_token",
            "this server does not know the token, or no longer; ask its operator for one",
        )
    if token.expired:
        raise _unauthenticated(
            "expired_token",
            f"the token {token.name} has expired on {token.expires}; ask the server's operator "
            "for a new one",
        )
    return token


def _unauthenticated(reason: str, message: str) -> _RefusalError:
    return _RefusalError(reason, ServiceError(grpc.StatusCode.UNAUTHENTICATED, message))


def _over_quota(reason: str, over: OverQuota) -> _RefusalError:
    error = ServiceError(grpc.StatusCode.RESOURCE_EXHAUSTED, over.message, over.retry_seconds)
    return _RefusalError(reason, error)


def _refusing(error: ServiceError) -> Handler:
    """A handler that ends the call; as it could read a stream, gRPC receives no message for it."""

    async def refuse(requests: object, context: Context) -> None:
        await error.abort(context, name_of_call())

    return grpc.stream_stream_rpc_method_handler(refuse)
