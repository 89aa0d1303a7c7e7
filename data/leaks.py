"""Leaks: what is in training data and in validation data, too.

A model that has met the speakers or the sentences it is judged by looks better than it is. Four
things count as a leak into training:

- a recording of the validation data;
- a speaker of the validation data, by name;
- a whole sentence of the validation data, in normal form, if it has at least
  `LeakRules.sentence_words` words: shorter ones ("two", "i don't know") belong to the language;
- `LeakRules.run_words` words in a row of a sentence of the validation data.

Text for language models is searched for sentences and words in a row.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from ossicle.data.manifest import Utterance, parse_utterance
from ossicle.data.shared_text import RUN_WORDS, SENTENCE_WORDS, SentenceIndex
from ossicle.data.text import normalize
from ossicle.data.text_file import TextFileError, is_manifest, read_lines

PROGRESS_LINES = 10_000
"""Lines between two reports of progress."""


class LeakError(ValueError):
    """Training data hold something of the validation data; the message gives examples."""


class LeakKind(str, Enum):
    """Kinds of leaks, in words for the report."""

    RECORDING = "recording"
    SPEAKER = "speaker"
    SENTENCE = "sentence"
    RUN = "words in a row"


@dataclass(frozen=True)
class LeakRules:
    """What counts as a leak, and which leaks are known and accepted.

    Accepted leaks are still found and reported, as accepted.

    Attributes:
        sentence_words: a shared sentence of so many words or more is a leak.
        run_words: so many words in a row shared by two sentences are a leak.
        shared_speakers: speakers that are meant to be in training and in validation.
        shared_sources: sources of validation utterances whose sentences are meant to be in
            training, too, such as prompts that everybody reads.
    """

    sentence_words: int = SENTENCE_WORDS
    run_words: int = RUN_WORDS
    shared_speakers: tuple[str, ...] = ()
    shared_sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (
            ("sentence_words", self.sentence_words),
            ("run_words", self.run_words),
        ):
            if value < 1:
                raise ValueError(f"{name} is {value}: at least 1 word must be shared")


@dataclass(frozen=True)
class Place:
    """A line of a file, counted from 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Leak:
    """One speaker, recording or sentence of the validation data that training data hold.

    Attributes:
        shared: its name, or the words shared.
        validation: where it is first in the validation data.
        training: where it is first in the training data.
        count: lines of the training data that hold it.
        accepted: whether the rules expect it.
    """

    kind: LeakKind
    shared: str
    validation: Place
    training: Place
    count: int
    accepted: bool

    def __str__(self) -> str:
        more = f" and {_lines(self.count - 1)} more" if self.count > 1 else ""
        return f"{self.kind.value} {self.shared!r} of {self.validation} is in {self.training}{more}"


@dataclass(frozen=True)
class LeakReport:
    """What a search found, and how much it looked at.

    Attributes:
        leaks: those that the rules do not accept.
        accepted: those that they do.
        sentences: distinct sentences of the validation data.
        short: how many of them are too short for either rule, and so were not searched for.
        speakers: distinct speakers of the validation data.
        unnamed: utterances on either side without a speaker, about whom nothing can be said.
        lines: lines of training data searched.
    """

    leaks: list[Leak]
    accepted: list[Leak]
    sentences: int
    short: int
    speakers: int
    unnamed: int
    lines: int

    def message(self, examples: int = 5) -> str:
        """How many leaks of each kind there are, some examples, and the remedy, in lines."""
        counts = Counter(leak.kind for leak in self.leaks)
        lines = [f"the training data hold {_kinds(self.leaks)} of the validation data"]
        for kind, count in counts.items():
            of_kind = [leak for leak in self.leaks if leak.kind is kind]
            lines += [f"  {leak}" for leak in of_kind[:examples]]
            if count > examples:
                lines.append(f"  and {_of_kind(count - examples, kind)} more")
        lines.append(
            "take them out of the training data, or name what is meant to be shared: "
            "shared_speakers, shared_sources"
        )
        return "\n".join(lines)

    def summary(self) -> str:
        """One line on what was searched and found."""
        accepted = f"; accepted: {_kinds(self.accepted)}" if self.accepted else ""
        of_nobody = f"{self.unnamed} utterance{'' if self.unnamed == 1 else 's'} without a speaker"
        unnamed = f"; {of_nobody}, who may be anybody" if self.unnamed else ""
        return (
            f"{_lines(self.lines)} of training data searched for {self.sentences} sentences and "
            f"{self.speakers} speakers: {_kinds(self.leaks)}{accepted}{unnamed}"
        )


