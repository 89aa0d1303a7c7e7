"""What a measurement sends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ossicle.data.audio import SAMPLE_RATE, read_recording
from ossicle.data.manifest import Utterance
from ossicle.data.pcm import to_linear16
from ossicle.data.text import normalize
from ossicle.speech.v1 import speech_pb2 as pb

_BYTES_PER_SECOND = 2 * SAMPLE_RATE


@dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes:
        name: its file.
        audio: LINEAR16 at 16 kHz, mono.
        text: what is said, in normal form; may be unknown, which is "".
    """

    name: str
    audio: bytes
    text: str = ""

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.audio) / _BYTES_PER_SECOND

    def requests(self, chunk_seconds: float) -> Sequence[pb.StreamingRecognizeRequest]:
        """Its chunks as messages, which all streams share."""
        return _requests(self.audio, round(chunk_seconds * SAMPLE_RATE) * 2)


@lru_cache(maxsize=1024)
def _requests(audio: bytes, size: int) -> tuple[pb.StreamingRecognizeRequest, ...]:
    return tuple(
        pb.StreamingRecognizeRequest(audio_content=audio[start : start + size])
        for start in range(0, len(audio), size)
    )


def as_file(recordings: Sequence[Recording], seconds: float) -> Recording:
    """All recordings one after the other, again and again until they last so long."""
    audio = b"".join(recording.audio for recording in recordings)
    times = math.ceil(seconds * _BYTES_PER_SECOND / max(len(audio), 1))
    return Recording("file", audio * times)


def load_recordings(utterances: Sequence[Utterance]) -> list[Recording]:
    """The recordings of a manifest, decoded.

    Raises:
        AudioError: one is not audio that can be decoded; names it.
        OSError: one cannot be read.
    """
    return [
        Recording(
            str(utterance.audio_filepath),
            to_linear16(read_recording(utterance.audio_filepath)),
            normalize(utterance.text),
        )
        for utterance in utterances
    ]
