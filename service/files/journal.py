"""What is known of a recording that is being transcribed, on disk, so that a later run goes on.

A journal is a file of JSON lines: what it is about, then an utterance each, and where the work goes
on after it. A run that begins there gives what an uninterrupted one would have given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ossicle.service.formats import Alternative, Segment, Word
from ossicle.service.happenings import Draft, Start


class JournalTakenError(RuntimeError):
    """Two runs transcribe one recording into one folder; their utterances would be mixed."""


class Journal(Draft):
    """The draft of one recording.

    There is no file until the first utterance is known, and memory does not grow with them.

    Args:
        path: the file.
        recording: what is transcribed.
        settings: what else the transcript depends on, as JSON can hold it; utterances of another
            recording or other settings are forgotten.

    Raises:
        OSError: the recording or the file cannot be read.
    """

    def __init__(self, path: Path, recording: Path, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.path = path
        status = recording.stat()
        about = {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, **settings}
        self._head = json.dumps(about, ensure_ascii=False, sort_keys=True) + "\n"
        self._size = 0
        self._go_on()
        self._found = _size(path)

    def add(self, segment: Segment, after: Start | None) -> None:
        """Write the next utterance down at once.

        Raises:
            JournalTakenError: another run has written to the file since.
            OSError: it cannot be written to.
        """
        if _size(self.path) != self._found:
            raise JournalTakenError(
                f"another run transcribes it into {self.path.parent}: wait until that has ended"
            )
        line = json.dumps({"after": after, **asdict(segment)}, ensure_ascii=False) + "\n"
        if not self._size:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            line = self._head + line
        with self.path.open("ab" if self._size else "wb") as file:
            self._size += file.write(line.encode("utf-8"))
        self._found = self._size

    def segments(self) -> tuple[Segment, ...]:
        """The utterances in order."""
        return tuple(_segment(entry) for entry, _ in self._entries()) if self._size else ()

    def _go_on(self) -> None:
        """Keep the utterances up to the last after which the work can go on."""
        try:
            for entry, end in self._entries():
                if entry["after"] is not None:
                    self.start, self._size = Start(*entry["after"]), end
        except FileNotFoundError:
            return
        if self._size:
            os.truncate(self.path, self._size)

    def _entries(self) -> Iterator[tuple[dict[str, Any], int]]:
        """The utterances of the file and where each ends in it, up to a half-written one."""
        with self.path.open("rb") as file:
            end = len(head := file.readline())
            if head != self._head.encode("utf-8"):
                return
            for line in file:
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                try:
                    entry = json.loads(line)
                except ValueError:
                    return
                yield entry, end


def _size(path: Path) -> int | None:
    """Bytes of a file, None if there is none."""
    return path.stat().st_size if path.exists() else None


def _segment(entry: Mapping[str, Any]) -> Segment:
    return Segment(
        entry["text"],
        entry["start"],
        entry["end"],
        entry["confidence"],
        _words(entry),
        tuple(
            Alternative(reading["text"], reading["confidence"], _words(reading))
            for reading in entry["alternatives"]
        ),
    )


def _words(entry: Mapping[str, Any]) -> tuple[Word, ...]:
    return tuple(Word(**word) for word in entry["words"])
