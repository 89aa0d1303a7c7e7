"""What callers may give as audio: files, bytes, and arrays of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ossicle.service.client.audio import parts, recording_bytes
from ossicle.service.values import Finalize
from ossicle.speech.v1 import speech_pb2 as pb

SAMPLES = np.array([[0.5, -0.5], [1.0, -1.0]], np.float32)
AS_BYTES = np.array([16384, -16384, 32767, -32768], "<i2").tobytes()


def config(encoding: str = "UNSPECIFIED", rate: int = 0, channels: int = 0) -> pb.RecognitionConfig:
    return pb.RecognitionConfig(
        encoding=f"AUDIO_ENCODING_{encoding}",
        sample_rate_hertz=rate,
        audio_channel_count=channels,
    )


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_recording_in_an_array_says_itself_what_it_is(kind: type) -> None:
    told = config(rate=44_100)
    assert recording_bytes(SAMPLES.astype(kind), told) == AS_BYTES
    assert told == config("LINEAR16", 44_100, 2)


def test_integers_are_taken_as_they_are() -> None:
    samples = np.array([1, -2, 32767], np.int16)
    assert recording_bytes(samples, config(rate=16_000)) == samples.astype("<i2").tobytes()


def test_a_file_and_its_bytes_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    told = config()
    given = (path, str(path), b"RIFF", bytearray(b"RIFF"))
    assert {recording_bytes(audio, told) for audio in given} == {b"RIFF"}
    assert told == config()


def test_long_chunks_are_cut_and_requests_stay_between_them() -> None:
    told = config("LINEAR16", 16_000)
    pieces = [
        list(parts(chunk, told)) for chunk in (bytes(100_000), b"", Finalize(), np.ones(3) * 0.5)
    ]
    assert [[len(p) for p in some if isinstance(p, bytes)] for some in pieces] == [
        [65_536, 34_464],
        [],
        [],
        [6],
    ]
    assert pieces[2] == [Finalize()]


@pytest.mark.parametrize(
    ("chunk", "told", "error", "message"),
    [
        (SAMPLES, config("LINEAR16", 0, 2), ValueError, "its sample_rate"),
        (SAMPLES, config(rate=16_000, channels=2), ValueError, "encoding='linear16'"),
        (SAMPLES, config("MULAW", 8000, 2), ValueError, "encoding='linear16'"),
        (SAMPLES, config("LINEAR16", 16_000), ValueError, r"shape \(2, 2\).*channels, which is 1"),
        (SAMPLES[0], config("LINEAR16", 16_000, 2), ValueError, r"\(2,\).*channels, which is 2"),
        (SAMPLES[None], config("LINEAR16", 16_000, 2), ValueError, r"\(1, 2, 2\)"),
        (np.array([1, 2]), config("LINEAR16", 16_000), TypeError, "int64 samples"),
        (np.array([np.nan]), config("LINEAR16", 16_000), ValueError, "magnitude nan"),
        (np.array([32767.0]), config("LINEAR16", 16_000), ValueError, "within -1 to 1"),
        ([0.0], config("LINEAR16", 16_000), TypeError, "list; give bytes"),
    ],
)
def test_what_is_no_audio_is_refused(
    chunk: Any, told: pb.RecognitionConfig, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        list(parts(chunk, told))


def test_a_recording_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="list; give a path, the bytes of a file, or a numpy"):
        recording_bytes([0.0], config())  # type: ignore[arg-type]
