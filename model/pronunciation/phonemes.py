"""The phonemes of English, one character each, and how dictionaries write them.

The characters are those of the International Phonetic Alphabet, but for the five diphthongs, which
have a capital letter as in misaki, the pronouncer of Kokoro: A as in day, I as in time, O as in go,
W as in now, Y as in boy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ARPABET = {
    "AA": "ɑ",
    "B": "b",
    "D": "d",
    "EH": "ɛ",
    "F": "f",
    "G": "ɡ",
    "HH": "h",
    "IH": "ɪ",
    "JH": "ʤ",
    "K": "k",
    "L": "l",
    "M": "m",
    "N": "n",
    "AO": "ɔ",
    "P": "p",
    "R": "ɹ",
    "S": "s",
    "T": "t",
    "UH": "ʊ",
    "V": "v",
    "W": "w",
    "AX": "ə",
    "Y": "j",
    "Z": "z",
    "AE": "æ",
    "CH": "ʧ",
    "DH": "ð",
    "EY": "A",
    "IY": "i",
    "NG": "ŋ",
    "OW": "O",
    "AY": "I",
    "ER": "ɝ",
    "SH": "ʃ",
    "TH": "θ",
    "UW": "u",
    "AW": "W",
    "AH": "ʌ",
    "OY": "Y",
    "ZH": "ʒ",
}

PHONEMES: tuple[str, ...] = tuple(_ARPABET.values())
"""All 40, in the order of their tokens."""

_R_COLOURED = re.compile("[ʌə]ɹ")
_SIBILANTS = frozenset("szʃʒʧʤ")
_VOICELESS = frozenset("ptkfθ")

_MISAKI = {
    "ɜ": "ʌ",
    "ɚ": "ɝ",
    "ɐ": "ə",
    "ᵊ": "ə",
    "ᵻ": "ɪ",
    "ɾ": "t",
    "T": "t",
    "ʔ": "t",
    "a": "ɑ",
    "Q": "O",
    "e": "A",
    "g": "ɡ",
}


def from_arpabet(symbols: Sequence[str]) -> str:
    """A pronunciation of the CMU dictionary, such as ["N", "AY1", "T"].

    Stress is left out, but for what tells the vowel of "the" from that of "cut": AH0 from AH1.

    Raises:
        ValueError: naming a symbol that is none of ARPABET's.
    """
    pronunciation = []
    for symbol in symbols:
        phoneme = _ARPABET.get("AX" if symbol == "AH0" else symbol.rstrip("012"))
        if phoneme is None:
            raise ValueError(f"{symbol!r} is no phoneme of ARPABET")
        pronunciation.append(phoneme)
    return "".join(pronunciation)


def from_misaki(text: str) -> str:
    """A pronunciation as misaki and hibari write it; stress and all else is left out."""
    phonemes = [_MISAKI.get(c, c) for c in text]
    kept = "".join(c for c in phonemes if c in PHONEMES)
    # As the CMU dictionary has it: "around" is ɝWnd, "which" begins as "witch".
    return _R_COLOURED.sub("ɝ", kept.replace("ɹɹ", "ɹ").replace("hw", "w"))


def with_s(pronunciation: str) -> str:
    """What a pronunciation becomes with 's behind it."""
    last = pronunciation[-1]
    return pronunciation + ("ɪz" if last in _SIBILANTS else "s" if last in _VOICELESS else "z")
