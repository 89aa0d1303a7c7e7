"""Files that are transcribed by several processes: the same transcripts, on more cores."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from ossicle.model.decoding.decoders import DecodingConfig
from ossicle.model.runtime import find_model
from ossicle.service.admission import EngineStopped
from ossicle.service.cli import app
from ossicle.service.formats import Transcript
from ossicle.service.happenings import Draft, FailedFile, Happening, Progress, Spoken
from ossicle.service.transcribe_process import HelperProcess, process_count
from recordings_on_disk import write_wav
from typer.testing import CliRunner


@pytest.fixture
def helper() -> Iterator[HelperProcess]:
    process = HelperProcess(find_model(), threads=1, slots=2, alternatives=1)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Eight parts of the bundled recording, and among them a file that is none."""
    folder = tmp_path_factory.mktemp("talks")
    samples = read_audio(sample_path())
    length = len(samples) // 8
    for number in range(8):
        part = samples[number * length : (number + 1) * length]
        write_wav(folder / f"{number}.wav", part)
    (folder / "4.wav").write_text("no audio")
    return [str(folder / f"{number}.wav") for number in range(8)]


@pytest.mark.parametrize(
    ("recordings", "cores", "jobs", "gigabytes", "processes"),
    [
        (1, 8, None, 16, 1),
        (7, 8, None, 16, 1),
        (8, 8, None, 16, 2),
        (1000, 4, None, None, 4),
        (1000, 64, None, 16, 8),
        (1000, 4, 1, 16, 1),
        (1000, 4, 3, 16, 3),
        (1000, 8, None, 2, 3),
        (1000, 8, None, 0, 1),
        (0, 4, None, 16, 1),
    ],
)
def test_processes_are_as_many_as_pay(
    recordings: int, cores: int, jobs: int | None, gigabytes: int | None, processes: int
) -> None:
    free = None if gigabytes is None else gigabytes * 10**9
    assert process_count(recordings, cores, jobs, free) == processes


def test_transcripts_are_those_of_one_process(
    talks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helped = []
    whole = HelperProcess.__call__

    def counted(self: HelperProcess, recording: Any, *rest: Any) -> Any:
        helped.append(recording)
        return whole(self, recording, *rest)

    monkeypatch.setattr(HelperProcess, "__call__", counted)
    written = {}
    for threads in (1, 2):
        folder = tmp_path / f"{threads}"
        # Two at once in each process, so that the other has to take its share.
        arguments = ["transcribe", *talks, "-f", "json", "-o", str(folder), "-j", str(2 * threads)]
        result = CliRunner().invoke(app, [*arguments, "--threads", str(threads)])
        assert result.exit_code == 1
        assert "4.wav" in result.output
        written[threads] = {path.name: path.read_text() for path in folder.iterdir()}
    assert len(written[1]) == 7
    assert written[1] == written[2]
    assert helped
    assert set(helped) < set(talks)


def test_a_process_tells_utterances_progress_and_the_end(
    helper: HelperProcess, talks: list[str]
) -> None:
    helper.begin(DecodingConfig())
    told: list[Happening] = []
    progress: list[Progress] = []
    outcome = helper(talks[0], Draft(), told.append, progress.append)
    assert isinstance(outcome, Transcript)
    assert outcome.text
    assert [event.segment for event in told if isinstance(event, Spoken)] == [*outcome.segments]
    assert sum(each.seconds for each in progress) == pytest.approx(outcome.duration)
    assert progress[-1].finished
    failed = helper(talks[4], Draft(), told.append, progress.append)
    assert isinstance(failed, FailedFile)
    assert failed.file == talks[4]


def test_a_model_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    helper = HelperProcess(tmp_path, threads=1, slots=1, alternatives=1)
    try:
        with pytest.raises(EngineStopped, match=str(tmp_path)):
            helper("a.wav", Draft(), print, print)
        with pytest.raises(EngineStopped, match=str(tmp_path)):
            helper("b.wav", Draft(), print, print)
    finally:
        helper.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal, has named pipes")
def test_a_process_that_is_killed_is_told_to_all_who_wait(
    helper: HelperProcess, tmp_path: Path
) -> None:
    """What is heard is a pipe that nobody writes to, so that it cannot end before."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    helper.begin(DecodingConfig())
    threading.Timer(4, os.kill, (helper.pid, signal.SIGKILL)).start()
    with pytest.raises(EngineStopped, match=r"has ended .signal 9.*--threads"):
        helper(pipe, Draft(), print, print)
