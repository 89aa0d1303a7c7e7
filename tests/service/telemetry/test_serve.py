"""What `ossicle serve` shows of itself, as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest
from calls import TIMEOUT
from ossicle.service.client import AuthenticationError, SpeechClient
from ossicle.service.limits import Limits
from processes import COMMAND, serve, stop
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops servers by SIGTERM")


def test_every_line_is_json_and_metrics_are_where_they_were_asked_for(
    speech: bytes, tmp_path: Any
) -> None:
    tokens = tmp_path / "tokens.json"
    added = subprocess.run(
        [*COMMAND, "token", "add", "captions", "--tokens", str(tokens)],
        capture_output=True,
        text=True,
        check=True,
    )
    token = added.stdout.strip().splitlines()[-1].split()[-1]
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--tokens", str(tokens), "--decoder", "greedy"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "OSSICLE_LOG_FORMAT": "json",
            "OSSICLE_LOG_TRANSCRIPTS": "1",
            "OSSICLE_METRICS_PORT": "0",
        },
    )
    assert process.stdout is not None
    greeting = json.loads(process.stdout.readline())
    assert greeting["message"] == "serving"
    assert greeting["max_streams"] == Limits().max_streams
    with SpeechClient(greeting["address"], token=token) as client:
        recognition = client.recognize(speech, encoding="linear16", sample_rate=16_000)
    with SpeechClient(greeting["address"]) as client, pytest.raises(AuthenticationError) as refused:
        client.recognize(speech, encoding="linear16", sample_rate=16_000)
    with urllib.request.urlopen(greeting["metrics"], timeout=TIMEOUT) as response:
        families = text_string_to_metric_families(response.read().decode())
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    lines = [json.loads(line) for line in rest.splitlines()]
    ended = {line["code"]: line for line in lines if line["message"] == "call ended"}
    assert ended["OK"]["request_id"] == recognition.request_id
    assert ended["OK"]["client"] == "captions"
    assert ended["UNAUTHENTICATED"]["request_id"] == refused.value.request_id
    assert "client" not in ended["UNAUTHENTICATED"]
    said = [line["text"] for line in lines if line["message"] == "final"]
    assert " ".join(said) == recognition.text
    assert lines[-1]["message"] == "shutting down"
    assert token not in rest

    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    assert samples["ossicle_refused_total", "no_token"] == 1
    assert samples["ossicle_serving",] == 1


def test_the_banner_tells_where_the_metrics_are_and_nothing_is_opened_unasked() -> None:
    served = serve("--decoder", "greedy")
    try:
        assert "metrics    not served\n" in served.banner
    finally:
        assert stop(served) == 0


def test_a_receiver_of_traces_that_is_away_holds_nothing_up(speech: bytes) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")
    # The receiver is tried for so long, if nobody thinks of it.
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    served = serve("--traces", "--decoder", "greedy", **away)
    with SpeechClient(served.address) as client:
        assert client.recognize(speech[:32000], encoding="linear16", sample_rate=16_000)
    began = time.monotonic()
    assert stop(served) == 0
    assert time.monotonic() - began < 15


def test_a_port_of_metrics_that_is_taken_is_named() -> None:
    served = serve("--metrics-port", "0", "--decoder", "greedy")
    try:
        port = served.banner.split("metrics    http://127.0.0.1:")[1].split("/")[0]
        second = subprocess.run(
            [*COMMAND, "serve", "--port", "0", "--metrics-port", port],
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        stop(served)
    assert second.returncode == 1
    assert f"cannot serve metrics on 127.0.0.1:{port}" in second.stderr
    assert "Traceback" not in second.stderr
