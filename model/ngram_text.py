"""The texts that an n-gram model is made from: files to sentences in normal form."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ossicle.data.manifest import parse_utterance
from ossicle.data.text import normalize
from ossicle.data.text_file import is_manifest, read_lines
from ossicle.model.ngram_file import NgramError

# Text that `normalize` would return as it is; asking it a million times costs minutes.
_NORMAL = re.compile(r"[a-z]+(?:'[a-z]+)*(?: [a-z]+(?:'[a-z]+)*)*")


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
            ManifestError: a line of the manifest is not valid.
            NgramError: nothing is left.
        """
        empty = True
        for text in self._texts():
            normal = text if _NORMAL.fullmatch(text) else normalize(text)
            if normal:
                empty = False
                yield normal
        if empty:
            raise NgramError(f"{self} holds no words")

    def _texts(self) -> Iterator[str]:
        lines = read_lines(self.path)
        if not is_manifest(self.path):
            yield from lines
            return
        folder = self.path.absolute().parent
        for number, line in enumerate(lines, start=1):
            if line.strip():
                utterance = parse_utterance(line, folder, f"{self.path}:{number}")
                if not self.sources or utterance.source in self.sources:
                    yield utterance.text

    def digest(self) -> str:
        """SHA-256 of the file as it is, in hexadecimal."""
        with self.path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


def at_most(repeats: int, sentences: Iterable[str]) -> Iterator[str]:
    """The sentences, each at most so many times: a prompt read by hundreds is not common speech."""
    met: Counter[str] = Counter()
    for sentence in sentences:
        met[sentence] += 1
        if met[sentence] <= repeats:
            yield sentence


class Exclusion:
    """Sentences that must not be learnt: those of texts that models are judged by.

    A sentence is excluded if it shares so many words in a row with one of those, or all of its
    words if they are not too few to be anybody's own.
    """

    RUN_WORDS = 8
    SENTENCE_WORDS = 6
    _GRAM_WORDS = 5
    # Every run of 8 words holds a whole gram of 5 that starts at a multiple of 4 in its sentence:
    # where none of those is known, no run needs to be looked up.
    _STRIDE = RUN_WORDS - _GRAM_WORDS + 1

    def __init__(self, sentences: Iterable[str]) -> None:
        self.excluded = 0
        self._whole: set[str] = set()
        self._runs: set[str] = set()
        self._grams: set[str] = set()
        for sentence in sentences:
            words = sentence.split()
            if len(words) >= self.SENTENCE_WORDS:
                self._whole.add(sentence)
            self._runs.update(_pieces(words, self.RUN_WORDS))
            self._grams.update(_pieces(words, self._GRAM_WORDS))

    def filter(self, sentences: Iterable[str]) -> Iterator[str]:
        """The sentences that are not excluded; `excluded` counts the others."""
        for sentence in sentences:
            if self._excludes(sentence):
                self.excluded += 1
            else:
                yield sentence

    def _excludes(self, sentence: str) -> bool:
        if sentence in self._whole:
            return True
        words = sentence.split()
        return not self._grams.isdisjoint(
            _pieces(words, self._GRAM_WORDS, self._STRIDE)
        ) and not self._runs.isdisjoint(_pieces(words, self.RUN_WORDS))


def _pieces(words: list[str], length: int, stride: int = 1) -> Iterator[str]:
    for start in range(0, len(words) - length + 1, stride):
        yield " ".join(words[start : start + length])
