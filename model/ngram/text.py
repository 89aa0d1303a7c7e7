"""The texts that an n-gram model is made from: files to sentences in normal form."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from ossicle.data.manifest import iterate_manifest
from ossicle.data.text import normalize
from ossicle.data.text_file import is_manifest, read_lines
from ossicle.model.ngram.file import NgramError


@dataclass(frozen=True)
class TextSource:
    """A text with a sentence a line, or the texts of a manifest; either may be `.gz` or `.xz`.

    Attributes:
        path: the file.
        sources: of a manifest, the sources to take utterances from; none: all.
    """

    path: Path
    sources: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str) -> TextSource:
        """A file's name, or `MANIFEST:SOURCE,SOURCE`.

        Raises:
            NgramError: there is no such file, or sources are asked of what is no manifest.
        """
        path, colon, sources = name, "", ""
        if not Path(name).exists():
            path, colon, sources = name.rpartition(":")
        if not colon:
            path = name
        if not Path(path).is_file():
            raise NgramError(f"there is no text {path}: give a file with a sentence a line")
        if colon and not is_manifest(Path(path)):
            raise NgramError(f"{name}: only of a manifest (.jsonl) can sources be chosen")
        return cls(Path(path), tuple(source for source in sources.split(",") if source))

    def __str__(self) -> str:
        chosen = f":{','.join(self.sources)}" if self.sources else ""
        return f"{self.path.name}{chosen}"

    def sentences(self) -> Iterator[str]:
        """The sentences in normal form; lines without a word are left out.

        Raises:
            TextFileError: the file cannot be read.
            ManifestError: the manifest cannot be read, or a line of it is not valid.
            NgramError: nothing is left, or the manifest lacks one of the sources.
        """
        empty = True
        for text in self._texts():
            if sentence := normalize(text):
                empty = False
                yield sentence
        if empty:
            raise NgramError(f"{self} holds no words")

    def _texts(self) -> Iterator[str]:
        if not is_manifest(self.path):
            yield from read_lines(self.path)
            return
        lacking = set(self.sources)
        for utterance in iterate_manifest(self.path):
            if not self.sources or utterance.source in self.sources:
                lacking.discard(utterance.source)
                yield utterance.text
        if lacking:
            raise NgramError(
                f"{self.path} has no utterance of the source {sorted(lacking)[0]!r}: "
                "leave it out or spell it as the manifest does"
            )


@dataclass(frozen=True)
class WordList:
    """Words and how often they are said, a word and a number a line; may be `.gz` or `.xz`.

    For words that are younger than the texts, or rarer.

    Attributes:
        path: the file.
    """

    path: Path

    def __str__(self) -> str:
        return self.path.name

    def frequencies(self) -> dict[str, float]:
        """The relative frequency of each word in normal form; they sum to 1.

        Raises:
            TextFileError: the file cannot be read.
            NgramError: a line is no word and a number above 0; or there are none.
        """
        counts: defaultdict[str, float] = defaultdict(float)
        for place, line in enumerate(read_lines(self.path), start=1):
            if not line.strip():
                continue
            word, count = _word_and_count(line)
            if not word or " " in word or not isfinite(count) or count <= 0:
                raise NgramError(
                    f"{self.path}, line {place}: {line[:40]!r} is not a word, a space and how "
                    "often it is said, a number above 0"
                )
            counts[word] += count
        if not counts:
            raise NgramError(f"{self} holds no words")
        total = sum(counts.values())
        return {word: count / total for word, count in counts.items()}


def _word_and_count(line: str) -> tuple[str, float]:
    """Of a line of a word list; an empty word if it is none."""
    try:
        word, count = line.split()
        return normalize(word), float(count)
    except ValueError:
        return "", 0.0


def at_most(repeats: int, sentences: Iterable[str]) -> Iterator[str]:
    """The sentences, each at most so many times: a prompt read by hundreds is not common speech."""
    met: Counter[str] = Counter()
    for sentence in sentences:
        met[sentence] += 1
        if met[sentence] <= repeats:
            yield sentence
