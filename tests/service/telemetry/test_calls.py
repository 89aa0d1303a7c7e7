"""Names of calls, and what is logged of them."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from calls import TIMEOUT, audio, chunks, linear16, start, stream, transcripts, until
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ossicle.service.server import SpeechServer
from ossicle.service.telemetry.call import Call, current_call, request_id
from ossicle.service.telemetry.logs import JsonFormatter, TextFormatter, configure_logging
from ossicle.service.telemetry.telemetry import Telemetry
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

Log = Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def server(serve: Any, tapes: Any) -> Iterator[SpeechServer]:
    with serve(tapes.model) as server:
        yield server


@pytest.fixture(scope="module")
def stub(server: SpeechServer) -> Iterator[Any]:
    with grpc.insecure_channel(server.address) as channel:
        yield speech_pb2_grpc.SpeechServiceStub(channel)


@pytest.fixture
def said(tapes: Any) -> bytes:
    data: bytes = (tapes.record("secret words__") * 32768).round().astype("<i2").tobytes()
    return data


def trailing(call: Any) -> dict[str, str]:
    return dict(call.trailing_metadata())


@pytest.mark.parametrize("name", ["a", "Web-7.session_3:12", "x" * 64])
def test_a_sane_name_of_the_client_is_kept(stub: Any, said: bytes, name: str) -> None:
    call = stub.StreamingRecognize(
        iter([start(), audio(said)]), timeout=TIMEOUT, metadata=(("x-request-id", name),)
    )
    assert {response.request_id for response in call} == {name}
    assert trailing(call)["x-request-id"] == name


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "two words", "-rm", 'quo"te', "{}", "../../etc", "semi;colon"]
)
def test_any_other_name_is_replaced(stub: Any, name: str) -> None:
    models, call = stub.ListModels.with_call(
        pb.ListModelsRequest(), timeout=TIMEOUT, metadata=(("x-request-id", name),)
    )
    assert len(models.request_id) == 32
    assert trailing(call)["x-request-id"] == models.request_id


def test_a_name_of_bytes_or_with_control_characters_is_replaced() -> None:
    for value in (b"abc", "a\nb", "a\x1b[2J", "naïve"):
        assert request_id([("x-request-id", value)]) != value
    assert request_id(None) != request_id(None)


def test_every_call_ends_with_its_name_and_one_line(stub: Any, said: bytes, json_log: Log) -> None:
    call = stub.StreamingRecognize(
        iter([start(), *chunks(said, 3200)]), timeout=TIMEOUT, metadata=(("x-request-id", "s-1"),)
    )
    list(call)
    with pytest.raises(grpc.RpcError) as refusal:
        stub.Recognize(
            pb.RecognizeRequest(config=linear16(model="none")),
            timeout=TIMEOUT,
            metadata=(("x-request-id", "r-1"),),
        )
    assert trailing(refusal.value)["x-request-id"] == "r-1"
    assert until(lambda: len(json_log()) == 2)
    streamed, refused = json_log()
    assert streamed["message"] == "call ended"
    assert streamed["level"] == "INFO"
    assert (streamed["request_id"], streamed["method"]) == ("s-1", "StreamingRecognize")
    assert streamed["code"] == "OK"
    assert streamed["audio_seconds"] == pytest.approx(len(said) / 32000, abs=0.001)
    assert streamed["finals"] == 1
    assert streamed["seconds"] > 0
    assert "127.0.0.1" in streamed["peer"]
    assert "reason" not in streamed
    assert (refused["request_id"], refused["code"]) == ("r-1", "NOT_FOUND")
    assert "none" in refused["reason"]


def test_a_fault_is_logged_with_its_traceback_under_the_name_of_the_call(
    serve: Any, tapes: Any, json_log: Log
) -> None:
    class Broken(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            log_probs, state = super().step(samples, state)
            return log_probs[:, 1:] if samples.any() else log_probs, state

    with serve(Broken()) as server, grpc.insecure_channel(server.address) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        spoken = (tapes.record("a" * 20) * 32768).round().astype("<i2").tobytes()
        with pytest.raises(grpc.RpcError) as failure:
            stream(stub, start(), audio(spoken))
        assert failure.value.code() is grpc.StatusCode.INTERNAL
        name = trailing(failure.value)["x-request-id"]
        ended = lambda: [line for line in json_log() if line["message"] == "call ended"]  # noqa: E731
        assert until(lambda: len(ended()) == 1)
    (fault,) = (line for line in json_log() if line["message"] == "StreamingRecognize has failed")
    assert fault["request_id"] == name
    assert "Traceback" in fault["error"]
    assert ended()[0]["level"] == "ERROR"
    assert ended()[0]["request_id"] == name


def test_health_checks_leave_no_line(server: SpeechServer, json_log: Log) -> None:
    with grpc.insecure_channel(server.address) as channel:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        speech_pb2_grpc.SpeechServiceStub(channel).ListModels(pb.ListModelsRequest())
    assert until(lambda: len(json_log()) > 0)
    assert [line["method"] for line in json_log()] == ["ListModels"]


def test_what_is_said_is_logged_only_if_that_is_asked_for(
    serve: Any, tapes: Any, said: bytes, json_log: Log
) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    for log_transcripts in (False, True):
        with (
            serve(tapes.model, telemetry=Telemetry(log_transcripts=log_transcripts)) as server,
            grpc.insecure_channel(server.address) as channel,
        ):
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            responses = stream(stub, start(interim_results=True), *chunks(said, 3200))
            assert transcripts(responses) == ["secret words"]
            request = pb.RecognizeRequest(config=linear16(), audio_content=said)
            assert stub.Recognize(request, timeout=TIMEOUT).results
            with pytest.raises(grpc.RpcError):
                stream(stub, start(), audio(said), audio(b"\0"))  # half a sample
        text = json.dumps(json_log())
        assert ("secret" in text) is log_transcripts
        assert "\\u0000" not in text
    finals = [line for line in json_log() if line["message"] == "final"]
    assert [line["text"] for line in finals] == ["secret words"] * 3
    assert finals[0]["request_id"] == responses[0].request_id


def record(message: str, **facts: Any) -> logging.LogRecord:
    made = logging.LogRecord("test", logging.INFO, __file__, 1, message, None, None)
    made.facts = facts
    return made


def test_a_line_of_text_cannot_be_broken_by_what_it_tells() -> None:
    line = TextFormatter().format(
        record("hello\nworld", reason='a "quoted"\n\x1b[2Jthing', code="OK", empty="", count=3)
    )
    assert line.endswith(
        'INFO hello world reason="a \\"quoted\\"\\n\\u001b[2Jthing" code=OK empty="" count=3'
    )
    assert len(line.splitlines()) == 1


def test_a_line_of_json_is_one_object_whatever_it_tells() -> None:
    call = Call("r-9", "StreamingRecognize")
    token = current_call.set(call)
    try:
        line = JsonFormatter().format(record("two\nlines", reason="ü\n", level="mine"))
    finally:
        current_call.reset(token)
    assert len(line.splitlines()) == 1
    parsed = json.loads(line)
    assert parsed["message"] == "two\nlines"
    assert parsed["reason"] == "ü\n"
    assert parsed["level"] == "INFO"  # what is ours cannot be replaced
    assert parsed["request_id"] == "r-9"
    assert parsed["time"].endswith("Z")


def test_a_traceback_follows_a_line_of_text() -> None:
    handler = logging.StreamHandler(file := io.StringIO())
    handler.setFormatter(TextFormatter())
    try:
        raise ArithmeticError("broken")
    except ArithmeticError:
        made = record("it failed", code="INTERNAL")
        made.exc_info = sys.exc_info()
        handler.emit(made)
    first, *rest = file.getvalue().splitlines()
    assert first.endswith("it failed code=INTERNAL")
    assert rest[-1] == "ArithmeticError: broken"


def test_a_client_that_has_left_is_no_error() -> None:
    written = io.StringIO()
    configure_logging(file=written)
    grpcs = logging.getLogger("grpc._cython.cygrpc")
    grpcs.error("ExecuteBatchError raised in core by servicer method [%s]", "/a/b")
    grpcs.error("Unexpected [%s] raised by servicer method [%s]", "KeyError", "/a/b")
    assert (
        written.getvalue().splitlines()[-1].endswith("[KeyError] raised by servicer method [/a/b]")
    )
    assert "ExecuteBatchError" not in written.getvalue()


def test_an_answer_is_over_when_its_client_leaves(server: SpeechServer) -> None:
    """What writes it must not outlive its call, whose memory is free then."""
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    registry = server.telemetry.metrics.registry
    method = {"method": "ServerReflectionInfo"}

    def ended() -> float:
        return registry.get_sample_value("ossicle_call_seconds_count", method) or 0.0

    before = ended()
    # Nobody reads the answers, and gRPC is told to read few ahead: the server has to wait.
    few = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535)]
    with grpc.insecure_channel(server.address, options=few) as channel:
        for _ in range(5):
            sent: list[bytes] = []

            def requests(sent: list[bytes] = sent) -> Iterator[bytes]:
                while len(sent) < 20_000:
                    sent.append(b"\x3a\x00")  # list_services
                    yield sent[-1]

            answers = channel.stream_stream(path, bytes, bytes)(requests(), timeout=TIMEOUT)
            assert until(lambda sent=sent: len(sent) > 2000)  # type: ignore[misc]
            answers.cancel()
        assert until(lambda: ended() == before + 5)
    assert registry.get_sample_value("ossicle_calls_active", method) == 0
