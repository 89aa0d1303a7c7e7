"""The command line: transcription, errors, and that it starts quickly."""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ossicle.data.sample import sample_path
from ossicle.model.runtime import list_models
from ossicle.service.cli import app
from ossicle.service.commands.options import SearchOptions, local_model
from ossicle.service.commands.stream import spoken_now
from ossicle.service.formats import Transcript, format_transcript
from ossicle.service.transcribe import transcribe
from typer.testing import CliRunner

SAMPLE = str(sample_path())
runner = CliRunner()


@pytest.fixture(autouse=True)
def _no_server_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSSICLE_SERVER", raising=False)


@pytest.fixture(scope="module")
def transcript() -> Transcript:
    (outcome,) = transcribe([SAMPLE], *local_model(None))
    assert isinstance(outcome, Transcript)
    return outcome


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("this is not audio, it is a text file about audio\n")
    return path


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    heavy = ("torch", "torchaudio", "librosa", "onnxruntime", "grpc", "jiwer", "sounddevice")
    code = "import sys, ossicle.service.cli as cli; print(*sys.modules.keys() & set(sys.argv[1:]))"
    run = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True)
    assert (run.stdout, run.returncode) == ("\n", 0), run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs the scheduler's list of processors")
def test_there_are_as_many_threads_as_processors_that_may_be_used() -> None:
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from ossicle.model.commands.options import thread_count\n"
        "print(thread_count(0), thread_count(3))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == "1 3\n", run.stderr


def test_version_and_help() -> None:
    version = runner.invoke(app, ["--version"])
    assert version.exit_code == 0
    assert version.stdout.startswith("ossicle 0.")
    text = runner.invoke(app, ["--help"]).stdout
    for command in ("transcribe", "serve", "stream", "mic", "models", "health", "demo", "data"):
        assert command in text
    for command in ("train", "evaluate", "export"):
        assert command in text


@pytest.mark.parametrize("name", ["txt", "srt", "vtt", "tsv", "json"])
def test_one_recording_is_printed_in_the_chosen_format(name: str, transcript: Transcript) -> None:
    result = runner.invoke(app, ["transcribe", SAMPLE, "-f", name])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == format_transcript(transcript, name)


def test_several_recordings_have_a_line_each_after_their_name(transcript: Transcript) -> None:
    result = runner.invoke(app, ["transcribe", SAMPLE, SAMPLE])
    assert result.exit_code == 0
    names = [line.split(": ")[0] for line in result.stdout.splitlines()]
    assert names == [SAMPLE, SAMPLE]


def test_several_recordings_as_json_are_an_object_a_line() -> None:
    result = runner.invoke(app, ["transcribe", SAMPLE, SAMPLE, "-f", "json"])
    assert result.exit_code == 0
    files = [json.loads(line)["file"] for line in result.stdout.splitlines()]
    assert files == [SAMPLE, SAMPLE]


def test_standard_input_is_read(transcript: Transcript) -> None:
    result = runner.invoke(app, ["transcribe", "-"], input=sample_path().read_bytes())
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == format_transcript(transcript, "txt")


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_ends_the_command_while_standard_input_is_silent() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ossicle.service.cli", "transcribe", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    # More than a pipe holds: once it is written, the command reads.
    process.stdin.write(sample_path().read_bytes()[:150_000])
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    stdout, stderr = process.communicate()
    assert (stdout, b"Fatal" in stderr, b"Traceback" in stderr) == (b"", False, False)


def test_an_output_folder_gets_a_file_for_each_recording(
    tmp_path: Path, transcript: Transcript
) -> None:
    folder = tmp_path / "a" / "b"
    result = runner.invoke(app, ["transcribe", SAMPLE, "-f", "tsv", "-o", str(folder)])
    assert (result.exit_code, result.stdout) == (0, "")
    (written,) = folder.iterdir()
    assert written.name == f"{sample_path().stem}.tsv"
    rows = list(csv.DictReader(io.StringIO(written.read_text()), delimiter="\t"))
    assert [row["text"] for row in rows] == [segment.text for segment in transcript.segments]


