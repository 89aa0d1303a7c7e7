"""`ossicle bench server` against real servers."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from ossicle.service.bench.load import Load, Settings, StreamRecord
from ossicle.service.bench.recording import Recording
from ossicle.service.bench.summary import Latency, summarize
from ossicle.service.bench.target import MetricsPage, TargetError, Usage
from ossicle.service.cli import app
from ossicle.service.client.access import Access
from ossicle.service.limits import Limits
from ossicle.service.telemetry.metrics import ServerMetrics
from ossicle.service.telemetry.page import served_over_http
from typer.testing import CliRunner

runner = CliRunner()
SHORT = ["--ramp", "0.2", "--duration", "1"]


def bench(*options: str) -> Any:
    return runner.invoke(app, ["bench", "server", *SHORT, *options])


def written(folder: Path, samples: Any, text: str, name: str = "a") -> Path:
    """A manifest of one recording."""
    with wave.open(str(folder / f"{name}.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((samples * 32768).round().astype("<i2").tobytes())
    manifest = folder / f"{name}.jsonl"
    line = {"audio_filepath": f"{name}.wav", "duration": len(samples) / 16_000, "text": text}
    manifest.write_text(json.dumps(line) + "\n", encoding="utf-8")
    return manifest


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    return written(tmp_path, read_audio(sample_path())[: 2 * 16_000], "every day luigi led")


@pytest.fixture
def taped(tmp_path: Path, tapes: Any) -> Path:
    """One second; the last letter is no blank's neighbour, so that partials show words."""
    return written(tmp_path, tapes.record("hello big world__"), "hello big world")


def test_two_streams_of_speech_on_a_server_of_its_own(spoken: Path) -> None:
    done = bench("--manifest", str(spoken), "-n", "2", "--json", "--", "--decoder", "greedy")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["recordings"] == 1
    assert found["recording_seconds"] == pytest.approx(2, abs=0.01)
    alone, two = found["runs"]
    assert (alone["streams"], two["streams"]) == (1, 2)
    for run in (alone, two):
        assert run["held"] == run["streams"]
        assert run["failed"] == 0
        assert run["finished"] == run["identical"] >= run["streams"]
        assert run["wer_alone"] == 0
        assert run["wer_text"] > 0
        # The look-ahead of 160 ms is part of a partial's latency.
        assert run["partial"]["p50"] >= 160
        assert run["partial"]["p50"] >= run["partial_sent"]["p50"] - 1
        assert run["final"]["count"] > 0
        assert run["overall"]["count"] == run["partial"]["count"] + run["final"]["count"]
        server = run["server"]
        assert server["memory_mib"] > 50
        assert server["cpu_cores"] > 0
        assert 1 <= server["batch_streams"] <= run["streams"]
        assert server["network_ms"] > 0
        assert any(streams for _, _, streams in server["samples"])


def test_a_load_is_put_on_once_more_beside_files(spoken: Path) -> None:
    options = ["--manifest", str(spoken), "-n", "2", "--files", "1", "--json"]
    done = bench(*options, "--", "--decoder", "greedy")
    assert done.exit_code == 0, done.output
    alone, without, beside = json.loads(done.stdout)["runs"]
    assert [(run["streams"], run["files"]) for run in (alone, without, beside)] == [
        *((1, 0), (2, 0), (2, 1)),
    ]
    assert without["file_speed"] is None
    assert beside["file_speed"] > 0
    assert (beside["failed"], beside["held"]) == (0, 2)


def test_streams_that_are_refused_are_not_held(serve: Any, tapes: Any, taped: Path) -> None:
    with serve(tapes.model, Limits(max_streams=1)) as server:
        done = bench("--manifest", str(taped), "-n", "3", "--server", server.address)
    assert done.exit_code == 1
    rows = {line[:34].strip(): line[34:].split() for line in done.stdout.splitlines()[1:]}
    assert rows["streams"] == ["1", "3"]
    assert rows["streams held"][0] == "1"
    assert int(rows["streams held"][1]) <= 1
    assert int(rows["streams failed"][1]) >= 2
    assert not [name for name in rows if name.startswith("server:")]  # its metrics are not known
    assert "x RESOURCE_EXHAUSTED: all 1 streams are taken" in done.stderr


