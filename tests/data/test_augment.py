from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ossicle.data.audio import SAMPLE_RATE, read_audio
from ossicle.data.augment import (
    AugmentConfig,
    Augmenter,
    add_noise,
    add_pauses,
    change_speed,
    load_noise,
    pass_codec,
    reverberate,
    set_peak,
    simulate_room,
)
from ossicle.data.sample import sample_path


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return read_audio(sample_path())[: 3 * SAMPLE_RATE]


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def loudest_hertz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * SAMPLE_RATE / len(samples)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed_changes_length_and_pitch(factor: float) -> None:
    faster = change_speed(tone(440), factor)
    assert len(faster) == pytest.approx(SAMPLE_RATE / factor, abs=2)
    assert loudest_hertz(faster) == pytest.approx(440 * factor, rel=0.01)


@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
def test_noise_comes_at_its_snr(speech: np.ndarray, snr: float) -> None:
    noise = rng().standard_normal(8000).astype(np.float32)  # shorter than the speech: it loops
    added = add_noise(speech, noise, snr, rng()) - speech
    measured = 10 * np.log10(np.mean(speech**2) / np.mean(added**2))
    assert measured == pytest.approx(snr, abs=0.1)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_cut_where_it_is_not_silent(seed: int) -> None:
    word, padded = tone(440)[:4000], np.zeros(80_000, dtype=np.float32)
    padded[:8000] = rng().standard_normal(8000)  # a bark, and nothing after it
    noisy = add_noise(word, padded, 0.0, np.random.default_rng(seed))
    assert np.mean((noisy - word) ** 2) == pytest.approx(np.mean(word**2), rel=0.01)


def test_noise_on_silence_is_silence() -> None:
    silence = np.zeros(1000, dtype=np.float32)
    assert not add_noise(silence, tone(100), 10, rng()).any()


def test_reverberation_keeps_timing_and_energy(speech: np.ndarray) -> None:
    wet = reverberate(speech, simulate_room(0.4, rng()))
    assert len(wet) == len(speech)
    assert np.mean(wet**2) == pytest.approx(np.mean(speech**2), rel=1e-3)
    lag = np.argmax(np.correlate(wet, speech, "full")) - (len(speech) - 1)
    assert lag == 0


def test_a_room_response_of_one_impulse_changes_nothing(speech: np.ndarray) -> None:
    late = np.zeros(400, dtype=np.float32)
    late[123] = 0.7
    np.testing.assert_allclose(reverberate(speech, late), speech, atol=1e-5)


def test_room_falls_by_60_db_in_its_time() -> None:
    tail = simulate_room(0.5, rng())[1:]
    early, late = np.mean(tail[:400] ** 2), np.mean(tail[-400:] ** 2)
    assert 10 * np.log10(early / late) == pytest.approx(57, abs=4)  # two windows of 25 ms apart


def test_peak(speech: np.ndarray) -> None:
    assert np.abs(set_peak(speech, -6.0)).max() == pytest.approx(10 ** (-6 / 20), rel=1e-5)


@pytest.mark.parametrize("codec", ["telephone", "opus", "mp3"])
@pytest.mark.parametrize("length", [4800, 16_001, 48_000])
def test_codecs_keep_length_timing_and_words(speech: np.ndarray, codec: str, length: int) -> None:
    heard = pass_codec(speech[:length], codec)
    assert len(heard) == length
    assert np.corrcoef(heard, speech[:length])[0, 1] > 0.75
    assert not np.array_equal(heard, speech[:length])


def test_telephone_has_no_high_frequencies() -> None:
    heard = pass_codec(tone(6000), "telephone")
    # A tone that starts at once is wide-band for a moment: its edges do not count.
    assert np.abs(heard[800:-800]).max() < 0.02


def test_unknown_codec_is_named(speech: np.ndarray) -> None:
    with pytest.raises(ValueError, match="unknown codec 'gsm': use telephone, opus, mp3"):
        pass_codec(speech, "gsm")


