"""The written form of speech: normalised text and the tokens a network emits.

Normal form is what a listener hears and nothing else: lower-case letters a to z, the
apostrophe inside words, single spaces, numbers in words. References, hypotheses and
language-model text all pass through `normalize`, so that error rates compare like with like.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from ossicle.data.numerals import speak_numerals

BLANK = "<blank>"
CHARACTERS: tuple[str, ...] = (" ", "'", *"abcdefghijklmnopqrstuvwxyz")
"""What normal text is made of, in token order."""

_SYMBOLS = {
    "&": " and ",
    "%": " percent ",
    "+": " plus ",
    "@": " at ",
    "=": " equals ",
    "°c": " degrees celsius ",
    "°f": " degrees fahrenheit ",
    "°": " degrees ",
}
# Letters that Unicode decomposition leaves whole.
_LETTERS = {
    **{"æ": "ae", "œ": "oe", "ø": "o", "ß": "ss", "ð": "th", "þ": "th", "ł": "l", "đ": "d"},
    **{"ı": "i", "ħ": "h", "ŋ": "ng"},
}
_APOSTROPHES = "\u2019\u2018\u201b\u02bc\u02bb\u00b4\u2032\uff07"
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_CHARACTERS: dict[str, str] = {
    **dict.fromkeys(_APOSTROPHES, "'"),
    **dict.fromkeys(_INVISIBLE + "\u2122\u2120", ""),
    **{"\u00b2": " squared ", "\u00b3": " cubed ", "\u2116": " number "},
}
_ABBREVIATIONS = {
    **{"mr": "mister", "mrs": "missus", "dr": "doctor", "prof": "professor", "st": "saint"},
    **{"capt": "captain", "lt": "lieutenant", "col": "colonel", "gen": "general"},
    **{"sgt": "sergeant", "rev": "reverend", "gov": "governor", "sen": "senator", "mt": "mount"},
    **{"jr": "junior", "sr": "senior", "vs": "versus", "etc": "et cetera", "ave": "avenue"},
    **{"blvd": "boulevard", "inc": "incorporated", "ltd": "limited", "dept": "department"},
}
_PLACES = {"st": "street", "dr": "drive"}  # where no name follows
_ABBREVIATION = re.compile(rf"\b({'|'.join(_ABBREVIATIONS)})\.(?=(\s*[a-z])?)")
_UNDOTTED = {"mr": "mister", "mrs": "missus", "dr": "doctor"}
_TITLE = re.compile(rf"(?<![a-z])(?<![a-z]')({'|'.join(_UNDOTTED)})(?!'?[a-z])")
_NUMBERED = re.compile(r"(?:\bno\.\s?|#)(?=\d)")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_OUTSIDE = re.compile(r"[^a-z' ]+")
# Texts for language models mostly are in normal form: to see that is twenty times as fast.
_NORMAL = re.compile(r"[a-z]+(?:'[a-z]+)*(?: [a-z]+(?:'[a-z]+)*)*")
# Quotation marks look like apostrophes. One that opens a word is kept only in front of a clipped
# word ('twas), one that closes a word only where speech drops or doubles a sound (boys', goin').
_QUOTED_WORD = re.compile(r"(?<![a-z])'(?!n')([a-z]+(?:'[a-z]+)*)'(?![a-z])")
_LOOSE_APOSTROPHE = re.compile(
    r"(?<![a-z])'(?!(?:tis|twas|twere|em|til|cause|n|round|bout)\b)|(?<![sno])'(?![a-z])|''+"
)


@lru_cache(1024)
def _plain(character: str) -> str:
    """What stands for a character that is not ASCII: letters without their accents, mostly."""
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c)
    )
    # "1½" is not eleven halves, nor "10⁴" a hundred and four.
    kind = unicodedata.decomposition(character).partition(" ")[0]
    apart = kind == "<fraction>" or (kind in ("<super>", "<sub>") and plain.isdecimal())
    return f" {plain} " if apart else plain


def _abbreviated(match: re.Match[str]) -> str:
    place = "" if match[2] else _PLACES.get(match[1], "")
    return f"{place or _ABBREVIATIONS[match[1]]} "


def normalize(text: str) -> str:
    """English text in normal form (see the module's docstring).

    Numbers, years, times, ordinals and amounts of money become words; accents are dropped;
    everything else that is not a letter or an apostrophe separates words.

    >>> normalize("Mr. O’Brien paid $3.50 at 7:05 — 100% naïve!")
    "mister o'brien paid three dollars fifty cents at seven oh five one hundred percent naive"
    """
    if _NORMAL.fullmatch(text) and not _TITLE.search(text):
        return text
    text = _NOT_ASCII.sub(lambda m: _plain(m[0]), text.replace("`", "'")).lower()
    text = text.replace("_", " ")  # of italics; to patterns it would be a letter
    text = text.replace("&c.", " et cetera ")
    text = _NUMBERED.sub(" number ", text)
    text = _ABBREVIATION.sub(_abbreviated, text)
    text = _TITLE.sub(lambda m: f" {_UNDOTTED[m[1]]} ", text)
    text = speak_numerals(text)
    for symbol, spoken in (*_SYMBOLS.items(), *_LETTERS.items()):
        text = text.replace(symbol, spoken)
    text = _OUTSIDE.sub(" ", text)
    text = _QUOTED_WORD.sub(r" \1 ", text)
    text = _LOOSE_APOSTROPHE.sub(" ", text)
    return " ".join(text.split())


class Tokenizer:
    """Characters to token numbers and back; token 0 is CTC's blank.

    Attributes:
        tokens: every token in order of its number, the blank first, (V,) strings.
    """

    def __init__(self, characters: Sequence[str] = CHARACTERS) -> None:
        self.tokens: tuple[str, ...] = (BLANK, *characters)
        self._numbers = {token: number for number, token in enumerate(self.tokens)}
        if len(self._numbers) != len(self.tokens):
            raise ValueError(f"tokens are not distinct: {self.tokens!r}")

    def encode(self, text: str) -> list[int]:
        """Token numbers of a normalised text.

        Raises:
            ValueError: naming the characters that are no token; `normalize` removes them.
        """
        unknown = sorted(set(text) - self._numbers.keys())
        if unknown:
            raise ValueError(
                f"no token for {''.join(unknown)!r} in {text[:60]!r}: normalize the text, or give "
                "the model such tokens"
            )
        return [self._numbers[character] for character in text]

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of token numbers; blanks are left out, repeats are kept."""
        return "".join(self.tokens[number] for number in numbers if number != 0)


FRAME_SAMPLES = 640
"""Samples at 16 kHz (40 ms) to an output frame of the network, which emits at most one token."""


def fits_in_frames(tokens: Sequence[object], frames: int) -> bool:
    """Whether CTC can emit `tokens` in so many output frames U.

    CTC needs a frame a token and a blank between equal neighbours
    (Graves et al. 2006, "Connectionist Temporal Classification", section 3).
    """
    repeats = sum(a == b for a, b in pairwise(tokens))
    return len(tokens) + repeats <= frames
