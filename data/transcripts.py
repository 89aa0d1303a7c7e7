"""Training data from transcripts: recordings cut into the utterances that were heard in them.

`ossicle transcribe --format json` writes what a model heard in recordings and how sure it was. What
it was sure of is worth training on: pseudo-labels (Kahn, Lee and Hannun 2020, "Self-training for
end-to-end speech recognition"). What a person has corrected is worth it anyway.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from ossicle.data.audio import stream_audio
from ossicle.data.augment import encode
from ossicle.data.corpora import Failure
from ossicle.data.formats import SAMPLE_RATE
from ossicle.data.manifest import Utterance, write_manifest
from ossicle.data.resampling import Samples
from ossicle.data.text import normalize

MANIFEST = "manifest.jsonl"

_MARGIN = 0.2
"""Seconds before and after the words of a cut that are kept, or half of the pause if it is less."""

_LEAST = 1.0
"""Seconds of words to leave on both sides of where long speech is cut, if that can be."""

_SAME_LENGTH = 0.5
"""Seconds by which a recording may be of another length than its transcript says."""


class TranscriptsError(Exception):
    """Nothing can be cut; the message says why."""


@dataclass(frozen=True)
class CutConfig:
    """What is cut.

    Attributes:
        confidence: share of a cut's words that are to be expected to be right, 0 to 1.
        longest: seconds of words in a cut; what is longer is cut at its longest pauses, unless it
            was corrected.
        source: what the manifest calls the corpus.
    """

    confidence: float = 0.8
    longest: float = 10.0
    source: str = "transcripts"

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence is {self.confidence}; it is a share, 0 to 1")
        if not self.longest > 0:
            raise ValueError(f"longest is {self.longest}; it must be more than 0 seconds")


@dataclass
class CutRecordings:
    """What became of the recordings.

    Attributes:
        utterances: that were cut, in the order of the transcripts.
        doubtful: how many others the model was not sure enough of.
        doubtful_seconds: of speech in those.
        failures: transcripts and parts of them that could not be used, and why.
    """

    utterances: list[Utterance] = field(default_factory=list)
    doubtful: int = 0
    doubtful_seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True)
class _Piece:
    """Words to be cut out of a recording; times in seconds from its start.

    Attributes:
        cut: from where to where, the silence around the words included.
    """

    text: str
    start: float
    end: float
    confidence: float
    corrected: bool = False
    cut: tuple[float, float] = (0.0, 0.0)


def find_transcripts(arguments: Sequence[Path]) -> list[Path]:
    """The transcripts that are named, and those at any depth of the folders that are.

    Raises:
        TranscriptsError: there are none in a folder, or no such file.
    """
    found: list[Path] = []
    for argument in arguments:
        if argument.is_dir():
            inside = sorted(path for path in argument.rglob("*.json") if path.is_file())
            if not inside:
                raise TranscriptsError(
                    f"no transcript is in {argument}: write them with ossicle transcribe "
                    f"--format json --output-dir {argument} RECORDINGS"
                )
            found += inside
        elif argument.is_file():
            found.append(argument)
        else:
            raise TranscriptsError(f"{argument} is not there: name transcripts or their folder")
    return list(dict.fromkeys(found))


def cut_transcripts(
    transcripts: Sequence[Path], folder: Path, config: CutConfig
) -> Iterator[CutRecordings]:
    """Cut recordings by their transcripts, and write a manifest once all are cut.

    An utterance whose text is not that of its words has been corrected: it is taken whole, however
    sure the model was of what it heard.

    Args:
        transcripts: JSON files of `ossicle transcribe`. The recording that each names is looked
            for beside the transcript, and where the name says; there first if it is absolute.
        folder: for the manifest and the cuts, empty or new; emptied if they are not finished.
        config: what is cut.

    Yields:
        After each transcript, what became of all so far.

    Raises:
        TranscriptsError: the folder holds something or cannot be written to.
    """
    result = CutRecordings()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise TranscriptsError(f"{folder} holds something: give a folder that is empty or new")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for number, transcript in enumerate(transcripts):
                _cut(transcript, folder / f"{number:05d}", config, result)
                yield result
            if result.utterances:
                write_manifest(folder / MANIFEST, result.utterances)
        except BaseException:
            # Without a manifest they are of no use, and in the way of the next attempt.
            for number in range(len(transcripts)):
                shutil.rmtree(folder / f"{number:05d}", ignore_errors=True)
            raise
    except OSError as error:
        raise TranscriptsError(f"cannot write to {folder}: {error.strerror}") from error


def _cut(transcript: Path, folder: Path, config: CutConfig, result: CutRecordings) -> None:
    try:
        recording, expected, pieces = _read(transcript, config)
        sure = [piece for piece in pieces if piece.confidence >= config.confidence]
        kept = [p for p in sure if p.corrected or p.end - p.start <= config.longest]
        utterances = []
        reader = _Reader(stream_audio(recording))
        for number, piece in enumerate(kept):
            samples = reader.stretch(*piece.cut)
            if not len(samples):
                break
            path = folder / f"{number:05d}.flac"
            _write(path, encode(samples, "flac", "flac", 0))
            seconds = len(samples) / SAMPLE_RATE
            utterances.append(Utterance(path, seconds, piece.text, source=config.source))
        length, end = reader.length(), max((piece.end for piece in kept), default=0.0)
        other = expected is not None and abs(length - expected) > _SAME_LENGTH
        if other or len(utterances) < len(kept) or end > length + _SAME_LENGTH:
            raise ValueError(f"{recording} has {length:.2f} s: it is another recording")
    except OSError as error:
        reason = f"cannot read {error.filename}: {error.strerror}"
        _give_up(transcript, folder, reason, result)
        return
    except ValueError as error:
        _give_up(transcript, folder, str(error), result)
        return
    result.utterances += utterances
    for piece in sure:
        if piece not in kept:
            place = f"{transcript}, {piece.start:.2f} s"
            reason = f"cannot be cut and is {piece.end - piece.start:.1f} s long: raise --longest"
            result.failures.append(Failure(place, reason))
    doubtful = [piece for piece in pieces if piece.confidence < config.confidence]
    result.doubtful += len(doubtful)
    result.doubtful_seconds += sum(piece.end - piece.start for piece in doubtful)


def _give_up(transcript: Path, folder: Path, reason: str, result: CutRecordings) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    result.failures.append(Failure(str(transcript), reason))


def _write(path: Path, audio: bytes) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(audio)
    except OSError as error:
        raise TranscriptsError(f"cannot write {path}: {error.strerror}") from error


class _Reader:
    """Parts of a recording, one after the other; no more than one is held.

    Args:
        blocks: of its samples.
    """

    def __init__(self, blocks: Iterator[Samples]) -> None:
        self._blocks = blocks
        self._held = np.zeros(0, np.float32)
        self._position = 0  # of the first sample that is held

    def stretch(self, start: float, end: float) -> Samples:
        """The samples from one second to another, which are behind those of the last call."""
        first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        while self._position + len(self._held) < last and self._next(first):
            pass
        return self._held[max(first - self._position, 0) : max(last - self._position, 0)]

    def length(self) -> float:
        """Seconds of the whole recording, which is read to its end."""
        while self._next(self._position + len(self._held)):
            pass
        return (self._position + len(self._held)) / SAMPLE_RATE

    def _next(self, first: int) -> bool:
        """Hold one block more and drop what comes before a sample; False if there is none."""
        block = next(self._blocks, None)
        if block is None:
            return False
        known = min(max(first - self._position, 0), len(self._held))
        self._held = np.concatenate([self._held[known:], block])
        self._position += known
        return True


def _read(transcript: Path, config: CutConfig) -> tuple[Path, float | None, list[_Piece]]:
    """What may be cut out of a recording.

    Returns:
        The recording, its seconds if the transcript tells, and its pieces in order.

    Raises:
        ValueError: it is no transcript, or its recording is not to be found.
        OSError: it cannot be read.
    """
    try:
        document = json.loads(transcript.read_text(encoding="utf-8"))
        name, seconds = str(document["file"]), document.get("duration")
        seconds = None if seconds is None else float(seconds)
        parts = [_pieces(segment, config.longest) for segment in document["segments"]]
        found = sorted(chain.from_iterable(parts), key=lambda piece: piece.start)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "this is no transcript as ossicle transcribe --format json writes it"
        ) from error
    if name == "-":
        raise ValueError("its recording was standard input: transcribe a file")
    ends = [0.0, *(piece.end for piece in found)]
    starts = [*(piece.start for piece in found[1:]), math.inf]
    pieces = []
    for piece, end_before, next_start in zip(found, ends, starts, strict=False):
        before = min(_MARGIN, max(piece.start - end_before, 0) / 2)
        after = min(_MARGIN, max(next_start - piece.end, 0) / 2)
        if piece.text:
            cut = (max(piece.start - before, 0.0), piece.end + after)
            pieces.append(replace(piece, cut=cut))
    named, beside = Path(name), transcript.parent / Path(name).name
    # What a relative name was relative to, nobody knows: here may be another of the same name.
    for path in (named, beside) if named.is_absolute() else (beside, named):
        if path.is_file():
            return Path(os.path.abspath(path)), seconds, pieces
    raise ValueError(f"its recording {name} is neither there nor beside the transcript")


def _pieces(segment: dict[str, Any], longest: float) -> list[_Piece]:
    words = segment["words"]
    text = normalize(segment["text"])
    if not words or text != normalize(" ".join(word["word"] for word in words)):
        return [_Piece(text, float(segment["start"]), float(segment["end"]), 1.0, corrected=True)]
    return [
        _Piece(
            normalize(" ".join(word["word"] for word in part)),
            float(part[0]["start"]),
            float(part[-1]["end"]),
            sum(float(word["confidence"]) for word in part) / len(part),
        )
        for part in _parts(words, longest)
    ]


def _parts(words: list[dict[str, Any]], longest: float) -> list[list[dict[str, Any]]]:
    """Words in parts that are not too long, cut at the longest pauses."""
    waiting, parts = [words], []
    while waiting:
        part = waiting.pop()
        if len(part) < 2 or part[-1]["end"] - part[0]["start"] <= longest:
            parts.append(part)
        else:
            at = _place_to_cut(part)
            waiting += [part[at:], part[:at]]
    return parts


def _place_to_cut(words: list[dict[str, Any]]) -> int:
    """The number of the word to cut before: after the longest pause, of several the middle one."""
    begin, end = words[0]["start"], words[-1]["end"]

    def pause(at: int) -> tuple[float, float]:
        before, after = words[at - 1]["end"], words[at]["start"]
        return round(after - before, 3), -abs(before + after - begin - end)

    places = range(1, len(words))
    inside = [
        at
        for at in places
        if words[at - 1]["end"] - begin >= _LEAST and end - words[at]["start"] >= _LEAST
    ]
    return max(inside or places, key=pause)
