"""What a microphone plays, what a page has sent of it, and what it shows."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from numpy.typing import NDArray
from ossicle.service import Recognizer

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocket


MICROPHONE_RATE = 48_000
# A browser and a recogniser share the processors with other tests.
PATIENCE_MS = 90_000


def write_microphone(recording: NDArray[np.float32], path: Path) -> Path:
    """A file that a browser's microphone can play, of a recording, (N,), at 16 kHz."""
    samples = soxr.resample(recording, 16_000, MICROPHONE_RATE)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_RATE)
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


class Sent:
    """The audio that a page sends, connection by connection, and the ends of its finals."""

    def __init__(self, page: Page) -> None:
        self.configs: list[dict[str, Any]] = []
        self.connections: list[bytearray] = []
        self.ends: list[float] = []
        page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        audio = bytearray()
        self.connections.append(audio)

        def sent(payload: str | bytes) -> None:
            if isinstance(payload, bytes):
                audio.extend(payload)
            elif "streamingConfig" in (message := json.loads(payload)):
                self.configs.append(message["streamingConfig"])

        def received(payload: str | bytes) -> None:
            for result in json.loads(payload).get("results", ()):
                if result.get("isFinal"):
                    self.ends.append(float(result["resultEndOffset"].rstrip("s")))

        socket.on("framesent", sent)
        socket.on("framereceived", received)


def transcript(linear16: bytes) -> list[str]:
    """The finals of this process, without empty ones."""
    with Recognizer(threads=1) as recognizer:
        results = recognizer.stream([bytes(linear16)], encoding="linear16", sample_rate=16_000)
        return [result.text for result in results if result.is_final and result.text]


def shown(page: Page) -> list[str]:
    """The finals that a page shows."""
    return page.locator("#finals p span").all_inner_texts()


def fidelity(linear16: bytes, original: NDArray[np.float32]) -> tuple[int, float]:
    """Where a recording lies in what was sent, and how faithfully.

    Args:
        linear16: what was sent, at 16 kHz.
        original: the recording, (N,), at 16 kHz.

    Returns:
        The delay in samples, negative if its beginning is missing, and how far what differs lies
        below the recording, in decibels.
    """
    sent = np.frombuffer(bytes(linear16), "<i2").astype(np.float64) / 32768
    size = 1 << (len(sent) + len(original)).bit_length()
    there, here = np.fft.rfft(sent, size), np.fft.rfft(original, size)
    correlation = np.fft.irfft(there * np.conj(here), size)
    delay = int(np.argmax(correlation))
    delay -= size if delay > size // 2 else 0
    wanted = shifted(original, delay, len(sent))
    here = np.fft.rfft(wanted, size)
    best = -np.inf
    # The delay of a sound card is no whole number of samples.
    for part in np.arange(-0.5, 0.51, 0.05):
        turned = here * np.exp(-2j * np.pi * np.fft.rfftfreq(size) * part)
        gain = np.real(np.vdot(turned, there) / np.vdot(turned, turned))
        error = np.sum(np.abs(there - gain * turned) ** 2)
        best = max(best, 10 * np.log10(np.sum(np.abs(gain * turned) ** 2) / error))
    return delay, float(best)


def shifted(original: NDArray[np.float32], delay: int, length: int) -> NDArray[np.float32]:
    """The recording as it should be in what was sent, (length,), with silence around it."""
    moved = np.zeros(length, np.float32)
    part = original[max(-delay, 0) :][: length - max(delay, 0)]
    moved[max(delay, 0) : max(delay, 0) + len(part)] = part
    return moved
