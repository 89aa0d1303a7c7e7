"""Compressed audio in containers (FLAC, MP3, Ogg, WebM, M4A), decoded with PyAV.

Audio is read as an unseekable stream, be it a file or live, so that how a recording is read never
changes its samples. Only files that cannot be read so are read with seeking: those whose index is
at their end, and containers that need more than a few bytes to be known.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, Protocol, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.plane import AudioPlane
from ossicle.data.formats import AudioError, Encoding, check_channels, check_declared
from ossicle.data.pcm import checked_float
from ossicle.data.resampling import Resampler, Samples, mix_to_mono

_DEMUXERS = {
    Encoding.FLAC: "flac",
    Encoding.MP3: "mp3",
    Encoding.OGG_OPUS: "ogg",
    Encoding.WEBM_OPUS: "matroska",
    Encoding.M4A: "mov",
}
# Containers that only a file on this machine may have. FFmpeg would open playlists, too, which name
# other files and addresses.
_FILE_DEMUXERS = "aac,aiff,amr,ape,asf,au,avi,caf,flv,mov,mp3,mpeg,mpegts,mxf,tta,w64,wv"
# Codecs that recordings of speech come in; FFmpeg has hundreds more, seldom looked at by anybody.
_CODECS = (
    *("aac", "ac3", "alac", "amrnb", "amrwb", "dca", "eac3", "flac", "mp1float", "mp2float"),
    *("mp3float", "opus", "speex", "vorbis", "wavpack", "pcm_alaw", "pcm_mulaw", "pcm_u8"),
    *(f"pcm_{kind}{order}" for kind in ("s16", "s24", "s32", "f32") for order in ("le", "be")),
)
_OPTIONS = {
    # Look at no more of the beginning than the demuxer's own header: live audio must not wait.
    "probesize": "2048",
    "analyzeduration": "0",
    # FFmpeg decodes pictures to see how large they are: a megabyte may be one of a gigabyte.
    "codec_whitelist": ",".join(_CODECS),
    "max_streams": "32",
}
# What tells how long the sound is. Of others FFmpeg takes the length of the whole, pictures and all
# (Matroska, AVI), or guesses it from the bit rate of the first frames (AAC, AMR).
_ANNOUNCING = ("aiff", "ape", "au", "caf", "flac", "mov", "tta", "w64", "wv")
_FILE_OPTIONS = {"format_whitelist": _FILE_DEMUXERS}
_READ_BYTES = 1 << 14
_LEAST_HOLE = 0.25  # seconds: clocks of containers are not that exact
_MOST_SILENCE = 1800.0  # seconds in a recording, of which a few bytes could announce years
_SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}


class ByteSource(Protocol):
    """Where a container is read from."""

    def read(self, size: int) -> bytes:
        """At most `size` bytes, at least one; none at the end."""


class UnknownContainerError(AudioError):
    """The bytes are no container that FFmpeg may open."""


def decode_container(
    source: ByteSource,
    container: Encoding | None,
    declared: Encoding = Encoding.AUTO,
    rate: int = 0,
    channels: int = 0,
) -> Iterator[Samples]:
    """Decode a container to blocks of mono samples (N_i,) at 16 kHz as far as bytes are there.

    The first audio stream is taken; pictures and video are passed over. Where the sound begins
    later than these, or has a hole, there is silence: times are those of the container. A recording
    that is cut short is noticed where the header gives its length or the codec frames its data
    (FLAC, M4A); MP3, Ogg and WebM streams may end anywhere.

    Args:
        source: The bytes, from the first on.
        container: What `container_of` says it is. If it does not know, the source must be a file
            that can seek, and may be any container for sound or video that FFmpeg recognises.
        declared: What the caller says it is; the Opus encodings insist on that codec.
        rate: Declared rate in Hz, 0 to take the header's.
        channels: Declared channel count, 0 to take the header's.

    Raises:
        AudioError: There is no audio, it is damaged or cut short, it changes its rate or channel
            count on the way, or the header disagrees with what is declared.
        UnknownContainerError: FFmpeg does not know it either.
    """
    name = container.name.split("_")[0] if container else ""
    known = _CODECS if container else av.codecs_available
    clock = _Clock()
    try:
        with av.open(
            source,
            mode="r",
            format=_DEMUXERS[container] if container else None,
            options=_OPTIONS if container else _FILE_OPTIONS,
            buffer_size=_READ_BYTES,
            metadata_errors="replace",
        ) as opened:
            name = name or opened.format.name.upper()
            if not opened.streams.audio:
                raise AudioError(f"the {name} file has no audio in it; send a recording of speech")
            stream = opened.streams.audio[0]
            if stream.codec_context is None or stream.codec_context.codec.name not in known:
                raise AudioError(
                    f"the audio in this {name} is in a codec that is not known here; "
                    "convert it to FLAC"
                )
            codec = stream.codec_context.name
            if declared in (Encoding.OGG_OPUS, Encoding.WEBM_OPUS) and codec != "opus":
                raise AudioError(
                    f"the audio is declared {declared.name} but it is {codec} in {name}; "
                    "declare AUTO"
                )
            announced = 0.0
            if opened.start_time is not None:  # the sound may begin later than the pictures
                clock.began = opened.start_time / av.time_base
            if (
                opened.format.name.split(",")[0] in _ANNOUNCING
                and stream.duration is not None
                and stream.time_base is not None
            ):
                announced = float(stream.duration * stream.time_base)
            layout: tuple[int, int] | None = None
            with closing(_frames(opened, stream)) as frames:
                for frame in frames:
                    if layout is None:
                        layout = frame.sample_rate, frame.layout.nb_channels
                        check_channels(layout[1])
                        check_declared(rate, channels, _header_rates(stream, layout[0]), layout[1])
                        resampler = Resampler(layout[0])
                    elif layout != (frame.sample_rate, frame.layout.nb_channels):
                        raise AudioError(
                            f"the {name} audio changes on the way from {layout[0]} Hz, {layout[1]} "
                            f"channel(s) to {frame.sample_rate} Hz, {frame.layout.nb_channels}; "
                            "send its parts one by one"
                        )
                    for silence in clock.silence_before(frame):
                        yield resampler.process(silence)
                    yield resampler.process(mix_to_mono(_frame_samples(frame)))
            if layout is not None:
                yield resampler.flush()
    except (av.error.FFmpegError, IndexError) as error:  # of a stream that PyAV did not expect
        if not name:
            raise UnknownContainerError(_reason(error)) from error
        if clock.seconds == 0:
            raise AudioError(
                f"this is not {name} audio that can be decoded ({_reason(error)}); "
                "check the file or convert it to FLAC"
            ) from error
        raise AudioError(
            f"the {name} audio is damaged or cut short after {clock.seconds:.2f} s "
            f"({_reason(error)}); send the whole recording"
        ) from error
    # AAC's priming makes a recording longer, never shorter.
    if clock.reached + 1e-3 < announced:
        raise AudioError(
            f"the {name} audio is cut short: {clock.reached:.2f} s of the {announced:.2f} s that "
            "its header announces; send the whole recording"
        )


class _Clock:
    """The time of a container, to which the samples of its sound are kept by silence.

    Attributes:
        began: when the container begins, None until that is known.
        seconds: of samples so far, silence included.
        reached: seconds of the container so far, small holes included.
    """

    def __init__(self) -> None:
        self.began: float | None = None
        self.seconds = self.reached = 0.0
        self._silence = 0.0  # seconds

    def silence_before(self, frame: av.AudioFrame) -> Iterator[Samples]:
        """Go on by a frame; the silence before it in blocks (N_i,), at its rate."""
        rate, length = frame.sample_rate, frame.samples / frame.sample_rate
        if frame.time is not None:
            self.began = frame.time if self.began is None else self.began
            hole = frame.time - self.began - self.seconds
            if self._silence + hole > _MOST_SILENCE:
                self.began, hole = frame.time - self.seconds, 0.0  # a clock that has leapt
            samples = round(hole * rate) if hole >= _LEAST_HOLE else 0
            for start in range(0, samples, rate):
                yield np.zeros(min(rate, samples - start), dtype=np.float32)
            self.seconds += samples / rate
            self._silence += samples / rate
            self.reached = frame.time - self.began + length
        self.seconds += length
        self.reached = max(self.reached, self.seconds)


def _frames(
    opened: av.container.InputContainer, stream: av.AudioStream
) -> Generator[av.AudioFrame]:
    """The stream's frames; close it, for an error would leave one of PyAV's packets behind."""
    with closing(cast("Generator[av.Packet[av.AudioStream]]", opened.demux(stream))) as packets:
        for packet in packets:
            yield from packet.decode()


def _reason(error: av.error.FFmpegError | IndexError) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def _header_rates(stream: av.AudioStream, decoded: int) -> tuple[int, ...]:
    """The rates that one may declare: Opus always decodes at 48 kHz but names its source's too."""
    extra = stream.codec_context.extradata
    if stream.codec_context.name == "opus" and extra and len(extra) >= 16:
        (source,) = struct.unpack_from("<I", extra, 12)
        if source and source != decoded:
            return decoded, source
    return (decoded,)


def _frame_samples(frame: av.AudioFrame) -> Samples:
    """The samples of a frame as float32 (N, channels)."""
    channels = frame.layout.nb_channels
    dtype = _SAMPLE_TYPES.get(frame.format.name.rstrip("p"))
    if dtype is None:
        raise AudioError(
            f"samples in the format {frame.format.name} are not supported; convert it to FLAC"
        )
    raw: npt.NDArray[Any]
    if frame.format.is_planar:
        # Not to_ndarray: it looks for a plane after the eighth, in memory that is not the frame's.
        planes = [bytes(AudioPlane(frame, channel)) for channel in range(channels)]
        raw = np.stack([np.frombuffer(plane, dtype, frame.samples) for plane in planes], axis=1)
    else:
        packed = bytes(frame.planes[0])
        raw = np.frombuffer(packed, dtype, frame.samples * channels).reshape(-1, channels)
    if raw.dtype.kind == "f":
        return checked_float(raw)
    if raw.dtype == np.uint8:
        return (raw.astype(np.float32) - np.float32(128)) * np.float32(1 / 128)
    return raw.astype(np.float32) * np.float32(2.0 ** (1 - 8 * raw.dtype.itemsize))
