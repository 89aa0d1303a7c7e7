"""Readers of public speech corpora, as they are after unpacking.

Layouts are known by `torchaudio.datasets`, of which only the bookkeeping is used; nothing is
downloaded. Common Voice is read here: torchaudio takes its quotation marks for those of CSV, and
a sentence that begins with one for all the lines up to the next.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ossicle.data.duration import recording_seconds
from ossicle.data.folders import recordings_in
from ossicle.data.formats import AudioError
from ossicle.data.manifest import Utterance
from ossicle.data.text import normalize


class CorpusError(ValueError):
    """A corpus cannot be read at all; the message names what was looked for and the remedy."""


@dataclass(frozen=True)
class Entry:
    """A recording as its corpus describes it.

    Attributes:
        audio: Path of the recording.
        text: Its text as the corpus has it, not normalised.
        speaker: The corpus's own name of the speaker; empty if unknown.
    """

    audio: Path
    text: str
    speaker: str = ""


@dataclass(frozen=True)
class Failure:
    """A recording that could not be imported.

    Attributes:
        item: Which one.
        reason: Why.
    """

    item: str
    reason: str


@dataclass(frozen=True)
class Imported:
    """What an import brought.

    Attributes:
        utterances: With normalised text and true durations, in the corpus's order.
        failures: The rest, each with its reason.
    """

    utterances: list[Utterance]
    failures: list[Failure]


Reader = Callable[[Path, str], Iterator[Entry | Failure]]


@dataclass(frozen=True)
class Corpus:
    """A corpus that can be imported.

    Attributes:
        title: What it is, for help texts.
        subsets: What `subset` may be; empty if there is only one whole.
        read: Reads the entries of a folder and a subset, "" being the corpus's default.
    """

    title: str
    subsets: tuple[str, ...]
    read: Reader


def import_corpus(
    name: str,
    folder: Path,
    subset: str = "",
    progress: Callable[[int], None] | None = None,
) -> Imported:
    """Read a corpus: find its recordings, measure them and normalise their text.

    Args:
        name: A key of `CORPORA`.
        folder: Where the corpus was unpacked, or the folder above.
        subset: One of the corpus's subsets; "" for its default.
        progress: Called with the number of recordings done so far, after each.

    Raises:
        CorpusError: The corpus or subset is unknown, or is not in this folder.
    """
    corpus = CORPORA.get(name)
    if corpus is None:
        raise CorpusError(f"unknown corpus {name!r}; there are {', '.join(CORPORA)}")
    if subset and subset not in corpus.subsets:
        known = ", ".join(corpus.subsets) or "none"
        raise CorpusError(f"the corpus {name!r} has no subset {subset!r}; there are: {known}")
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder; give the one that holds {corpus.title}")
    imported = Imported([], [])
    # A link in the path to the corpus stays as it is: it is how the user names the place.
    for done, entry in enumerate(corpus.read(folder.absolute(), subset), start=1):
        if isinstance(entry, Entry):
            _measure(name, entry, imported)
        else:
            imported.failures.append(entry)
        if progress is not None:
            progress(done)
    if not imported.utterances and not imported.failures:
        raise CorpusError(f"{folder} does not hold {corpus.title}")
    return imported


def _measure(source: str, entry: Entry, imported: Imported) -> None:
    text = normalize(entry.text)
    if not text:
        reason = f"its text {entry.text!r} has no words"
        imported.failures.append(Failure(str(entry.audio), reason))
        return
    try:
        seconds = recording_seconds(entry.audio)
    except FileNotFoundError:
        imported.failures.append(Failure(str(entry.audio), "the file is missing"))
    except (AudioError, OSError) as error:
        imported.failures.append(Failure(str(entry.audio), str(error)))
    else:
        speaker = f"{source}/{entry.speaker}" if entry.speaker else ""
        imported.utterances.append(Utterance(entry.audio, seconds, text, speaker, source))


def _datasets() -> Any:
    try:
        import torchaudio.datasets
    except ImportError as error:
        raise CorpusError(
            "reading this corpus needs torchaudio; install it with: pip install 'ossicle[train]'"
        ) from error
    return torchaudio.datasets


def _read_librispeech(folder: Path, subset: str) -> Iterator[Entry | Failure]:
    datasets = _datasets()
    if folder.name in _LIBRISPEECH:  # given one subset's own folder
        folder, subset = folder.parent, subset or folder.name
    archive = folder / "LibriSpeech" if (folder / "LibriSpeech").is_dir() else folder
    subsets = [subset] if subset else [s for s in _LIBRISPEECH if (archive / s).is_dir()]
    if not subsets:
        raise CorpusError(f"{archive} has none of LibriSpeech's folders {', '.join(_LIBRISPEECH)}")
    for part in subsets:
        if not (archive / part).is_dir():
            raise CorpusError(f"{archive / part} is missing; unpack {part}.tar.gz there")
        if part in _MINI_LIBRISPEECH:
            yield from _read_chapters(archive / part)
            continue
        dataset = datasets.LIBRISPEECH(archive.parent, part, folder_in_archive=archive.name)
        for number in range(len(dataset)):
            try:
                audio, _, text, speaker, *_ = dataset.get_metadata(number)
            except (OSError, ValueError) as error:  # noqa: PERF203
                yield Failure(f"LibriSpeech {part}, recording {number}", str(error))
            else:
                yield Entry(archive / audio, text, str(speaker))


def _read_chapters(part: Path) -> Iterator[Entry | Failure]:
    """A part with LibriSpeech's layout that torchaudio refuses, because it does not know it."""
    for chapter in sorted(part.glob("*/*")):
        transcript = chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"
        try:
            lines = transcript.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            yield Failure(str(transcript), str(error))
            continue
        texts = dict(line.split(maxsplit=1) for line in lines if len(line.split()) > 1)
        for audio in sorted(chapter.glob("*.flac")):
            if audio.stem in texts:
                yield Entry(audio, texts[audio.stem], chapter.parent.name)
            else:
                yield Failure(str(audio), f"{transcript.name} has no text for it")


