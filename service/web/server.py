"""The HTTP server: its routes, what it tells browsers to forbid, and a clean shutdown."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from aiohttp import web
from ossicle.service.limits import Limits
from ossicle.service.models import Models

from .calls import LocalCalls
from .captions import FORMAT_CAPTIONS, MAX_BYTES, Captions, format_captions
from .config import WebConfig
from .models import GET_MODEL, LIST_MODELS, ModelPages, getting_model
from .origin import is_allowed
from .refusal import error_json
from .transcriptions import Transcriptions
from .websocket import STREAM, StreamSocket

if TYPE_CHECKING:
    import ssl

    from ossicle.speech.v1 import speech_pb2_grpc

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PAGE = Path(__file__).parent / "page"
_HEADERS = {
    # Nothing but what this server itself sends: no inline script or style, no other site.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Server": "ossicle",
    "X-Content-Type-Options": "nosniff",
}
# What a page of another site may ask for and read, if it may use this server at all.
_PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "authorization, content-type, x-request-id",
    "Access-Control-Max-Age": "600",
}
_READABLE_HEADERS = "x-request-id, retry-after"
# Time for a request's headers to arrive, and for the next on the same connection.
_PATIENCE_SECONDS = 15.0


class WebServer:
    """Serves the page, ``/v1/stream`` and OpenAI's endpoints from one port.

    Args:
        config: where, and for which pages.
        servicer: the contract's methods.
        interceptors: those of the gRPC server.
        limits: what clients may do.
        models: those there are.
        tls: None for clear text.
    """

    def __init__(
        self,
        config: WebConfig,
        servicer: speech_pb2_grpc.SpeechServiceServicer,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        limits: Limits,
        models: Models,
        tls: ssl.SSLContext | None,
    ) -> None:
        methods: Mapping[str, grpc.RpcMethodHandler[Any, Any]] = {
            STREAM: grpc.stream_stream_rpc_method_handler(servicer.StreamingRecognize),
            LIST_MODELS: grpc.unary_unary_rpc_method_handler(servicer.ListModels),
            GET_MODEL: grpc.unary_unary_rpc_method_handler(getting_model(servicer.ListModels)),
            FORMAT_CAPTIONS: grpc.unary_unary_rpc_method_handler(format_captions),
        }
        self._calls = LocalCalls(interceptors, methods)
        self._config = config
        self._limits = limits
        self._tls = tls
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        app = web.Application(middlewares=[self._watched], client_max_size=MAX_BYTES)
        app.on_response_prepare.append(self._add_headers)
        transcriptions = Transcriptions(self._calls, models)
        pages = ModelPages(self._calls)
        app.add_routes(
            [
                web.get("/", _index),
                web.get("/v1/stream", self._stream),
                web.post("/v1/captions", Captions(self._calls).post),
                web.post("/v1/audio/transcriptions", transcriptions.transcribe),
                web.get("/v1/models", pages.all),
                web.get("/v1/models/{model}", pages.one),
                web.static("/page", _PAGE),
            ]
        )
        self._runner = web.AppRunner(
            app, handle_signals=False, handler_cancellation=True, shutdown_timeout=0.1
        )
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, *, shared: bool = False) -> int:
        """Listen, and return the port.

        Args:
            host: the address.
            shared: with other processes that listen there.

        Raises:
            OSError: the address cannot be listened on.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._connection,
                host.strip("[]"),
                self._config.port,
                ssl=self._tls,
                ssl_handshake_timeout=_PATIENCE_SECONDS if self._tls else None,
                reuse_port=shared or None,
            )
        except OSError as error:
            await self._runner.cleanup()
            reason = os.strerror(error.errno) if error.errno else error
            raise OSError(
                f"cannot serve HTTP on {host}:{self._config.port}: {reason}; choose another --http"
            ) from error
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self, seconds: float) -> None:
        """Take no more connections and, after so long at most, end those that are left."""
        if self._listener:
            self._listener.close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        await self._runner.cleanup()

    def _connection(self) -> _Connection:
        """What answers a new connection."""
        server = self._runner.server
        assert server is not None
        return _Connection(server, self._limits.max_connections)

    @web.middleware
    async def _watched(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer pages that may ask, and count who is being answered."""
        self._active += 1
        self._idle.clear()
        try:
            origin = request.headers.get("Origin")
            # What everybody may read needs no question: scripts, too, are asked for with an origin.
            if request.path.startswith("/v1/") and not is_allowed(
                origin, request.host, request.secure, self._config.origins
            ):
                message = (
                    f"pages of {origin!r} may not use this server; allow them with --http-origin"
                )
                return web.json_response(error_json(403, message), status=403)
            if request.method == "OPTIONS" and origin in self._config.origins:
                return web.Response(status=204, headers=_PREFLIGHT_HEADERS)
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            message = f"{request.method} {request.path}: {error.reason}; see docs/websocket.md"
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            return web.json_response(
                error_json(error.status, message), status=error.status, headers=allow
            )
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)
        response.headers.setdefault("Cache-Control", "no-cache")
        origin = request.headers.get("Origin")
        if origin in self._config.origins and request.path.startswith("/v1/"):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _READABLE_HEADERS
            response.headers["Vary"] = "Origin"

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        return await StreamSocket(self._calls, self._limits).serve(request)


class _Connection(web.RequestHandler):
    """A connection, or one too many, which is closed at once.

    Args:
        server: what answers it.
        most: connections that there may be.
    """

    __slots__ = ("_most", "_server")

    def __init__(self, server: web.Server, most: int) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_PATIENCE_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # calls are logged where all are
        )
        self._server = server
        self._most = most

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read requests, if there is room."""
        if len(self._server.connections) < self._most:
            super().connection_made(transport)
        else:
            transport.close()


async def _index(request: web.Request) -> web.FileResponse:
    return web.FileResponse(_PAGE / "index.html")
