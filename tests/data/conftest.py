"""The bundled recording in every container and codec, encoded by PyAV when the tests run."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from ossicle.data.sample import sample_path

Int16 = npt.NDArray[np.int16]
WavWriter = Callable[..., bytes]


@dataclass(frozen=True)
class Recipe:
    """How PyAV is to encode: muxer, codec, rate, channel layout and options of the muxer."""

    muxer: str
    codec: str
    rate: int = 16_000
    layout: str = "mono"
    options: dict[str, str] = field(default_factory=dict)
    lossless: bool = False


RECIPES = {
    "flac": Recipe("flac", "flac", lossless=True),
    "flac-stereo-44k": Recipe("flac", "flac", 44_100, "stereo"),
    "mp3": Recipe("mp3", "libmp3lame"),
    "mp3-stereo-48k": Recipe("mp3", "libmp3lame", 48_000, "stereo"),
    "ogg-opus": Recipe("ogg", "libopus", 48_000),
    "webm-opus": Recipe("webm", "libopus", 48_000),
    "m4a-index-last": Recipe("ipod", "aac", 44_100, "stereo"),
    "m4a-fragmented": Recipe(
        "mp4", "aac", 16_000, options={"movflags": "frag_keyframe+empty_moov"}
    ),
    "wav": Recipe("wav", "pcm_s16le", lossless=True),
    "wav-24": Recipe("wav", "pcm_s24le", 22_050, "stereo"),
    "wav-float": Recipe("wav", "pcm_f32le", lossless=True),
    "wav-mulaw-8k": Recipe("wav", "pcm_mulaw", 8_000),
}


def encode(speech: Int16, recipe: Recipe, path: Path) -> bytes:
    with av.open(str(path), "w", format=recipe.muxer, options=recipe.options) as output:
        stream = output.add_stream(recipe.codec, rate=recipe.rate)
        stream.layout = recipe.layout
        whole = av.AudioFrame.from_ndarray(speech[None], format="s16", layout="mono")
        whole.sample_rate, whole.pts, whole.time_base = 16_000, 0, Fraction(1, 16_000)
        converter = av.AudioResampler(
            stream.codec_context.format, recipe.layout, recipe.rate, stream.frame_size or 1024
        )
        for source in (whole, None):
            for frame in converter.resample(source):
                output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path.read_bytes()


@pytest.fixture(scope="session")
def speech() -> Int16:
    """Three seconds of the bundled recording, (48 000,)."""
    samples, rate = soundfile.read(sample_path(), dtype="int16", stop=48_000)
    assert rate == 16_000
    return samples


class Recordings(dict[str, bytes]):
    """Files by name; does not spread its contents over the report of a failing test."""

    def __repr__(self) -> str:
        return f"<{len(self)} recordings>"


@pytest.fixture(scope="session")
def recordings(speech: Int16, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("recordings")
    made = Recordings(
        (name, encode(speech, recipe, folder / name)) for name, recipe in RECIPES.items()
    )
    with (
        av.open(io.BytesIO(made["m4a-index-last"])) as source,
        av.open(
            str(folder / "first"), "w", format="ipod", options={"movflags": "faststart"}
        ) as output,
    ):
        copy = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = copy
                output.mux(packet)
    made["m4a-index-first"] = (folder / "first").read_bytes()
    vorbis = io.BytesIO()
    soundfile.write(vorbis, speech, 16_000, format="OGG", subtype="VORBIS")
    made["ogg-vorbis"] = vorbis.getvalue()
    return made


@pytest.fixture(scope="session")
def wav_bytes() -> WavWriter:
    """A function from int16 samples (N,) or (N, channels) and a rate to a WAV file."""

    def write(samples: Int16, rate: int = 16_000) -> bytes:
        file = io.BytesIO()
        with wave.open(file, "wb") as output:
            output.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
            output.setsampwidth(2)
            output.setframerate(rate)
            output.writeframes(samples.astype("<i2").tobytes())
        return file.getvalue()

    return write
