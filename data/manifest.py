"""Manifests: which recordings there are and what is said in them.

A manifest is a JSON Lines file with NeMo's keys, one recording a line::

    {"audio_filepath": "clips/a.flac", "duration": 3.2, "text": "good morning",
     "speaker": "s1", "source": "librispeech"}

``speaker`` and ``source`` may be absent, and so may ``word_times``, a list of the start and end in
seconds of each word of the text in normal form, which `ossicle align` adds. Relative paths are
relative to the manifest's folder, so that a corpus can be moved together with its manifest.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ossicle.data.replacing import replacing
from ossicle.data.text_file import TextFileError, read_lines, write_compressed

_KEYS = {"audio_filepath", "duration", "text", "speaker", "source", "word_times"}


class ManifestError(ValueError):
    """A manifest cannot be read; the message names the file, the line and the remedy."""


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker saying one text.

    Attributes:
        audio_filepath: Absolute path of the recording.
        duration: Length of the recording in seconds.
        text: What is said, as the manifest has it.
        speaker: Name of the speaker, unique over all sources; empty if unknown.
        source: Name of the corpus; empty if unknown.
        word_times: Start and end of each word of the text in normal form, in seconds; empty if
            unknown.
        others: What else the manifest says of it, by keys that mean nothing here.
    """

    audio_filepath: Path
    duration: float
    text: str
    speaker: str = ""
    source: str = ""
    word_times: tuple[tuple[float, float], ...] = ()
    others: Mapping[str, Any] = field(default_factory=dict, compare=False)


def read_manifest(path: str | Path) -> list[Utterance]:
    """Read all utterances of a manifest, in its order. Blank lines are allowed.

    Raises:
        ManifestError: The file is missing, holds no utterance, or a line is not valid.
    """
    utterances = list(iterate_manifest(path))
    if not utterances:
        raise ManifestError(f"{path} holds no utterance; `ossicle data import` writes manifests")
    return utterances


def iterate_manifest(path: str | Path) -> Iterator[Utterance]:
    """The utterances of a manifest, `.gz` and `.xz` unpacked; one at a time is held in memory.

    Raises:
        ManifestError: While reading, if the file is missing or damaged or a line is not valid.
    """
    path = Path(path)
    # os.path.abspath and not Path.resolve: a link to a recording keeps the name it is known by.
    folder = Path(os.path.abspath(path)).parent
    try:
        for number, line in enumerate(read_lines(path), start=1):
            if line.strip():
                yield parse_utterance(line, folder, f"{path}, line {number}")
    except TextFileError as error:
        raise ManifestError(str(error)) from error


def batches(utterances: Sequence[Utterance], size: int) -> Iterator[list[Utterance]]:
    """The recordings, shortest first, `size` at a time, which are of like length."""
    order = sorted(utterances, key=lambda utterance: utterance.duration)
    for begin in range(0, len(order), size):
        yield order[begin : begin + size]


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest, `.gz` and `.xz` packed, replacing one only when all of it is written.

    Paths of recordings below the manifest's folder are written relative to it.

    Raises:
        OSError: The folder cannot be written to.
    """
    path = Path(os.path.abspath(path))
    with replacing(path) as temporary, write_compressed(path, temporary) as file:
        for utterance in utterances:
            record = _record(utterance, path.parent)
            # A file's name need not be text: what is none is escaped, and read back as it was.
            line = json.dumps(record, ensure_ascii=False)
            file.write((line if line.isprintable() else json.dumps(record)) + "\n")


def manifest_digest(*paths: str | Path) -> str:
    """SHA-256 of the contents of the manifests, in hexadecimal.

    The order of the manifests counts, their names and places do not.
    """
    digest = hashlib.sha256()
    for path in paths:
        content = Path(path).read_bytes()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _record(utterance: Utterance, folder: Path) -> dict[str, Any]:
    audio = Path(os.path.abspath(utterance.audio_filepath))
    written = audio.relative_to(folder) if audio.is_relative_to(folder) else audio
    record: dict[str, Any] = {
        **utterance.others,
        "audio_filepath": written.as_posix(),
        "duration": round(utterance.duration, 4),
        "text": utterance.text,
        "speaker": utterance.speaker,
        "source": utterance.source,
    }
    if utterance.word_times:
        record["word_times"] = utterance.word_times
    return record


def parse_utterance(line: str, folder: Path, place: str) -> Utterance:
    """One line of a manifest.

    Args:
        folder: absolute path that relative paths are relative to.
        place: what an error calls the line.

    Raises:
        ManifestError: the line is not valid.
    """
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ManifestError(f"{place}: not valid JSON: {error}") from error
    if not isinstance(record, dict):
        raise ManifestError(f"{place}: expected a JSON object, found {type(record).__name__}")
    audio = _field(record, "audio_filepath", str, place)
    if not audio:
        raise ManifestError(f"{place}: audio_filepath is empty; give the path of the recording")
    duration = _field(record, "duration", (int, float), place)
    if not 0 < duration <= sys.float_info.max:  # also refuses what is not a number
        raise ManifestError(f"{place}: duration is {duration}; give the seconds, more than 0")
    return Utterance(
        audio_filepath=Path(os.path.abspath(folder / audio)),
        duration=float(duration),
        text=_field(record, "text", str, place),
        speaker=_field(record, "speaker", str, place, default=""),
        source=_field(record, "source", str, place, default=""),
        word_times=_word_times(_field(record, "word_times", list, place, default=[]), place),
        others={key: record[key] for key in record.keys() - _KEYS},
    )


def _word_times(times: list[Any], place: str) -> tuple[tuple[float, float], ...]:
    last = 0.0
    for pair in times:
        numbers: list[Any] = pair if isinstance(pair, list) and len(pair) == 2 else [None]
        if not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
            raise ManifestError(
                f"{place}: word_times has {pair!r}; expected [start, end] in seconds"
            )
        if not last <= numbers[0] <= numbers[1] < math.inf:
            raise ManifestError(
                f"{place}: word_times has {pair!r}; words begin where the one before ended, or "
                "later, and end no sooner than they begin"
            )
        last = numbers[1]
    return tuple((float(start), float(end)) for start, end in times)


def _field(
    record: dict[str, Any],
    key: str,
    kind: type | tuple[type, ...],
    place: str,
    default: Any = None,
) -> Any:
    value = record.get(key)
    if value is None:
        if default is not None:
            return default
        state = "null" if key in record else "missing"
        raise ManifestError(f'{place}: the key "{key}" is {state}')
    if not isinstance(value, kind) or isinstance(value, bool):
        expected = "text" if kind is str else "a list" if kind is list else "a number"
        raise ManifestError(f"{place}: {key} is {value!r}; expected {expected}")
    return value
