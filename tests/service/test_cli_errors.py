"""Every command, asked for what cannot be: one or two lines with the remedy, and no traceback."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from ossicle.data.sample import sample_path
from ossicle.model.pronunciation.dictionary import DICTIONARY, GRAPHONES
from ossicle.model.runtime import find_model
from ossicle.service.cli import app
from typer.testing import CliRunner

runner = CliRunner()
SAMPLE = str(sample_path())
NOWHERE = "127.0.0.1:1"

# What a command is asked for, its exit code, and what its answer must have. In the folder where it
# runs there are the files of `place`.
CASES = [
    ("transcribe missing.wav", 1, "missing.wav: No such file"),
    ("transcribe empty.wav", 1, "empty.wav: the audio is empty"),
    ("transcribe notes.txt", 1, "notes.txt: this is no audio we know"),
    ("transcribe folder", 1, "folder: no recording is in this folder"),
    ("transcribe none*.wav", 1, "none*.wav: no file is named like this"),
    ("transcribe SAMPLE -m half", 1, "half/model.int8.onnx: it is damaged or only half copied"),
    ("transcribe SAMPLE -m torn", 1, "torn has no model.int8.onnx"),
    ("transcribe SAMPLE -m empty-config", 1, "empty-config/config.json is no model configuration"),
    ("transcribe SAMPLE -m half-lm", 1, "half-lm/lm.ngram is damaged: copy it again"),
    ("transcribe SAMPLE -m folder", 1, "there is no model 'folder': bundled models are"),
    ("transcribe SAMPLE -o notes.txt", 2, "--output-dir notes.txt is a file; name a folder"),
    ("transcribe SAMPLE -o notes.txt/x", 2, "notes.txt/x cannot be written to"),
    ("transcribe SAMPLE --phrases missing", 2, "--phrases missing: No such file"),
    ("transcribe SAMPLE --phrases folder", 2, "--phrases folder: Is a directory"),
    ("transcribe SAMPLE --phrases SAMPLE", 2, "is no text in UTF-8"),
    ("transcribe SAMPLE --server NOWHERE", 1, "NOWHERE: nothing listens there; check the address"),
    ("transcribe SAMPLE --server localhost", 2, "'localhost' is not HOST:PORT"),
    ("transcribe SAMPLE --server http://a:1", 2, "'http://a:1' is not HOST:PORT"),
    ("transcribe SAMPLE --server nowhere.invalid:1", 1, "there is no such host"),
    ("stream missing.wav --server NOWHERE", 1, "missing.wav: No such file"),
    ("stream folder --server NOWHERE", 1, "folder: Is a directory"),
    ("stream SAMPLE --server NOWHERE", 1, "NOWHERE: nothing listens there"),
    ("mic --device nonesuch", 3, "microphone"),
    ("mic --model half", 1, "damaged or only half copied"),
    ("models --server NOWHERE", 1, "NOWHERE: nothing listens there"),
    ("models --server NOWHERE --ca missing.pem", 2, "missing.pem: No such file"),
    ("models --server NOWHERE --ca notes.txt", 2, "notes.txt holds no certificate"),
    ("models --server NOWHERE --client-cert a.pem", 2, "certificate without its key; give both"),
    ("models --server NOWHERE --token-file missing", 2, "missing: No such file"),
    ("models --server NOWHERE --token-file empty.wav", 2, "the token is empty"),
    ("health --server NOWHERE", 1, "start one with: ossicle serve"),
    ("health --server SILENT --timeout 0.5", 1, "SILENT"),
    ("serve --model half", 1, "damaged or only half copied"),
    ("serve --port TAKEN", 1, "choose another port"),
    ("serve --host 0.0.0.0", 2, "give --tls-cert and --tls-key, or --insecure"),
    ("serve --tls-cert notes.txt --port 0", 2, "--tls-cert needs --tls-key"),
    ("serve --tls-cert notes.txt --tls-key notes.txt --port 0", 2, "no certificate in PEM"),
    ("serve --tls-cert none.pem --tls-key notes.txt --port 0", 1, "none.pem: No such file"),
    ("serve --tokens missing.json --port 0", 1, "missing.json: No such file"),
    ("serve --tokens notes.txt --port 0", 2, "make one with ossicle token add"),
    ("serve --max-streams 0", 2, "--max-streams is 0; give 1 or more"),
    ("demo --model missing", 1, "there is no model 'missing'"),
    ("inspect missing.wav", 1, "missing.wav: No such file"),
    ("inspect notes.txt", 1, "notes.txt: this is no audio we know"),
    ("inspect SAMPLE -m half", 1, "damaged or only half copied"),
    ("inspect SAMPLE -o talk.doc", 2, "ends in .html or .png"),
    ("token list --tokens missing.json", 1, "missing.json: No such file"),
    ("token list --tokens notes.txt", 1, "notes.txt is no file of tokens"),
    ("token add name --tokens folder", 1, "folder: Is a directory"),
    ("token remove name --tokens missing.json", 1, "missing.json: No such file"),
    ("data import librispeech missing -o x.jsonl", 1, "missing is not a folder"),
    ("data import librispeech folder -o x.jsonl", 1, "has none of LibriSpeech's folders"),
    ("data import nonesuch folder -o x.jsonl", 1, "there are librispeech, commonvoice"),
    ("data cut missing -o cuts", 1, "missing is not there: name transcripts or their folder"),
    ("data check missing.jsonl", 1, "cannot read missing.jsonl: No such file"),
    ("data check notes.txt", 1, "notes.txt, line 1: not valid JSON"),
    ("data check empty.wav", 1, "holds no utterance; `ossicle data import`"),
    ("data leaks missing.jsonl --against notes.txt", 1, "not valid JSON"),
    # Where the engine of the extra `tts` is missing, that is told first.
    ("data synthesize missing.txt -o made --hours 1", 1, "error: "),
    ("lm train missing.txt -o x.ngram", 1, "there is no text missing.txt"),
    ("lm train empty.wav -o x.ngram", 1, "holds no words"),
    ("lm train SAMPLE -o x.ngram", 1, "is not UTF-8 text"),
    ("lm score missing notes.txt", 1, "there is no model 'missing'"),
    ("adapt missing.txt -o law", 1, "there is no text missing.txt"),
    ("lm show half-lm", 1, "half-lm/lm.ngram is damaged"),
    ("dictionary make notes.txt --cmudict missing.dict -o made", 1, "dictionary missing.dict"),
    ("dictionary make empty.wav --cmudict notes.txt -o made", 1, "'is' is no phoneme"),
    ("dictionary show word --model empty-config", 1, "is no model configuration"),
    ("dictionary show word --model missing", 1, "there is no model 'missing'"),
    ("evaluate missing.jsonl", 1, "cannot read missing.jsonl"),
    ("evaluate notes.txt", 1, "not valid JSON"),
    ("tune missing.jsonl", 1, "cannot read missing.jsonl"),
    ("calibrate missing.jsonl", 1, "cannot read missing.jsonl"),
    ("align missing.jsonl -o made.jsonl", 1, "cannot read missing.jsonl"),
    ("bench server --manifest missing.jsonl", 1, "missing.jsonl: No such file"),
    ("bench server --server NOWHERE", 1, "NOWHERE does not answer"),
    ("bench server --model half", 1, "damaged or only half copied"),
]
# These load torch.
TRAINING = [
    ("train missing.yaml --run run", 1, "cannot read missing.yaml: No such file"),
    ("train folder --run run", 1, "cannot read folder: Is a directory"),
    ("train notes.txt --run run", 1, "notes.txt is not a training configuration"),
    ("export missing.ckpt made", 2, "there is no checkpoint missing.ckpt"),
    ("export notes.txt made", 1, "notes.txt is no checkpoint of `ossicle train`"),
    ("explain flow missing.wav", 1, "missing.wav"),
    ("explain gates missing.wav", 1, "missing.wav"),
    ("explain cells missing.yaml", 1, "missing.yaml"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a user may get wrong."""
    place = tmp_path_factory.mktemp("place")
    (place / "folder").mkdir()
    (place / "empty.wav").touch()
    (place / "notes.txt").write_text("this is a text about audio\n")
    good = find_model(None)
    parts = ("config.json", "decoding.json", "lm.ngram", "model.int8.onnx", DICTIONARY, GRAPHONES)
    for name, damaged in {
        "half": "model.int8.onnx",
        "torn": "model.int8.onnx",
        "empty-config": "config.json",
        "half-lm": "lm.ngram",
    }.items():
        (place / name).mkdir()
        for part in parts:
            shutil.copy(good / part, place / name / part)
        content = (good / damaged).read_bytes()
        (place / name / damaged).write_bytes(b"" if name == "empty-config" else content[:100_000])
    (place / "torn" / "model.int8.onnx").unlink()
    return place


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """The address of something that is no server of ours: it takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def check(
    command: str, code: int, message: str, place: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OSSICLE_SERVER", "OSSICLE_MODEL", "OSSICLE_TOKEN", "OSSICLE_CA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    places = {"SAMPLE": SAMPLE, "NOWHERE": NOWHERE, "SILENT": silent, "TAKEN": silent.split(":")[1]}
    result = runner.invoke(app, [places.get(word, word) for word in command.split()])
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    for name, value in places.items():
        message = message.replace(name, value)
    assert message in result.stderr
    lines = result.stderr.splitlines()
    assert lines[-1].startswith("error: ")
    assert len(lines) <= 2
    assert "Errno" not in result.stderr
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "code", "message"), CASES, ids=[command for command, _, _ in CASES]
)
def test_the_answer_says_what_is_wrong_in_a_line(
    command: str,
    code: int,
    message: str,
    place: Path,
    silent: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check(command, code, message, place, silent, monkeypatch)


@pytest.mark.parametrize(
    ("command", "code", "message"), TRAINING, ids=[command for command, _, _ in TRAINING]
)
def test_so_do_the_commands_that_train(
    command: str,
    code: int,
    message: str,
    place: Path,
    silent: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pytorch_lightning")
    check(command, code, message, place, silent, monkeypatch)


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every command with its help."""
    for name, command in getattr(group, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command.help or ""


EVERY = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", EVERY)
def test_the_help_of_every_command_has_an_example(name: str) -> None:
    assert f"`ossicle {name}" in EVERY[name]


def test_every_command_is_asked_for_something_that_cannot_be() -> None:
    asked = [command for command, _, _ in (*CASES, *TRAINING)]
    assert [name for name in EVERY if not any(one.startswith(name) for one in asked)] == []
