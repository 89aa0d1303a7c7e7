"""`ossicle tune`, with the bundled network and a small language model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ossicle.data.sample import sample_path
from ossicle.model.decoding.decoders import Decoding, DecodingSettings
from ossicle.model.pronunciation.dictionary import DICTIONARY, GRAPHONES
from ossicle.model.runtime import ModelInfo, find_model
from ossicle.service.cli import app
from typer.testing import CliRunner

MANIFEST = sample_path().parent / "sample.jsonl"


def tune(*arguments: object):
    return CliRunner().invoke(app, ["tune", *(str(argument) for argument in arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.int8.onnx", DICTIONARY, GRAPHONES):
        shutil.copy(find_model() / name, folder)
    return folder


def test_weights_are_found_and_kept(folder: Path, ngram_file: Path, tmp_path: Path) -> None:
    shutil.copy(ngram_file, folder)
    (folder / "decoding.json").write_text('{"times": {"start": -0.01, "end": 0.0}}')
    cache = tmp_path / "cache"
    arguments = (MANIFEST, "--model", folder, "--cache", cache, "--beam-width", "4")
    tuned = tune(*arguments)
    assert tuned.exit_code == 0, tuned.output
    values = json.loads((folder / "decoding.json").read_text())
    assert values.pop("times") == {"start": -0.01, "end": 0.0}
    assert DecodingSettings.from_dict(values).to_dict() == values
    assert Decoding.load(folder, ModelInfo.load(folder)).settings.to_dict() == values
    assert "lm 0.5" in tuned.output
    (kept,) = cache.iterdir()
    written = kept.stat().st_mtime_ns
    assert tune(*arguments).exit_code == 0
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [written]


def test_there_must_be_a_language_model(folder: Path) -> None:
    refused = tune(MANIFEST, "--model", folder)
    assert refused.exit_code == 2
    assert "has no lm.ngram" in refused.output
    assert "ossicle lm train" in refused.output


def test_a_missing_manifest_is_named(folder: Path, ngram_file: Path, tmp_path: Path) -> None:
    shutil.copy(ngram_file, folder)
    refused = tune(tmp_path / "none.jsonl", "--model", folder)
    assert refused.exit_code == 1
    assert "none.jsonl" in refused.output
    assert not (folder / "decoding.json").exists()
