"""Transcription of files without a server, on the bundled model and recording."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from ossicle.model.runtime import AcousticModel
from ossicle.service.formats import Transcript
from ossicle.service.happenings import FailedFile, Progress, Recording
from ossicle.service.transcribe import transcribe
from recordings_on_disk import write_wav


@pytest.fixture(scope="module")
def alone(model: AcousticModel) -> Transcript:
    """The bundled recording, transcribed by itself."""
    (outcome,) = transcribe([sample_path()], model)
    assert isinstance(outcome, Transcript)
    return outcome


def test_a_transcript_says_what_when_and_by_which_model(
    alone: Transcript, model: AcousticModel
) -> None:
    assert alone.file == str(sample_path())
    assert alone.duration == pytest.approx(len(read_audio(sample_path())) / 16_000)
    assert (alone.model, alone.language) == (model.info.name, model.info.language)
    assert alone.text
    for segment in alone.segments:
        assert segment.text == " ".join(word.text for word in segment.words)
        assert 0 < segment.confidence <= 1
        assert segment.start == segment.words[0].start
        assert segment.end == segment.words[-1].end
        times = [time for word in segment.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= alone.duration


def test_bad_files_are_told_in_their_place_and_the_others_go_on(
    tmp_path: Path, alone: Transcript, model: AcousticModel
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("this is not audio, it is a text file about audio\n")
    empty = tmp_path / "empty.wav"
    empty.touch()
    truncated = tmp_path / "truncated.flac"
    truncated.write_bytes(sample_path().read_bytes()[:-20_000])
    missing = tmp_path / "missing.wav"
    recordings: list[Recording] = [notes, sample_path(), empty, missing, truncated, sample_path()]

    # One slot, so that each file needs the slot that the one before it had.
    outcomes = list(transcribe(recordings, model, slots=1))

    assert [outcome.file for outcome in outcomes] == [str(path) for path in recordings]
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [FailedFile, Transcript, FailedFile, FailedFile, FailedFile, Transcript]
    for outcome in outcomes:
        if isinstance(outcome, Transcript):
            assert outcome.text == alone.text
        else:
            assert len(outcome.message) > 10
    assert "No such file" in outcomes[3].message  # type: ignore[union-attr]


def test_files_together_give_what_each_gives_alone(
    tmp_path: Path, alone: Transcript, model: AcousticModel
) -> None:
    samples = read_audio(sample_path())
    shorter = [
        write_wav(tmp_path / f"{seconds}.wav", samples[: seconds * 16_000]) for seconds in (2, 5, 3)
    ]
    recordings = [*shorter, sample_path(), *shorter]
    one_by_one = [next(transcribe([path], model)) for path in shorter]
    together = list(transcribe(recordings, model, slots=4))
    assert together == [*one_by_one, alone, *one_by_one]


def test_a_pipe_is_read_as_it_comes(alone: Transcript, model: AcousticModel) -> None:
    source, sink = os.pipe()

    def pour() -> None:
        with os.fdopen(sink, "wb") as file:
            file.write(sample_path().read_bytes())

    threading.Thread(target=pour).start()
    with os.fdopen(source, "rb") as file:
        (outcome,) = transcribe([file], model)
    assert isinstance(outcome, Transcript)
    assert (outcome.file, outcome.text) == ("-", alone.text)


def test_progress_adds_up_to_the_file_and_its_audio(model: AcousticModel) -> None:
    reports: list[Progress] = []
    (outcome,) = transcribe([sample_path()], model, on_progress=reports.append)
    assert isinstance(outcome, Transcript)
    assert sum(report.bytes_read for report in reports) == sample_path().stat().st_size
    assert sum(report.seconds for report in reports) == pytest.approx(outcome.duration)
    assert [report.finished for report in reports].count(True) == 1


def test_a_file_is_decoded_no_faster_than_it_is_recognized(
    tmp_path: Path, model: AcousticModel
) -> None:
    """Memory is bounded: what was read stays within a few seconds of what was recognised."""
    path = write_wav(tmp_path / "long.wav", np.tile(read_audio(sample_path()), 6))
    # The network is held back, so that a reader without a bound would run far ahead.
    read = 0.0
    ahead: list[float] = []
    recognized = 0
    step = model.step

    def slow_step(samples, state):  # type: ignore[no-untyped-def]
        nonlocal recognized
        threading.Event().wait(0.01)
        ahead.append(read - recognized / 16_000)
        recognized += samples.shape[1]
        return step(samples, state)

    def count(progress: Progress) -> None:
        nonlocal read
        read += progress.seconds

    model.step = slow_step  # type: ignore[method-assign]
    try:
        list(transcribe([path], model, on_progress=count))
    finally:
        del model.step
    assert read > 40
    assert max(ahead) < 6


def test_leaving_early_stops_the_work(model: AcousticModel) -> None:
    before = threading.active_count()
    outcomes = transcribe([sample_path()] * 20, model, slots=2)
    assert isinstance(next(outcomes), Transcript)
    outcomes.close()
    deadline = threading.Event()
    for _ in range(50):
        if threading.active_count() <= before:
            break
        deadline.wait(0.1)
    assert threading.active_count() <= before


def test_nothing_to_do_is_done_at_once(model: AcousticModel) -> None:
    assert list(transcribe([], model)) == []
