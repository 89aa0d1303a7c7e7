"""Files through a server: any container, with progress, whatever becomes of the server.

`tests/bench/long_file.py` does it with an hour.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from ossicle.data.audio import read_audio
from ossicle.data.pcm import to_linear16
from ossicle.data.sample import sample_path
from ossicle.service.client import BusyError, Result, SpeechClient
from ossicle.service.formats import Transcript
from ossicle.service.happenings import FailedFile, Happening, Progress, Spoken
from ossicle.service.transcribe_remote import transcribing_remote
from processes import Served, serve, stop
from recipes import RECIPES, encode

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops servers by SIGTERM")


@pytest.fixture(scope="module")
def steady() -> Iterator[Served]:
    """A server that nothing happens to."""
    server = serve("--max-streams", "2")
    yield server
    assert stop(server) == 0


@pytest.fixture(scope="module")
def half_minute(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Half a minute of speech in a container of `recipes`."""
    samples = np.tile(read_audio(sample_path()), 3)
    folder = tmp_path_factory.mktemp("half-minutes")

    def write(name: str) -> Path:
        path = folder / name
        encode(np.frombuffer(to_linear16(samples), "<i2"), RECIPES[name], path)
        return path

    return write


def transcript(happenings: Iterator[tuple[int, Happening]]) -> Transcript:
    """The end of one file."""
    *_, (number, end) = happenings
    assert number == 0
    assert isinstance(end, Transcript), end
    return end


@pytest.mark.parametrize("name", ["webm-opus", "m4a-index-last"])
def test_a_server_is_killed_in_the_midst_of_a_file(
    steady: Served, half_minute: Callable[[str], Path], name: str
) -> None:
    path = half_minute(name)
    with SpeechClient(steady.address) as client:
        undisturbed = transcript(transcribing_remote([path], client))
    assert len(undisturbed.segments) > 1
    victim = serve("--max-streams", "2")
    killed = False

    def watched(happenings: Iterator[tuple[int, Happening]]) -> Iterator[tuple[int, Happening]]:
        nonlocal killed
        for number, happening in happenings:
            if isinstance(happening, Spoken) and not killed:
                killed = True
                victim.kill()
            yield number, happening

    with SpeechClient([victim.address, steady.address]) as client:
        resumed = transcript(watched(transcribing_remote([path], client)))
    assert killed
    assert resumed.text == undisturbed.text
    assert resumed.duration == undisturbed.duration
    words = [[(word.text, word.start) for word in each.words] for each in resumed.segments]
    assert words == [
        [(word.text, word.start) for word in each.words] for each in undisturbed.segments
    ]


def test_progress_is_told_on_the_way_and_adds_up(
    steady: Served, half_minute: Callable[[str], Path]
) -> None:
    path = half_minute("flac")
    reports: list[Progress] = []
    with SpeechClient(steady.address) as client:
        end = transcript(transcribing_remote([path], client, on_progress=reports.append))
    assert sum(report.bytes_read for report in reports) == path.stat().st_size
    assert sum(report.seconds for report in reports) == pytest.approx(end.duration)
    assert sum(report.seconds > 0 for report in reports) > 1
    assert [report.finished for report in reports].count(True) == 1


def test_what_was_told_of_a_file_is_not_told_again(half_minute: Callable[[str], Path]) -> None:
    """Where all servers turn busy in the midst of it, the file is given up."""

    class TurnsBusy(SpeechClient):
        calls = 0

        def stream(self, *arguments: Any, **options: Any) -> Iterator[Result]:  # type: ignore[override]
            self.calls += 1
            for result in super().stream(*arguments, **options):
                yield result
                if result.is_final:
                    raise BusyError("no room", grpc.StatusCode.RESOURCE_EXHAUSTED)

    server = serve()
    with TurnsBusy(server.address) as client:
        happenings = [
            happening for _, happening in transcribing_remote([half_minute("flac")], client)
        ]
    assert stop(server) == 0
    assert client.calls == 1
    assert [type(happening) for happening in happenings] == [Spoken, FailedFile]
    assert happenings[-1].message == "no room"


def test_a_busy_server_is_asked_again_and_progress_still_adds_up(
    steady: Served, half_minute: Callable[[str], Path]
) -> None:
    paths = [half_minute("flac"), half_minute("wav"), half_minute("mp3")]
    reports: list[Progress] = []
    with SpeechClient(steady.address) as client:
        ends = [
            happening
            for _, happening in transcribing_remote(paths, client, on_progress=reports.append)
            if not isinstance(happening, Spoken)
        ]
    assert all(isinstance(end, Transcript) for end in ends)
    for path in paths:
        read = sum(report.bytes_read for report in reports if report.file == str(path))
        assert read == path.stat().st_size
