"""`ossicle transcribe` with folders of output: several formats, interruptions, later runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from ossicle.model.runtime import find_model
from ossicle.service.cli import app
from ossicle.service.server import SpeechServer
from recordings_on_disk import write_wav
from typer.testing import CliRunner

runner = CliRunner()
COMMAND = [sys.executable, "-m", "ossicle.service.cli", "transcribe"]


@pytest.fixture(autouse=True)
def _no_server_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSSICLE_SERVER", raising=False)


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """A folder with two recordings and something that only looks like one."""
    folder = tmp_path / "talks"
    (folder / "long").mkdir(parents=True)
    shutil.copy(sample_path(), folder / "luigi.flac")
    write_wav(folder / "long" / "short.wav", read_audio(sample_path())[:48_000])
    (folder / "bad.mp3").write_text("this is not audio, it is a text file about audio\n")
    return folder


def happenings(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_a_folder_gets_files_in_several_formats_and_a_later_run_does_what_is_missing(
    talks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["transcribe", str(talks), "-f", "srt", "-f", "json", "-o", str(out)]
    first = runner.invoke(app, arguments)
    assert (first.exit_code, first.stdout) == (1, "")
    assert first.stderr.startswith(f"error: {talks / 'bad.mp3'}: this is no audio we know")
    assert first.stderr.count("\n") == 1
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == ["long/short.json", "long/short.srt", "luigi.json", "luigi.srt"]

    (out / "luigi.srt").unlink()
    before = (out / "long" / "short.srt").stat()
    second = runner.invoke(app, [*arguments, "--json-lines"])
    assert second.exit_code == 1
    events = happenings(second.stdout)
    assert [event["file"] for event in events if event["event"] == "passed over"] == [
        str(talks / "long" / "short.wav")
    ]
    (done,) = [event for event in events if event["event"] == "done"]
    assert done["file"] == str(talks / "luigi.flac")
    assert done["outputs"] == [str(out / "luigi.srt"), str(out / "luigi.json")]
    (failed,) = [event for event in events if event["event"] == "failed"]
    assert failed["file"] == str(talks / "bad.mp3")
    assert (out / "long" / "short.srt").stat() == before


def test_a_recording_that_has_changed_and_one_asked_for_again_are_done_again(
    talks: Path, tmp_path: Path
) -> None:
    arguments = ["transcribe", str(talks / "long"), "-o", str(tmp_path / "out"), "--json-lines"]

    def run(*more: str) -> str:
        result = runner.invoke(app, [*arguments, *more])
        assert result.exit_code == 0
        return str(happenings(result.stdout)[-1]["event"])

    assert [run(), run(), run("--again"), run()] == ["done", "passed over", "done", "passed over"]
    recording = talks / "long" / "short.wav"
    later = (tmp_path / "out" / "short.txt").stat().st_mtime_ns + 10**9
    os.utime(recording, ns=(later, later))
    assert run() == "done"
    # By a clock that is years ahead, no transcript would ever be later than its recording.
    years = later + 10**17
    os.utime(recording, ns=(years, years))
    assert run() == "passed over"


def test_what_is_passed_over_is_told_on_standard_error_unless_quiet(
    talks: Path, tmp_path: Path
) -> None:
    arguments = ["transcribe", str(talks / "long"), "-o", str(tmp_path / "out")]
    assert runner.invoke(app, arguments).stderr == ""
    told = runner.invoke(app, arguments)
    assert (told.exit_code, told.stdout) == (0, "")
    assert told.stderr.startswith("1 of 1 recordings have their files in ")
    assert runner.invoke(app, [*arguments, "-q"]).stderr == ""


def test_through_a_server_the_files_are_the_same(
    talks: Path, tmp_path: Path, server: SpeechServer
) -> None:
    for name, more in (("here", []), ("there", ["--server", server.address, "--jobs", "2"])):
        arguments = ["-f", "vtt", "-f", "tsv", "--words", "-o", str(tmp_path / name), *more]
        assert runner.invoke(app, ["transcribe", str(talks / "long"), *arguments]).exit_code == 0
    for name in ("short.vtt", "short.tsv"):
        here, there = (tmp_path / place / name for place in ("here", "there"))
        assert here.read_text(encoding="utf-8") == there.read_text(encoding="utf-8") != ""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupted_run_is_gone_on_with_inside_the_recording(tmp_path: Path) -> None:
    speech = read_audio(sample_path())[: 4 * 16_000]
    pause = np.zeros(2 * 16_000, np.float32)
    talk = write_wav(tmp_path / "talk.wav", np.concatenate([speech, pause] * 40))
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = [*COMMAND, str(talk), "-f", "json", "-f", "srt", "--decoder", "greedy"]
    subprocess.run([*command, "-o", str(whole)], check=True)

    arguments = [*command, "-o", str(out), "--json-lines"]
    first = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert first.stdout is not None
    for _ in range(3):
        assert json.loads(first.stdout.readline())["event"] == "utterance"
    first.send_signal(signal.SIGINT)
    _, stderr = first.communicate(timeout=30)
    assert first.returncode == 130
    assert stderr == "error: interrupted; the same command goes on from here\n"
    assert sorted(path.name for path in out.iterdir()) == ["talk.part.jsonl"]

    second = subprocess.run(arguments, capture_output=True, text=True, encoding="utf-8", check=True)
    *utterances, done = happenings(second.stdout)
    assert done["event"] == "done"
    assert len(utterances) <= 37
    assert utterances[0]["start"] > 18
    assert sorted(path.name for path in out.iterdir()) == ["talk.json", "talk.srt"]
    for name in ("talk.json", "talk.srt"):
        assert (out / name).read_text("utf-8") == (whole / name).read_text("utf-8")


def test_what_was_understood_of_a_damaged_recording_is_kept(tmp_path: Path) -> None:
    speech = read_audio(sample_path())[: 4 * 16_000]
    talk = write_wav(
        tmp_path / "talk.wav", np.concatenate([speech, np.zeros(48_000, np.float32), speech])
    )
    talk.write_bytes(talk.read_bytes()[:-1000])
    result = runner.invoke(app, ["transcribe", str(talk), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    remains = tmp_path / "out" / "talk.part.jsonl"
    assert "cut short" in result.stderr
    assert result.stderr.endswith(f"; what came before is in {remains}\n")
    assert "every day" in remains.read_text("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="links files")
def test_what_another_model_has_heard_is_not_gone_on_with(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in find_model().iterdir():
        (folder / path.name).symlink_to(path)
    settings = folder / "decoding.json"
    values = json.loads(settings.read_text())
    speech = read_audio(sample_path())[: 4 * 16_000]
    talk = write_wav(
        tmp_path / "talk.wav", np.concatenate([speech, np.zeros(48_000, np.float32), speech])
    )
    talk.write_bytes(talk.read_bytes()[:-1000])  # so that it is never done
    command = ["transcribe", str(talk), "--json-lines", "-o", str(tmp_path / "out")]
    starts = []
    for word_score in (values["word_score"], values["word_score"], values["word_score"] + 0.2):
        settings.unlink()
        settings.write_text(json.dumps({**values, "word_score": word_score}))
        result = runner.invoke(app, [*command, "--model", str(folder)])
        heard = [event for event in happenings(result.stdout) if event["event"] == "utterance"]
        starts.append(heard[0]["start"])
    assert starts[0] < 1
    assert starts[1] > 5
    assert starts[2] < 1


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are texts here")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_cannot_be_shown_stop_nothing(encoding: str, tmp_path: Path) -> None:
    names = ["naïve.wav", os.fsdecode(b"odd\xff.wav")]
    for name in names:
        write_wav(tmp_path / name, read_audio(sample_path())[:32_000])
    for more in (["-f", "json"], ["--json-lines", "-f", "json", "-o", "out"]):
        run = subprocess.run(
            [*COMMAND, *names, *more],
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        assert (run.returncode, run.stderr) == (0, b"")
        files = {event["file"] for event in happenings(run.stdout.decode(encoding))}
        assert files == {"na?ve.wav" if encoding == "ascii" else "naïve.wav", "odd?.wav"}
    assert len(list((tmp_path / "out").glob("*.json"))) == 2


def test_recordings_that_would_write_over_something_are_refused(
    talks: Path, tmp_path: Path
) -> None:
    shutil.copy(talks / "luigi.flac", talks / "luigi.txt")
    result = runner.invoke(app, ["transcribe", str(talks / "luigi.txt"), "-o", str(talks)])
    assert result.exit_code == 2
    assert "is a recording and would be replaced" in result.stderr
