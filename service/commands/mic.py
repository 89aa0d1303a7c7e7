"""The command ``ossicle mic``: what is said into the microphone, as it is being said."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.data.signals import heeded
from ossicle.model.commands.errors import one_line
from ossicle.model.commands.options import thread_count
from ossicle.model.commands.tables import print_table
from ossicle.service.commands.connection import Connection, with_connection
from ossicle.service.commands.live_text import DIM, LiveText, Pieces
from ossicle.service.commands.options import (
    USAGE,
    ModelOption,
    OptionalServerOption,
    SearchOptions,
    ThreadsOption,
    with_search,
)
from ossicle.service.commands.output import complain, errors_in_one_line, fail
from ossicle.service.commands.stream import CHUNK_SECONDS, SAMPLE_RATE, show

if TYPE_CHECKING:
    from types import FrameType

    from ossicle.service.client import SpeechToText
    from ossicle.service.microphone.caption_file import CaptionFile
    from ossicle.service.microphone.sound_card import Microphone
    from ossicle.service.values import Finalize, Result

NO_MICROPHONE = 3
# As long as this without any sound, a microphone is probably switched off.
_MUTED_SECONDS = 3.0
# A machine that is too slow is told from one that was briefly busy.
_BEHIND_SECONDS = 2.0


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
    list_devices: Annotated[
        bool, typer.Option("--list-devices", help="Print the microphones that there are, and end.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Also write what is said to this new file, with times: .srt, .vtt, .tsv, .json "
            "or .txt.",
        ),
    ] = None,
    *,
    connection: Connection,
    search: SearchOptions,
) -> None:
    """Transcribe the microphone until Ctrl-C.

    Enter ends an utterance before a pause does. Ctrl-C ends the recording; what was said before it
    is still transcribed. The exit code is 3 if there is no microphone.

    Example: `ossicle mic --output captions.srt`
    """
    from ossicle.model.runtime import ModelError
    from ossicle.service.client import OssicleError
    from ossicle.service.microphone.keyboard import enter_key
    from ossicle.service.microphone.sound_card import Microphone, MicrophoneError

    try:
        if list_devices:
            _print_devices()
            return
        text = LiveText(sys.stdout)
        with (
            errors_in_one_line(ModelError, OssicleError, OSError),
            stop_at_interrupt() as stop,
            _speech_to_text(server, connection, model, threads) as speech,
            Microphone(device) as microphone,
            enter_key(microphone.finalize) as keyboard,
        ):
            captions = _caption_file(output, speech, model if server else None)
            status = _Status(text, microphone, keyboard)
            results = speech.stream(
                status.watched(microphone.chunks(stop)),
                encoding="linear16",
                sample_rate=SAMPLE_RATE,
                model=(model or "") if server else "",
                words=captions is not None,
                interim_results=True,
                **search.request(),
            )
            show(_kept(results, captions) if captions else results, text)
            if captions and captions.failure:
                raise captions.failure
        if captions:
            print(f"written to {output}", file=sys.stderr)
        if microphone.failure:
            raise microphone.failure
    except MicrophoneError as error:
        fail(str(error), NO_MICROPHONE)


def _speech_to_text(
    server: str | None, connection: Connection, model: str | None, threads: int
) -> SpeechToText:
    if server:
        return connection.open(server)
    from ossicle.service.recognizer import Recognizer

    chosen = model or os.environ.get("OSSICLE_MODEL")
    return Recognizer(chosen, threads=thread_count(threads), streams=1)


def _caption_file(
    output: Path | None, speech: SpeechToText, model: str | None
) -> CaptionFile | None:
    """The file to write, None for none; one that cannot be written ends the command."""
    from ossicle.service.microphone.caption_file import CaptionFile

    if output is None:
        return None
    models = speech.list_models().models
    used = next((known for known in models if known.name == model), models[0])
    try:
        return CaptionFile(output, used)
    except (OSError, ValueError) as error:
        fail(one_line(error), USAGE)


def _kept(results: Iterable[Result], captions: CaptionFile) -> Iterator[Result]:
    """Results, each final written once it is shown; a full disk does not end what is being said."""
    for result in results:
        yield result
        if result.is_final:
            failed = captions.failure
            captions.add(result)
            if captions.failure and not failed:
                complain(f"{one_line(captions.failure)}; the next utterance tries again")


def _print_devices() -> None:
    from ossicle.service.microphone.sound_card import MicrophoneError, input_devices
    from rich.table import Table

    devices = input_devices()
    if not devices:
        raise MicrophoneError("there is no microphone; connect one")
    table = Table("--device", "name", "channels", "rate", "")
    for device in devices:
        default = "default" if device.default else ""
        table.add_row(
            str(device.number), device.name, str(device.channels), f"{device.rate} Hz", default
        )
    print_table(table)


class _Status:
    """The line below the text: that it listens, since when, how loud it is, what one can do.

    Args:
        text: where it is shown.
        microphone: what is listened to.
        keyboard: whether keys do something.
    """

    def __init__(self, text: LiveText, microphone: Microphone, keyboard: bool) -> None:
        from ossicle.service.microphone.level import LevelMeter

        self._text = text
        self._microphone = microphone
        self._meter = LevelMeter()
        self._chunks = 0
        self._blocks = text.can_show("●▕█▏·")
        self._help = ["enter: end the sentence"] if keyboard else []
        self._help.append("ctrl-c: stop")

    def watched(self, chunks: Iterable[bytes | Finalize]) -> Iterator[bytes | Finalize]:
        """The same chunks, each shown as it passes."""
        for chunk in chunks:
            if isinstance(chunk, bytes):
                self._chunks += 1
                self._meter.add(chunk)
                self._text.status(self._pieces())
            yield chunk

    def _pieces(self) -> Pieces:
        minutes, seconds = divmod(int(self._chunks * CHUNK_SECONDS), 60)
        begin, end, dot = ("▕", "▏", "●") if self._blocks else ("[", "]", "*")
        behind = self._microphone.waiting_seconds
        bar = f"{begin}{self._meter.bar(self._blocks)}{end}"
        pieces = [(dot, "31"), (f" {minutes}:{seconds:02d} ", ""), (bar, self._meter.style)]
        if behind > _BEHIND_SECONDS:
            pieces.append((f"  {behind:.0f} s behind: this machine is too slow", "33"))
        elif self._meter.silent_chunks * CHUNK_SECONDS > _MUTED_SECONDS:
            pieces.append(("  no sound: is the microphone switched off?", "33"))
        else:
            pieces += [(f"  {hint}", DIM) for hint in self._help]
        return pieces


@contextmanager
def stop_at_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C, or what else asks to end, sets; the second ends as usual."""
    stop = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])

    # Ended at once, it would leave a terminal that shows no typing, and lose the last words.
    with heeded(("SIGINT", "SIGTERM", "SIGHUP"), interrupt) as before:
        yield stop