def find_leaks(
    training: Sequence[Path],
    validation: Sequence[Path],
    rules: LeakRules | None = None,
    progress: Callable[[int], None] | None = None,
    left_out: Mapping[Path, Container[str]] | None = None,
) -> LeakReport:
    """Search training data for speakers, recordings and sentences of validation data.

    The validation data are held in memory, the training data are read line by line.

    Args:
        training: manifests and text with a sentence a line, each also `.gz` or `.xz`.
        validation: manifests.
        rules: what counts as a leak; None is `LeakRules()`.
        progress: called with the number of lines searched so far, now and then.
        left_out: sources of a training manifest whose utterances are not trained on.

    Raises:
        ManifestError: a line of a manifest is not valid.
        TextFileError: a file cannot be read.
    """
    rules = rules or LeakRules()
    known = _Known(SentenceIndex(rules.sentence_words, rules.run_words))
    for place, utterance in _utterances(validation):
        known.add(place, utterance)
    search = _Search(known)
    lines = 0
    of_speech = {file for file in training if is_manifest(file)}
    for place, line in _lines_of(training):
        if place.file in of_speech:
            utterance = _parse(place, line)
            if left_out and utterance.source in left_out.get(place.file, ()):
                continue
            search.utterance(place, utterance)
        else:
            if line.startswith("{") and not place.file.is_file():
                raise TextFileError(
                    f"{place.file} brings a manifest but is no file, of which that could be told; "
                    "give a file"
                )
            search.text(place, line)
        lines += 1
        if progress is not None and lines % PROGRESS_LINES == 0:
            progress(lines)
    found = list(search.leaks(rules))
    return LeakReport(
        leaks=[leak for leak in found if not leak.accepted],
        accepted=[leak for leak in found if leak.accepted],
        sentences=len(known.places),
        short=sum(
            len(words) < min(rules.sentence_words, rules.run_words)
            for words in known.sentences.sentences
        ),
        speakers=len(known.speakers),
        unnamed=known.unnamed + search.unnamed,
        lines=lines,
    )


@dataclass
class _Known:
    """The validation data, indexed for the search."""

    sentences: SentenceIndex
    places: list[Place] = field(default_factory=list)  # of each sentence
    sources: list[set[str]] = field(default_factory=list)  # of each sentence
    recordings: dict[Path, Place] = field(default_factory=dict)
    speakers: dict[str, Place] = field(default_factory=dict)
    unnamed: int = 0

    def add(self, place: Place, utterance: Utterance) -> None:
        self.recordings.setdefault(_true_path(utterance), place)
        if utterance.speaker:
            self.speakers.setdefault(utterance.speaker, place)
        else:
            self.unnamed += 1
        if self.sentences.add(utterance.text):
            self.places.append(place)
            self.sources.append({utterance.source})
        elif (number := self.sentences.number(utterance.text)) is not None:
            self.sources[number].add(utterance.source)


@dataclass
class _Hits:
    """Where one thing was found in training data."""

    training: Place
    shared: str
    count: int = 0


class _Search:
    """Looks for what is known in training data, a line at a time."""

    def __init__(self, known: _Known) -> None:
        self._known = known
        self._recordings: dict[Path, _Hits] = {}
        self._speakers: dict[str, _Hits] = {}
        self._sentences: dict[tuple[int, LeakKind], _Hits] = {}
        self.unnamed = 0

    def utterance(self, place: Place, utterance: Utterance) -> None:
        audio, speaker = _true_path(utterance), utterance.speaker
        if audio in self._known.recordings:
            self._recordings.setdefault(audio, _Hits(place, str(audio))).count += 1
        if speaker in self._known.speakers:
            self._speakers.setdefault(speaker, _Hits(place, speaker)).count += 1
        self.unnamed += not speaker
        self.text(place, utterance.text)

    def text(self, place: Place, text: str) -> None:
        text = normalize(text)
        whole = self._known.sentences.whole(text)
        if whole is not None:
            key = (whole, LeakKind.SENTENCE)
            self._sentences.setdefault(key, _Hits(place, text)).count += 1
        for number, run in self._known.sentences.runs(text).items():
            if number != whole:
                key = (number, LeakKind.RUN)
                self._sentences.setdefault(key, _Hits(place, " ".join(run))).count += 1

    def leaks(self, rules: LeakRules) -> Iterator[Leak]:
        known = self._known
        for audio, hits in self._recordings.items():
            yield _leak(LeakKind.RECORDING, known.recordings[audio], hits, False)
        for speaker, hits in self._speakers.items():
            accepted = speaker in rules.shared_speakers
            yield _leak(LeakKind.SPEAKER, known.speakers[speaker], hits, accepted)
        for (number, kind), hits in self._sentences.items():
            accepted = known.sources[number].issubset(rules.shared_sources)
            yield _leak(kind, known.places[number], hits, accepted)


def _true_path(utterance: Utterance) -> Path:
    """A recording's path without links: one recording may have several names."""
    return Path(os.path.realpath(utterance.audio_filepath))


def _leak(kind: LeakKind, validation: Place, hits: _Hits, accepted: bool) -> Leak:
    return Leak(kind, hits.shared, validation, hits.training, hits.count, accepted)


def _lines_of(files: Iterable[Path]) -> Iterator[tuple[Place, str]]:
    for file in files:
        for number, line in enumerate(read_lines(file), start=1):
            if line.strip():
                yield Place(file, number), line


def _utterances(manifests: Iterable[Path]) -> Iterator[tuple[Place, Utterance]]:
    for place, line in _lines_of(manifests):
        yield place, _parse(place, line)


def _parse(place: Place, line: str) -> Utterance:
    return parse_utterance(line, place.file.absolute().parent, str(place))


def _lines(count: int) -> str:
    return f"{count} {'line' if count == 1 else 'lines'}"


def _of_kind(count: int, kind: LeakKind) -> str:
    if kind is LeakKind.RUN:
        return f"{count} {'run' if count == 1 else 'runs'} of {kind.value}"
    return f"{count} {kind.value}{'' if count == 1 else 's'}"


def _kinds(leaks: Sequence[Leak]) -> str:
    counts = Counter(leak.kind for leak in leaks)
    return ", ".join(_of_kind(count, kind) for kind, count in counts.items()) or "no leak"
