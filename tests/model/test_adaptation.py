"""A model that learns the words of a field from texts: it hears them, and is whole or not there."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from ossicle.data.sample import sample_utterance
from ossicle.data.text import normalize
from ossicle.model import adaptation
from ossicle.model.evaluation.scoring import word_error_rate
from ossicle.model.folder import LoadedModel, model_digest, served_files
from ossicle.model.ngram.file import write_trie
from ossicle.model.ngram.text import TextSource
from ossicle.model.ngram.training import NgramTrainingConfig, train_ngrams
from ossicle.model.runtime import find_model
from ossicle.service.cli import app
from ossicle.service.transcribe import transcribe
from typer.testing import CliRunner, Result

SAID = sample_utterance()
COMMON = """every day the easy let his sheep to graze on the road
the priest and the boy sat on a bank by the way
at nine in the morning that leads from here to there
"""
FIELD = """luigi led his flock to the road
from palestrina to borgo the road leads
a flock sat down by the wayside
"""


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model with a language model of few words, which is read in no time."""
    folder = tmp_path_factory.mktemp("models") / "common"
    folder.mkdir()
    for path in served_files(find_model()):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    text = folder.parent / "common.txt"
    text.write_text(COMMON)
    write_trie(train_ngrams([TextSource(text)], NgramTrainingConfig(order=3)), folder / "lm.ngram")
    return folder


@pytest.fixture
def field(tmp_path: Path) -> Path:
    path = tmp_path / "field.txt"
    path.write_text(FIELD)
    return path


def ossicle(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["adapt", *map(str, arguments)])


def errors(folder: Path) -> float:
    """The word error rate of the bundled recording."""
    model = LoadedModel.load(folder)
    (heard,) = transcribe([SAID.audio_filepath], model.network, model.decoding)
    return word_error_rate([normalize(SAID.text)], [heard.text])


def test_words_of_a_field_are_heard(common: Path, field: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "shepherds"
    digest = model_digest(common)
    result = ossicle(field, "--model", common, "--output", folder, "--size", "1")
    assert result.exit_code == 0, result.output
    assert "weight 0.5000 of field.txt" in result.output
    assert "weight 0.5000 of common/lm.ngram" in result.output
    assert "luigi (luiʤi)" in result.output
    assert errors(folder) < errors(common) - 0.15
    assert LoadedModel.load(folder).info.name == "shepherds", "a server tells the two apart"
    assert model_digest(common) == digest
    assert {path.name for path in folder.parent.iterdir()} == {"shepherds"}


def test_texts_share_what_they_count(common: Path, field: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("the captain saw the mill\n")
    folder = tmp_path / "two"
    result = ossicle(field, other, "--model", common, "-o", folder, "--share", "0.8", "--size", "1")
    assert result.exit_code == 0, result.output
    for line in (
        "weight 0.4000 of field.txt",
        "weight 0.4000 of other.txt",
        "weight 0.2000 of common/lm.ngram",
    ):
        assert line in result.output


def test_a_folder_that_holds_something_stays_as_it_is(
    common: Path, field: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    result = ossicle(field, "--model", common, "-o", folder)
    assert result.exit_code == 1
    assert "is there already: name another folder, or remove it" in " ".join(result.output.split())
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--share", "1"], "the share of the texts is 1.0: give more than 0 and less than 1"),
        (["--share", "nan"], "the share of the texts is nan"),
        (["--size", "0.0001"], "words alone take"),
        (["--size", "inf"], "the size is inf MB: give a finite number above 0"),
        (["--exclude", "nowhere.txt"], "there is no text nowhere.txt"),
        (["--model", "nowhere"], "there is no model 'nowhere'"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    common: Path, field: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    folder = tmp_path / "models" / "mine"
    result = ossicle(field, "--model", common, "-o", folder, *arguments)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert not folder.exists()
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("lm.ngram", "has no language model; `ossicle lm train` makes one"),
        ("pronunciations.txt.gz", "pronunciations.txt.gz"),
    ],
)
def test_a_model_that_lacks_a_file_is_refused_before_the_work(
    common: Path, field: Path, tmp_path: Path, missing: str, message: str
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(common, bare, ignore=shutil.ignore_patterns(missing))
    result = ossicle(field, "--model", bare, "-o", tmp_path / "mine")
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert "weight" not in result.output
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_model_is_written_leaves_nothing(
    number: signal.Signals,
    code: int,
    common: Path,
    field: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adaptation, "_rename", lambda *_: signal.raise_signal(number))
    result = ossicle(field, "--model", common, "-o", tmp_path / "law")
    assert (result.exit_code, list(tmp_path.iterdir())) == (code, [field])
    assert "stopped;" in result.output
    assert "law is not written" in result.output.replace("\n", "")


@pytest.mark.parametrize(
    ("folder", "message"),
    [("field.txt/mine", "Not a directory"), ("ossicle-small-en", "call it otherwise than ossicle")],
)
def test_where_no_folder_can_be_made_is_told_before_the_work(
    common: Path, field: Path, tmp_path: Path, folder: str, message: str
) -> None:
    result = ossicle(field, "--model", common, "-o", tmp_path / folder)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert "weight" not in result.output


def test_few_words_are_told(common: Path, field: Path, tmp_path: Path) -> None:
    result = ossicle(field, "--model", common, "-o", tmp_path / "mine", "--share", "0.3")
    assert "21 words are few for 0.3 of what is said" in result.output


def test_a_copied_configuration_keeps_the_rest(common: Path, field: Path, tmp_path: Path) -> None:
    assert ossicle(field, "--model", common, "-o", tmp_path / "mine").exit_code == 0
    before = json.loads((common / "config.json").read_text(encoding="utf-8"))
    after = json.loads((tmp_path / "mine" / "config.json").read_text(encoding="utf-8"))
    assert after == {**before, "name": "mine"}
