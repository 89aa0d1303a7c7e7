"""Making a pronouncing dictionary: what a published one says, and for the rest a pronouncer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ossicle.data import onnx_telemetry
from ossicle.model.pronunciation.dictionary import DictionaryError
from ossicle.model.pronunciation.phonemes import from_arpabet, from_misaki, with_s

_UNSTRESSED = {"a": from_arpabet(["AH0"]), "the": from_arpabet(["DH", "AH0"])}
"""Words that dictionaries give as they are said alone, which they hardly ever are."""

_WORD = re.compile(r"'?[a-z]+(?:'[a-z]+)*'?")


def read_cmudict(path: Path) -> dict[str, str]:
    """The first pronunciations of the CMU Pronouncing Dictionary, `cmudict.dict`.

    Raises:
        DictionaryError: there is no such file, or a line of it is no pronunciation.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DictionaryError(f"cannot read the dictionary {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DictionaryError(f"the dictionary {path} is not UTF-8 text: {error}") from error
    known: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        word, _, symbols = line.partition("#")[0].strip().partition(" ")
        if not _WORD.fullmatch(word):
            continue  # comments, other pronunciations, "word(2)", and abbreviations
        try:
            known[word] = from_arpabet(symbols.split())
            if not known[word]:
                raise ValueError(f"{word!r} has no phonemes")
        except ValueError as error:
            raise DictionaryError(f"{path}, line {number}: {error}") from error
    if not known:
        raise DictionaryError(f"{path} has no words: give cmudict.dict")
    return known | _UNSTRESSED


def pronouncer() -> Callable[[str], str]:
    """What pronounces any word, by rules and a network; "" if it cannot.

    Raises:
        DictionaryError: its package is not installed.
    """
    onnx_telemetry.switch_off()  # its network runs in ONNX Runtime
    try:
        from hibari.g2p import G2P
    except ImportError as error:
        raise DictionaryError(
            "words that the dictionary lacks are pronounced by hibari-tts: "
            "pip install 'ossicle[tts]'"
        ) from error
    pronounce = G2P()
    return lambda word: from_misaki(pronounce(word))


def make_dictionary(
    words: Iterable[str], known: dict[str, str], pronounce: Callable[[str], str]
) -> dict[str, str]:
    """Pronunciations of words in normal form, and of all that are `known`.

    Args:
        pronounce: gives those of words that are not known, nor forms of known ones (cat's, cats',
            talkin'); a word for which it gives "" is left out.
    """
    made = dict(known)
    for word in set(words) - known.keys():
        if sound := _form_of_known(word, known) or pronounce(word):
            made[word] = sound
    return made


def _form_of_known(word: str, known: dict[str, str]) -> str:
    if word.endswith("'s") and (stem := known.get(word[:-2])):
        return with_s(stem)
    if word.endswith("s'"):
        return known.get(word[:-1], "")
    if word.endswith("in'"):
        whole = known.get(f"{word[:-1]}g", "")
        return f"{whole[:-1]}n" if whole.endswith("ŋ") else ""
    return ""
