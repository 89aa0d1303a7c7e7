"""The report of an evaluation: a folder with a page for people, its sound, and the record as JSON.

The folder holds everything, wherever it is moved: style and plots are in the page, recordings that
can be listened to are beside it, and nothing is asked of the network.
"""

from __future__ import annotations

import json
import re
import shutil
import wave
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from ossicle.data.audio import read_audio
from ossicle.data.formats import HEAD_BYTES, SAMPLE_RATE, Encoding, container_of
from ossicle.model.evaluation.record import Record
from ossicle.model.evaluation.report_page import RECORD, render
from ossicle.model.evaluation.scoring import Recognized

PAGE, SOUND = "index.html", "audio"
_SOUND_NAME = re.compile(r"\d{3,}\.(wav|flac|mp3|ogg|webm|m4a)")

# By these names browsers and the servers of files know what a recording is.
_SUFFIXES = {
    Encoding.WAV: ".wav",
    Encoding.FLAC: ".flac",
    Encoding.MP3: ".mp3",
    Encoding.OGG_OPUS: ".ogg",
    Encoding.WEBM_OPUS: ".webm",
    Encoding.M4A: ".m4a",
}


class ReportError(RuntimeError):
    """A report cannot be written there; the message says why and where it can."""


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier report.

    Raises:
        ReportError: it does, or it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ReportError(f"{folder} is a file: give a folder for the report")
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        others = [] if path.name in (PAGE, RECORD) else [path]
        if path.name == SOUND and path.is_dir():
            others = [sound for sound in path.iterdir() if not _SOUND_NAME.fullmatch(sound.name)]
        if others:
            raise ReportError(
                f"{folder} holds {others[0].relative_to(folder)}, which is of no "
                "report: give an empty or a new folder"
            )


def write_report(record: Record, folder: Path) -> None:
    """Write the report, in place of an earlier one.

    Raises:
        ReportError: the folder holds other files.
        OSError: it cannot be written, or a recording cannot be copied.
    """
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values = _encoded(json.dumps(record.to_dict(), indent=2, ensure_ascii=False) + "\n")
    with TemporaryDirectory(dir=folder, prefix=".") as temporary:
        new = Path(temporary) / SOUND
        new.mkdir()
        sounds = _copy_sounds([r for part in record.sets for r in part.worst()], new)
        links = {path: f"{SOUND}/{name}" for path, name in sounds.items()}
        page = _encoded(render(record, links))
        # Until here the earlier report is whole.
        shutil.rmtree(folder / SOUND, ignore_errors=True)
        new.rename(folder / SOUND)
    (folder / RECORD).write_bytes(values)
    (folder / PAGE).write_bytes(page)


def _encoded(text: str) -> bytes:
    """UTF-8; what of a file's name is no text comes as an escape, which JSON reads as it was."""
    return text.encode("utf-8", "backslashreplace")


def _copy_sounds(recognized: Sequence[Recognized], folder: Path) -> dict[Path, str]:
    names: dict[Path, str] = {}
    numbers = count(1)
    for item in recognized:
        path = item.utterance.audio_filepath
        if path not in names:
            with path.open("rb") as file:
                found = container_of(file.read(HEAD_BYTES))
            # What is read by its file alone, AIFF for one, browsers do not play.
            names[path] = f"{next(numbers):03d}{_SUFFIXES[found] if found else '.wav'}"
            if found:
                shutil.copyfile(path, folder / names[path])
            else:
                _write_wav(folder / names[path], read_audio(path))
    return names


def _write_wav(path: Path, samples: NDArray[np.float32]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
