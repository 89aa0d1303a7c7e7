"""Traces, from a real server to a real receiver of OTLP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from calls import TIMEOUT, audio, chunks, linear16, start, until
from ossicle.service.telemetry.telemetry import Telemetry
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from ossicle.service.telemetry.tracing import Tracing

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        for sent in request.resource_spans:
            self.resources.append(attributes(sent.resource))
            for scope in sent.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


def attributes(of: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the environment names."""
    server = grpc.server(ThreadPoolExecutor(2))
    receiver = Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=captions,zone=a")
    yield receiver
    server.stop(0).wait()


def test_a_call_is_a_span_below_the_clients(serve: Any, tapes: Any, receiver: Receiver) -> None:
    said = (tapes.record("secret words__") * 32768).round().astype("<i2").tobytes()
    tracing = Tracing()
    with (
        serve(tapes.model, telemetry=Telemetry(tracing=tracing)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        requests = [start(interim_results=True), *chunks(said, 3200)]
        metadata = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "s-1"))
        list(stub.StreamingRecognize(iter(requests), timeout=TIMEOUT, metadata=metadata))
        unknown = pb.RecognizeRequest(config=linear16(model="none"))
        with pytest.raises(grpc.RpcError):
            stub.Recognize(unknown, timeout=TIMEOUT)
    tracing.close()
    assert until(lambda: len(receiver.spans) == 2)
    streamed, refused = sorted(receiver.spans, key=lambda span: span.name, reverse=True)

    assert streamed.name == "ossicle.speech.v1.SpeechService/StreamingRecognize"
    assert streamed.kind == streamed.SPAN_KIND_SERVER
    assert streamed.trace_id.hex() == TRACE
    assert streamed.parent_span_id.hex() == PARENT
    told = attributes(streamed)
    assert told["rpc.system"] == "grpc"
    assert told["rpc.method"] == "StreamingRecognize"
    assert told["rpc.grpc.status_code"] == 0
    assert told["ossicle.request_id"] == "s-1"
    assert told["ossicle.finals"] == 1
    assert [event.name for event in streamed.events] == ["first partial", "final"]
    assert all(attributes(event)["ossicle.latency_seconds"] > 0 for event in streamed.events)
    assert "secret" not in str(streamed)

    assert refused.trace_id.hex() != TRACE
    assert attributes(refused)["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert refused.status.code == refused.status.STATUS_CODE_UNSET  # the client's error, not ours
    (resource,) = {json.dumps(resource, sort_keys=True) for resource in receiver.resources}
    assert json.loads(resource)["service.name"] == "captions"
    assert json.loads(resource)["zone"] == "a"


def test_a_fault_of_ours_is_a_span_with_an_error(
    serve: Any, tapes: Any, receiver: Receiver
) -> None:
    class Broken(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            log_probs, state = super().step(samples, state)
            return log_probs[:, 1:] if samples.any() else log_probs, state

    tracing = Tracing()
    with (
        serve(Broken(), telemetry=Telemetry(tracing=tracing)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        said = (tapes.record("a" * 20) * 32768).round().astype("<i2").tobytes()
        with pytest.raises(grpc.RpcError):
            list(stub.StreamingRecognize(iter([start(), audio(said)]), timeout=TIMEOUT))
    tracing.close()
    assert until(lambda: len(receiver.spans) == 1)
    assert receiver.spans[0].status.code == receiver.spans[0].status.STATUS_CODE_ERROR


def test_without_the_extra_the_command_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "sys.argv = ['ossicle', 'serve', '--traces', '--port', '0']\n"
        "from ossicle.service.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "pip install 'ossicle[otel]'" in done.stderr
    assert "Traceback" not in done.stderr
