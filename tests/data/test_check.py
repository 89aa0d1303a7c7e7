"""Manifest checks and the `ossicle data` commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ossicle.data.check import ProblemKind, check_utterances
from ossicle.data.cli import CORPUS_NAMES, data_app
from ossicle.data.corpora import CORPORA
from ossicle.data.manifest import Utterance, read_manifest, write_manifest
from ossicle.data.sample import sample_path, sample_text, sample_utterance
from typer.testing import CliRunner


@pytest.fixture
def good(tmp_path: Path) -> Utterance:
    return replace(
        sample_utterance(), audio_filepath=Path(shutil.copy(sample_path(), tmp_path / "good.flac"))
    )


def kinds(*utterances: Utterance, deep: bool = False) -> list[ProblemKind]:
    return [problem.kind for problem in check_utterances(utterances, deep, workers=2)]


def test_good_utterance_has_no_problem(good: Utterance) -> None:
    assert kinds(good) == []
    assert kinds(good, deep=True) == []


def test_each_problem_is_found(good: Utterance, tmp_path: Path) -> None:
    broken = tmp_path / "broken.flac"
    broken.write_bytes(sample_path().read_bytes()[:50_000])
    cases = {
        ProblemKind.MISSING: replace(good, audio_filepath=tmp_path / "gone.flac"),
        ProblemKind.UNDECODABLE: replace(good, audio_filepath=broken),
        ProblemKind.EMPTY_TEXT: replace(good, text=" "),
        ProblemKind.TEXT_TOO_LONG: replace(good, text="a" * 300),
        ProblemKind.NOT_ENGLISH: replace(good, text="Every day, товарищ"),
        ProblemKind.DURATION: replace(good, duration=good.duration + 1),
    }
    for kind, utterance in cases.items():
        assert kinds(utterance, deep=True) == [kind]
    needs_decoding = {ProblemKind.UNDECODABLE, ProblemKind.DURATION}
    for kind, utterance in cases.items():
        assert kinds(utterance) == ([] if kind in needs_decoding else [kind])


def test_repeated_letters_need_more_time(good: Utterance) -> None:
    # Five frames of 40 ms: "abcde" fits, "abbde" needs a blank between its two b.
    short = replace(good, duration=0.2)
    assert kinds(replace(short, text="abcde")) == []
    assert kinds(replace(short, text="abbde")) == [ProblemKind.TEXT_TOO_LONG]


def test_duplicates_are_counted_once_each(good: Utterance) -> None:
    assert kinds(good, good, good) == [ProblemKind.DUPLICATE] * 2


def test_check_command(good: Utterance, tmp_path: Path) -> None:
    runner = CliRunner()
    write_manifest(tmp_path / "good.jsonl", [good])
    result = runner.invoke(data_app, ["check", str(tmp_path / "good.jsonl"), "--deep"])
    assert result.exit_code == 0
    assert "no problems found" in result.output

    gone = [replace(good, audio_filepath=tmp_path / f"gone{i}.flac") for i in range(25)]
    write_manifest(tmp_path / "bad.jsonl", [*gone, replace(good, text="Щnknown")])
    result = runner.invoke(data_app, ["check", str(tmp_path / "bad.jsonl")])
    assert result.exit_code == 1
    assert "missing file" in result.output
    assert "25" in result.output
    assert "gone19.flac" in result.output
    assert "and 5 more" in result.output
    assert "'щ' in 'Щnknown'" in result.output


def test_what_training_leaves_out_for_its_length_is_told(good: Utterance, tmp_path: Path) -> None:
    write_manifest(tmp_path / "talks.jsonl", [replace(good, duration=1800.0)])
    result = CliRunner().invoke(data_app, ["check", str(tmp_path / "talks.jsonl")])
    assert result.exit_code == 0
    assert "1 utterance, 0.50 hours, not of 0.3 to 20 s, are left out of training" in " ".join(
        result.output.split()
    )


def test_check_command_on_no_manifest(tmp_path: Path) -> None:
    result = CliRunner().invoke(data_app, ["check", str(tmp_path / "nowhere.jsonl")])
    assert result.exit_code == 1
    assert "cannot read" in result.output


def test_import_command(good: Utterance, tmp_path: Path) -> None:
    good.audio_filepath.with_suffix(".txt").write_text(sample_text())
    shutil.copy(sample_path(), tmp_path / "[alone].flac")
    manifest = tmp_path / "out" / "train.jsonl"
    arguments = ["import", "folder", str(tmp_path), "-o", str(manifest)]
    result = CliRunner().invoke(data_app, arguments)
    assert result.exit_code == 0
    assert "1 of 2 recordings are left out" in result.output
    assert "[alone].flac" in result.output
    assert "1 utterance, 0.00 hours, unknown speakers" in result.output
    (utterance,) = read_manifest(manifest)
    assert utterance == replace(good, speaker="", source="folder")


def test_import_command_failures(tmp_path: Path) -> None:
    manifest = tmp_path / "train.jsonl"
    result = CliRunner().invoke(
        data_app, ["import", "ljspeech", str(tmp_path), "-o", str(manifest)]
    )
    assert result.exit_code == 1
    assert "metadata.csv is missing" in result.output
    shutil.copy(sample_path(), tmp_path / "alone.flac")
    result = CliRunner().invoke(data_app, ["import", "folder", str(tmp_path), "-o", str(manifest)])
    assert result.exit_code == 1
    assert "is not written" in result.output
    assert not manifest.exists()


def test_import_prints_no_empty_line_into_a_log(good: Utterance, tmp_path: Path) -> None:
    good.audio_filepath.with_suffix(".txt").write_text(sample_text())
    arguments = ["import", "folder", str(tmp_path), "-o", str(tmp_path / "train.jsonl")]
    result = CliRunner().invoke(data_app, arguments)
    assert result.exit_code == 0
    assert result.stderr == ""


def test_ctrl_c_says_what_became_of_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ossicle.data.corpora.import_corpus", press)
    manifest = tmp_path / "train.jsonl"
    result = CliRunner().invoke(data_app, ["import", "folder", str(tmp_path), "-o", str(manifest)])
    assert result.exit_code == 130
    assert "stopped" in result.stderr
    assert "is not written" in result.stderr
    assert not manifest.exists()


def test_the_help_names_every_corpus() -> None:
    assert tuple(CORPORA) == CORPUS_NAMES


def test_the_command_line_loads_nothing_heavy() -> None:
    program = (
        "import ossicle.data.cli, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
