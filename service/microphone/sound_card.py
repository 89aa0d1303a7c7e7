"""Microphones, through PortAudio."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType, TracebackType

from ossicle.data.audio import SAMPLE_RATE, Encoding, open_decoder
from ossicle.data.pcm import to_linear16
from ossicle.service.values import Finalize

_CHUNK_SECONDS = 0.1
# A device that sends nothing for so long is gone.
_SILENT_SECONDS = 3.0


class MicrophoneError(RuntimeError):
    """There is no microphone to listen to, or it stopped working."""


@dataclass(frozen=True)
class InputDevice:
    """A device that can record.

    Attributes:
        number: of PortAudio.
        name: as the system has it.
        channels: at most.
        rate: Hz, its own.
        default: it is taken if none is chosen.
    """

    number: int
    name: str
    channels: int
    rate: int
    default: bool


def input_devices() -> list[InputDevice]:
    """All devices that can record.

    Raises:
        MicrophoneError: PortAudio, or the package for it, is missing.
    """
    sounddevice = _sounddevice()
    default = sounddevice.default.device[0]
    return [
        InputDevice(
            device["index"],
            device["name"],
            device["max_input_channels"],
            round(device["default_samplerate"]),
            device["index"] == default,
        )
        for device in sounddevice.query_devices()
        if device["max_input_channels"] > 0
    ]


class Microphone:
    """A device that records from the beginning to the end of a ``with`` block.

    Args:
        device: part of its name or its number; None for the system's choice.

    Raises:
        MicrophoneError: PortAudio, the package for it, or the device is missing.
    """

    def __init__(self, device: str | None = None) -> None:
        sounddevice = _sounddevice()
        chosen = int(device) if device and device.isdecimal() else device
        self._recorded: queue.SimpleQueue[bytes | Finalize] = queue.SimpleQueue()
        self.failure: MicrophoneError | None = None
        """What ended the recording, None if nothing did but its user."""
        try:
            self._rate = _rate(sounddevice, chosen)
            self._stream = sounddevice.RawInputStream(
                samplerate=self._rate,
                channels=1,
                dtype="int16",
                blocksize=round(_CHUNK_SECONDS * self._rate),
                device=chosen,
                callback=lambda data, frames, time, status: self._recorded.put(bytes(data)),
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            wanted = f"microphone {device!r}" if device else "microphone"
            raise MicrophoneError(
                f"no {wanted} can be opened ({error}); connect one, or choose with --device from "
                "those of ossicle mic --list-devices"
            ) from None
        self._decoder = open_decoder(Encoding.LINEAR16, self._rate, 1)
        self._resampled = False
        self._recording = ExitStack()

    def __enter__(self) -> Microphone:
        self._recording.enter_context(self._stream)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._recording.close()

    @property
    def waiting_seconds(self) -> float:
        """What was recorded and not yet taken."""
        return self._recorded.qsize() * _CHUNK_SECONDS

    def finalize(self) -> None:
        """Put a request for a final result behind what was recorded so far."""
        self._recorded.put(Finalize())

    def chunks(self, stop: threading.Event) -> Iterator[bytes | Finalize]:
        """What is recorded, as 16-bit mono samples at 16 kHz, until ``stop`` is set.

        A device that stops sending ends it too; see :attr:`failure`.
        """
        while not stop.is_set():
            recorded = self._next()
            if recorded is None:
                break
            yield self._at_our_rate(recorded)
        self._recording.close()
        while not self._recorded.empty():
            yield self._at_our_rate(self._recorded.get())
        if self._resampled:
            # What is in the filter yet.
            for rest in self._decoder.finish_blocks():
                yield to_linear16(rest)

    def _next(self) -> bytes | Finalize | None:
        try:
            return self._recorded.get(timeout=_SILENT_SECONDS)
        except queue.Empty:
            message = "the microphone stopped sending; check its connection"
            self.failure = MicrophoneError(message)
            return None

    def _at_our_rate(self, recorded: bytes | Finalize) -> bytes | Finalize:
        if isinstance(recorded, Finalize) or self._rate == SAMPLE_RATE:
            return recorded
        self._resampled = True
        return to_linear16(self._decoder.feed(recorded))


def _rate(sounddevice: ModuleType, device: int | str | None) -> int:
    """Our rate if the device or its driver can do it, else the device's own."""
    try:
        sounddevice.check_input_settings(
            device=device, samplerate=SAMPLE_RATE, channels=1, dtype="int16"
        )
    except sounddevice.PortAudioError:
        own: float = sounddevice.query_devices(device, "input")["default_samplerate"]
        return round(own)
    return SAMPLE_RATE


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except ImportError:
        raise MicrophoneError(
            "the microphone needs the sounddevice package: pip install 'ossicle[mic]'"
        ) from None
    except OSError as error:
        raise MicrophoneError(
            f"the microphone needs the PortAudio library ({error}); on Debian and Ubuntu: "
            "apt install libportaudio2"
        ) from None
    module: ModuleType = sounddevice
    return module
