"""The written form of speech: normalised text and the tokens a network emits.

Normal form is what a listener hears and nothing else: lower-case letters a to z, the
apostrophe inside words, single spaces, numbers in words. References, hypotheses and
language-model text all pass through `normalize`, so that error rates compare like with like.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

BLANK = "<blank>"
CHARACTERS: tuple[str, ...] = (" ", "'", *"abcdefghijklmnopqrstuvwxyz")
"""What normal text is made of, in token order."""

_LONGEST_NUMBER = 15
"""Digits of the largest number that is spoken as one: hundreds of trillions."""

_SYMBOLS = {
    "&": " and ",
    "%": " percent ",
    "+": " plus ",
    "@": " at ",
    "=": " equals ",
    "°": " degrees ",
}
# Letters that Unicode decomposition leaves whole.
_LETTERS = {"æ": "ae", "œ": "oe", "ø": "o", "ß": "ss", "ð": "th", "þ": "th", "ł": "l", "đ": "d"}
_ABBREVIATIONS = {
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "st": "saint",
    "prof": "professor",
    "jr": "junior",
    "sr": "senior",
    "vs": "versus",
    "etc": "et cetera",
}
_CURRENCY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}

_MONEY = re.compile(
    r"([$£€])\s?(\d[\d,]*)(?:\.(\d+))?(?:\s(hundred|thousand|million|billion|trillion)\b)?"
)
_TIME = re.compile(r"\b(\d{1,2}):(\d\d)\b")
_ORDINAL = re.compile(r"\b(\d[\d,]*)(st|nd|rd|th)\b")
_YEAR = re.compile(r"\b(1[1-9]\d\d|20[1-9]\d)\b(?![,.]?\d)")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_ABBREVIATION = re.compile(r"\b(" + "|".join(_ABBREVIATIONS) + r")\.(?=\s|$)")
_OUTSIDE = re.compile(r"[^a-z' ]+")
# Texts for language models mostly are in normal form: to see that is twenty times as fast.
_NORMAL = re.compile(r"[a-z]+(?:'[a-z]+)*(?: [a-z]+(?:'[a-z]+)*)*")
# Quotation marks look like apostrophes. One that opens a word is kept only in front of a clipped
# word ('twas), one that closes a word only where speech drops or doubles a sound (boys', goin').
_LOOSE_APOSTROPHE = re.compile(
    r"(?<![a-z])'(?!(?:tis|twas|twere|em|til|cause|n|round|bout)\b)|(?<![sno])'(?![a-z])|''+"
)


@cache
def _inflect():  # type: ignore[no-untyped-def]
    # Loading takes tens of milliseconds; most programs that import this never need it.
    import inflect

    return inflect.engine()


def _cardinal(digits: str) -> str:
    """'1,204' -> 'one thousand two hundred and four' -> without 'and'."""
    plain = digits.replace(",", "")
    # Spoken one by one: 007, and what has no name because it is too large.
    if len(plain) > _LONGEST_NUMBER or (len(plain) > 1 and plain.startswith("0")):
        return " ".join(_cardinal(digit) for digit in plain)
    return str(_inflect().number_to_words(plain, andword="", comma=""))


def _decimal(whole: str, fraction: str) -> str:
    if not fraction:
        return _cardinal(whole)
    return f"{_cardinal(whole)} point {' '.join(_cardinal(digit) for digit in fraction)}"


def _year(match: re.Match[str]) -> str:
    high, low = divmod(int(match[1]), 100)
    if low == 0:
        return f"{_cardinal(str(high))} hundred"
    tail = _cardinal(str(low)) if low > 9 else f"oh {_cardinal(str(low))}"
    return f"{_cardinal(str(high))} {tail}"


def _money(match: re.Match[str]) -> str:
    unit, part = _CURRENCY[match[1]]
    whole, fraction, scale = match[2].replace(",", ""), match[3] or "", match[4] or ""
    if scale or len(fraction) not in (0, 2):  # 1.5 million dollars, but 1 dollar 50 cents
        return f" {_decimal(whole, fraction)} {scale} {unit}s "
    spoken = f" {_cardinal(whole)} {unit}{'' if whole == '1' else 's'} "
    if fraction.strip("0"):
        cents = fraction.lstrip("0")
        plural = {"cent": "cents", "penny": "pence"}[part]
        spoken += f"{_cardinal(cents)} {part if cents == '1' else plural} "
    return spoken


def _time(match: re.Match[str]) -> str:
    hour, minute = match[1], match[2]
    if minute == "00":
        return f"{_cardinal(hour)} o'clock"
    tail = f"oh {_cardinal(minute[1])}" if minute[0] == "0" else _cardinal(minute)
    return f"{_cardinal(hour)} {tail}"


def _number(match: re.Match[str]) -> str:
    whole, _, fraction = match[0].partition(".")
    return f" {_decimal(whole, fraction)} "


def normalize(text: str) -> str:
    """English text in normal form (see the module's docstring).

    Numbers, years, times, ordinals and amounts of money become words; accents are dropped;
    everything else that is not a letter or an apostrophe separates words.

    >>> normalize("Mr. O’Brien paid $3.50 at 7:05 — 100% naïve!")
    "mister o'brien paid three dollars fifty cents at seven oh five one hundred percent naive"
    """
    if _NORMAL.fullmatch(text):
        return text
    text = text.lower().replace("\u2019", "'").replace("\u2018", "'").replace("`", "'")
    text = _MONEY.sub(_money, text)
    text = _TIME.sub(_time, text)
    text = _ORDINAL.sub(lambda m: str(_inflect().ordinal(_cardinal(m[1]))).replace("-", " "), text)
    text = _YEAR.sub(_year, text)
    text = _NUMBER.sub(_number, text)
    text = _ABBREVIATION.sub(lambda m: _ABBREVIATIONS[m[1]], text)
    for symbol, spoken in (*_SYMBOLS.items(), *_LETTERS.items()):
        text = text.replace(symbol, spoken)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = _OUTSIDE.sub(" ", text)
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
                f"no token for {''.join(unknown)!r} in {text[:60]!r}: normalize the text first"
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
