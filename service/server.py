"""The gRPC server: methods, health and reflection on one port, and a clean shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.runtime import AcousticModel
from ossicle.speech.v1 import speech_pb2, speech_pb2_grpc

from .engine import Engine
from .health import HealthServicer
from .limits import Limits
from .security.config import Security
from .security.gate import Gate
from .security.tls import ServerTls
from .servicer import SpeechServicer
from .telemetry.calls import CallObserver
from .telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

SERVICE = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50051
# The step that is under way when the engine is told to stop takes a small part of this.
ENGINE_STOP_SECONDS = 5.0


class SpeechServer:
    """A server of one model.

    Args:
        model: the model to serve.
        limits: what clients may do.
        host: address to listen on; "0.0.0.0" or "[::]" for all networks.
        port: 0 for any that is free.
        decoding: what the model has for decoding; None for its tokens alone.
        search: how transcripts are searched for unless a client says.
        telemetry: what of it is watched; by default its metrics.
        security: who may connect; by default everybody, in clear text, so that only an address
            that nobody but this machine reaches is allowed.

    Raises:
        ValueError: the model cannot be decoded so, or the server would not be protected.
        OSError: a file of the security cannot be read, or the host has no address.
    """

    def __init__(
        self,
        model: AcousticModel,
        limits: Limits | None = None,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        *,
        decoding: Decoding | None = None,
        search: DecodingConfig | None = None,
        telemetry: Telemetry | None = None,
        security: Security | None = None,
    ) -> None:
        self.security = security or Security()
        self.security.check(host)
        self.limits = limits or Limits()
        self.telemetry = telemetry or Telemetry()
        self.search = search or DecodingConfig()
        self.host = host
        self.port = port
        self.engine = Engine(
            model,
            decoding,
            slots=self.limits.max_streams,
            queue_seconds=self.limits.queue_seconds,
            on_failure=self._engine_failed,
            on_round=self.telemetry.metrics.of_model(model.info).round,
        )
        self.engine.decoding.check(self.search)
        self.telemetry.metrics.set_limits(self.limits)
        self.telemetry.metrics.watch(self.engine)
        if tls := self.security.server_tls:
            self.telemetry.metrics.watch_certificate(
                str(self.security.tls_cert), lambda: tls.certificate.expires
            )

    @property
    def address(self) -> str:
        """Where clients connect: HOST:PORT."""
        return f"{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen, and serve once the model is warm; health is NOT_SERVING until then.

        Raises:
            OSError: the address cannot be listened on.
            EngineStopped: the model does not run.
        """
        self._loop = asyncio.get_running_loop()
        self._servicer = SpeechServicer(self.engine, self.limits, self.search, self.telemetry)
        self._health = HealthServicer()
        observer = CallObserver(self.telemetry.metrics, self.telemetry.tracing)
        refused = self.telemetry.metrics.refused
        gate = Gate(
            self.security.known_tokens, self.limits, lambda reason: refused.labels(reason).inc()
        )
        options = _options(self.limits, self.security)
        self._server = grpc.aio.server(interceptors=(observer, gate), options=options)
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(self._servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.port = _listen(self._server, self.address, self.security.server_tls)
        self._health_server: grpc.aio.Server | None = None
        if self.security.health_port:
            only_health = Gate(None, self.limits)
            self._health_server = grpc.aio.server(interceptors=(only_health,), options=options)
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._health_server)
            _listen(self._health_server, f"{self.host}:{self.security.health_port}", None)
            await self._health_server.start()
        await self._server.start()
        self.engine.start()
        try:
            await asyncio.to_thread(self.engine.wait_ready)
        except BaseException:
            await self.stop()
            raise
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Admit nobody, send the last final of every stream, then stop.

        Takes at most the grace of the limits and the time of one step.
        """
        await self._health.enter_graceful_shutdown()
        self.telemetry.metrics.set_serving(False)
        self._servicer.drain()
        await self._server.stop(self.limits.grace_seconds)
        if self._health_server:
            await self._health_server.stop(0)
        await asyncio.to_thread(self.engine.stop, ENGINE_STOP_SECONDS)
        self._servicer.close()

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        serving = health_pb2.HealthCheckResponse.SERVING
        self.telemetry.metrics.set_serving(status == serving)
        for name in ("", SERVICE):
            await self._health.set(name, status)

    def _engine_failed(self, error: Exception) -> None:
        """Called by the engine's thread."""
        status = health_pb2.HealthCheckResponse.NOT_SERVING
        asyncio.run_coroutine_threadsafe(self._set_health(status), self._loop)


def run_server(server: SpeechServer, on_ready: Callable[[SpeechServer], None]) -> None:
    """Serve until SIGINT or SIGTERM, then shut down cleanly.

    Args:
        server: a server that was not started yet.
        on_ready: called once clients are served.

    Raises:
        OSError, EngineStopped: as :meth:`SpeechServer.start`.
    """
    asyncio.run(_serve(server, on_ready))


async def _serve(server: SpeechServer, on_ready: Callable[[SpeechServer], None]) -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    previous = {
        # Not loop.add_signal_handler, which Windows does not have.
        number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(told.set))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        await server.start()
        # What there is now will stay. Not to be looked through any more, it neither delays steps
        # nor keeps Python from looking often for what calls have left behind: refused ones leave
        # pairs of objects in gRPC that know each other.
        gc.collect()
        gc.freeze()
        on_ready(server)
        await told.wait()
        log.info("shutting down")
        await server.stop()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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


def _options(limits: Limits, security: Security) -> list[tuple[str, int]]:
    # Clients whose certificate is no longer accepted must not stay for ever; running streams do
    # not notice that others go to a new connection.
    age = [("grpc.max_connection_age_ms", 3_600_000)] if security.tls_client_ca else []
    return [
        *age,
        # Twice the limit, so that what is a little too large is refused by us, with the remedy.
        ("grpc.max_receive_message_length", min(2 * limits.max_message_bytes, (1 << 31) - 1)),
        # A second server on the port is an error, not a silent share of the calls.
        ("grpc.so_reuseport", 0),
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
