"""Recordings that are transcribed, and what becomes known of them meanwhile."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .formats import Segment, Transcript

Recording = str | os.PathLike[str] | BinaryIO

STANDARD_INPUT = "-"
"""What a recording that is read from a file object is called."""


@dataclass(frozen=True)
class FailedFile:
    """A recording that could not be transcribed.

    Attributes:
        file: its name as the caller gave it.
        message: what is wrong with it and what to do, without the name.
    """

    file: str
    message: str


@dataclass(frozen=True)
class Spoken:
    """An utterance of a recording, as soon as it is known.

    Attributes:
        file: the recording's name as the caller gave it.
        segment: what was said.
    """

    file: str
    segment: Segment


Happening = Spoken | Transcript | FailedFile


@dataclass(frozen=True)
class Progress:
    """What was read of a recording since its last report.

    Attributes:
        file: its name as the caller gave it.
        bytes_read: bytes of the file, 0 for one without a known size.
        seconds: seconds of audio, 0 for what was transcribed before.
        finished: nothing more will be reported of this recording.
    """

    file: str
    bytes_read: int
    seconds: float
    finished: bool = False


class Start(NamedTuple):
    """Where the work on a recording begins, or goes on.

    Attributes:
        sample: of the recording, at 16 kHz.
        context: seconds after that which were transcribed before and are heard again.
    """

    sample: int = 0
    context: float = 0.0


class Draft:
    """The transcript of a recording while it is being made.

    Attributes:
        start: where the work goes on.
    """

    def __init__(self) -> None:
        self.start = Start()
        self._segments: list[Segment] = []

    def add(self, segment: Segment, after: Start | None) -> None:
        """Take the next utterance.

        Args:
            segment: what was said.
            after: where the work goes on after it; None: it must be heard again.
        """
        self._segments.append(segment)

    def segments(self) -> tuple[Segment, ...]:
        """The utterances in order."""
        return tuple(self._segments)


def recording_name(recording: Recording) -> str:
    """The path as it was given, "-" for a file object."""
    return os.fspath(recording) if isinstance(recording, str | os.PathLike) else STANDARD_INPUT


@contextmanager
def opened(recording: Recording) -> Iterator[BinaryIO]:
    """The recording as a binary file; a file object is left open afterwards.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(recording, str | os.PathLike):
        if not os.fspath(recording):
            raise FileNotFoundError(errno.ENOENT, "the name of a recording is empty")
        if Path(recording).is_dir():
            raise IsADirectoryError(
                errno.EISDIR, f"is a folder; name its recordings: {recording}/*.flac"
            )
        with Path(recording).open("rb") as file:
            yield file
    else:
        yield recording


class ReadPosition:
    """How far a file has been read, by differences; always 0 for one that cannot tell."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file if file.seekable() else None
        self._before = 0

    def advance(self) -> int:
        """Bytes read since the last call."""
        if self._file is None:
            return 0
        before, self._before = self._before, self._file.tell()
        return self._before - before
