"""An interrupted transcription goes on where it stopped, and then says the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from ossicle.model.decoding.decoders import Decoding
from ossicle.model.runtime import AcousticModel
from ossicle.service.files.journal import Journal, JournalTakenError
from ossicle.service.formats import Alternative, Segment, Transcript, Word
from ossicle.service.happenings import Progress, Spoken, Start
from ossicle.service.transcribe import transcribe, transcribing
from recordings_on_disk import write_wav

WORD = Word("naïve", 1.0000000001, 1.5, 0.25)
SEGMENT = Segment("naïve", 1.0000000001, 1.5, 0.25, (WORD,), (Alternative("naïve", 0.25, (WORD,)),))


START = Start(24_000, 0.96)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    path.write_bytes(b"not read here")
    return path


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences with pauses between them, in which the recogniser starts afresh."""
    speech = read_audio(sample_path())
    pieces: list[NDArray[np.float32]] = []
    for begin, end in [(0, 4), (4, 7), (7, 9.9), (0, 4), (4, 7)]:
        pieces += [speech[int(begin * 16_000) : int(end * 16_000)], np.zeros(32_000, np.float32)]
    return write_wav(tmp_path_factory.mktemp("talk") / "talk.wav", np.concatenate(pieces))


def test_a_journal_gives_back_what_was_added(tmp_path: Path, recording: Path) -> None:
    path = tmp_path / "out" / "a.part.jsonl"
    journal = Journal(path, recording, {"model": "m"})
    assert not path.exists()
    journal.add(SEGMENT, START)
    assert journal.segments() == (SEGMENT,)
    later = Journal(path, recording, {"model": "m"})
    assert (later.start, later.segments()) == (START, (SEGMENT,))


def test_an_utterance_that_was_broken_off_is_heard_again(tmp_path: Path, recording: Path) -> None:
    path = tmp_path / "a.part.jsonl"
    journal = Journal(path, recording, {})
    journal.add(SEGMENT, START)
    journal.add(SEGMENT, None)
    with path.open("ab") as file:
        file.write(b'{"after": [9600')  # the power went
    later = Journal(path, recording, {})
    assert (later.start, later.segments()) == (START, (SEGMENT,))
    later.add(SEGMENT, Start(48_000))
    assert Journal(path, recording, {}).segments() == (SEGMENT, SEGMENT)


def test_an_utterance_without_its_line_end_is_heard_again(tmp_path: Path, recording: Path) -> None:
    path = tmp_path / "a.part.jsonl"
    journal = Journal(path, recording, {})
    journal.add(SEGMENT, START)
    journal.add(SEGMENT, Start(48_000))
    path.write_bytes(path.read_bytes()[:-1])
    later = Journal(path, recording, {})
    assert (later.start, later.segments()) == (START, (SEGMENT,))
    later.add(SEGMENT, Start(48_000))
    assert later.segments() == (SEGMENT, SEGMENT)


@pytest.mark.parametrize("begun", [False, True])
def test_two_runs_do_not_write_into_one_journal(
    begun: bool, tmp_path: Path, recording: Path
) -> None:
    path = tmp_path / "a.part.jsonl"
    if begun:
        Journal(path, recording, {}).add(SEGMENT, START)
    first, second = Journal(path, recording, {}), Journal(path, recording, {})
    first.add(SEGMENT, Start(48_000))
    with pytest.raises(JournalTakenError, match="another run transcribes it into"):
        second.add(SEGMENT, Start(48_000))
    first.add(SEGMENT, Start(96_000))
    assert len(first.segments()) == 2 + begun


@pytest.mark.parametrize("change", ["settings", "recording"])
def test_utterances_of_something_else_are_forgotten(
    change: str, tmp_path: Path, recording: Path
) -> None:
    path = tmp_path / "a.part.jsonl"
    Journal(path, recording, {"model": "m"}).add(SEGMENT, START)
    if change == "recording":
        recording.write_bytes(b"another")
    later = Journal(path, recording, {"model": "n" if change == "settings" else "m"})
    assert (later.start, later.segments()) == (Start(), ())
    later.add(SEGMENT, Start(1))
    assert later.segments() == (SEGMENT,)


@pytest.mark.parametrize("known", [1, 3])
def test_a_transcript_is_the_same_after_an_interruption(
    known: int, tmp_path: Path, talk: Path, model: AcousticModel, decoding: Decoding
) -> None:
    (whole,) = transcribe([talk], model, decoding)
    assert isinstance(whole, Transcript)
    assert len(whole.segments) == 5

    path = tmp_path / "talk.part.jsonl"
    interrupted = transcribing([talk], model, decoding, drafts=[Journal(path, talk, {})])
    for _ in range(known):
        assert isinstance(next(interrupted)[1], Spoken)
    interrupted.close()  # type: ignore[attr-defined]

    draft = Journal(path, talk, {})
    kept = len(draft.segments())
    assert kept >= known
    read: list[Progress] = []
    happened = list(transcribing([talk], model, decoding, drafts=[draft], on_progress=read.append))
    *spoken, last = [event for _, event in happened]
    assert len(spoken) == len(whole.segments) - kept
    assert isinstance(last, Transcript)
    assert last.duration == whole.duration
    for again, before in zip(last.segments, whole.segments, strict=True):
        assert again.text == before.text
        assert again.confidence == pytest.approx(before.confidence)
        assert [(word.start, word.end) for word in again.words] == [
            (pytest.approx(word.start), pytest.approx(word.end)) for word in before.words
        ]
    assert sum(progress.seconds for progress in read) == pytest.approx(
        whole.duration - draft.start.sample / 16_000
    )
    assert sum(progress.bytes_read for progress in read) == os.path.getsize(talk)
