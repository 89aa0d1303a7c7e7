"""A server's life: warming up, full, left by its clients, failing, shutting down."""

from __future__ import annotations

import threading
import time
from typing import Any

import grpc
import pytest
from calls import (
    SECOND,
    TIMEOUT,
    LiveStream,
    audio,
    finalize,
    results,
    start,
    stream,
    transcripts,
    until,
    until_error,
)
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from ossicle.service.limits import Limits
from ossicle.service.server import SERVICE, SpeechServer
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc


def test_health_is_not_serving_until_warm_and_after_a_failure(
    server_thread: Any, tapes: Any
) -> None:
    warm = threading.Event()

    class Fragile(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            assert warm.wait(20)
            if samples.any():
                raise ArithmeticError("broken")
            return super().step(samples, state)

    thread = server_thread(Fragile())
    try:
        started = thread.start()
        assert until(lambda: thread.server.port != 0)
        with grpc.insecure_channel(thread.server.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)

            def status() -> int:
                request = health_pb2.HealthCheckRequest(service=SERVICE)
                return int(health.Check(request, wait_for_ready=True, timeout=TIMEOUT).status)

            assert status() == health_pb2.HealthCheckResponse.NOT_SERVING
            warm.set()
            started.result(TIMEOUT)
            assert status() == health_pb2.HealthCheckResponse.SERVING
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            with pytest.raises(grpc.RpcError) as refusal:
                stream(stub, start(), audio(b"\x00\x10" * 16_000))
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "broken" in refusal.value.details()
            assert until(lambda: status() == health_pb2.HealthCheckResponse.NOT_SERVING)
        thread.stop()
    finally:
        thread.end()


def test_a_full_server_says_when_to_try_again(serve: Any, model: Any, speech: bytes) -> None:
    with (
        serve(model, Limits(max_streams=1)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        live = LiveStream(stub, start(), audio(speech[:SECOND]), finalize())
        next(live.call)
        with pytest.raises(grpc.RpcError) as refusal:
            stream(stub, start(), audio(speech))
        live.half_close()
        list(live.call)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "max_streams" in refusal.value.details()
    detail = RetryInfo()
    assert rpc_status.from_call(refusal.value).details[0].Unpack(detail)
    assert detail.retry_delay.seconds > 0


def test_a_client_that_vanishes_in_a_word_frees_its_slot(
    server: SpeechServer, speech: bytes
) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        live = LiveStream(stub, start(interim_results=True), audio(speech[: 2 * SECOND]))
        next(live.call)
        assert until(lambda: server.engine.active == 1)
    live.half_close()
    assert until(lambda: server.engine.active == 0)


def test_a_client_that_reads_late_gets_everything(serve: Any, tapes: Any) -> None:
    said = (tapes.record("_".join("abcdefgh") * 4 + "_" * 40) * 32767).astype("<i2").tobytes()
    requests = [start(interim_results=True), *[audio(said), finalize()] * 200]
    with (
        serve(tapes.model, Limits(queue_seconds=2)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        call = stub.StreamingRecognize(iter(requests), timeout=TIMEOUT)
        time.sleep(0.5)
        assert transcripts(list(call)) == ["abcdefgh" * 4, ""] * 200 + [""]


def test_a_client_that_never_reads_is_sent_away(serve: Any, tapes: Any) -> None:
    # Many more answers than gRPC keeps for a reader, which is told to keep few.
    requests = [start(), *[finalize()] * 20_000]
    little = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535)]
    with (
        serve(tapes.model, Limits(idle_timeout_seconds=1)) as server,
        grpc.insecure_channel(server.address, options=little) as channel,
    ):
        call = speech_pb2_grpc.SpeechServiceStub(channel).StreamingRecognize(iter(requests))
        assert until(lambda: server.engine.active == 1)
        assert until(lambda: server.engine.active == 0, TIMEOUT)
        with pytest.raises(grpc.RpcError) as end:
            list(call)
    assert end.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "no result was read for 1 s" in end.value.details()


def test_watching_the_health_does_not_hold_up_a_shutdown(server_thread: Any, tapes: Any) -> None:
    thread = server_thread(tapes.model, Limits(grace_seconds=20))
    try:
        thread.start().result(TIMEOUT)
        with grpc.insecure_channel(thread.server.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service=SERVICE), timeout=TIMEOUT
            )
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            started = time.monotonic()
            thread.stop()
            assert time.monotonic() - started < 10
            assert [answer.status for answer in watch] == [
                health_pb2.HealthCheckResponse.NOT_SERVING
            ]
    finally:
        thread.end()


def test_shutting_down_sends_every_stream_its_final(
    server_thread: Any, model: Any, speech: bytes
) -> None:
    thread = server_thread(model)
    try:
        thread.start().result(TIMEOUT)
        with grpc.insecure_channel(thread.server.address) as channel:
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            idle = LiveStream(stub)
            streams = [
                LiveStream(stub, start(interim_results=True), audio(speech[: 3 * SECOND]))
                for _ in range(3)
            ]
            for live in streams:
                next(live.call)
            started = time.monotonic()
            thread.stop()
            assert time.monotonic() - started < 8
            for live in streams:
                responses, end = until_error(live)
                (final,) = results(responses, final=True)
                assert final.alternatives[0].transcript
                assert final.utterance_end == pb.UTTERANCE_END_INTERRUPTED
                assert end.code() is grpc.StatusCode.UNAVAILABLE
                assert "shutting down" in end.details()
            with pytest.raises(grpc.RpcError) as end:
                next(idle.call)
            assert end.value.code() is grpc.StatusCode.UNAVAILABLE
            with pytest.raises(grpc.RpcError) as refusal:
                stub.ListModels(pb.ListModelsRequest(), timeout=2)
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            for live in (idle, *streams):
                live.half_close()
    finally:
        thread.end()


def test_shutting_down_does_not_wait_for_a_long_message_to_be_worked_off(
    server_thread: Any, tapes: Any
) -> None:
    class Slow(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            time.sleep(0.05)
            return super().step(samples, state)

    # The message alone takes the network 30 s, three times the grace.
    said = (tapes.record("hello ") * 32767).astype("<i2").tobytes() * 200
    thread = server_thread(Slow(), Limits(queue_seconds=1, grace_seconds=10))
    try:
        thread.start().result(TIMEOUT)
        with grpc.insecure_channel(thread.server.address) as channel:
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            live = LiveStream(stub, start(interim_results=True), audio(said))
            next(live.call)
            thread.stop()
            responses, end = until_error(live)
            assert transcripts(responses)[-1].startswith("hello hello")
            assert responses[-1].results[0].is_final
            assert end.code() is grpc.StatusCode.UNAVAILABLE
            assert "shutting down" in end.details()
            live.half_close()
    finally:
        thread.end()


def test_a_port_that_is_taken_is_an_error(serve: Any, server: SpeechServer, tapes: Any) -> None:
    with (
        pytest.raises(OSError, match=f"cannot listen on {server.address}"),
        serve(tapes.model, port=server.port),
    ):
        pass


def test_a_clock_that_jumps_ends_no_stream_of_the_server(
    serve: Any, tapes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the wall is set a day ahead, then a day back, between two messages."""
    really = time.time
    said = (tapes.record("hello") * 32768).round().astype("<i2").tobytes()
    limits = Limits(idle_timeout_seconds=10, max_call_seconds=60)
    with serve(tapes.model, limits) as server, grpc.insecure_channel(server.address) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        live = LiveStream(stub, start())
        for hours in (0, 24, -24):
            monkeypatch.setattr(time, "time", lambda hours=hours: really() + 3600 * hours)
            live.send(audio(said))
            live.send(finalize())
            assert transcripts([next(live.call)]) == ["hello"]
        live.half_close()
        assert transcripts(list(live.call)) == [""]
