"""What training does to clean recordings so that the network survives real ones.

Each augmentation takes float32 samples (N,) at 16 kHz and a random generator and returns float32
samples; `Augmenter` applies them with their probabilities in the order sound meets them: speaker
(speed, pauses), room (reverberation), other sounds (noise), microphone (gain), line (codec).
What is cheaper on the log-mel frames of a whole batch is in `ossicle.data.spectral`.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray
from ossicle.data.audio import SAMPLE_RATE, AudioError, read_audio
from ossicle.data.text_file import read_lines

Samples = NDArray[np.float32]

CODECS = ("telephone", "opus", "mp3")

_LIMITS = {  # of what each range may hold
    "speed_range": (0.1, 10.0),
    "pause_range": (0.0, 60.0),
    "reverb_t60_range": (0.01, 10.0),
    "noise_snr_range": (-60.0, 120.0),
    "gain_peak_range": (-120.0, 0.0),
}


@dataclass(frozen=True)
class AugmentConfig:
    """Probabilities and ranges; a probability of 0 switches an augmentation off."""

    speed_probability: float = 0.5
    speed_range: tuple[float, float] = (0.88, 1.12)
    pause_probability: float = 0.5  # before speech, and again after it
    pause_range: tuple[float, float] = (0.05, 1.0)  # seconds
    reverb_probability: float = 0.15
    reverb_t60_range: tuple[float, float] = (0.1, 0.6)  # seconds
    noise_probability: float = 0.3
    noise_snr_range: tuple[float, float] = (5.0, 30.0)  # dB
    gain_probability: float = 0.8
    gain_peak_range: tuple[float, float] = (-26.0, -1.0)  # dBFS of the loudest sample
    codec_probability: float = 0.1
    codecs: tuple[str, ...] = ("telephone", "telephone", "opus", "mp3")

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name.endswith("_probability") and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}: give 0 to 1")
        for name, (low, high) in _LIMITS.items():
            ends = getattr(self, name)
            if not (len(ends) == 2 and ends[0] <= ends[1]):
                raise ValueError(f"{name} is {list(ends)}: give the smallest and the largest")
            if not (low <= ends[0] and ends[1] <= high):
                raise ValueError(f"{name} is {list(ends)}: give {low} to {high}")
        if self.codec_probability and not self.codecs:
            raise ValueError("codecs is empty: name some, or give codec_probability 0")
        if unknown := sorted(set(self.codecs) - set(CODECS)):
            raise ValueError(f"codecs has {unknown[0]!r}: there are {', '.join(CODECS)}")


_SILENT = 1e-10  # power of samples
# A bark of 5 s is padded with digital silence, into which a short word may fall.
_PLACES = 100


def _float32(samples: NDArray[np.floating[Any]]) -> Samples:
    return np.asarray(samples, dtype=np.float32)


def change_speed(samples: Samples, factor: float) -> Samples:
    """Play `factor` times as fast, tempo and pitch together (Ko et al. 2015)."""
    if factor == 1.0:
        return samples
    return _float32(soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ"))


def add_pauses(samples: Samples, before: float, after: float, rng: np.random.Generator) -> Samples:
    """Put seconds of near silence before and after speech, as a live stream has and clips lack.

    One in four pauses is digital silence; the others are noise, 30 to 70 dB below the speech.
    """
    level = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    parts = [samples]
    for place, seconds in ((0, before), (2, after)):
        noise = rng.standard_normal(round(seconds * SAMPLE_RATE) + 1)
        # Real quiet is seldom white: this leans towards low or high frequencies.
        noise = noise[1:] + rng.uniform(-0.5, 1.0) * noise[:-1]
        decibels = -math.inf if rng.random() < 0.25 else rng.uniform(-70.0, -30.0)
        parts.insert(place, _float32(noise * level * 10 ** (decibels / 20)))
    return np.concatenate(parts)


def add_noise(samples: Samples, noise: Samples, snr: float, rng: np.random.Generator) -> Samples:
    """Mix in `noise`, looped or cut at a random place where it is not silent, at `snr` dB.

    Silence has no signal-to-noise ratio: silent speech or noise leaves the samples as they are.
    """
    if len(noise) == 0 or len(samples) == 0:
        return samples
    speech_power = float(np.mean(samples**2))
    for _ in range(_PLACES):
        start = int(rng.integers(len(noise)))
        cut = np.take(noise, np.arange(start, start + len(samples)), mode="wrap")
        noise_power = float(np.mean(cut**2))
        if noise_power >= _SILENT:
            break
    if speech_power < _SILENT or noise_power < _SILENT:
        return samples
    scale = np.sqrt(speech_power / noise_power / 10 ** (snr / 10))
    return _float32(samples + scale * cut)


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Convolve with a room's impulse response, keeping the length, timing and energy."""
    direct = int(np.argmax(np.abs(response)))
    size = len(samples) + len(response) - 1
    fast = 1 << (size - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, fast) * np.fft.rfft(response, fast), fast)
    # The direct sound stays where it was, so that word times do not move.
    wet = wet[direct : direct + len(samples)]
    before, after = float(np.mean(samples**2)), float(np.mean(wet**2))
    return _float32(wet * np.sqrt(before / max(after, 1e-12)))


def simulate_room(t60: float, rng: np.random.Generator) -> Samples:
    """A room's impulse response: direct sound, then noise that falls by 60 dB in `t60` seconds.

    Polack's statistical model of late reverberation; the direct-to-reverberant ratio is drawn
    between 0 and 12 dB.
    """
    length = max(int(t60 * SAMPLE_RATE), 2)
    time = np.arange(1, length) / SAMPLE_RATE
    tail = rng.standard_normal(length - 1) * np.exp(-3 * np.log(10) * time / t60)
    ratio = 10 ** (rng.uniform(0, 12) / 10)
    tail *= np.sqrt(1 / ratio / np.sum(tail**2))
    return np.concatenate([[1.0], tail]).astype(np.float32)


