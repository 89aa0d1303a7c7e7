"""Synthetic speech, made by an engine of tones, and by the real one where it is installed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from ossicle.data.audio import read_audio
from ossicle.data.check import check_utterances
from ossicle.data.cli import data_app
from ossicle.data.manifest import read_manifest
from ossicle.data.synthesis import SynthesisConfig, SynthesisProgress, synthesize
from ossicle.data.synthesis_engine import SynthesisError
from ossicle.data.synthesis_hibari import HibariEngine
from ossicle.data.synthesis_plan import (
    LEAD_RANGE,
    SPEED_RANGE,
    TAIL_RANGE,
    Sentence,
    SpeechPlan,
    UtterancePlan,
    read_sentences,
    sentence_of,
)
from ossicle.data.synthesis_speakers import (
    SPEAKERS,
    change_pitch,
    move_formants,
    pseudo_speakers,
)
from ossicle.data.synthesis_writer import OddSpeechError, trim
from ossicle.data.text_file import TextFileError
from tones import ToneEngine
from typer.testing import CliRunner

LINES = [f"The {place} sentence of many." for place in ("first", "second", "third", "fourth")]
needs_hibari = pytest.mark.skipif(
    find_spec("hibari") is None, reason="needs the extra tts: pip install 'ossicle[tts]'"
)


@pytest.fixture
def config(tmp_path: Path) -> SynthesisConfig:
    text = tmp_path / "text.txt"
    text.write_text("\n".join([*LINES, "", "Mr Smith lives at No. 5"]) + "\n")
    return SynthesisConfig(text, tmp_path / "speech", hours=12 / 3600)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ---------------------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("line", "spoken", "text"),
    [
        ("“Well,  what now?”", "Well, what now?", "well what now"),
        ("It’s naïve.", "it's naive.", "it's naive"),
        ("He paid $5 at 7:05", "he paid five dollars at seven oh five.", None),
        ("THEY SAID SO", "they said so", "they said so"),
        ("A rock-and-roll [tune]!", "A rock-and-roll tune!", "a rock and roll tune"),
        ("He waited…then left.", "He waited then left.", "he waited then left"),
        ("Either and/or both", "Either and or both", "either and or both"),
        ("the London–Paris train", "the London Paris train", "the london paris train"),
        ('so "yes"and "no", he said', "so yes and no, he said", "so yes and no he said"),
        ("Dr. Jones", None, None),  # a full stop inside
        ("mr jones", "mister jones.", None),
        ("at 5 p.m", None, None),
        ("Henry IV came", None, None),
        ("…", None, None),
        ("so " * 120, None, None),
        ("I owe o'clock a psalm", "I owe o'clock a psalm", "i owe o'clock a psalm"),
    ],
)
def test_sentences_say_what_their_text_says(
    line: str, spoken: str | None, text: str | None
) -> None:
    sentence = sentence_of(line)
    if spoken is None:
        assert sentence is None
    else:
        assert sentence == Sentence(spoken, text or spoken.rstrip("."))


def test_sentences_are_counted(config: SynthesisConfig) -> None:
    sentences, left_out = read_sentences(config.text)
    assert [sentence.spoken for sentence in sentences] == LINES
    assert left_out == 1


def test_a_plan_depends_on_its_number_alone() -> None:
    sentences = [Sentence(f"{n}", f"{n}") for n in "abcdefghij"]
    plan = SpeechPlan(sentences, ("x", "y", "z"), seed=3)
    forwards = [plan.utterance(number) for number in range(40)]
    again = SpeechPlan(sentences, ("x", "y", "z"), seed=3)
    assert [again.utterance(number) for number in reversed(range(40))] == forwards[::-1]
    other = SpeechPlan(sentences, ("x", "y", "z"), seed=4)
    assert [other.utterance(number) for number in range(40)] != forwards


def test_a_plan_says_everything_once_before_it_repeats_itself() -> None:
    sentences = [Sentence(f"{n}", f"{n}") for n in "abcdefghij"]
    plan = SpeechPlan(sentences, [f"s{n}" for n in range(20)], seed=1)
    plans = [plan.utterance(number) for number in range(200)]
    turns = [[p.sentence.text for p in plans[start : start + 10]] for start in range(0, 200, 10)]
    assert all(sorted(turn) == list("abcdefghij") for turn in turns)
    assert len({tuple(turn) for turn in turns}) == 20
    assert len({p.speaker for p in plans}) == 20
    assert len({p.seed for p in plans}) == 200
    for values, (low, high) in (
        ([p.speed for p in plans], SPEED_RANGE),
        ([p.lead for p in plans], LEAD_RANGE),
        ([p.tail for p in plans], TAIL_RANGE),
    ):
        assert low <= min(values) < max(values) <= high


# ---------------------------------------------------------------------------- what is odd


def plan_of(text: str, lead: float = 0.1, tail: float = 0.2) -> UtterancePlan:
    return UtterancePlan(0, Sentence(text, text), "s", 1.0, lead, tail, 0)


def sound(seconds: float, around: float = 0.5, rate: int = 16_000) -> NDArray[np.float32]:
    wave = 0.1 * np.sin(np.arange(round(seconds * rate)) * (2 * np.pi * 300 / rate))
    silence = np.zeros(round(around * rate))
    return np.concatenate([silence, wave, silence]).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 24_000])
@pytest.mark.parametrize("around", [0.0, 0.05, 1.0])
def test_trimmed_speech_has_the_planned_silence_and_level(rate: int, around: float) -> None:
    trimmed = trim(sound(1.0, around, rate), rate, plan_of("twenty letters of it"))
    assert len(trimmed) / 16_000 == pytest.approx(1.3, abs=0.01)
    audible = np.flatnonzero(np.abs(trimmed) > 0.1)
    assert audible[0] / 16_000 == pytest.approx(0.1, abs=0.01)
    assert audible[-1] / 16_000 == pytest.approx(1.1, abs=0.01)
    assert np.abs(trimmed).max() == pytest.approx(10 ** (-3 / 20), rel=1e-3)


@pytest.mark.parametrize(
    ("samples", "text", "reason"),
    [
        (np.zeros(0, np.float32), "nothing at all", "silent"),
        (np.zeros(16_000, np.float32), "nothing at all", "silent"),
        (np.full(16_000, np.nan, np.float32), "no number", "not finite"),
        (sound(0.2), "much too short for all that", "0.20 s for 27 letters"),
        (sound(4.0), "too long", "4.00 s for 8 letters"),
        (sound(21.0), "a " * 150, "longer than 20 s"),
        (sound(0.95, 0.0), "a" * 30, "30 letters do not fit"),
    ],
)
def test_odd_speech_is_refused(samples: NDArray[np.float32], text: str, reason: str) -> None:
    with pytest.raises(OddSpeechError, match=reason):
        trim(samples, 16_000, plan_of(text))


# ---------------------------------------------------------------------------- the whole way


def test_speech_and_manifest(config: SynthesisConfig) -> None:
    seen: list[SynthesisProgress] = []
    reached = synthesize(config, ToneEngine, seen.append)
    utterances = read_manifest(config.folder / "manifest.jsonl")
    seconds = sum(utterance.duration for utterance in utterances)
    assert 12 <= seconds < 12 + max(u.duration for u in utterances)
    assert reached == SynthesisProgress(
        pytest.approx(seconds, abs=1e-3), len(utterances), rejected=0, skipped=1
    )
    assert [progress.utterances for progress in seen] == list(range(len(utterances) + 1))
    assert check_utterances(utterances, deep=True) == []
    assert {u.text for u in utterances} <= {line.lower().rstrip(".") for line in LINES}
    assert {u.speaker for u in utterances} == {"tones/low", "tones/high"}
    assert {u.source for u in utterances} == {"synthetic"}
    for utterance in utterances:
        samples = read_audio(utterance.audio_filepath)
        spectrum = np.abs(np.fft.rfft(samples))
        hertz = spectrum.argmax() * 16_000 / len(samples)
        assert (hertz > 300) == (utterance.speaker == "tones/high")


def test_processes_do_not_change_the_speech(config: SynthesisConfig, tmp_path: Path) -> None:
    synthesize(config, ToneEngine)
    other = replace(config, folder=tmp_path / "other", processes=2)
    synthesize(other, ToneEngine)
    assert files(other.folder) == files(config.folder)
    synthesize(replace(config, folder=tmp_path / "seed", seed=2), ToneEngine)
    assert files(tmp_path / "seed") != files(config.folder)


def test_a_stopped_synthesis_goes_on(config: SynthesisConfig, tmp_path: Path) -> None:
    synthesize(config, ToneEngine)
    stopped = replace(config, folder=tmp_path / "stopped")

    for stop in (1, 3, 4):

        def press(reached: SynthesisProgress, stop: int = stop) -> None:
            if reached.utterances == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            synthesize(stopped, ToneEngine, press)
    # As a kill in the middle of writing leaves it: a recording without a line, and half a line.
    (stopped.folder / "0000" / "0000004.ogg").write_bytes(b"cut")
    with (stopped.folder / "manifest.jsonl").open("a") as lines:
        lines.write('{"audio_filepath": "0000/00')
    synthesize(stopped, ToneEngine)
    assert files(stopped.folder) == files(config.folder)
    before = files(stopped.folder)
    synthesize(stopped, ToneEngine)
    assert files(stopped.folder) == before


def test_more_hours_add_to_what_is_there(config: SynthesisConfig, tmp_path: Path) -> None:
    synthesize(config, ToneEngine)
    synthesize(replace(config, hours=30 / 3600), ToneEngine)
    whole = replace(config, folder=tmp_path / "whole", hours=30 / 3600)
    synthesize(whole, ToneEngine)
    assert files(whole.folder) == files(config.folder)


def test_rejected_speech_is_listed_and_not_made_again(config: SynthesisConfig) -> None:
    config.text.write_text("\n".join([*LINES, "A mute one is here."]))
    begun = synthesize(config, ToneEngine)
    reached = synthesize(replace(config, hours=30 / 3600), ToneEngine)
    rejected = [json.loads(x) for x in (config.folder / "rejected.jsonl").read_text().splitlines()]
    assert reached.rejected == len(rejected) > begun.rejected > 0
    assert {record["text"] for record in rejected} == {"a mute one is here"}
    assert all(record["reason"].endswith(": silent") for record in rejected)
    numbers = [record["number"] for record in rejected]
    numbers += [int(u.audio_filepath.stem) for u in read_manifest(config.folder / "manifest.jsonl")]
    assert sorted(numbers) == list(range(len(numbers)))


def test_a_folder_of_something_else_is_refused(config: SynthesisConfig, tmp_path: Path) -> None:
    synthesize(config, ToneEngine)
    with pytest.raises(SynthesisError, match="made with another seed: 1, not 2"):
        synthesize(replace(config, seed=2), ToneEngine)
    with pytest.raises(SynthesisError, match="another engine: tones 1, not tones 2"):
        synthesize(config, lambda: ToneEngine("tones 2"))
    config.text.write_text("Other words.\n")
    with pytest.raises(SynthesisError, match="made with another text"):
        synthesize(config, ToneEngine)
    with pytest.raises(SynthesisError, match="holds something else"):
        synthesize(replace(config, folder=tmp_path), ToneEngine)
    (config.folder / "synthesis.json").write_text("{")
    with pytest.raises(SynthesisError, match="cannot go on with"):
        synthesize(config, ToneEngine)


def test_a_folder_that_is_written_to_is_refused(config: SynthesisConfig) -> None:
    seen = []

    def second(reached: SynthesisProgress) -> None:
        with pytest.raises(SynthesisError, match="another process writes to"):
            synthesize(config, ToneEngine)
        seen.append(reached)

    synthesize(config, ToneEngine, second)
    assert len(seen) > 2
    synthesize(config, ToneEngine)


def test_nothing_but_odd_speech_ends_the_synthesis(config: SynthesisConfig) -> None:
    config.text.write_text("mute words\n")
    with pytest.raises(SynthesisError, match=r"100 utterances in a row .*'mute words'.*silent"):
        synthesize(config, ToneEngine)


def test_bad_texts_and_settings_are_refused(config: SynthesisConfig) -> None:
    config.text.write_text("at 5 p.m\n\n...\n")
    with pytest.raises(SynthesisError, match="no sentence that can be spoken"):
        synthesize(config, ToneEngine)
    with pytest.raises(TextFileError, match="cannot read"):
        synthesize(replace(config, text=config.text.with_name("gone.txt")), ToneEngine)
    for change, value in (("hours", 0.0), ("hours", float("nan")), ("seed", -1), ("processes", 0)):
        with pytest.raises(ValueError, match=f"{change} is {value}"):
            replace(config, **{change: value})


def test_a_dead_process_is_an_error(config: SynthesisConfig) -> None:
    config.text.write_text("lethal words\n")
    with pytest.raises(SynthesisError, match="a process that makes speech has died"):
        synthesize(replace(config, processes=2), ToneEngine)


# ---------------------------------------------------------------------------- speakers


def test_pseudo_speakers_are_many_and_always_the_same() -> None:
    speakers = pseudo_speakers("engine", "ann", british=False)
    assert speakers == pseudo_speakers("engine", "ann", british=False)
    assert len({speaker.name for speaker in speakers}) == len(speakers) == SPEAKERS
    assert (speakers[0].name, speakers[0].formants, speakers[0].pitch) == ("engine/ann", 1, 1)
    assert not speakers[0].british
    assert 60 < sum(speaker.british for speaker in speakers) < 140
    formants = np.array([speaker.formants for speaker in speakers])
    pitch = np.array([speaker.pitch for speaker in speakers])
    assert 0.87 < formants.min() < 0.9 < 1.15 < formants.max() < 1.23
    assert pitch[formants < 0.96].max() < pitch[formants > 0.98].mean()


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.2])
def test_formants_move_by_their_factor(factor: float) -> None:
    bins = np.arange(600, dtype=np.float32)[:, None]
    envelope = np.exp(-(((bins - 200) / 10) ** 2)).repeat(3, axis=1)
    moved = move_formants(envelope, factor)
    assert moved.shape == envelope.shape
    assert moved.argmax(axis=0) == pytest.approx(200 * factor, abs=1)
    angles = move_formants(np.where(bins < 300, 3.0, -3.0), factor, angles=True)
    assert set(np.unique(angles)) == {3.0, -3.0}


def test_pitch_moves_by_its_factor_and_range() -> None:
    curve = np.array([0, 100, 200, 0, 400, 0], dtype=np.float32)
    moved = change_pitch(curve, 0.5, 0.5)
    assert moved == pytest.approx([0, 100 / 2**0.5, 100, 0, 100 * 2**0.5, 0], rel=1e-5)
    assert change_pitch(curve, 0.1, 1.0).tolist() == [0, 45, 45, 0, 45, 0]
    assert change_pitch(np.zeros(3, np.float32), 2.0, 1.0).tolist() == [0, 0, 0]


# ---------------------------------------------------------------------------- the real engine


@needs_hibari
def test_hibari_speaks_as_its_pseudo_speakers() -> None:
    engine = HibariEngine()
    assert engine.speakers[0] == "hibari/heart"
    text = "We were away a year ago."  # voiced all along
    pseudo = {s.name: s for s in pseudo_speakers("hibari", "heart", british=False)}
    low = min(pseudo.values(), key=lambda speaker: speaker.pitch)

    def pitch(speaker: str) -> float:
        samples = engine.speak(text, speaker, 1.0, seed=5)
        middle = samples[len(samples) // 4 : len(samples) // 4 * 3]
        frames = np.lib.stride_tricks.sliding_window_view(middle, 1200)[::600]
        spectra = np.abs(np.fft.rfft(frames, 4800)) ** 2
        correlation = np.fft.irfft(spectra)[:, 50:500]  # lags of 480 to 48 Hz
        return float(np.median(24_000 / (50 + correlation.argmax(axis=1))))

    assert pitch(low.name) / pitch("hibari/heart") == pytest.approx(low.pitch, rel=0.15)
    normal = engine.speak(text, low.name, 1.0, seed=5)
    assert np.array_equal(normal, engine.speak(text, low.name, 1.0, seed=5))
    assert not np.array_equal(normal, engine.speak(text, low.name, 1.0, seed=6))
    fast = engine.speak(text, low.name, 1.3, seed=5)
    assert 0.65 < len(fast) / len(normal) < 0.9
    assert len(engine.speak("", low.name, 1.0, seed=5)) == 0


@needs_hibari
def test_hibari_refuses_unknown_voices() -> None:
    with pytest.raises(SynthesisError, match=r"unknown voice 'nobody'.*heart"):
        HibariEngine(["heart", "nobody"])


@needs_hibari
def test_synthesize_command(config: SynthesisConfig, tmp_path: Path) -> None:
    out = str(config.folder)
    arguments = ["synthesize", str(config.text), "-o", out, "--hours", "0.001", "--processes", "2"]
    result = CliRunner().invoke(data_app, arguments)
    assert result.exit_code == 0, result.output
    assert "0 rejected" in result.stdout
    assert "1 line of the text left out" in result.stderr
    utterances = read_manifest(config.folder / "manifest.jsonl")
    assert sum(u.duration for u in utterances) >= 3.6
    assert check_utterances(utterances, deep=True) == []
    assert all(u.speaker.startswith("hibari/heart") for u in utterances)

    result = CliRunner().invoke(data_app, [*arguments, "--seed", "2"])
    assert result.exit_code == 1
    assert "was made with another seed" in result.stderr


def test_without_the_extra_the_command_names_it(
    config: SynthesisConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None in sys.modules makes the import fail as if the package were not installed.
    for module in ("hibari", "hibari.voices"):
        monkeypatch.setitem(sys.modules, module, None)
    arguments = ["synthesize", str(config.text), "-o", str(config.folder), "--hours", "1"]
    result = CliRunner().invoke(data_app, arguments)
    assert result.exit_code == 1
    assert "pip install 'ossicle[tts]'" in result.stderr
    assert not config.folder.exists()
