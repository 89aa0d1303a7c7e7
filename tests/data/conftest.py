"""The bundled recording, in every container and codec."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable

import pytest
import soundfile
from ossicle.data.sample import sample_path
from recipes import Int16, every_recording

WavWriter = Callable[..., bytes]


@pytest.fixture(scope="session")
def speech() -> Int16:
    """Three seconds of the bundled recording, (48 000,)."""
    samples, rate = soundfile.read(sample_path(), dtype="int16", stop=48_000)
    assert rate == 16_000
    return samples


@pytest.fixture(scope="session")
def recordings(speech: Int16, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return every_recording(speech, tmp_path_factory.mktemp("recordings"))


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
