"""Which recordings arguments mean."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ossicle.service.files.recordings import Recording, find_recordings
from ossicle.service.happenings import FailedFile


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    names = ["talks/b.WAV", "talks/a.mp3", "talks/notes.txt", "talks/2020/c.mkv", "talks/.d.wav"]
    for name in [*names, "talks/.cache/e.wav", "empty/notes.txt", "odd[1].wav"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def stems(*arguments: str) -> list[tuple[str, str]]:
    found = list(find_recordings(arguments))
    assert all(isinstance(item, Recording) for item in found)
    return [(Path(item.file).as_posix(), Path(item.stem).as_posix()) for item in found]  # type: ignore[union-attr]


def test_a_folder_has_its_recordings_at_any_depth_but_what_is_hidden(folder: Path) -> None:
    assert stems("talks") == [
        ("talks/a.mp3", "a"),
        ("talks/b.WAV", "b"),
        ("talks/2020/c.mkv", "2020/c"),
    ]


@pytest.mark.parametrize(
    "suffix",
    [
        *("3gp", "aac", "aif", "aiff", "amr", "ape", "au", "avi", "caf", "flac", "flv", "m2ts"),
        *("m4a", "m4b", "mkv", "mov", "mp3", "mp4", "mpeg", "mxf", "oga", "ogg", "opus", "tta"),
        *("w64", "wav", "webm", "wma", "wv"),
    ],
)
def test_a_folder_has_what_the_handbook_says_can_be_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"talk.{suffix}").touch()
    assert [stem for _, stem in stems(str(tmp_path))] == ["talk"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_linked_folders_are_walked_once(folder: Path) -> None:
    (folder / "talks/linked").symlink_to(folder / "elsewhere")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/f.wav").touch()
    (folder / "talks/2020/round").symlink_to(folder / "talks")
    assert [stem for _, stem in stems("talks")] == ["a", "b", "2020/c", "linked/f"]


def test_a_pattern_means_the_files_named_like_it(folder: Path) -> None:
    assert stems("talks/*.mp3") == [("talks/a.mp3", "a")]
    assert stems("talks/**/*.mkv") == [("talks/2020/c.mkv", "c")]


def test_a_file_is_taken_as_it_is_named_whatever_its_suffix(folder: Path) -> None:
    assert stems("odd[1].wav", "talks/notes.txt", "-", "missing.wav") == [
        ("odd[1].wav", "odd[1]"),
        ("talks/notes.txt", "notes"),
        ("-", "stdin"),
        ("missing.wav", "missing"),
    ]


def test_folders_and_patterns_without_a_recording_are_told(folder: Path) -> None:
    found = list(find_recordings(["empty", "nothing*.wav"]))
    assert [type(item) for item in found] == [FailedFile, FailedFile]
    assert "no recording is in this folder" in found[0].message  # type: ignore[union-attr]
    assert "no file is named like this" in found[1].message  # type: ignore[union-attr]