def test_bad_files_are_named_and_the_others_go_on(notes: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.wav"
    empty = tmp_path / "empty.wav"
    empty.touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    command = [sys.executable, "-m", "ossicle.service.cli", "transcribe"]
    run = subprocess.run(
        [*command, str(notes), str(missing), SAMPLE, str(empty), str(folder)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stdout.startswith(f"{SAMPLE}: ")
    assert run.stdout.count("\n") == 1
    errors = run.stderr.splitlines()
    bad = [notes, missing, empty, folder]
    assert [line.split(": ")[1] for line in errors] == [str(path) for path in bad]
    assert all(line.startswith("error: ") for line in errors)
    assert "No such file" in errors[1]
    assert "no recording is in this folder" in errors[3]


def refusal(*arguments: str) -> str:
    """What a command says that ends with the exit code for wrong usage."""
    result = runner.invoke(app, ["transcribe", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def test_commands_that_cannot_make_sense_are_refused_before_any_work(
    tmp_path: Path, notes: Path
) -> None:
    assert "--output-dir" in refusal(SAMPLE, SAMPLE, "-f", "srt")
    assert "only once" in refusal("-", "-")
    assert f"{notes} is a file" in refusal(SAMPLE, "-o", str(notes))
    assert "--alternatives 3 cannot be shown as txt" in refusal(SAMPLE, "--alternatives", "3")
    assert "--words cannot be shown as txt" in refusal(SAMPLE, "--words")
    assert "--again is about files" in refusal(SAMPLE, "--again")
    assert "leave --format out" in refusal(SAMPLE, "--json-lines", "-f", "srt")
    assert "txt and srt make as many files" in refusal(SAMPLE, "-f", "txt", "-f", "srt")
    missing = str(tmp_path / "phrases.txt")
    assert f"--phrases {missing}: No such file" in refusal(SAMPLE, "--phrases", missing)
    assert "'?!' has nothing that is spoken" in refusal(SAMPLE, "--phrase", "?!")
    greedy = refusal(SAMPLE, "--phrase", "luigi", "--decoder", "greedy")
    assert "phrases need a beam search" in greedy
    clash = refusal("x/talk.wav", "y/talk.flac", "-o", str(tmp_path / "out"))
    assert "x/talk.wav" in clash
    assert "y/talk.flac" in clash
    assert "talk.txt" in clash
    assert not (tmp_path / "out").exists()


def test_alternatives_are_in_the_json_with_phrases_of_options_and_file(tmp_path: Path) -> None:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("Palestrina\n\n Borgo \n", encoding="utf-8")
    search = SearchOptions(phrase=["Luigi"], phrases=phrases)
    assert search.expected() == ("Luigi", "Palestrina", "Borgo")
    options = ["--decoder", "beam", "--beam-width", "8", "--phrase", "Luigi", "--boost", "5"]
    result = runner.invoke(
        app, ["transcribe", SAMPLE, "-f", "json", "--alternatives", "3", *options]
    )
    assert (result.exit_code, result.stderr) == (0, "")
    segments = json.loads(result.stdout)["segments"]
    assert any("alternatives" in segment for segment in segments)
    for segment in segments:
        readings = segment.get("alternatives", [])
        assert len(readings) != 1
        assert len({reading["text"] for reading in readings}) == len(readings) <= 3
        if readings:
            assert readings[0]["text"] == segment["text"]


def test_an_unknown_model_is_an_error_of_one_line() -> None:
    result = runner.invoke(app, ["transcribe", SAMPLE, "--model", "whispering"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "'whispering'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_progress_bar_without_a_terminal() -> None:
    command = [sys.executable, "-m", "ossicle.service.cli", "transcribe", SAMPLE]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_progress_bar_is_on_standard_error_and_leaves_the_text_alone(
    transcript: Transcript,
) -> None:
    import pty

    terminal, stderr = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ossicle.service.cli", "transcribe", SAMPLE],
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(stderr)
    shown = b""
    try:
        while data := os.read(terminal, 4096):
            shown += data
    except OSError:
        pass  # Linux reports the end of a terminal as an error
    finally:
        os.close(terminal)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.read().decode() == format_transcript(transcript, "txt")
    assert process.wait() == 0
    assert b"0:00:09 of audio" in shown


def test_the_recording_is_released_though_another_thread_reads_it() -> None:
    first = threading.Event()

    def read(chunks: Iterator[bytes]) -> None:
        for _ in chunks:
            first.set()

    with spoken_now(SAMPLE) as chunks:
        reader = threading.Thread(target=read, args=(chunks,))
        reader.start()
        assert first.wait(10)
    assert inspect.getgeneratorstate(chunks) == inspect.GEN_CLOSED  # type: ignore[arg-type]
    reader.join(10)
    assert not reader.is_alive()


def test_the_installed_models_are_listed() -> None:
    result = runner.invoke(app, ["models"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for info in list_models():
        assert info.name in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["stream", SAMPLE, "--server", "127.0.0.1:1"],
        ["transcribe", SAMPLE, "--server", "127.0.0.1:1"],
        ["models", "--server", "127.0.0.1:1"],
        ["health", "--server", "127.0.0.1:1"],
    ],
    ids=lambda command: command[0],
)
def test_an_unreachable_server_is_an_error_of_one_line(command: list[str]) -> None:
    result = runner.invoke(app, command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: cannot reach a server at 127.0.0.1:1: ")
    assert result.stderr.count("\n") == 1
