"""Recordings cut by their transcripts, from the command line as a user does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from ossicle.data.audio import read_audio
from ossicle.data.cli import data_app
from ossicle.data.manifest import Utterance, read_manifest
from ossicle.data.transcripts import CutConfig, cut_transcripts
from ossicle.service.formats import Segment, Transcript, Word, format_transcript
from typer.testing import CliRunner

RATE = 16_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Twenty seconds in which the sample at n is n / 2**19: a cut tells where it was."""
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.arange(20 * RATE) / 2**19, RATE, subtype="FLOAT")
    return path


def segment(*spoken: tuple[str, float, float, float], text: str | None = None) -> Segment:
    """An utterance of words with their starts, ends and confidences."""
    words = tuple(Word(*word) for word in spoken)
    heard = " ".join(word.text for word in words)
    return Segment(heard if text is None else text, words[0].start, words[-1].end, 0.5, words)


def transcript(
    folder: Path, recording: Path | str, *segments: Segment, seconds: float = 20.0
) -> Path:
    """What `ossicle transcribe --format json` writes."""
    folder.mkdir(exist_ok=True)
    path = folder / "talk.json"
    said = Transcript(str(recording), seconds, "en-US", "test", segments)
    path.write_text(format_transcript(said, "json"), encoding="utf-8")
    return path


def cut(*arguments: object) -> tuple[int, str, list[Utterance]]:
    """Exit code, what was printed, and the manifest."""
    *given, output = map(str, arguments)
    result = CliRunner().invoke(data_app, ["cut", *given, "-o", output])
    manifest = Path(output, "manifest.jsonl")
    return (
        result.exit_code,
        result.output,
        read_manifest(manifest) if manifest.is_file() else [],
    )


def place(utterance: Utterance) -> tuple[float, float]:
    """Where in the recording a cut was, in seconds."""
    samples = read_audio(utterance.audio_filepath)
    assert utterance.duration == pytest.approx(len(samples) / RATE, abs=1e-4)
    first, last = (round(float(samples[n]) * 2**19) / RATE for n in (0, -1))
    return first, last


def test_what_the_model_was_sure_of_is_cut_out_with_its_words(
    tmp_path: Path, recording: Path
) -> None:
    sure = segment(("good", 1.0, 1.4, 0.9), ("morning", 1.5, 2.0, 0.8))
    unsure = segment(("good", 5.0, 5.4, 0.9), ("mourning", 5.5, 6.5, 0.6))
    named = transcript(tmp_path / "heard", recording, sure, unsure)
    code, printed, (utterance,) = cut(named, "--source", "calls", tmp_path / "out")
    assert code == 0
    assert "1 utterance left out" in printed
    assert (utterance.text, utterance.source) == ("good morning", "calls")
    assert place(utterance) == pytest.approx((0.8, 2.2), abs=1e-3)
    code, printed, both = cut(tmp_path / "heard", "--confidence", "0.7", tmp_path / "more")
    assert (code, [each.text for each in both]) == (0, ["good morning", "good mourning"])


def test_no_cut_reaches_into_the_next_words(tmp_path: Path, recording: Path) -> None:
    first, second = segment(("one", 1.0, 2.0, 1.0)), segment(("two", 2.1, 3.0, 0.1))
    third = segment(("three", 3.0, 19.9, 1.0))
    named = transcript(tmp_path / "heard", recording, first, second, third)
    _, _, cuts = cut(named, "--longest", "17", tmp_path / "out")
    assert [place(each) for each in cuts] == [
        pytest.approx((0.8, 2.05), abs=1e-3),
        pytest.approx((3.0, 20.0), abs=2e-3),
    ]


def test_long_speech_is_cut_at_its_longest_pauses(tmp_path: Path, recording: Path) -> None:
    spoken = [("a", 0.0, 1.0), ("b", 1.1, 4.0), ("c", 4.5, 6.0), ("d", 6.2, 9.0), ("e", 9.1, 12.0)]
    long = segment(*((word, start, end, 1.0) for word, start, end in spoken))
    named = transcript(tmp_path / "heard", recording, long)
    for longest, expected in (
        (12, ["a b c d e"]),
        (8, ["a b", "c d e"]),
        (4, ["a b", "c", "d", "e"]),
    ):
        _, printed, cuts = cut(named, "--longest", longest, tmp_path / str(longest))
        assert [each.text for each in cuts] == expected
    single = transcript(tmp_path / "heard", recording, segment(("a", 0.0, 9.0, 1.0)))
    code, printed, cuts = cut(single, "--longest", "8", tmp_path / "none")
    assert (code, cuts) == (1, [])
    assert "9.0 s long: raise --longest" in printed


def test_of_equal_pauses_the_one_in_the_middle_is_taken(tmp_path: Path, recording: Path) -> None:
    spoken = [(str(n), 0.4 * n, 0.4 * n + 0.4, 1.0) for n in range(40)]
    named = transcript(tmp_path / "heard", recording, segment(*spoken))
    _, _, cuts = cut(named, "--longest", "5", tmp_path / "out")
    assert [each.duration for each in cuts] == pytest.approx([4.0, 4.0, 4.0, 4.2], abs=1e-3)


