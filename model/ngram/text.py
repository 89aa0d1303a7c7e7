"""The texts that an n-gram model is made from: files to sentences in normal form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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


def at_most(repeats: int, sentences: Iterable[str]) -> Iterator[str]:
    """The sentences, each at most so many times: a prompt read by hundreds is not common speech."""
    met: Counter[str] = Counter()
    for sentence in sentences:
        met[sentence] += 1
        if met[sentence] <= repeats:
            yield sentence
