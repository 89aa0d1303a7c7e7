"""A file of captions that grows while someone speaks."""

from __future__ import annotations

from pathlib import Path

from ossicle.data.replacing import replacing
from ossicle.service.formats import (
    FORMATS,
    Segment,
    Transcript,
    format_transcript,
    segment_of,
)
from ossicle.service.values import ModelDescription, Result


class CaptionFile:
    """What was said so far; after each utterance the file is whole and has it.

    Args:
        path: its suffix tells the format.
        model: what recognises.

    Raises:
        ValueError: there is no format with this suffix.
        FileExistsError: there is such a file; captions of before are not written over.
        OSError: it cannot be written.

    Attributes:
        failure: why it has not all that was said, if it could not be written the last time.
    """

    def __init__(self, path: Path, model: ModelDescription) -> None:
        self._path = path
        self._format = path.suffix[1:].lower()
        if self._format not in FORMATS:
            names = ", ".join(f".{name}" for name in FORMATS)
            raise ValueError(f"--output {path} has no suffix that says what to write: {names}")
        if path.exists():
            raise FileExistsError(f"--output {path} exists; remove it or choose another name")
        self._model = model
        self._segments: list[Segment] = []
        self._seconds = 0.0
        self.failure: OSError | None = None
        self._write()

    def add(self, result: Result) -> None:
        """Take a final result, which has words; the next one tries again what fails."""
        self._seconds = result.end
        if result.text:
            self._segments.append(segment_of(result.alternatives))
        try:
            self._write()
            self.failure = None
        except OSError as error:
            self.failure = error

    def _write(self) -> None:
        transcript = Transcript(
            "microphone",
            self._seconds,
            self._model.languages[0],
            self._model.name,
            tuple(self._segments),
        )
        with replacing(self._path) as temporary:
            temporary.write_text(format_transcript(transcript, self._format), encoding="utf-8")
