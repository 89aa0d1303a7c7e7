"""The server: the methods over gRPC, and over HTTP if wanted; reloading and a clean shutdown."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from ossicle.model.decoding.decoders import DecodingConfig
from ossicle.model.folder import LoadedModel
from ossicle.model.runtime import ModelError
from ossicle.speech.v1 import speech_pb2, speech_pb2_grpc

from .admission import EngineStopped
from .engine import Engine
from .hangup import heed
from .health import HealthServicer
from .limits import Limits
from .memory import settle
from .models import Models
from .security.config import Security
from .security.gate import Gate
from .security.message_size import MAX_SETTINGS_BYTES
from .security.tls import ServerTls
from .servicer import SpeechServicer
from .telemetry.calls import CallObserver
from .telemetry.telemetry import Telemetry
from .web.config import WebConfig
from .workers.share import Share

if TYPE_CHECKING:
    from .web.server import WebServer

log = logging.getLogger(__name__)

SERVICE = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50051


class SpeechServer:
    """A server of one model or several.

    Args:
        models: the models to serve, at least one; the first is the default.
        limits: what clients may do.
        host: address to listen on; "0.0.0.0" or "[::]" for all networks.
        port: 0 for any that is free.
        search: how transcripts are searched for unless a client says.
        telemetry: what of it is watched; by default its metrics.
        security: who may connect; by default everybody, in clear text, so that only an address
            that nobody but this machine reaches is allowed.
        web: where HTTP is served too; None for gRPC alone.
        share: what it is among several processes that listen on its ports; None if it is alone.
            ``limits`` are its own.
        on_failure: called from an engine's thread if a model has failed.

    Raises:
        ValueError: a model cannot be decoded so, two have the same name, or the server would not
            be protected.
        OSError: a file of the security cannot be read, or the host has no address.
    """

    def __init__(
        self,
        models: Sequence[LoadedModel],
        limits: Limits | None = None,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        *,
        search: DecodingConfig | None = None,
        telemetry: Telemetry | None = None,
        security: Security | None = None,
        web: WebConfig | None = None,
        share: Share | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.security = security or Security()
        self.security.check(host)
        self.limits = limits or Limits()
        self.telemetry = telemetry or Telemetry()
        self.search = search or DecodingConfig()
        self.host = host
        self.port = port
        self.web = web
        self.web_port = 0
        self.share = share
        self._on_failure = on_failure
        self.models = Models(
            models, self.limits, self.search, self.telemetry.metrics, self._engine_failed
        )
        self.telemetry.metrics.set_limits(self.told_limits)
        if tls := self.security.server_tls:
            self.telemetry.metrics.watch_certificate(
                str(self.security.tls_cert), lambda: tls.certificate.expires
            )

    @property
    def address(self) -> str:
        """Where clients connect: HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def page(self) -> str:
        """The address of the web page, "" if there is none."""
        if not self.web_port:
            return ""
        scheme = "https" if self.security.server_tls else "http"
        host = "localhost" if self.host in ("0.0.0.0", "[::]") else self.host
        return f"{scheme}://{host}:{self.web_port}/"

    @property
    def told_limits(self) -> Limits:
        """The limits that clients are told: those of all processes on the port together."""
        return self.share.limits if self.share else self.limits

    @property
    def engine(self) -> Engine:
        """What runs the default model."""
        return self.models.default.engine

    async def start(self) -> None:
        """Listen, and serve once the models are warm; health is NOT_SERVING until then.

        A server that shares its ports listens once it is warm: others answer meanwhile.

        Raises:
            OSError: the address cannot be listened on.
            EngineStopped: a model does not run.
        """
        self._loop = asyncio.get_running_loop()
        self._health = HealthServicer()
        if self.share:
            await self.models.start()
        processes = self.share.processes if self.share else 1
        self._servicer = SpeechServicer(
            self.models, self.limits, self.search, self.telemetry, self.told_limits, processes
        )
        observer = CallObserver(self.telemetry.metrics, self.telemetry.tracing)
        refused = self.telemetry.metrics.refused
        gate = Gate(
            self.security.known_tokens,
            self.limits,
            lambda reason: refused.labels(reason).inc(),
            self.share.quota if self.share else None,
            processes,
        )
        interceptors = (observer, gate)
        options = _options(self.limits, self.security, bool(self.share))
        self._server = grpc.aio.server(interceptors=interceptors, options=options)
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(self._servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.port = _listen(self._server, self.address, self.security.server_tls)
        self._health_server: grpc.aio.Server | None = None
        self._web_server: WebServer | None = None
        if self.security.health_port:
            only_health = Gate(None, self.limits)
            self._health_server = grpc.aio.server(interceptors=(only_health,), options=options)
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._health_server)
            _listen(self._health_server, f"{self.host}:{self.security.health_port}", None)
            await self._health_server.start()
        await self._server.start()
        try:
            await self.models.start()
            if self.web:
                await self._start_web(self.web, interceptors)
        except BaseException:
            await self.stop()
            raise
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def _start_web(
        self, config: WebConfig, interceptors: Sequence[grpc.aio.ServerInterceptor]
    ) -> None:
        from .web.server import WebServer  # it imports aiohttp, for which gRPC need not wait

        tls = self.security.server_tls
        self._web_server = WebServer(
            config,
            self._servicer,
            interceptors,
            self.limits,
            self.models,
            tls.context() if tls else None,
        )
        self.web_port = await self._web_server.start(self.host, shared=bool(self.share))

    async def reload(self) -> None:
        """Read the folders of the models anew and let new streams have what they hold now.

        Streams that run go on with the model that they began with. A model that has failed is begun
        again. If any of the models cannot be served, nothing changes, and the log says why.
        """
        log.info("reloading the models")
        try:
            loaded = await asyncio.to_thread(self.models.reloaded)
            changed = await self.models.replace(loaded)
        except (ModelError, EngineStopped, ValueError) as error:
            log.error("not reloaded, what was served before goes on: %s", error)
        except Exception:
            log.exception("not reloaded, what was served before goes on")
        else:
            if self.models.all_run:
                await self._set_health(health_pb2.HealthCheckResponse.SERVING)
            digests = {model.info.name: model.digest for model in self.models.all}
            log.info("reloaded", extra={"facts": {"changed": changed, **digests}})

    async def stop(self) -> None:
        """Admit nobody, send the last final of every stream, then stop.

        Takes at most the grace of the limits and the time of one step. The process lasts until
        models that are being read anew are there, too.
        """
        await self._health.enter_graceful_shutdown()
        self.telemetry.metrics.set_serving(False)
        self._servicer.drain()
        grace = self.limits.grace_seconds
        web = [self._web_server.stop(grace)] if self._web_server else []
        await asyncio.gather(self._server.stop(grace), *web)
        if self._health_server:
            await self._health_server.stop(0)
        await self.models.stop()
        self._servicer.close()

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        serving = health_pb2.HealthCheckResponse.SERVING
        self.telemetry.metrics.set_serving(status == serving)
        for name in ("", SERVICE):
            await self._health.set(name, status)

    def _engine_failed(self) -> None:
        """Called by an engine's thread."""
        self._on_failure()
        status = health_pb2.HealthCheckResponse.NOT_SERVING
        asyncio.run_coroutine_threadsafe(self._set_health(status), self._loop)


