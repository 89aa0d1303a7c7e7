"""The metrics of a real server, as its page tells them."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import grpc
import pytest
from calls import (
    SECOND,
    TIMEOUT,
    LiveStream,
    audio,
    chunks,
    finalize,
    linear16,
    results,
    start,
    stream,
    transcripts,
    until,
    until_error,
)
from ossicle.service.limits import Limits
from ossicle.service.rounds import Round
from ossicle.service.server import SpeechServer
from ossicle.service.telemetry.metrics import (
    BATCH_BUCKETS,
    LATENCY_BUCKETS,
    ROUND_BUCKETS,
    ServerMetrics,
)
from ossicle.service.telemetry.page import served_over_http
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

Page = Callable[[ServerMetrics], dict[str, float]]
TAPE = "{model=tape}"


def pcm(tape: Any) -> bytes:
    data: bytes = (tape * 32768).round().astype("<i2").tobytes()
    return data


@pytest.fixture
def small(serve: Any, tapes: Any) -> Iterator[SpeechServer]:
    """A server of two slots whose metrics no other test has touched."""
    with serve(tapes.model, Limits(max_streams=2)) as server:
        yield server


@pytest.fixture
def small_stub(small: SpeechServer) -> Iterator[Any]:
    with grpc.insecure_channel(small.address) as channel:
        yield speech_pb2_grpc.SpeechServiceStub(channel)


def test_streams_audio_and_steps_are_counted(
    small: SpeechServer, small_stub: Any, tapes: Any, metrics_page: Page
) -> None:
    said = pcm(tapes.record("hello world__"))
    responses = stream(small_stub, start(interim_results=True), *chunks(said, 3200))
    assert transcripts(responses) == ["hello world"]
    name = "{code=OK,method=StreamingRecognize}"
    assert until(lambda: metrics_page(small.telemetry.metrics)[f"ossicle_calls_total{name}"] == 1)
    page = metrics_page(small.telemetry.metrics)
    seconds = len(said) / SECOND
    block = 4 * tapes.frame_seconds
    # Whole blocks, of which the last also has the look-ahead.
    recognised = page[f"ossicle_audio_seconds_total{TAPE}"]
    assert seconds <= recognised <= seconds + 2 * block
    steps = page[f"ossicle_batch_streams_count{TAPE}"]
    assert steps == pytest.approx(recognised / block)
    assert page[f"ossicle_batch_streams_sum{TAPE}"] == steps
    for part in ("network", "decoding"):
        labels = f"{{model=tape,part={part}}}"
        assert page[f"ossicle_step_seconds_count{labels}"] == steps
        assert page[f"ossicle_step_seconds_sum{labels}"] > 0
    assert 0 < page[f"ossicle_queue_wait_seconds_count{TAPE}"] <= steps
    assert page[f"ossicle_first_partial_latency_seconds_count{TAPE}"] == 1
    assert page[f"ossicle_final_latency_seconds_count{TAPE}"] == 1
    assert page[f"ossicle_streams_active{TAPE}"] == 0
    assert page["ossicle_calls_active{method=StreamingRecognize}"] == 0


def test_live_streams_are_active_and_one_too_many_is_refused(
    small: SpeechServer, small_stub: Any, metrics_page: Page
) -> None:
    live = [LiveStream(small_stub, start(), audio(b"\0" * 3200)) for _ in range(2)]
    active = f"ossicle_streams_active{TAPE}"
    assert until(lambda: metrics_page(small.telemetry.metrics)[active] == 2)
    page = metrics_page(small.telemetry.metrics)
    assert page["ossicle_stream_slots{}"] == 2
    assert page["ossicle_calls_active{method=StreamingRecognize}"] == 2
    assert page["ossicle_refused_total{reason=no_free_slot}"] == 0
    _, error = until_error(LiveStream(small_stub, start()))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    exhausted = "ossicle_calls_total{code=RESOURCE_EXHAUSTED,method=StreamingRecognize}"
    assert until(lambda: metrics_page(small.telemetry.metrics).get(exhausted) == 1)
    assert metrics_page(small.telemetry.metrics)["ossicle_refused_total{reason=no_free_slot}"] == 1
    live[0].half_close()
    live[1].call.cancel()
    assert until(lambda: metrics_page(small.telemetry.metrics)[active] == 0)
    cancelled = "ossicle_calls_total{code=CANCELLED,method=StreamingRecognize}"
    assert until(lambda: metrics_page(small.telemetry.metrics).get(cancelled) == 1)


def test_errors_are_counted_by_code_and_inventions_of_a_client_under_one_name(
    small: SpeechServer, small_stub: Any, metrics_page: Page
) -> None:
    with pytest.raises(grpc.RpcError):
        stream(small_stub, audio(b"\0\0"))
    with pytest.raises(grpc.RpcError):
        small_stub.Recognize(pb.RecognizeRequest(config=linear16(model="none")), timeout=TIMEOUT)
    with grpc.insecure_channel(small.address) as channel:
        for method in ("/ossicle.speech.v1.SpeechService/Invented", "/a/b"):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(method)(b"", timeout=TIMEOUT)

    def calls() -> dict[str, float]:
        page = metrics_page(small.telemetry.metrics)
        return {
            name: count
            for name, count in page.items()
            if name.startswith("ossicle_calls_total") and count
        }

    # A status is on its way to the client before the call is counted.
    assert until(lambda: sum(calls().values()) == 4)
    assert calls() == {
        "ossicle_calls_total{code=INVALID_ARGUMENT,method=StreamingRecognize}": 1,
        "ossicle_calls_total{code=NOT_FOUND,method=Recognize}": 1,
        "ossicle_calls_total{code=UNIMPLEMENTED,method=unknown}": 2,
    }


def test_a_final_is_measured_from_the_request_for_it(
    serve: Any, tapes: Any, metrics_page: Page
) -> None:
    held = threading.Event()

    class Slow(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            if samples.any():
                held.wait(0.3)
            return super().step(samples, state)

    with serve(Slow()) as server, grpc.insecure_channel(server.address) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        one = pcm(tapes.record("ab"))  # a block, whose words come after the look-ahead
        live = LiveStream(stub, start(interim_results=True), audio(one), finalize(), audio(one))
        answered = iter(live.call)
        while not results([next(answered)], final=True):
            pass
        time.sleep(1.5)  # a client's pause counts for nothing
        live.half_close()
        assert results(list(answered), final=True)
        page = metrics_page(server.telemetry.metrics)
    assert page[f"ossicle_final_latency_seconds_count{TAPE}"] == 2
    # The block of the first final took a step of 0.3 s, which may have begun a moment before the
    # request came; so did that before the half-close, which was over before it.
    assert 0.2 <= page[f"ossicle_final_latency_seconds_sum{TAPE}"] < 1.5
    assert page["ossicle_step_seconds_sum{model=tape,part=network}"] >= 0.2


def test_what_is_always_there(small: SpeechServer, metrics_page: Page) -> None:
    page = metrics_page(small.telemetry.metrics)
    assert page["ossicle_serving{}"] == page["ossicle_workers{}"] == 1
    for limit in fields(Limits):
        name = f"ossicle_limit{{limit={limit.name}}}"
        assert page[name] == getattr(small.limits, limit.name)
    assert [name for name in page if name.startswith("ossicle_build_info{")]
    info = "ossicle_model_info{language=en-US,lookahead_ms=120,model=tape,sample_rate=16000}"
    assert page[info] == 1
    assert page["process_resident_memory_bytes{}"] > 0


def test_serving_ends_with_the_server(serve: Any, tapes: Any, metrics_page: Page) -> None:
    with serve(tapes.model) as server:
        pass
    assert metrics_page(server.telemetry.metrics)["ossicle_serving{}"] == 0


def test_the_backlog_is_what_waits(small: SpeechServer, tapes: Any, metrics_page: Page) -> None:
    idle = ServerMetrics()
    info = tapes.model.info
    idle.watch([info], 2, lambda name: [small.engine])
    assert metrics_page(idle)[f"ossicle_queue_audio_seconds{TAPE}"] == 0
    from ossicle.service.engine import Engine
    from ossicle.service.session_config import SessionConfig

    engine = Engine(tapes.model, slots=1)  # not started: what is written waits
    waiting = engine.open(SessionConfig(), lambda events: None)
    waiting.write(tapes.record("ab"))
    idle.watch([info], 1, lambda name: [engine])
    seconds = 4 * tapes.frame_seconds
    assert metrics_page(idle)[f"ossicle_queue_audio_seconds{TAPE}"] == pytest.approx(seconds)


def test_the_page_is_served_over_http_where_it_was_asked_for(tapes: Any) -> None:
    metrics = ServerMetrics()
    metrics.of_model(tapes.model.info).round(Round(3, 2560, 0.001, 0.02, 0.003))
    with served_over_http(metrics.registry, "127.0.0.1", 0) as address:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as response:
            text = response.read().decode()
        families = {family.name: family for family in text_string_to_metric_families(text)}
        taken = int(address.rsplit(":", 1)[1].split("/")[0])
        with (
            pytest.raises(OSError, match=f"127.0.0.1:{taken}.*--metrics-port"),
            served_over_http(ServerMetrics().registry, "127.0.0.1", taken),
        ):
            pass
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=TIMEOUT)
    batch = {sample.name: sample.value for sample in families["ossicle_batch_streams"].samples}
    assert batch["ossicle_batch_streams_sum"] == 3
    assert families["ossicle_audio_seconds"].samples[0].value == pytest.approx(3 * 0.16)


def test_buckets_have_edges_where_our_promises_are() -> None:
    assert 0.3 in LATENCY_BUCKETS  # partials and finals
    assert 0.15 in LATENCY_BUCKETS  # the goal for finals
    assert 0.16 in ROUND_BUCKETS  # the audio of a block
    assert {1, 32, 64, 256} <= set(BATCH_BUCKETS)
    for buckets in (LATENCY_BUCKETS, ROUND_BUCKETS, BATCH_BUCKETS):
        assert list(buckets) == sorted(set(buckets))
