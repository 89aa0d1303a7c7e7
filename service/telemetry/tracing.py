"""OpenTelemetry traces of calls; needs the extra ``otel``.

Each call is one span of kind SERVER, a child of the client's span where the client sent a
``traceparent``. Its events are the first partial and the finals, with their latencies and never
their text. Steps of the engine are for many calls at once and no part of any trace; the metrics
have them. OpenTelemetry's own gRPC instrumentation is not used: it takes every streaming handler
for a generator, and ours writes.

Where spans go, and how many are kept, is told by OpenTelemetry's environment variables:
``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER`` and so on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

import grpc

from .call import Call

try:
    from opentelemetry import context as contexts
    from opentelemetry import propagate, trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
except ImportError as error:
    raise ImportError(
        f"traces need OpenTelemetry ({error}); pip install 'ossicle[otel]'"
    ) from error

# The codes that are the server's fault: of others, OpenTelemetry's conventions say, a server's
# span is no error.
_FAULTS = (
    *(grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED),
    *(grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS),
)


# For the last spans, when a server stops.
SEND_SECONDS = 2.0


class Tracing:
    """Makes spans of calls.

    Args:
        exporter: where they go; None for the OTLP receiver that the environment names.
    """

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        named = {SERVICE_NAME: "ossicle", "service.version": version("ossicle")}
        # The environment goes before our name.
        resource = Resource.create(named).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource)
        self._exporter = exporter or OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("ossicle", version("ossicle"))

    @contextmanager
    def call(
        self, path: str, call: Call, metadata: Iterable[tuple[str, str | bytes]] | None
    ) -> Iterator[Callable[[grpc.StatusCode], None]]:
        """The span of one call.

        Args:
            path: the method's path, ``/package.Service/Method``.
            call: the call, whose events go into the span from now on.
            metadata: what the client sent, perhaps with its ``traceparent``.

        Yields:
            What is to be told the status before the end.
        """
        service, _, method = path.lstrip("/").rpartition("/")
        texts = {key: value for key, value in metadata or () if isinstance(value, str)}
        span = self._tracer.start_span(
            path.lstrip("/"),
            propagate.extract(texts),
            trace.SpanKind.SERVER,
            {
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "ossicle.request_id": call.request_id,
            },
        )
        call.on_event = span.add_event

        def end(code: grpc.StatusCode) -> None:
            span.set_attribute("rpc.grpc.status_code", code.value[0])
            if code in _FAULTS:
                span.set_status(trace.StatusCode.ERROR, code.name)
            for name, fact in call.facts.items():
                span.set_attribute(f"ossicle.{name}", fact)

        token = contexts.attach(trace.set_span_in_context(span))
        try:
            yield end
        finally:
            contexts.detach(token)
            span.end()

    def close(self) -> None:
        """Send what is left, if a receiver takes it soon, and stop."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(SEND_SECONDS)
        # To a receiver that is away it would try again for half a minute.
        self._exporter.shutdown()
        sending.join(SEND_SECONDS)