def run_server(server: SpeechServer, on_ready: Callable[[SpeechServer], None]) -> None:
    """Serve until SIGINT or SIGTERM, then shut down cleanly; SIGHUP reloads the models.

    Args:
        server: a server that was not started yet.
        on_ready: called once clients are served.

    Raises:
        OSError, EngineStopped: as :meth:`SpeechServer.start`.
    """
    asyncio.run(_serve(server, on_ready))


async def _serve(server: SpeechServer, on_ready: Callable[[SpeechServer], None]) -> None:
    loop = asyncio.get_running_loop()
    end, change = asyncio.Event(), asyncio.Event()
    events = {signal.SIGINT: end, signal.SIGTERM: end}
    with suppress(AttributeError):
        events[signal.SIGHUP] = change  # which Windows does not have
    previous = {
        # Not loop.add_signal_handler, which Windows does not have either.
        number: signal.signal(number, lambda *_, event=event: loop.call_soon_threadsafe(event.set))
        for number, event in events.items()
    }
    heed()
    reloading = None
    try:
        await server.start()
        settle()
        on_ready(server)
        reloading = asyncio.create_task(_reload_whenever(change, server))
        await end.wait()
        log.info("shutting down")
        reloading.cancel()
        await server.stop()
    finally:
        if reloading is not None:
            reloading.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)


async def _reload_whenever(asked: asyncio.Event, server: SpeechServer) -> None:
    while True:
        await asked.wait()
        asked.clear()
        await server.reload()


def _listen(server: grpc.aio.Server, address: str, tls: ServerTls | None) -> int:
    """Take a port and return it.

    Raises:
        OSError: it cannot be had.
    """
    try:
        if tls:
            return server.add_secure_port(address, tls.credentials())
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(
            f"cannot listen on {address}; is another server there? choose another port"
        ) from error


def _options(limits: Limits, security: Security, shared: bool) -> list[tuple[str, int]]:
    # Clients whose certificate is no longer accepted must not stay for ever; running streams do
    # not notice that others go to a new connection.
    age = [("grpc.max_connection_age_ms", 3_600_000)] if security.tls_client_ca else []
    return [
        *age,
        # Above the limits, so that what is a little too large is refused by us, with the remedy.
        (
            "grpc.max_receive_message_length",
            min(2 * limits.max_message_bytes + MAX_SETTINGS_BYTES, (1 << 31) - 1),
        ),
        # A second server on the port is an error, not a silent share of the calls.
        ("grpc.so_reuseport", int(shared)),
        # Clients that vanish without a word are found out and free their slots, within 40 s: by
        # default gRPC waits a minute for some pings, and between others.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Connections that never say anything, and too many of them.
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_connection_idle_ms", 900_000),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
    ]
