"""The command `serve` as a process of its own, and the commands that talk to it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ossicle.data.audio import read_audio, stream_audio
from ossicle.data.pcm import to_linear16
from ossicle.data.sample import sample_path
from ossicle.model.runtime import ModelInfo, find_model
from ossicle.service.cli import app
from ossicle.service.client import (
    AsyncSpeechClient,
    BusyError,
    Finalize,
    InvalidRequestError,
    LimitError,
    SpeechClient,
    SpeechEvent,
    SpeechEventKind,
    UnknownModelError,
)
from processes import COMMAND, Served, serve, stop
from typer.testing import CliRunner

SAMPLE = str(sample_path())
runner = CliRunner()
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops servers by SIGTERM")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    server = serve("--max-streams", "6", "--max-unary-seconds", "15")
    yield server
    assert stop(server) == 0


@pytest.fixture(scope="module")
def one_stream() -> Iterator[Served]:
    """A server that a single stream fills."""
    server = serve("--max-streams", "1")
    yield server
    assert stop(server) == 0


@pytest.fixture(scope="module")
def info() -> ModelInfo:
    return ModelInfo.load(find_model(os.environ.get("OSSICLE_MODEL")))


@pytest.fixture(scope="module")
def text(served: Served) -> str:
    """What the server makes of the recording as a whole."""
    with SpeechClient(served.address) as client:
        return client.recognize(SAMPLE).text


def test_the_server_says_where_it_is_what_it_serves_and_its_limits(
    served: Served, info: ModelInfo
) -> None:
    assert served.address.startswith("127.0.0.1:")
    assert info.name in served.banner
    assert f"look-ahead {info.lookahead_ms} ms" in served.banner
    assert "linear16, flac, mulaw" in served.banner
    assert re.search(r"^threads +\d+$", served.banner, re.MULTILINE)
    assert "--max-streams 6 " in served.banner
    assert "--idle-timeout-seconds 60 " in served.banner


def test_limits_are_read_from_the_environment_and_sigterm_ends_in_order() -> None:
    server = serve(OSSICLE_MAX_STREAMS="3", OSSICLE_GRACE_SECONDS="2.5", OSSICLE_THREADS="1")
    assert "--max-streams 3 " in server.banner
    assert "--grace-seconds 2.5 " in server.banner
    with SpeechClient(server.address) as client:
        assert client.list_models().limits.max_streams == 3
    assert stop(server) == 0


def test_a_limit_out_of_its_range_is_refused_by_its_flag() -> None:
    result = runner.invoke(app, ["serve", "--max-streams", "0"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--max-streams is 0" in result.stderr


def test_a_server_takes_messages_as_large_as_our_clients_send() -> None:
    result = runner.invoke(app, ["serve", "--max-message-bytes", "65535"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--max-message-bytes is 65535; give 65536 or more" in result.stderr


def test_pages_without_http_are_refused() -> None:
    result = runner.invoke(app, ["serve", "--http-origin", "https://asr.example.org"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "add --http" in result.stderr


def test_a_port_that_is_taken_is_an_error_of_one_line(served: Served) -> None:
    port = served.address.rpartition(":")[2]
    run = subprocess.run([*COMMAND, "serve", "--port", port], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (1, "")
    (error,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert served.address in error
    assert "Traceback" not in run.stderr


def test_health_answers_by_exit_code(served: Served) -> None:
    result = runner.invoke(app, ["health", "--server", served.address])
    assert (result.exit_code, result.stdout) == (0, "serving\n")


def test_the_models_of_a_server_are_listed(served: Served, info: ModelInfo) -> None:
    result = runner.invoke(app, ["models", "--server", served.address], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert info.name in result.stdout
    assert f"{info.lookahead_ms} ms" in result.stdout


def test_transcribing_through_the_server(served: Served, text: str, info: ModelInfo) -> None:
    result = runner.invoke(
        app, ["transcribe", SAMPLE, SAMPLE, "missing.wav", "-f", "json", "--server", served.address]
    )
    assert result.exit_code == 1
    assert "error: missing.wav: No such file" in result.stderr
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [document["file"] for document in documents] == [SAMPLE, SAMPLE]
    for document in documents:
        assert document["text"] == text
        assert document["model"] == info.name
        assert document["duration"] == pytest.approx(len(read_audio(SAMPLE)) / 16_000, abs=0.001)
        words = [word["word"] for segment in document["segments"] for word in segment["words"]]
        assert " ".join(words) == document["text"]


def test_an_empty_file_is_as_bad_through_the_server(served: Served, tmp_path: Path) -> None:
    empty = tmp_path / "empty.flac"
    empty.touch()
    result = runner.invoke(app, ["transcribe", str(empty), SAMPLE, "--server", served.address])
    assert result.exit_code == 1
    assert f"error: {empty}: the audio is empty" in result.stderr
    assert result.stdout.startswith(f"{SAMPLE}: ")


def test_more_files_than_streams_wait_for_their_turn(one_stream: Served) -> None:
    result = runner.invoke(app, ["transcribe", *[SAMPLE] * 3, "--server", one_stream.address])
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 3


def test_standard_input_is_streamed_to_the_server(served: Served, text: str) -> None:
    result = runner.invoke(
        app, ["transcribe", "-", "--server", served.address], input=sample_path().read_bytes()
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert " ".join(result.stdout.split()) == text


def test_streaming_a_file_takes_as_long_as_it_was_spoken(served: Served, text: str) -> None:
    seconds = len(read_audio(SAMPLE)) / 16_000
    began = os.times().elapsed
    result = runner.invoke(app, ["stream", SAMPLE, "--server", served.address])
    took = os.times().elapsed - began
    assert (result.exit_code, result.stderr) == (0, "")
    assert " ".join(result.stdout.split()) == text
    assert seconds - 0.2 <= took < seconds + 10


def test_streaming_what_is_no_audio_says_so_and_names_it(served: Served, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("this is not audio, it is a text file about audio\n")
    for file, words in ((notes, "no audio"), (tmp_path / "missing.wav", "No such file")):
        result = runner.invoke(app, ["stream", str(file), "--server", served.address])
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"error: {file}: " in result.stderr
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


def test_the_synchronous_client_gets_partials_a_final_and_events(served: Served, text: str) -> None:
    events: list[SpeechEvent] = []
    chunks = map(to_linear16, stream_audio(SAMPLE, 0.1))
    with SpeechClient(served.address) as client:
        results = list(
            client.stream(
                chunks,
                encoding="linear16",
                sample_rate=16_000,
                words=True,
                interim_results=True,
                on_event=events.append,
            )
        )
    assert results[-1].is_final
    finals = [result for result in results if result.is_final]
    assert " ".join(final.text for final in finals if final.text) == text
    assert len(results) > len(finals)
    assert all(result.request_id == results[0].request_id for result in results)
    assert results[0].request_id
    for result in results:
        assert [word.text for word in result.words] == result.text.split()
    kinds = [event.kind for event in events]
    assert kinds[0] is SpeechEventKind.SPEECH_BEGIN
    assert kinds[-1] is SpeechEventKind.SPEECH_END


def test_the_asynchronous_client_gets_a_final_when_it_asks(served: Served) -> None:
    samples = to_linear16(read_audio(SAMPLE))

    async def converse() -> list[bool]:
        answered = asyncio.Event()

        async def chunks():  # type: ignore[no-untyped-def]
            yield samples[: len(samples) // 2]
            yield Finalize()
            await asyncio.wait_for(answered.wait(), 10)
            yield samples[len(samples) // 2 :]

        finals = []
        async with AsyncSpeechClient(served.address) as client:
            assert await client.health()
            assert (await client.list_models()).limits.max_streams == 6
            async for result in client.stream(chunks(), encoding="linear16", sample_rate=16_000):
                answered.set()
                finals.append(result.is_final)
        return finals

    assert asyncio.run(converse())[:2] == [True, True]


def test_refusals_of_the_real_server_arrive_as_their_exceptions(served: Served) -> None:
    with SpeechClient(served.address) as client:
        with pytest.raises(UnknownModelError, match="whispering") as unknown:
            client.recognize(SAMPLE, model="whispering")
        assert unknown.value.request_id
        with pytest.raises(InvalidRequestError, match="rate"):
            client.recognize(bytes(3200), encoding="linear16")
        with pytest.raises(LimitError, match="15"):
            client.recognize(bytes(2 * 16_000 * 16), encoding="linear16", sample_rate=16_000)
        with pytest.raises(InvalidRequestError, match="de-DE"):
            list(client.stream([b"\0" * 3200] * 50, language="de-DE"))


def test_a_full_server_refuses_both_clients_with_a_delay(one_stream: Served) -> None:
    leave = threading.Event()

    def chunks() -> Iterator[bytes | Finalize]:
        yield bytes(3200)
        yield Finalize()
        leave.wait(20)

    async def asynchronous() -> None:
        async with AsyncSpeechClient(one_stream.address) as second:
            async for _ in second.stream([bytes(3200)] * 100):
                pass

    with SpeechClient(one_stream.address) as client:
        occupant = client.stream(chunks(), encoding="linear16", sample_rate=16_000)
        assert next(occupant).is_final
        with pytest.raises(BusyError) as refused:
            client.recognize(SAMPLE)
        with pytest.raises(BusyError) as refused_too:
            asyncio.run(asynchronous())
        leave.set()
        list(occupant)
        assert client.recognize(SAMPLE).text
    assert refused.value.retry_after
    assert refused_too.value.retry_after
