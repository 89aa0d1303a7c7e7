"""What is printed of transcripts while they are made: for people, and for scripts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from ossicle.service.formats import Transcript, format_transcript, segment_object, to_json
from ossicle.service.happenings import Happening, Spoken

from .outputs import OutputFolder
from .recordings import Recording

Printer = Callable[[Recording, Happening], None]


def text_printer(name: str, *, several: bool, words: bool) -> Printer:
    """Prints transcripts, which must come in the order of the recordings.

    Args:
        name: the format. The txt of one recording appears as it becomes known; of several, each
            has a line, as json an object a line.
        several: whether there are several recordings.
        words: a cue or a row for each word.
    """

    def show(recording: Recording, event: Happening) -> None:
        if isinstance(event, Spoken):
            if name == "txt" and not several:
                _print(f"{event.segment.text}\n")
        elif isinstance(event, Transcript):
            if not several and name != "txt":
                _print(format_transcript(event, name, words=words))
            elif several:
                _print(to_json(event, None) if name == "json" else f"{event.file}: {event.text}\n")

    return show


def json_lines_printer(folder: OutputFolder | None) -> Printer:
    """Prints what happens, a JSON object a line, in the order in which it happens.

    Args:
        folder: where transcripts are written, if they are.
    """

    def show(recording: Recording, event: Happening) -> None:
        if isinstance(event, Spoken):
            _print_object("utterance", recording, **segment_object(event.segment))
        elif isinstance(event, Transcript):
            _print_object(
                "done",
                recording,
                duration=round(event.duration, 3),
                language=event.language,
                model=event.model,
                outputs=_outputs(folder, recording),
            )
        else:
            _print_object("failed", recording, message=event.message)

    return show


def print_passed_over(recording: Recording, folder: OutputFolder) -> None:
    """Print as a JSON object that a recording has its transcript already."""
    _print_object("passed over", recording, outputs=_outputs(folder, recording))


def _outputs(folder: OutputFolder | None, recording: Recording) -> list[str]:
    return [os.fspath(path) for path in folder.files(recording)] if folder else []


def _print_object(event: str, recording: Recording, **values: Any) -> None:
    document = {"event": event, "file": recording.file, **values}
    _print(json.dumps(document, ensure_ascii=False) + "\n")


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
