"""How long a recording is."""

from __future__ import annotations

from pathlib import Path

import av
from ossicle.data.audio import stream_audio
from ossicle.data.formats import HEAD_BYTES, SAMPLE_RATE, AudioError, Encoding, container_of


def recording_seconds(path: Path) -> float:
    """Length of a recording in seconds, by its header where that is exact, else by decoding.

    Raises:
        AudioError: It is not audio that can be decoded, or holds none.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    container = container_of(head)
    if container is Encoding.WAV and path.stat().st_size < int.from_bytes(head[4:8], "little"):
        # FFmpeg would take what there is; it is cut short, or its length was unknown.
        return decoded_seconds(path)
    # What MP3 and Ogg say of their length includes padding or is guessed from the bit rate.
    if container in (Encoding.WAV, Encoding.FLAC):
        seconds = _announced(path)
        if seconds > 0:
            return seconds
    return decoded_seconds(path)


def decoded_seconds(path: Path) -> float:
    """Length of a recording in seconds, by decoding all of it; errors as `recording_seconds`."""
    return sum(len(block) for block in stream_audio(path)) / SAMPLE_RATE


def _announced(path: Path) -> float:
    try:
        with av.open(str(path), mode="r", metadata_errors="replace") as opened:
            stream = opened.streams.audio[0]
            if stream.duration is None or stream.time_base is None:
                return 0.0
            return float(stream.duration * stream.time_base)
    except (av.error.FFmpegError, IndexError) as error:
        raise AudioError(f"this is not audio that can be decoded: {error}") from error
