from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ossicle.data.digest import file_digest
from ossicle.data.manifest import Utterance, read_manifest, write_manifest
from ossicle.model.commands.evaluate import evaluate_command
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.evaluation.evaluation import Evaluation
from ossicle.model.evaluation.noise import Noises
from ossicle.model.runtime import AcousticModel, find_model
from typer import Typer
from typer.testing import CliRunner

from tests.model.test_streaming import in_chunks

GREEDY = DecodingConfig(search="greedy")


@pytest.fixture
def manifest(tmp_path: Path, sample: np.ndarray) -> Path:
    """The bundled recording cut to four lengths."""
    utterances = []
    for i, seconds in enumerate([4.5, 1.0, 2.2, 0.5]):
        soundfile.write(tmp_path / f"{i}.flac", sample[: int(seconds * 16_000)], 16_000)
        utterances.append(
            Utterance(tmp_path / f"{i}.flac", seconds, "Some Words!", source="ab"[i % 2])
        )
    write_manifest(tmp_path / "cuts.jsonl", utterances)
    return tmp_path / "cuts.jsonl"


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A manifest of two noises."""
    rng = np.random.default_rng(3)
    with (tmp_path / "noise.jsonl").open("w") as file:
        for i in range(2):
            samples = rng.standard_normal(8000).astype(np.float32) * 0.1
            soundfile.write(tmp_path / f"noise{i}.flac", samples, 16_000)
            file.write(json.dumps({"audio_filepath": f"noise{i}.flac", "kind": "noise"}) + "\n")
    return tmp_path / "noise.jsonl"


def evaluation(model: AcousticModel, **options: float) -> Evaluation:
    return Evaluation(model, Decoding.load(find_model(), model.info), GREEDY, **options)


def test_batches_hear_what_single_recordings_hear(
    manifest: Path, shipped_int8: AcousticModel
) -> None:
    found = evaluation(shipped_int8)
    for result in found.recognize(read_manifest(manifest)):
        decoder = Decoding.load(find_model(), shipped_int8.info).decoder(GREEDY)
        samples = soundfile.read(result.utterance.audio_filepath, dtype="float32")[0]
        decoder.advance(in_chunks(shipped_int8, samples, 4, settled=True))
        assert result.hypothesis == decoder.finish()[0].text
        assert result.hypothesis == " ".join(word.text for word in result.words)
        assert result.reference == "some words"
    assert found.audio_seconds == pytest.approx(8.2, abs=0.01)
    assert found.network.seconds > 0
    assert found.decoder.seconds > 0
    assert found.network.cpu_seconds > 0


def test_silence_in_front_moves_no_time(manifest: Path, shipped_int8: AcousticModel) -> None:
    utterances = read_manifest(manifest)
    after = evaluation(shipped_int8, silence=0.4)
    found = {r.utterance.duration: r for r in after.recognize(utterances)}
    plain = {r.utterance.duration: r for r in evaluation(shipped_int8).recognize(utterances)}
    assert after.audio_seconds == pytest.approx(8.2 + 4 * 0.4, abs=0.01)
    # Silence may change a word; those found both with and without it are found at the same times.
    times = [{w.text: w.start for w in r[4.5].words} for r in (found, plain)]
    shared = times[0].keys() & times[1].keys()
    assert len(shared) >= 3
    apart = [abs(times[0][text] - times[1][text]) for text in shared]
    assert np.median(apart) <= 0.08


def test_steps_and_batches_change_no_word(manifest: Path, shipped_int8: AcousticModel) -> None:
    heard = {
        tuple(
            sorted(
                (r.utterance.duration, r.hypothesis)
                for r in evaluation(shipped_int8, step_frames=step, batch=batch).recognize(
                    read_manifest(manifest)
                )
            )
        )
        for step, batch in ((4, 8), (1, 3), (25, 1))
    }
    assert len(heard) == 1


def test_empty_steps_are_refused(shipped_int8: AcousticModel) -> None:
    with pytest.raises(ValueError, match="step_frames is 0"):
        evaluation(shipped_int8, step_frames=0)


class TestNoise:
    def test_has_the_level_asked_for_and_is_always_the_same(
        self, noise: Path, sample: np.ndarray
    ) -> None:
        noises = Noises.load(noise)
        for snr in (20, 0):
            added = noises.mix(sample, snr, "a.flac") - sample
            ratio = 10 * np.log10(np.mean(sample**2) / np.mean(added**2))
            assert ratio == pytest.approx(snr, abs=0.1)
        again = Noises.load(noise).mix(sample, 0, "a.flac")
        np.testing.assert_array_equal(noises.mix(sample, 0, "a.flac"), again)
        assert not np.array_equal(noises.mix(sample, 0, "b.flac"), again)

    def test_is_the_same_at_every_level(self, noise: Path, sample: np.ndarray) -> None:
        noises = Noises.load(noise)
        loud, soft = (noises.mix(sample, snr, "a.flac") - sample for snr in (0, 20))
        np.testing.assert_allclose(loud, soft * 10, atol=1e-5)

    def test_a_manifest_without_noise_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "empty.jsonl").write_text("")
        with pytest.raises(ValueError, match='no recording of kind "noise"'):
            Noises.load(tmp_path / "empty.jsonl")


class TestCommand:
    def run(self, *arguments: object):
        app = Typer()
        app.command()(evaluate_command)
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    def test_table_has_sources(self, manifest: Path) -> None:
        result = self.run(manifest)
        assert result.exit_code == 0, result.output
        assert "cuts: a" in result.output
        assert "times real time" in " ".join(result.output.split())

    def test_json_has_everything(self, manifest: Path, noise: Path) -> None:
        run = self.run(
            manifest, "--json", "--decoder", "greedy", "--chunk-ms", 1280, "--noise", noise
        )
        assert run.exit_code == 0, run.output
        result = json.loads(run.stdout)
        assert len(result["transcripts"]["cuts"]) == 4
        assert result["scores"]["cuts"]["words"] == 8
        assert result["scores"]["cuts at 0 dB"]["words"] == 8
        (part,) = result["sets"]
        assert part["digest"] == file_digest(manifest)
        assert list(part["by_snr"]) == ["20 dB", "10 dB", "5 dB", "0 dB"]
        assert set(part["by_source"]) == {"a", "b"}
        assert (result["search"], result["beam_width"], result["chunk_ms"]) == ("greedy", 0, 1280)
        # Clean, and at four levels of noise.
        assert result["cost"]["audio_seconds"] == pytest.approx(5 * 8.2, abs=0.05)
        assert result["cost"]["network"]["real_time_factor"] > 0

    def test_the_beam_can_be_asked_for(self, manifest: Path) -> None:
        run = self.run(manifest, "--json", "--decoder", "beam", "--beam-width", 4)
        assert run.exit_code == 0, run.output
        result = json.loads(run.stdout)
        assert (result["search"], result["beam_width"]) == ("beam", 4)

    def test_a_bad_recording_is_named(self, manifest: Path, tmp_path: Path) -> None:
        (tmp_path / "3.flac").write_text("no audio here")
        result = self.run(manifest)
        assert result.exit_code == 1
        assert "3.flac: this is no audio" in " ".join(result.output.split())

    def test_manifests_of_one_name_are_kept_apart(self, manifest: Path, tmp_path: Path) -> None:
        other = tmp_path / "other" / manifest.name
        write_manifest(other, read_manifest(manifest)[1:3])
        result = json.loads(self.run(manifest, other, "--json").stdout)
        sizes = {name: len(texts) for name, texts in result["transcripts"].items()}
        assert sizes == {f"{tmp_path.name}/cuts": 4, "other/cuts": 2}
        table = self.run(manifest, other, "--decoder", "greedy").stdout
        assert f"│ {tmp_path.name}/cuts" in table
        assert "│ other/cuts " in table
        assert "…" not in table

    def test_the_length_of_a_recording_is_that_of_its_sound(self, manifest: Path) -> None:
        said = [replace(u, duration=60.0) for u in read_manifest(manifest)]
        write_manifest(manifest, said)
        (part,) = json.loads(self.run(manifest, "--json", "--decoder", "greedy").stdout)["sets"]
        assert "16 s and more" not in part["by_length"]
        assert sum(score["utterances"] for score in part["by_length"].values()) == 4

    def test_a_set_without_text_is_named(self, manifest: Path) -> None:
        silent = [Utterance(u.audio_filepath, 1.0, "") for u in read_manifest(manifest)[1:2]]
        write_manifest(manifest, silent)
        result = self.run(manifest)
        assert result.exit_code == 1
        assert "cuts.jsonl: no recording has a text" in " ".join(result.output.split())

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["absent.jsonl"], "absent.jsonl"),
            (["absent.jsonl", "--model", "nope"], "no model 'nope'"),
            (["absent.jsonl", "--precision", "int4"], "'int4' is not one of"),
            (["absent.jsonl", "--decoder", "best"], "'best' is not one of"),
            (["absent.jsonl", "--decoder", "greedy", "--beam-width", "9"], "of no use"),
            (["absent.jsonl", "--chunk-ms", "100"], "use a multiple of 40"),
            (["absent.jsonl", "--chunk-ms", "4000000000"], "use a multiple of 40, up to 60000"),
            (["twice.jsonl", "twice.jsonl"], "is given twice"),
        ],
    )
    def test_errors_are_sentences(self, arguments: list[str], message: str) -> None:
        result = self.run(*arguments)
        assert result.exit_code in (1, 2)
        assert message in " ".join(result.output.split())
        assert "Traceback" not in result.output
