from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ossicle.data.manifest import Utterance, read_manifest, write_manifest
from ossicle.model.cli import evaluate_command
from ossicle.model.decoding import GreedyDecoder
from ossicle.model.evaluation import Evaluation, Recognized, score, score_by
from ossicle.model.runtime import AcousticModel, find_model
from typer import Typer
from typer.testing import CliRunner

from tests.model.test_streaming import in_chunks


def recognized(*pairs: tuple[str, str], source: str = "") -> list[Recognized]:
    return [
        Recognized(Utterance(Path("x"), 1.0, reference, source=source), reference, hypothesis)
        for reference, hypothesis in pairs
    ]


def test_counts_errors() -> None:
    result = score(
        recognized(
            ("the cat sat", "the cat sat"),
            ("on the mat", "on a mat today"),  # one substitution, one insertion
            ("in the sun", "in"),  # two deletions
        )
    )
    assert (result.substitutions, result.deletions, result.insertions) == (1, 2, 1)
    assert (result.utterances, result.words) == (3, 9)
    assert result.wer == pytest.approx(4 / 9)
    assert result.wer_low < result.wer < result.wer_high
    assert result.cer == pytest.approx((0 + 3 + 6 + 8) / 31)


def test_words_heard_in_silence_are_insertions() -> None:
    result = score(recognized(("yes", "yes"), ("", "oh no")))
    assert result.insertions == 2
    assert result.wer == 2


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="no reference text"):
        score(recognized(("", "hm")))


def test_more_words_narrow_the_interval() -> None:
    pairs = [("one two three four", "one two four four"), ("five six", "five six")]
    few, many = score(recognized(*pairs * 5)), score(recognized(*pairs * 200))
    assert few.wer == pytest.approx(many.wer)
    assert many.wer_high - many.wer_low < few.wer_high - few.wer_low


def test_groups() -> None:
    items = recognized(("a", "a"), source="x") + recognized(("b", "c"), source="y")
    groups = score_by(items, lambda r: r.utterance.source)
    assert {name: s.wer for name, s in groups.items()} == {"x": 0.0, "y": 1.0}


@pytest.fixture
def manifest(tmp_path: Path, sample: np.ndarray) -> Path:
    """The bundled recording cut to five lengths."""
    utterances = []
    for i, seconds in enumerate([9.5, 1.0, 4.2, 2.5, 7.7]):
        soundfile.write(tmp_path / f"{i}.flac", sample[: int(seconds * 16_000)], 16_000)
        utterances.append(
            Utterance(tmp_path / f"{i}.flac", seconds, "Some Words!", source="ab"[i % 2])
        )
    write_manifest(tmp_path / "cuts.jsonl", utterances)
    return tmp_path / "cuts.jsonl"


def test_batches_hear_what_single_recordings_hear(manifest: Path, sample: np.ndarray) -> None:
    model = AcousticModel.load(find_model())
    evaluation = Evaluation(model)
    for result in evaluation.recognize(read_manifest(manifest)):
        decoder = GreedyDecoder(model.info.tokens, model.info.frame_seconds)
        samples = soundfile.read(result.utterance.audio_filepath, dtype="float32")[0]
        decoder.advance(in_chunks(model, samples, 4))
        assert result.hypothesis == decoder.hypothesis().text
        assert result.reference == "some words"
    assert evaluation.audio_seconds == pytest.approx(24.9, abs=0.01)
    assert evaluation.model_seconds > 0


class TestCommand:
    def run(self, *arguments: str):
        app = Typer()
        app.command()(evaluate_command)
        return CliRunner().invoke(app, list(arguments))

    def test_table_has_sources(self, manifest: Path) -> None:
        result = self.run(str(manifest))
        assert result.exit_code == 0, result.output
        assert "cuts: a" in result.output
        assert "times real time" in result.output

    def test_json_has_all_transcripts(self, manifest: Path) -> None:
        result = json.loads(self.run(str(manifest), "--json").stdout)
        assert len(result["transcripts"]["cuts"]) == 5
        assert result["scores"]["cuts"]["words"] == 10

    def test_a_bad_recording_is_named(self, manifest: Path, tmp_path: Path) -> None:
        (tmp_path / "3.flac").write_text("no audio here")
        result = self.run(str(manifest))
        assert result.exit_code == 1
        assert "3.flac: this is no audio" in " ".join(result.output.split())

    def test_manifests_of_one_name_are_kept_apart(self, manifest: Path, tmp_path: Path) -> None:
        other = tmp_path / "other" / manifest.name
        write_manifest(other, read_manifest(manifest)[:2])
        result = json.loads(self.run(str(manifest), str(other), "--json").stdout)
        assert len(result["transcripts"][str(manifest)]) == 5
        assert len(result["transcripts"][str(other)]) == 2

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["absent.jsonl"], "absent.jsonl"),
            (["absent.jsonl", "--model", "nope"], "no model 'nope'"),
            (["absent.jsonl", "--precision", "int4"], "use int8 or float"),
        ],
    )
    def test_errors_are_sentences(self, arguments: list[str], message: str) -> None:
        result = self.run(*arguments)
        assert result.exit_code in (1, 2)
        assert message in result.output
        assert "Traceback" not in result.output
