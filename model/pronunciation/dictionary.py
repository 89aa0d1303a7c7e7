"""The pronouncing dictionary of a model whose tokens are phonemes: one pronunciation for a word.

One, and not all that there are: it is a spelling by sound, which the network learns as it would
learn letters. What a speaker says instead ("gonna", a dropped h) it learns to hear as that.

The file is text in UTF-8, packed with gzip: a line for each word, the word, a space and its
pronunciation. Of words that sound alike the commonest comes first.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ossicle.model.pronunciation.graphones import Graphones
from ossicle.model.pronunciation.phonemes import PHONEMES

DICTIONARY = "pronunciations.txt.gz"
GRAPHONES = "graphones.ngram"


class DictionaryError(ValueError):
    """A pronouncing dictionary that cannot be used; the message names the file and the reason."""


class Pronunciations:
    """How words sound, and which word a sound is.

    Args:
        known: words in normal form and their pronunciations in `PHONEMES`.
        graphones: guess what is not known.
    """

    def __init__(self, known: Mapping[str, str], graphones: Graphones) -> None:
        self._known = dict(known)
        self._words = {sound: word for word, sound in reversed(self._known.items())}
        self._graphones = graphones

    @classmethod
    def load(cls, folder: Path) -> Pronunciations:
        """Read the dictionary and the guesser of a model folder.

        Raises:
            DictionaryError: one of the two is missing or damaged.
        """
        path = folder / GRAPHONES
        if not path.is_file():
            raise DictionaryError(
                f"there is no {path}: copy it with {DICTIONARY} from the model that yours began as"
            )
        try:
            graphones = Graphones.load(path)
        except ValueError as error:
            raise DictionaryError(str(error)) from error
        if lacking := "".join(sorted(set(PHONEMES).difference(graphones.phonemes))):
            raise DictionaryError(
                f"{path} has no graphone for {', '.join(lacking)}: make it from more words, with "
                "`ossicle dictionary make`"
            )
        return cls(read_dictionary(folder / DICTIONARY), graphones)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, word: str) -> bool:
        return word in self._known

    def pronounce(self, word: str) -> str:
        """The pronunciation of a word in normal form, guessed if the dictionary lacks it."""
        return self._known.get(word) or self._graphones.pronounce(word)

    def pronounce_text(self, text: str) -> str:
        """The pronunciations of the words of a text in normal form, a space between them."""
        return " ".join(self.pronounce(word) for word in text.split())

    def spell(self, pronunciation: str) -> str:
        """A word that sounds so: of the dictionary's the first, else a guess."""
        return self._words.get(pronunciation) or self._graphones.spell(pronunciation)


def read_dictionary(path: Path) -> dict[str, str]:
    """The pronunciations of a file.

    Raises:
        DictionaryError: there is no such file, or it is damaged; names the line.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError as error:
        raise DictionaryError(
            f"there is no {path}: a model of phonemes needs a pronouncing dictionary; make one "
            "with `ossicle dictionary make`"
        ) from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DictionaryError(f"{path} is no pronouncing dictionary: {error}") from error
    known = {}
    for number, line in enumerate(lines, 1):
        word, _, pronunciation = line.partition(" ")
        known[word] = pronunciation
        if not word or not pronunciation:
            raise DictionaryError(
                f"{path}, line {number}: {line[:40]!r} is not a word, a space and its pronunciation"
            )
    if strange := set().union(*known.values()).difference(PHONEMES):
        raise DictionaryError(
            f"{path} has {', '.join(map(repr, sorted(strange)))}: the phonemes are "
            f"{''.join(PHONEMES)}"
        )
    return known


def copy_dictionary(source: Path, folder: Path) -> None:
    """Put the dictionary and the guesser of one folder into another, which may be the same.

    Raises:
        DictionaryError: one of the two is missing.
        OSError: they cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (DICTIONARY, GRAPHONES):
        if not (source / name).is_file():
            raise DictionaryError(
                f"there is no {source / name}: copy there the one that the network was taught by"
            )
        if source.resolve() != folder.resolve():
            (folder / name).write_bytes((source / name).read_bytes())


def write_dictionary(known: Mapping[str, str], said: Mapping[str, int], path: Path) -> None:
    """Write a file that `read_dictionary` reads; the same words make the same bytes.

    Args:
        known: words and their pronunciations.
        said: how often words are said; none is 0 times.
        path: the file.
    """
    commonest: dict[str, int] = {}
    for word, sound in known.items():
        commonest[sound] = max(commonest.get(sound, 0), said.get(word, 0))

    def place(word: str) -> tuple[bool, str]:
        # The others stand behind all that are the commonest, both sorted to pack well.
        return said.get(word, 0) < commonest[known[word]], word

    lines: Iterable[str] = (f"{word} {known[word]}\n" for word in sorted(known, key=place))
    path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