def _read_commonvoice(folder: Path, subset: str) -> Iterator[Entry | Failure]:
    table = folder / f"{subset or 'train'}.tsv"
    if not table.is_file():
        raise CorpusError(
            f"{table} is missing; give the language's folder of Common Voice, "
            "which holds train.tsv and clips"
        )
    try:
        with table.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    except (csv.Error, UnicodeDecodeError, ValueError) as error:
        raise CorpusError(f"{table} cannot be read as a table: {error}") from error
    missing = {"client_id", "path", "sentence"} - set(header)
    if missing:
        raise CorpusError(f"{table} lacks the columns {', '.join(sorted(missing))}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            yield Failure(f"{table}, row {number}", f"{len(row)} columns instead of {len(header)}")
            continue
        fields = dict(zip(header, row, strict=True))
        clip = folder / "clips" / fields["path"]
        if clip.suffix != ".mp3":
            clip = clip.with_name(f"{clip.name}.mp3")
        yield Entry(clip, fields["sentence"], fields["client_id"])


def _read_ljspeech(folder: Path, subset: str) -> Iterator[Entry | Failure]:
    datasets = _datasets()
    root = folder / "LJSpeech-1.1" if (folder / "LJSpeech-1.1").is_dir() else folder
    for needed in (root / "metadata.csv", root / "wavs"):
        if not needed.exists():
            raise CorpusError(f"{needed} is missing; give the folder LJSpeech-1.1")
    dataset = datasets.LJSPEECH(root.parent, url=f"{root.name}.tar.bz2")
    for number, row in enumerate(dataset._flist, start=1):
        if len(row) != 3:
            yield Failure(
                f"{root / 'metadata.csv'}, line {number}", f"{len(row)} columns instead of 3"
            )
        else:
            yield Entry(root / "wavs" / f"{row[0]}.wav", row[2], "lj")


def _read_speechcommands(folder: Path, subset: str) -> Iterator[Entry | Failure]:
    datasets = _datasets()
    root = next(
        (
            candidate
            for version in ("speech_commands_v0.02", "speech_commands_v0.01")
            for candidate in (folder / "SpeechCommands" / version, folder / version)
            if candidate.is_dir()
        ),
        folder,
    )
    for needed in ("validation_list.txt", "testing_list.txt"):
        if not (root / needed).is_file():
            raise CorpusError(
                f"{root / needed} is missing; give the folder that the Speech Commands archive "
                "is unpacked in"
            )
    dataset = datasets.SPEECHCOMMANDS(
        root.parent, url=f"{root.name}.tar.gz", folder_in_archive="", subset=subset or None
    )
    for number, path in enumerate(dataset._walker):
        try:
            audio, _, label, speaker, _ = dataset.get_metadata(number)
        except ValueError as error:  # noqa: PERF203
            yield Failure(str(path), f"its name is not SPEAKER_nohash_NUMBER.wav: {error}")
        else:
            yield Entry(root.parent / audio, label, speaker)


def _read_yesno(folder: Path, subset: str) -> Iterator[Entry | Failure]:
    datasets = _datasets()
    root = folder / "waves_yesno" if (folder / "waves_yesno").is_dir() else folder
    dataset = datasets.YESNO(root.parent, folder_in_archive=root.name)
    for name in dataset._walker:
        marks = name.split("_")
        if set(marks) <= {"0", "1"}:
            text = " ".join("yes" if mark == "1" else "no" for mark in marks)
            yield Entry(root / f"{name}.wav", text, "yesno")
        else:
            yield Failure(str(root / f"{name}.wav"), "its name is not of 0 and 1, as in 0_1_1.wav")


def _read_folder(folder: Path, subset: str) -> Iterator[Entry | Failure]:
    problems: list[OSError] = []
    for audio in sorted(recordings_in(folder, problems.append)):
        text = audio.with_suffix(".txt")
        try:
            yield Entry(audio, text.read_text(encoding="utf-8"))
        except FileNotFoundError:
            yield Failure(str(audio), f"there is no {text.name} beside it")
        except (OSError, UnicodeDecodeError) as error:
            yield Failure(str(audio), f"{text.name} cannot be read: {error}")
    for problem in problems:
        yield Failure(os.fspath(problem.filename), problem.strerror or str(problem))


_MINI_LIBRISPEECH = ("train-clean-5", "dev-clean-2")
_LIBRISPEECH = (
    *_MINI_LIBRISPEECH,
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
)
_COMMONVOICE = ("train", "dev", "test", "validated", "invalidated", "other")

CORPORA: dict[str, Corpus] = {
    "librispeech": Corpus("LibriSpeech", _LIBRISPEECH, _read_librispeech),
    "commonvoice": Corpus("Common Voice", _COMMONVOICE, _read_commonvoice),
    "ljspeech": Corpus("LJSpeech", (), _read_ljspeech),
    "speechcommands": Corpus(
        "Speech Commands", ("training", "validation", "testing"), _read_speechcommands
    ),
    # Hebrew speakers saying yes and no: the usual smallest corpus to try a recipe on.
    "yesno": Corpus("YesNo", (), _read_yesno),
    "folder": Corpus("audio files with a .txt beside each", (), _read_folder),
}
"""The corpora by the name one types."""
