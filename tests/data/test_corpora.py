"""Importers, on tiny corpora in the true layouts with real audio."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from ossicle.data.corpora import CORPORA, CorpusError, import_corpus
from ossicle.data.duration import recording_seconds

# The audio is measured, not trusted: each recording has its own length.
Write = Callable[[Path, float], Path]


@pytest.fixture
def write(speech: npt.NDArray[np.int16], recordings: dict[str, bytes]) -> Write:
    """Write the first seconds of real speech to a file; MP3 always three seconds."""

    def write_file(path: Path, seconds: float = 3.0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".mp3":
            path.write_bytes(recordings["mp3"])
        else:
            soundfile.write(path, speech[: round(seconds * 16_000)], 16_000)
        return path

    return write_file


@pytest.fixture
def librispeech(tmp_path: Path, write: Write) -> Path:
    for part, speaker, chapter in (("train-clean-100", 103, 1240), ("dev-clean", 84, 121123)):
        folder = tmp_path / "LibriSpeech" / part / str(speaker) / str(chapter)
        write(folder / f"{speaker}-{chapter}-0000.flac", 1.5)
        write(folder / f"{speaker}-{chapter}-0001.flac", 2.25)
        (folder / f"{speaker}-{chapter}.trans.txt").write_text(
            f"{speaker}-{chapter}-0000 CHAPTER ONE MISSUS RACHEL LYNDE IS SURPRISED\n"
            f"{speaker}-{chapter}-0001 THAT HAD ITS SOURCE AWAY BACK\n"
        )
    return tmp_path


def test_librispeech(librispeech: Path) -> None:
    imported = import_corpus("librispeech", librispeech)
    assert imported.failures == []
    assert [u.text for u in imported.utterances[:2]] == [
        "chapter one missus rachel lynde is surprised",
        "that had its source away back",
    ]
    assert [u.duration for u in imported.utterances] == [1.5, 2.25, 1.5, 2.25]
    assert {u.speaker for u in imported.utterances} == {"librispeech/103", "librispeech/84"}
    assert {u.source for u in imported.utterances} == {"librispeech"}
    assert all(u.audio_filepath.is_file() for u in imported.utterances)


@pytest.mark.parametrize("below", ["", "LibriSpeech", "LibriSpeech/dev-clean"])
def test_librispeech_from_any_of_its_folders(librispeech: Path, below: str) -> None:
    imported = import_corpus("librispeech", librispeech / below, "dev-clean")
    assert [u.speaker for u in imported.utterances] == ["librispeech/84"] * 2


def test_librispeech_failures_are_counted(librispeech: Path, write: Write) -> None:
    folder = librispeech / "LibriSpeech" / "dev-clean" / "84" / "121123"
    write(folder / "84-121123-0002.flac")  # not in the transcript
    (folder / "84-121123-0001.flac").write_bytes(b"not audio")
    imported = import_corpus("librispeech", librispeech, "dev-clean")
    assert len(imported.utterances) == 1
    assert ["not audio" in f.reason for f in imported.failures] == [True, False]
    assert "84-121123-0002" in imported.failures[1].reason


def test_mini_librispeech(tmp_path: Path, write: Write) -> None:
    folder = tmp_path / "LibriSpeech" / "train-clean-5" / "1088" / "134315"
    write(folder / "1088-134315-0000.flac", 1.5)
    write(folder / "1088-134315-0001.flac")  # not in the transcript
    (folder / "1088-134315.trans.txt").write_text("1088-134315-0000 AS YOU KNOW\n")
    write(tmp_path / "LibriSpeech" / "dev-clean-2" / "84" / "121123" / "84-121123-0000.flac")
    for below in ("", "LibriSpeech", "LibriSpeech/train-clean-5"):
        imported = import_corpus("librispeech", tmp_path / below, "train-clean-5")
        assert [(u.text, u.speaker, u.duration) for u in imported.utterances] == [
            ("as you know", "librispeech/1088", 1.5)
        ]
        (failure,) = imported.failures
        assert failure.reason == "1088-134315.trans.txt has no text for it"
    (failure,) = import_corpus("librispeech", tmp_path, "dev-clean-2").failures
    assert failure.item.endswith("84-121123.trans.txt")


def test_commonvoice(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "clips" / "common_voice_en_1.mp3")
    write(tmp_path / "clips" / "common_voice_en_2.mp3")
    (tmp_path / "train.tsv").write_text(
        "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\n"
        "ab12\tcommon_voice_en_1.mp3\tHe paid $5, didn’t he?\t2\t0\t\t\t\n"
        "cd34\tcommon_voice_en_2\tIt’s naïve.\t2\t0\t\t\t\n"
        "cd34\tcommon_voice_en_3.mp3\tLost clip.\t2\t0\t\t\t\n"
        "cd34\tcommon_voice_en_1.mp3\t…\t2\t0\t\t\t\n"
        "cd34\tcommon_voice_en_1.mp3\n",
        encoding="utf-8",
    )
    imported = import_corpus("commonvoice", tmp_path)
    assert [(u.text, u.speaker) for u in imported.utterances] == [
        ("he paid five dollars didn't he", "commonvoice/ab12"),
        ("it's naive", "commonvoice/cd34"),
    ]
    assert imported.utterances[0].duration == pytest.approx(3.0, abs=0.1)
    assert [f.reason.split(":")[0] for f in imported.failures] == [
        "the file is missing",
        "its text '…' has no words",
        "2 columns instead of 8",
    ]


def test_quotation_marks_of_commonvoice_are_not_those_of_csv(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "clips" / "1.mp3")
    sentences = ['"Hello there', "plain", 'he said "yes"', '"Quoted"', '"another one', "last"]
    rows = [f"ab12\t1.mp3\t{sentence}\t\n" for sentence in sentences]
    (tmp_path / "train.tsv").write_text(
        "".join(["client_id\tpath\tsentence\tage\n", *rows]), encoding="utf-8"
    )
    imported = import_corpus("commonvoice", tmp_path)
    assert not imported.failures
    assert [u.text for u in imported.utterances] == [
        *("hello there", "plain", "he said yes", "quoted", "another one", "last")
    ]


def test_commonvoice_without_its_table(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("client_id\tfile\nx\ty\n")
    with pytest.raises(CorpusError, match=r"lacks the columns path, sentence"):
        import_corpus("commonvoice", tmp_path)
    with pytest.raises(CorpusError, match=r"dev\.tsv is missing"):
        import_corpus("commonvoice", tmp_path, "dev")
    (tmp_path / "dev.tsv").write_text("")
    with pytest.raises(CorpusError, match="cannot be read as a table"):
        import_corpus("commonvoice", tmp_path, "dev")


@pytest.mark.parametrize("name", ["LJSpeech-1.1", "renamed"])
def test_ljspeech(tmp_path: Path, write: Write, name: str) -> None:
    write(tmp_path / name / "wavs" / "LJ001-0001.wav", 2.0)
    (tmp_path / name / "metadata.csv").write_text(
        'LJ001-0001|Printing, in 1455|Printing, in "fourteen" fifty-five\nLJ001-0002|Broken\n'
    )
    imported = import_corpus("ljspeech", tmp_path / name)
    assert [u.text for u in imported.utterances] == ["printing in fourteen fifty five"]
    assert imported.utterances[0].duration == 2.0
    assert [f.reason for f in imported.failures] == ["2 columns instead of 3"]
    if name == "LJSpeech-1.1":
        assert import_corpus("ljspeech", tmp_path) == imported


@pytest.mark.parametrize("above", ["", "SpeechCommands"])
def test_speechcommands(tmp_path: Path, write: Write, above: str) -> None:
    root = tmp_path / above / "speech_commands_v0.02"
    write(root / "yes" / "0a7c2a8d_nohash_0.wav", 1.0)
    write(root / "no" / "0b40aa8e_nohash_1.wav", 1.0)
    write(root / "_background_noise_" / "pink_noise.wav")
    (root / "validation_list.txt").write_text("no/0b40aa8e_nohash_1.wav\n")
    (root / "testing_list.txt").write_text("")
    for folder in (tmp_path, root):
        imported = import_corpus("speechcommands", folder)
        assert imported.failures == []
        assert {(u.text, u.speaker, u.duration) for u in imported.utterances} == {
            ("yes", "speechcommands/0a7c2a8d", 1.0),
            ("no", "speechcommands/0b40aa8e", 1.0),
        }
    training = import_corpus("speechcommands", root, "training").utterances
    assert [u.text for u in training] == ["yes"]
    validation = import_corpus("speechcommands", root, "validation").utterances
    assert [u.text for u in validation] == ["no"]


def test_yesno(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "waves_yesno" / "0_1_1.wav")
    write(tmp_path / "waves_yesno" / "README_1.wav")
    for folder in (tmp_path, tmp_path / "waves_yesno"):
        imported = import_corpus("yesno", folder)
        assert [u.text for u in imported.utterances] == ["no yes yes"]
        assert len(imported.failures) == 1


def test_folder(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "a" / "one.flac", 1.25).with_suffix(".txt").write_text("It is 7:05.\n")
    write(tmp_path / "two.MP3".lower()).with_suffix(".txt").write_text("Two!")
    write(tmp_path / "alone.wav")
    write(tmp_path / "latin.wav").with_suffix(".txt").write_bytes(b"caf\xe9")
    (tmp_path / "notes.txt").write_text("no audio beside this")
    (tmp_path / "._one.wav").write_bytes(b"what macOS puts beside files")
    write(tmp_path.with_name("elsewhere") / "zoo.flac").with_suffix(".txt").write_text("Zoo.")
    cut = write(tmp_path / "cut.wav", 3.0)
    cut.write_bytes(cut.read_bytes()[:40_000])
    cut.with_suffix(".txt").write_text("It lost its end.")
    (tmp_path / "linked").symlink_to(tmp_path.with_name("elsewhere"))
    imported = import_corpus("folder", tmp_path)
    assert [(u.audio_filepath.name, u.text) for u in imported.utterances] == [
        ("one.flac", "it is seven oh five"),
        ("zoo.flac", "zoo"),
        ("two.mp3", "two"),
    ]
    assert imported.utterances[0].duration == 1.25
    assert len(imported.failures) == 3
    assert "cut short" in {Path(f.item).name: f.reason for f in imported.failures}["cut.wav"]
    assert imported.failures[0].reason == "there is no alone.txt beside it"
    assert "latin.txt cannot be read" in imported.failures[-1].reason


@pytest.mark.parametrize("name", list(CORPORA))
def test_wrong_folders_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError):
        import_corpus(name, tmp_path)
    with pytest.raises(CorpusError, match="is not a folder"):
        import_corpus(name, tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="has no subset 'half'; there are: "):
        import_corpus(name, tmp_path, "half")


def test_names_in_a_header_need_not_be_utf8(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "a.wav", 1.5)
    title = b"INFOINAM" + (8).to_bytes(4, "little") + b"M\xfcller\0\0"
    sound = path.read_bytes() + b"LIST" + len(title).to_bytes(4, "little") + title
    path.write_bytes(sound[:4] + (len(sound) - 8).to_bytes(4, "little") + sound[8:])
    assert recording_seconds(path) == pytest.approx(1.5)


def test_unknown_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"unknown corpus 'timit'; there are librispeech, "):
        import_corpus("timit", tmp_path)


def test_missing_torchaudio_is_explained(
    librispeech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None in sys.modules makes the import fail as if the package were not installed.
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    monkeypatch.setitem(sys.modules, "torchaudio.datasets", None)
    with pytest.raises(CorpusError, match=r"pip install 'ossicle\[train\]'"):
        import_corpus("librispeech", librispeech)
