"""The command ``ossicle mic``: what is said into the microphone, as it is being said."""

from __future__ import annotations

import queue
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.service.commands.connection import Connection, with_connection
from ossicle.service.commands.options import (
    ModelOption,
    OptionalServerOption,
    SearchOptions,
    ThreadsOption,
    local_model,
    with_search,
)
from ossicle.service.commands.output import LiveText, errors_in_one_line, fail
from ossicle.service.commands.stream import (
    CHUNK_SECONDS,
    SAMPLE_RATE,
    from_linear16,
    show,
    stream_samples,
)

if TYPE_CHECKING:
    from types import FrameType

NO_MICROPHONE = 3


class MicrophoneError(RuntimeError):
    """There is no microphone to listen to, or it stopped working."""


@with_connection
@with_search
def mic_command(
    server: OptionalServerOption = None,
    model: ModelOption = None,
    threads: ThreadsOption = 0,
    device: Annotated[
        str | None,
        typer.Option(help="Part of the microphone's name, or its number; default: the system's."),
    ] = None,
    *,
    connection: Connection,
    search: SearchOptions,
) -> None:
    """Transcribe the microphone until Ctrl-C.

    Ctrl-C ends the recording; what was said before it is still transcribed. The exit code is 3
    if there is no microphone.
    """
    text = LiveText(sys.stdout)
    try:
        with stop_at_interrupt() as stop:
            chunks = microphone(stop, device)
            if server:
                _through_server(connection, server, chunks, model or "", search, text)
            else:
                _in_process(chunks, model, threads, search, text)
    except MicrophoneError as error:
        fail(str(error), NO_MICROPHONE)


def microphone(stop: threading.Event, device: str | None = None) -> Iterator[bytes]:
    """16-bit mono samples at 16 kHz, 0.1 s at a time, until ``stop`` is set.

    Raises:
        MicrophoneError: the package or the device is missing, or the device stopped working.
    """
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

    chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    try:
        stream = sounddevice.RawInputStream(
            samplerate=SAMPLE_RATE,
            channels=1,
            dtype="int16",
            blocksize=round(CHUNK_SECONDS * SAMPLE_RATE),
            device=int(device) if device and device.isdecimal() else device,
            callback=lambda data, frames, time, status: chunks.put(bytes(data)),
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        wanted = f"microphone {device!r}" if device else "microphone"
        raise MicrophoneError(
            f"no {wanted} can be opened ({error}); connect one, or choose with --device from "
            "the list that python -m sounddevice prints"
        ) from None
    try:
        with stream:
            while not stop.is_set():
                yield chunks.get(timeout=2.0)
    except queue.Empty:
        raise MicrophoneError("the microphone stopped sending; check its connection") from None


@contextmanager
def stop_at_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second ends the program as usual."""
    stop = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _through_server(
    connection: Connection,
    server: str,
    chunks: Iterable[bytes],
    model: str,
    search: SearchOptions,
    text: LiveText,
) -> None:
    from ossicle.service.client import OssicleError

    with errors_in_one_line(OssicleError), connection.open(server) as client:
        show(stream_samples(client, chunks, model=model, **search.request()), text)


def _in_process(
    chunks: Iterable[bytes],
    model: str | None,
    threads: int,
    search: SearchOptions,
    text: LiveText,
) -> None:
    from ossicle.model.runtime import ModelError
    from ossicle.service.engine import EngineStopped
    from ossicle.service.live import live

    with errors_in_one_line(ModelError, EngineStopped):
        network, decoding = local_model(model, threads)
        samples = map(from_linear16, chunks)
        show(live(samples, network, decoding, search.decoding(decoding)), text)
