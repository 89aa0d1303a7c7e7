"""Speech in every container and codec, encoded by PyAV when tests ask for it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Recipe:
    """How PyAV is to encode: muxer, codec, rate, channel layout and options of the muxer."""

    muxer: str
    codec: str
    rate: int = 16_000
    layout: str = "mono"
    options: dict[str, str] = field(default_factory=dict)


RECIPES = {
    "flac": Recipe("flac", "flac"),
    "flac-stereo-44k": Recipe("flac", "flac", 44_100, "stereo"),
    "mp3": Recipe("mp3", "libmp3lame"),
    "mp3-stereo-48k": Recipe("mp3", "libmp3lame", 48_000, "stereo"),
    "ogg-opus": Recipe("ogg", "libopus", 48_000),
    "webm-opus": Recipe("webm", "libopus", 48_000),
    "m4a-index-last": Recipe("ipod", "aac", 44_100, "stereo"),
    "m4a-fragmented": Recipe(
        "mp4", "aac", 16_000, options={"movflags": "frag_keyframe+empty_moov"}
    ),
    "wav": Recipe("wav", "pcm_s16le"),
    "wav-24": Recipe("wav", "pcm_s24le", 22_050, "stereo"),
    "wav-float": Recipe("wav", "pcm_f32le"),
    "wav-mulaw-8k": Recipe("wav", "pcm_mulaw", 8_000),
}


def encode(speech: Int16, recipe: Recipe, path: Path) -> bytes:
    options = {**recipe.options, "fflags": "+bitexact"}  # no random numbers in the file
    with av.open(str(path), "w", format=recipe.muxer, options=options) as output:
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


class Recordings(dict[str, bytes]):
    """Files by name; does not spread its contents over the report of a failing test."""

    def __repr__(self) -> str:
        return f"<{len(self)} recordings>"


def every_recording(speech: Int16, folder: Path) -> dict[str, bytes]:
    """Speech (N,) at 16 kHz in all containers, by name; the folder is for files on the way."""
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