def test_single_words_are_not_cut_off(tmp_path: Path, recording: Path) -> None:
    spoken = [("a", 0.0, 0.4), ("b", 1.4, 3.0), ("c", 3.1, 4.5), ("d", 4.6, 6.0)]
    named = transcript(tmp_path / "heard", recording, segment(*((*w, 1.0) for w in spoken)))
    _, _, cuts = cut(named, "--longest", "5", tmp_path / "out")
    assert [each.text for each in cuts] == ["a b", "c d"]


def test_a_corrected_text_is_taken_whole(tmp_path: Path, recording: Path) -> None:
    long = segment(("a", 1.0, 2.0, 0.1), ("b", 14.0, 15.0, 0.1), text="a, B and c")
    named = transcript(tmp_path / "heard", recording, long)
    _, _, (utterance,) = cut(named, tmp_path / "out")
    assert utterance.text == "a b and c"
    assert place(utterance) == pytest.approx((0.8, 15.2), abs=1e-3)


def test_a_removed_utterance_is_in_no_cut(tmp_path: Path, recording: Path) -> None:
    removed = segment(("noise", 2.02, 4.0, 0.9), text="")
    one, two = segment(("one", 1.0, 2.0, 1.0)), segment(("two", 4.02, 5.0, 1.0))
    named = transcript(tmp_path / "heard", recording, two, removed, one)
    _, _, cuts = cut(named, tmp_path / "out")
    assert [place(each) for each in cuts] == [
        pytest.approx((0.8, 2.01), abs=1e-3),
        pytest.approx((4.01, 5.2), abs=1e-3),
    ]


def test_a_corrected_text_is_taken_however_unsure_the_model_was(
    tmp_path: Path, recording: Path
) -> None:
    said = [("good", 1.0, 1.4, 0.2), ("mourning", 1.5, 2.0, 0.1)]
    corrected = segment(*said, text="Good morning!")
    removed = segment(("noise", 5.0, 6.0, 0.9), text="")
    named = transcript(tmp_path / "heard", recording, corrected, removed)
    _, _, (utterance,) = cut(named, tmp_path / "out")
    assert utterance.text == "good morning"


def test_a_recording_is_found_beside_its_transcript(tmp_path: Path, recording: Path) -> None:
    named = transcript(tmp_path / "heard", "elsewhere/talk.wav", segment(("one", 1.0, 2.0, 1.0)))
    code, printed, _ = cut(named, tmp_path / "none")
    assert code == 1
    assert "elsewhere/talk.wav is neither there nor beside the transcript" in printed
    recording.rename(named.parent / "talk.wav")
    code, _, cuts = cut(named, tmp_path / "out")
    assert (code, len(cuts)) == (0, 1)


def test_of_recordings_of_the_same_name_the_one_beside_the_transcript_is_cut(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = transcript(tmp_path / "monday", "talk.wav", segment(("one", 1.0, 2.0, 1.0)))
    recording.rename(named.parent / "talk.wav")
    (tmp_path / "tuesday").mkdir()
    soundfile.write(tmp_path / "tuesday" / "talk.wav", np.zeros(20 * RATE), RATE)
    monkeypatch.chdir(tmp_path / "tuesday")
    _, _, (only,) = cut(named, tmp_path / "out")
    assert place(only) == pytest.approx((0.9, 2.1), abs=0.15)


def test_cuts_that_are_not_finished_are_in_nobodys_way(tmp_path: Path, recording: Path) -> None:
    said = segment(("one", 1.0, 2.0, 1.0))
    both = [transcript(tmp_path / name, recording, said) for name in ("a", "b")]
    cutting = cut_transcripts(both, tmp_path / "out", CutConfig())
    assert len(next(cutting).utterances) == 1
    cutting.close()
    assert not list((tmp_path / "out").iterdir())
    assert len(cut(*both, tmp_path / "out")[2]) == 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{}", "no transcript as ossicle transcribe"),
        ("no json", "no transcript as ossicle transcribe"),
        ('{"file": "-", "segments": []}', "standard input: transcribe a file"),
        ('{"file": "bad.json", "segments": []}', "nothing is left to train on"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    code, printed, cuts = cut(path, tmp_path / "out")
    assert (code, cuts) == (1, [])
    assert complaint in printed


@pytest.mark.parametrize(("seconds", "end"), [(60.0, 1.5), (20.0, 31.0), (10.0, 1.5), (21.0, 21.0)])
def test_nothing_is_cut_out_of_another_recording_of_the_same_name(
    tmp_path: Path, recording: Path, seconds: float, end: float
) -> None:
    early, late = segment(("one", 0.2, 0.8, 1.0)), segment(("late", end - 0.5, end, 1.0))
    named = transcript(tmp_path / "heard", recording, early, late, seconds=seconds)
    code, printed, _ = cut(named, tmp_path / "out")
    assert code == 1
    assert "has 20.00 s: it is another recording" in printed
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_there_must_be_transcripts(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    code, printed, _ = cut(tmp_path / name, tmp_path / "out")
    assert code == 1
    assert name in printed


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, recording: Path) -> None:
    named = transcript(tmp_path / "heard", recording, segment(("one", 1.0, 2.0, 1.0)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    code, printed, _ = cut(named, tmp_path / "out")
    assert code == 1
    assert "empty or new" in printed
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
