"""`ossicle calibrate` on real speech, and how its parts judge words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from ossicle.data.manifest import Utterance, write_manifest
from ossicle.data.sample import sample_path, sample_text
from ossicle.model.decoding.calibration import Judged, fit_confidences
from ossicle.model.decoding.confidence import EVIDENCE, Calibration
from ossicle.model.decoding.decoders import Decoding, DecodingConfig, write_settings
from ossicle.model.pronunciation.dictionary import DICTIONARY, GRAPHONES
from ossicle.model.runtime import ModelInfo, find_model
from ossicle.service.cli import app
from typer.testing import CliRunner


def judged(speakers: list[str], words: int, seed: int = 0) -> Judged:
    """Utterances whose words are right as their first evidence says."""
    rng, result = np.random.default_rng(seed), Judged()
    for speaker in speakers:
        evidence = rng.normal(0, 2, (words, len(EVIDENCE)))
        result.evidence.append(evidence)
        result.right.append(rng.random(words) < 1 / (1 + np.exp(-evidence[:, 0])))
        result.confidences.append(np.full(words, 0.99))
        result.groups.append(speaker)
    return result


def test_after_is_better_than_before() -> None:
    fitted = fit_confidences(judged(["a", "b", "c", "d"] * 5, 100))
    assert fitted.before.words == fitted.after.words == 2000
    assert fitted.before.ece > 0.4
    assert fitted.after.ece < 0.05
    assert fitted.after.nce > 0.3 > 0 > fitted.before.nce
    assert fitted.calibration.weights[0] == pytest.approx(1.0, abs=0.2)


def test_is_measured_on_speakers_it_has_not_seen() -> None:
    """One speaker's words are right where everyone else's are wrong: held out, this shows."""
    words = judged(["a", "b", "c", "d", "e"], 200)
    words.right[0] = ~words.right[0]
    alone = fit_confidences(
        Judged(words.evidence[1:], words.confidences[1:], words.right[1:], words.groups[1:])
    )
    assert fit_confidences(words).after.nce < alone.after.nce - 0.2


def test_one_speaker_is_held_out_by_recordings() -> None:
    alone, several = judged(["a"] * 10, 50), judged(["a", "b"] * 5, 50)
    unknown = judged([f"{i}.flac" for i in range(10)], 50)
    assert fit_confidences(alone).after.nce > 0.3
    found = [fit_confidences(words).held_out for words in (alone, several, unknown)]
    assert found == ["recordings", "speakers", "recordings"]


def test_few_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"99 words .* needs 100"):
        fit_confidences(judged(["a", "b", "c"], 33))
    with pytest.raises(ValueError, match="0 words"):
        fit_confidences(Judged())


def test_settings_of_others_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "decoding.json"
    write_settings(tmp_path, {"times": {"start": 0.0}})
    path.write_text(json.dumps({**json.loads(path.read_text()), "beam_width": 8}))
    write_settings(tmp_path, {"times": {"start": 0.01}})
    assert json.loads(path.read_text()) == {"times": {"start": 0.01}, "beam_width": 8}
    assert [file.name for file in tmp_path.iterdir()] == ["decoding.json"]
    for damaged in ("{", "[1]"):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=r"decoding\.json"):
            write_settings(tmp_path, {})


@pytest.fixture
def manifest(tmp_path: Path, sample: np.ndarray) -> Path:
    """The bundled recording, louder and softer; by every second reference it said other words."""
    utterances = []
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.flac", sample * 0.8**i, 16_000)
        words = sample_text().split()
        text = " ".join(words if i % 2 else [*words[:15], *["nothing"] * 10])
        utterances.append(Utterance(tmp_path / f"{i}.flac", 10.0, text, speaker=f"s{i // 2}"))
    write_manifest(tmp_path / "six.jsonl", utterances)
    return tmp_path / "six.jsonl"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.int8.onnx", DICTIONARY, GRAPHONES):
        shutil.copy(find_model() / name, folder)
    (folder / "decoding.json").write_text('{"word_score": 0.5}')
    return folder


def ossicle(*arguments: object):
    return CliRunner().invoke(app, ["calibrate", *(str(argument) for argument in arguments)])


def test_command(manifest: Path, model: Path) -> None:
    result = ossicle(manifest, "--model", model)
    assert result.exit_code == 0, result.output
    assert "greedy" in result.output
    assert "written:" in result.output
    settings = json.loads((model / "decoding.json").read_text())
    assert settings["word_score"] == 0.5
    calibration = Calibration.from_dict(settings["confidence"]["greedy"])
    assert any(calibration.weights)
    ElementTree.fromstring((model / "reliability.svg").read_text())
    # One recording has too few pauses for word times.
    assert "times" not in settings
    assert "left as they are" in result.output
    Decoding.load(model, ModelInfo.load(model)).check(DecodingConfig(search="greedy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.jsonl"], "absent.jsonl"),
        (["ONE"], "a calibration needs 100: add manifests"),
        (["ONE", "--model", "nope"], "no model 'nope'"),
        (["ONE", "--plot", "absent/plot.svg"], "absent/plot.svg"),
    ],
)
def test_refusals(model: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    write_manifest(tmp_path / "one.jsonl", [Utterance(sample_path(), 10.0, sample_text())])
    given = [tmp_path / "one.jsonl" if a == "ONE" else a for a in arguments]
    if "--model" not in given:
        given += ["--model", model]
    result = ossicle(*given)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.output.split())
    assert json.loads((model / "decoding.json").read_text()) == {"word_score": 0.5}