def test_same_generator_same_augmentation(speech: np.ndarray) -> None:
    always = AugmentConfig(
        1.0, (0.9, 1.1), 1.0, (0.1, 0.2), 1.0, (0.1, 0.3), 1.0, (5, 10), 1.0, (-20, -3), 1.0
    )
    augmenter = Augmenter(always, noises=[tone(200)], responses=[simulate_room(0.2, rng())])
    first, second = augmenter(speech, rng()), augmenter(speech, rng())
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, augmenter(speech, np.random.default_rng(6)))
    assert first.dtype == np.float32
    assert np.isfinite(first).all()


def test_probability_zero_is_off(speech: np.ndarray) -> None:
    off = AugmentConfig(
        speed_probability=0,
        pause_probability=0,
        reverb_probability=0,
        noise_probability=0,
        gain_probability=0,
        codec_probability=0,
    )
    np.testing.assert_array_equal(Augmenter(off)(speech, rng()), speech)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"codecs": ()}, "codecs is empty: name some, or give codec_probability 0"),
        ({"gain_peak_range": (0.0, 40.0)}, r"gain_peak_range is \[0.0, 40.0\]: give -120.0 to 0"),
        ({"reverb_t60_range": (0.1, math.inf)}, r"reverb_t60_range is \[0.1, inf\]: give 0.01 to"),
        ({"speed_range": (0.0, 1.0)}, r"speed_range is \[0.0, 1.0\]: give 0.1 to 10"),
    ],
)
def test_what_would_fail_in_the_midst_of_training_is_refused(setting, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**setting)
    AugmentConfig(codecs=(), codec_probability=0.0)


@pytest.mark.parametrize("length", [1, 7, 100, 4800])
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_short_and_silent_clips_survive(length: int, level: float) -> None:
    always = AugmentConfig(
        1.0, (0.9, 1.1), 0.0, (0.1, 0.2), 1.0, (0.1, 0.3), 1.0, (5, 10), 1.0, (-20, -3), 1.0
    )
    clip = (level * rng().standard_normal(length)).astype(np.float32)
    for codec in ("telephone", "opus", "mp3"):
        augmenter = Augmenter(replace(always, codecs=(codec,)), noises=[tone(200)])
        heard = augmenter(clip, rng())
        assert len(heard) == pytest.approx(length, rel=0.15, abs=1)
        assert np.isfinite(heard).all()


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.25), (1.0, 0.5)])
def test_pauses_are_quiet_and_leave_the_speech_as_it_is(before: float, after: float) -> None:
    speech = tone(440)
    for seed in range(20):
        heard = add_pauses(speech, before, after, np.random.default_rng(seed))
        start, end = round(before * SAMPLE_RATE), round(before * SAMPLE_RATE) + len(speech)
        np.testing.assert_array_equal(heard[start:end], speech)
        assert len(heard) == len(speech) + round((before + after) * SAMPLE_RATE)
        for pause in (heard[:start], heard[end:]):
            assert len(pause) == 0 or np.sqrt(np.mean(pause**2)) < 0.1 * np.sqrt(np.mean(speech**2))


def test_load_noise(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hum.wav", tone(50), SAMPLE_RATE)
    soundfile.write(tmp_path / "room.wav", simulate_room(0.2, rng()), SAMPLE_RATE)
    manifest = tmp_path / "noise.jsonl"
    lines = [
        {"audio_filepath": "hum.wav", "duration": 1.0, "kind": "noise"},
        {"audio_filepath": "room.wav", "duration": 0.2, "kind": "rir"},
    ]
    manifest.write_text("\ufeff" + "\n\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    noises, responses = load_noise(manifest)
    assert [len(n) for n in noises] == [SAMPLE_RATE]
    assert len(responses) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"audio_filepath": "hum.wav", "kind": "hum"}', "needs"),
        ("hum.wav", "not valid JSON"),
        ("[]", "needs"),
        ('{"audio_filepath": "noise.jsonl", "kind": "noise"}', "noise.jsonl: this is no audio"),
        ('{"audio_filepath": "lost.wav", "kind": "noise"}', "lost.wav: No such file"),
        ('{"audio_filepath": "zero.wav", "kind": "rir"}', "zero.wav is silent"),
    ],
)
def test_bad_noise_names_its_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "noise.jsonl").write_text(line)
    soundfile.write(tmp_path / "zero.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    with pytest.raises(ValueError, match=f"line 1: .*{message}"):
        load_noise(tmp_path / "noise.jsonl")