def set_peak(samples: Samples, peak_db: float) -> Samples:
    """Scale so that the loudest sample lies at `peak_db` dBFS."""
    peak = float(np.max(np.abs(samples), initial=0.0))
    return samples if peak < 1e-5 else samples * np.float32(10 ** (peak_db / 20) / peak)


def pass_codec(samples: Samples, codec: str) -> Samples:
    """Encode and decode once: 'telephone' (8 kHz, µ-law), 'opus' (12 kbit/s), 'mp3' (24 kbit/s).

    Raises:
        ValueError: an unknown codec.
    """
    if codec == "telephone":
        narrow = soxr.resample(samples, SAMPLE_RATE, 8000, quality="MQ")
        # ITU-T G.711 companding with µ = 255, quantised to 8 bits.
        companded = np.sign(narrow) * np.log1p(255 * np.abs(narrow).clip(0, 1)) / np.log(256)
        companded = np.rint(companded * 127) / 127
        narrow = np.sign(companded) * np.expm1(np.abs(companded) * np.log(256)) / 255
        wide = soxr.resample(narrow.astype(np.float32), 8000, SAMPLE_RATE, quality="MQ")
    elif codec in ("opus", "mp3"):
        wide = read_audio(encode(samples, *_COMPRESSED[codec]))
    else:
        raise ValueError(f"unknown codec {codec!r}: use {', '.join(CODECS)}")
    # Resamplers and codecs may differ by a few samples at the end.
    fitted = np.zeros(len(samples), dtype=np.float32)
    length = min(len(wide), len(samples))
    fitted[:length] = wide[:length]
    return fitted


_COMPRESSED = {"opus": ("ogg", "libopus", 12_000), "mp3": ("mp3", "libmp3lame", 24_000)}


def encode(samples: Samples, container: str, codec: str, bit_rate: int) -> bytes:
    """A file of 16 kHz samples (N,), by PyAV's names of container and codec; bits a second."""
    buffer = io.BytesIO()
    # Bit-exact: otherwise an Ogg file bears a random number.
    with av.open(buffer, "w", format=container, options={"fflags": "bitexact"}) as out:
        stream = out.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = bit_rate
        pcm = np.rint(samples.clip(-1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout="mono",
            rate=SAMPLE_RATE,
            frame_size=stream.codec_context.frame_size or 0,
        )
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def load_noise(manifest: Path) -> tuple[list[Samples], list[Samples]]:
    """Noises and room responses of a JSONL manifest with `audio_filepath` and `kind`.

    `kind` is "noise" or "rir" (room impulse response); there is no text. All are held in memory.

    Raises:
        ValueError: another kind, a missing key or a recording that cannot be decoded, naming the
            line.
    """
    noises: list[Samples] = []
    responses: list[Samples] = []
    for number, line in enumerate(read_lines(manifest), 1):
        if not line.strip():
            continue
        place = f"{manifest}, line {number}"
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{place}: not valid JSON: {error}") from error
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if kind not in ("noise", "rir") or not isinstance(entry.get("audio_filepath"), str):
            raise ValueError(f'{place}: needs "audio_filepath" and "kind" ("noise" or "rir")')
        try:
            samples = read_audio(manifest.parent / entry["audio_filepath"])
        except AudioError as error:
            raise AudioError(f"{place}: {entry['audio_filepath']}: {error}") from error
        except OSError as error:
            raise ValueError(f"{place}: {entry['audio_filepath']}: {error.strerror}") from error
        if not samples.any():
            raise ValueError(f"{place}: {entry['audio_filepath']} is silent")
        (noises if kind == "noise" else responses).append(samples)
    return noises, responses


@dataclass(frozen=True)
class Augmenter:
    """All augmentations of samples, drawn from one random generator per recording.

    Attributes:
        noises: recordings to mix in, each (N,); none switches noise off.
        responses: measured impulse responses, each (N,); half of the rooms are simulated anyway.
    """

    config: AugmentConfig
    noises: Sequence[Samples] = field(default=(), repr=False)
    responses: Sequence[Samples] = field(default=(), repr=False)

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Augmented samples; the same generator state gives the same result."""
        return self.disguise(self.pace(samples, rng), rng)

    def pace(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """The first half, which moves what is said: speed and pauses."""
        c = self.config
        if rng.random() < c.speed_probability:
            samples = change_speed(samples, round(float(rng.uniform(*c.speed_range)), 2))
        before, after = (
            rng.uniform(*c.pause_range) if rng.random() < c.pause_probability else 0.0
            for _ in range(2)
        )
        return add_pauses(samples, before, after, rng)

    def disguise(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """The second half, which leaves it where it is: room, noise, gain and codec."""
        c = self.config
        if rng.random() < c.reverb_probability:
            if self.responses and rng.random() < 0.5:
                response = self.responses[int(rng.integers(len(self.responses)))]
            else:
                response = simulate_room(float(rng.uniform(*c.reverb_t60_range)), rng)
            samples = reverberate(samples, response)
        if self.noises and rng.random() < c.noise_probability:
            noise = self.noises[int(rng.integers(len(self.noises)))]
            samples = add_noise(samples, noise, float(rng.uniform(*c.noise_snr_range)), rng)
        if rng.random() < c.gain_probability:
            samples = set_peak(samples, float(rng.uniform(*c.gain_peak_range)))
        if rng.random() < c.codec_probability:
            samples = pass_codec(samples, str(rng.choice(c.codecs)))
        return samples
