"""Training data from transcripts: recordings cut into the utterances that were heard in them.

`ossicle transcribe --format json` writes what a model heard in recordings and how sure it was. What
it was sure of is worth training on: pseudo-labels (Kahn, Lee and Hannun 2020, "Self-training for
end-to-end speech recognition"). What a person has corrected is worth it anyway.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ossicle.data.audio import stream_audio
from ossicle.data.augment import encode
from ossicle.data.corpora import Failure
from ossicle.data.formats import SAMPLE_RATE, AudioError
from ossicle.data.manifest import Utterance, write_manifest
from ossicle.data.resampling import Samples
from ossicle.data.text import normalize

MANIFEST = "manifest.jsonl"

_MARGIN = 0.2
"""Seconds before and after the words of a cut that are kept, or half of the pause if it is less."""


class TranscriptsError(ValueError):
    """Nothing can be cut; the message says why."""


@dataclass(frozen=True)
class CutConfig:
    """What is cut.

    Attributes:
        confidence: share of a cut's words that are to be expected to be right, 0 to 1.
        longest: seconds of words in a cut; what is longer is cut at its longest pauses.
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
    """Words to be cut out of a recording; times in seconds from its start."""

    text: str
    start: float
    end: float
    confidence: float


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
            for where the name says, and beside the transcript.
        folder: for the manifest and the cuts, empty or new.
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
        for number, transcript in enumerate(transcripts):
            _cut(transcript, folder / f"{number:05d}", config, result)
            yield result
        if result.utterances:
            write_manifest(folder / MANIFEST, result.utterances)
    except OSError as error:
        raise TranscriptsError(f"cannot write to {folder}: {error.strerror}") from error


def _cut(transcript: Path, folder: Path, config: CutConfig, result: CutRecordings) -> None:
    try:
        recording, pieces, failures = _read(transcript, config)
        result.failures += failures
        sure = [piece for piece, _ in pieces if piece.confidence >= config.confidence]
        doubtful = [piece for piece, _ in pieces if piece.confidence < config.confidence]
        spans = [span for piece, span in pieces if piece.confidence >= config.confidence]
        for number, (piece, samples) in enumerate(
            zip(sure, _stretches(recording, spans), strict=True)
        ):
            if not len(samples):
                raise ValueError(f"{recording} ends before {piece.start:.2f} s: it is another one")
            path = folder / f"{number:05d}.flac"
            _write(path, encode(samples, "flac", "flac", 0))
            seconds = len(samples) / SAMPLE_RATE
            result.utterances.append(Utterance(path, seconds, piece.text, source=config.source))
        result.doubtful += len(doubtful)
        result.doubtful_seconds += sum(piece.end - piece.start for piece in doubtful)
    except TranscriptsError:
        raise
    except ValueError as error:
        result.failures.append(Failure(str(transcript), str(error)))
    except OSError as error:
        reason = f"cannot read {error.filename}: {error.strerror}"
        result.failures.append(Failure(str(transcript), reason))


def _write(path: Path, audio: bytes) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(audio)
    except OSError as error:
        raise TranscriptsError(f"cannot write {path}: {error.strerror}") from error


def _stretches(recording: Path, spans: Sequence[tuple[float, float]]) -> Iterator[Samples]:
    """Parts of a recording, of which no more than one is held; where it ends before, none.

    Args:
        spans: their starts and ends in seconds, rising.

    Raises:
        AudioError: it is not audio that can be decoded; names it.
        OSError: it cannot be read.
    """
    blocks = stream_audio(recording)
    held, position = np.zeros(0, np.float32), 0
    for start, end in spans:
        first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        while position + len(held) < last:
            try:
                block = next(blocks, None)
            except AudioError as error:
                raise AudioError(f"{recording}: {error}") from error
            if block is None:
                break
            known = min(max(first - position, 0), len(held))
            held, position = np.concatenate([held[known:], block]), position + known
        yield held[max(first - position, 0) : max(last - position, 0)]


def _read(
    transcript: Path, config: CutConfig
) -> tuple[Path, list[tuple[_Piece, tuple[float, float]]], list[Failure]]:
    """What is to be cut out of a recording, and what is not and why.

    Returns:
        The recording, its pieces with the seconds where they are to be cut, and failures.

    Raises:
        ValueError: it is no transcript, or its recording is not to be found.
        OSError: it cannot be read.
    """
    try:
        document = json.loads(transcript.read_text(encoding="utf-8"))
        name = str(document["file"])
        found = [
            piece
            for segment in document["segments"]
            for piece in _pieces(segment, config.longest)
            if piece.text
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "this is no transcript as ossicle transcribe --format json writes it"
        ) from error
    if name == "-":
        raise ValueError("its recording was standard input: transcribe a file")
    ends = [0.0, *(piece.end for piece in found)]
    starts = [*(piece.start for piece in found[1:]), math.inf]
    pieces, failures = [], []
    for piece, end_before, next_start in zip(found, ends, starts, strict=False):
        if piece.end - piece.start > config.longest:
            place = f"{transcript}, {piece.start:.2f} s"
            reason = f"cannot be cut and is {piece.end - piece.start:.1f} s long: raise --longest"
            failures.append(Failure(place, reason))
            continue
        before = min(_MARGIN, max(piece.start - end_before, 0) / 2)
        after = min(_MARGIN, max(next_start - piece.end, 0) / 2)
        pieces.append((piece, (max(piece.start - before, 0.0), piece.end + after)))
    for path in (Path(name), transcript.parent / Path(name).name):
        if path.is_file():
            return Path(os.path.abspath(path)), pieces, failures
    raise ValueError(f"its recording {name} is neither there nor beside the transcript")


def _pieces(segment: dict[str, Any], longest: float) -> list[_Piece]:
    words = segment["words"]
    text = normalize(segment["text"])
    if not words or text != normalize(" ".join(word["word"] for word in words)):
        return [_Piece(text, float(segment["start"]), float(segment["end"]), 1.0)]
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
    if len(words) < 2 or words[-1]["end"] - words[0]["start"] <= longest:
        return [words]
    pauses = [after["start"] - before["end"] for before, after in pairwise(words)]
    at = int(np.argmax(pauses)) + 1
    return [*_parts(words[:at], longest), *_parts(words[at:], longest)]