def test_words_that_others_change_are_found(serve: Any, tapes: Any, taped: Path) -> None:
    class Leaking(type(tapes.model)):  # type: ignore[misc]
        """Hears `z` where streams are stepped together."""

        def step(self, samples: Any, state: Any) -> Any:
            if np.count_nonzero(samples.any(axis=1)) > 1:
                samples = np.where(samples > 0.015, np.float32(0.27), samples)
            return super().step(samples, state)

    with (
        serve(Leaking()) as server,
        served_over_http(server.telemetry.metrics.registry, "127.0.0.1", 0) as metrics,
    ):
        done = bench(
            *("--manifest", str(taped), "-n", "4", "--server", server.address),
            *("--metrics", metrics, "--json", "--chunk-ms", "160", "--ramp", "0"),
        )
    assert done.exit_code == 1
    alone, four = json.loads(done.stdout)["runs"]
    assert alone["identical"] == alone["finished"]
    assert alone["wer_text"] == 0
    assert four["failed"] == 0
    assert four["identical"] < four["finished"]
    assert four["wer_alone"] > 0
    assert four["server"]["batch_streams"] > 1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--metrics", "http://127.0.0.1:1/metrics"], 2, "--metrics is for --server"),
        (["--server", "127.0.0.1:1", "--threads", "2"], 2, "--threads and options of ossicle"),
        (["--server", "127.0.0.1:1", "--", "--decoder", "greedy"], 2, "are for a server that is"),
        (["--server", "127.0.0.1:1"], 1, "127.0.0.1:1 does not answer"),
        (["--manifest", "nowhere.jsonl"], 1, "nowhere.jsonl"),
        (["--", "--no-such-option"], 1, "the server did not start"),
    ],
)
def test_what_cannot_be_measured_is_said(options: list[str], code: int, message: str) -> None:
    done = bench(*options)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_that_is_none_is_refused(serve: Any, tapes: Any, taped: Path) -> None:
    with serve(tapes.model) as server:
        for page in ("http://127.0.0.1:1/metrics", "127.0.0.1"):
            done = bench("--manifest", str(taped), "--server", server.address, "--metrics", page)
            assert done.exit_code == 1
            assert page in done.stderr


def record(recording: Recording, **fields: Any) -> StreamRecord:
    return StreamRecord(recording, 0.0, **fields)


def test_latencies_count_while_all_clients_stream_and_words_always() -> None:
    said = Recording("a.wav", b"", "one two three four")
    load = Load("", Access(), [said], Settings(), 2, ramp_seconds=10, seconds=20, began=100.0)
    load.stopped = 131.0
    load.records = [
        [
            record(
                said,
                partials=[(105, 9.0, 9.0), (115, 0.2, 0.1), (132, 9.0, 9.0)],
                final=(130, 0.05),
                lateness=[0.001, 0.003],
                transcript="one two three",
            )
        ],
        [
            record(said, partials=[(112, 0.4, 0.3)], error="UNAVAILABLE", reason="gone"),
            record(said, final=(133, 9.0), transcript="one two four"),
        ],
    ]
    run = summarize(load, {"a.wav": "one two three"}, 0.5, None)
    assert (run.streams, run.held, run.finished, run.failed) == (2, 1, 2, 1)
    assert run.errors == {"UNAVAILABLE": 1}
    assert run.reasons == {"UNAVAILABLE": "gone"}
    assert (run.partial.count, run.partial.mean) == (2, pytest.approx(300))
    assert run.partial_sent.mean == pytest.approx(200)
    assert (run.final.count, run.final.p50) == (1, pytest.approx(50))
    assert run.overall.count == 3
    assert run.late.mean == pytest.approx(2)
    assert run.identical == 1
    assert run.wer_alone == pytest.approx(1 / 6)
    assert run.wer_text == pytest.approx(2 / 8)
    assert run.server is None


def test_words_where_none_were_heard_alone_are_errors() -> None:
    quiet = Recording("q.wav", b"")
    load = Load("", Access(), [quiet], Settings(), 1, 0, 1, began=0.0)
    spoken = Recording("s.wav", b"")
    load.records = [[record(quiet, transcript="a b"), record(spoken, transcript="c d")]]
    run = summarize(load, {"q.wav": "", "s.wav": "c d"}, 0, None)
    assert run.wer_alone == pytest.approx(1.0)
    assert np.isnan(run.wer_text)
    assert run.as_json()["wer_text"] is None


def test_quantiles_are_those_of_the_field() -> None:
    latency = Latency.of([i / 1000 for i in range(1, 101)])
    assert latency.count == 100
    assert latency.mean == pytest.approx(50.5)
    assert (latency.p50, latency.p95, latency.p99) == pytest.approx((50.5, 95.05, 99.01))
    assert Latency.of([]).count == 0


def test_means_and_rates_are_of_the_time_between_two_pages() -> None:
    def page(at: float, cpu: float, steps: int, seconds: float) -> MetricsPage:
        made = MetricsPage(
            f"process_cpu_seconds_total {cpu}\n"
            "# TYPE ossicle_step_seconds histogram\n"
            f'ossicle_step_seconds_count{{model="m",part="network"}} {steps}\n'
            f'ossicle_step_seconds_sum{{model="m",part="network"}} {seconds}\n'
            'ossicle_step_seconds_count{model="m",part="decoding"} 1000\n'
        )
        made.at = at
        return made

    usage = Usage("", first=page(10, 5, 100, 2.0), last=page(20, 12, 150, 3.5))
    assert usage.rate("process_cpu_seconds_total") == pytest.approx(0.7)
    assert usage.mean("ossicle_step_seconds", part="network") == pytest.approx(0.03)
    assert np.isnan(usage.mean("ossicle_queue_wait_seconds"))
    assert np.isnan(Usage("").rate("process_cpu_seconds_total"))


def test_the_page_is_read_over_http() -> None:
    metrics = ServerMetrics()
    metrics.calls.labels("Recognize", "OK").inc(3)
    metrics.calls.labels("Recognize", "INTERNAL").inc()
    with served_over_http(metrics.registry, "127.0.0.1", 0) as address:
        page = MetricsPage.read(address)
    assert page.total("ossicle_calls_total", method="Recognize") == 4
    assert page.total("ossicle_calls_total", code="OK") == 3
    with pytest.raises(TargetError, match="no metrics at"):
        MetricsPage.read(address)
