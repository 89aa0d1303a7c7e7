"""The files that transcripts are written to, and which of them are there already."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ossicle.data.replacing import replacing
from ossicle.service.formats import Transcript, format_transcript
from ossicle.service.happenings import STANDARD_INPUT, Draft, Happening

from .journal import Journal
from .recordings import Recording

_LONGEST_NAME = 255  # bytes, of most file systems
_DAY = 24 * 3600 * 10**9  # ns


class OutputFolder:
    """A folder of transcripts, one in each format for each recording.

    Args:
        folder: it is made when it is needed.
        formats: names of formats.
        words: with a cue or a row for each word.
    """

    def __init__(self, folder: Path, formats: Sequence[str], *, words: bool = False) -> None:
        self.folder = folder
        self._formats = formats
        self._words = words

    def files(self, recording: Recording) -> list[Path]:
        """What is written about a recording, a file for each format."""
        return [self.folder / f"{recording.stem}.{name}" for name in self._formats]

    def has(self, recording: Recording) -> bool:
        """Whether all of it was written since the recording was last changed."""
        try:
            changed = os.stat(recording.file).st_mtime_ns
            if changed > time.time_ns() + _DAY:  # a camera's clock: nothing could be written later
                changed = 0
            return recording.file != STANDARD_INPUT and all(
                file.stat().st_mtime_ns >= changed for file in self.files(recording)
            )
        except OSError:
            return False

    def draft(self, recording: Recording, settings: Mapping[str, Any]) -> Draft:
        """Where the transcript of a recording is kept while it is made.

        Args:
            recording: one that cannot be read again later, or at all, has a draft in memory.
            settings: what else the transcript depends on.
        """
        if recording.file == STANDARD_INPUT or not os.path.isfile(recording.file):
            return Draft()
        return Journal(self._journal(recording), Path(recording.file), settings)

    def unfinished(self, recording: Recording) -> Path | None:
        """The file with what is known of a recording, if its transcript could not be finished."""
        path = self._journal(recording)
        return path if path.exists() else None

    def listen(self, recording: Recording, event: Happening) -> None:
        """Write a transcript in all formats; each file is there as a whole or not at all.

        Raises:
            OSError: the folder cannot be written to.
        """
        if not isinstance(event, Transcript):
            return
        for path, name in zip(self.files(recording), self._formats, strict=True):
            with replacing(path) as temporary:
                text = format_transcript(event, name, words=self._words)
                # The name of a recording may have bytes that are no text.
                temporary.write_text(text, encoding="utf-8", errors="replace")
        self._journal(recording).unlink(missing_ok=True)

    def check(self, recordings: Sequence[Recording]) -> None:
        """Make the folder, and see that each recording can have files of its own in it.

        Raises:
            OSError: the folder cannot be written to.
            ValueError: two recordings would have the same files, or one would be written over.
        """
        sources = {os.path.realpath(recording.file) for recording in recordings}
        owners: dict[str, Recording] = {}
        for recording in recordings:
            for path in self.files(recording):
                place = os.path.realpath(path)
                if place in sources:
                    raise ValueError(f"{path} is a recording and would be replaced; rename it")
                other = owners.setdefault(place, recording)
                if other is not recording:
                    raise ValueError(
                        f"{other.file} and {recording.file} would both be written to {path}; "
                        "rename one"
                    )
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=self.folder):
            pass

    def _journal(self, recording: Recording) -> Path:
        path = self.folder / f"{recording.stem}.part.jsonl"
        if len(name := os.fsencode(path.name)) <= _LONGEST_NAME:
            return path
        return path.with_name(f"{hashlib.sha256(name).hexdigest()}.part.jsonl")
