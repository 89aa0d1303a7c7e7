"""Numbers, amounts, dates and times as they are said: "$3.50", "7:05 pm", "the 1990s", "½".

English as in the United States. Where there are several ways to say something, one is chosen and
always the same, so that references and texts to learn from agree.
"""

from __future__ import annotations

import re
from functools import cache

_LONGEST_NUMBER = 15
"""Digits of the largest number that is spoken as one: hundreds of trillions."""

_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_CURRENCY = {
    "$": ("dollar", "cent"),
    "£": ("pound", "penny"),
    "€": ("euro", "cent"),
    "¥": ("yen", "sen"),
    "¢": ("cent", ""),
}
_PLURALS = {"yen": "yen", "sen": "sen", "penny": "pence"}
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion"}
FRACTION_SLASH = "\u2044"

_WHOLE = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_AMOUNT = rf"(?:({_WHOLE})(?:\.(\d+))?|\.(\d+))"
_FRACTION = re.compile(
    rf"(?<![\d,.])(?:({_WHOLE})\s+)?(\d{{1,3}}){FRACTION_SLASH}(\d{{1,3}})(?!\d)"
)
_SLASHED = re.compile(r"(?<![\d/.,$£€])([1-7])/([2-68])(?![\d/])")
_MINUS = re.compile(r"(?<![\w.,)%])[-\u2212](?=[$£€¥]?\.?\d)")
_MONEY = re.compile(
    rf"([$£€¥])\s?{_AMOUNT}"
    r"(?:(?:[\s-]?(hundred|thousand|million|billion|trillion)|\s?(mn|bn)|(k|m|b))\b)?"
)
_MONEY_BEFORE = re.compile(rf"(?<![\d.,]){_AMOUNT}\s?([€£¥¢$])")
_TIME = re.compile(
    r"(?<![\d:.,])(\d{1,2}):([0-5]\d)(?::([0-5]\d))?(?![\d:])"
    r"(?:\s?([ap])\.?\s?m\b\.?)?(?:\s?o'clock\b)?"
)
_HOUR = re.compile(r"(?<![\d:.,])(\d{1,2})\s?([ap])\.?m\b\.?")
_ORDINAL = re.compile(rf"(?<![\d,.])({_WHOLE})(st|nd|rd|th)\b")
_DECADE = re.compile(r"(?<![\d.,])'?((?:1[1-9]|20)\d0|[1-9]0)'?s\b")
_YEAR = re.compile(r"(?<!\d)(?<!\d[.:])(10[1-9]\d|1[1-9]\d\d|20[1-9]\d)(?!\d|\.\d|,\d{3}(?!\d))")
_NUMBER = re.compile(rf"({_WHOLE})((?:\.\d+)*)|(?<!\w)((?:\.\d+)+)")


def speak_numerals(text: str) -> str:
    """The text with its numerals in words, set off by spaces.

    Args:
        text: in lower case, with plain apostrophes; a fraction such as ½ as its two numbers with
            `FRACTION_SLASH` between them.
    """
    text = _SLASHED.sub(_slashed, text)
    text = _FRACTION.sub(_fraction, text)
    text = _MINUS.sub(" minus ", text)
    text = _MONEY.sub(_money, text)
    text = _MONEY_BEFORE.sub(lambda m: _amount(m[4], m[1] or "", m[2] or m[3] or ""), text)
    text = _TIME.sub(_time, text)
    text = _HOUR.sub(_hour, text)
    text = _ORDINAL.sub(lambda m: f" {_ordinal(m[1])} ", text)
    text = _DECADE.sub(_decade, text)
    text = _YEAR.sub(lambda m: f" {_year(int(m[1]))} ", text)
    return _NUMBER.sub(_number, text)


@cache
def _inflect():  # type: ignore[no-untyped-def]
    # Loading takes tens of milliseconds; most programs that import this never need it.
    import inflect

    return inflect.engine()


def _cardinal(digits: str) -> str:
    """'1,204' -> 'one thousand two hundred four'."""
    plain = digits.replace(",", "")
    # Spoken one by one: 007, and what has no name because it is too large.
    if len(plain) > _LONGEST_NUMBER or (len(plain) > 1 and plain.startswith("0")):
        return _one_by_one(plain)
    words = str(_inflect().number_to_words(plain, andword="", comma=""))
    return words.replace("-", " ")


def _one_by_one(digits: str) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in digits)


def _ordinal(digits: str) -> str:
    return str(_inflect().ordinal(_cardinal(digits))).replace("-", " ")


def _decimal(whole: str, fraction: str) -> str:
    spoken = _cardinal(whole) if whole else ""
    return f"{spoken} point {_one_by_one(fraction)}" if fraction else spoken


def _counted(words: str, unit: str) -> str:
    return f"{words} {unit if words == 'one' else _plural(unit)}"


def _plural(unit: str) -> str:
    return _PLURALS.get(unit, f"{unit}s")


def _slashed(match: re.Match[str]) -> str:
    """ "3/4" is a fraction, and what is none, as "24/7", is left alone."""
    if int(match[1]) >= int(match[2]):
        return match[0]
    return f"{match[1]}{FRACTION_SLASH}{match[2]}"


def _fraction(match: re.Match[str]) -> str:
    parts, whole = match[3], match[1]
    if int(parts) < 2:
        return f" {_cardinal(match[2])} over {_cardinal(parts)} "
    part = {"2": "half", "4": "quarter"}.get(parts) or _ordinal(parts)
    number = _cardinal(match[2])
    spoken = f"{number} {part}"
    if number != "one":
        spoken = f"{number} {'halves' if part == 'half' else part + 's'}"
    elif whole:
        spoken = f"a {part}"
    return f" {_cardinal(whole)} and {spoken} " if whole else f" {spoken} "


def _money(match: re.Match[str]) -> str:
    symbol, whole, fraction, alone, scale, short, letter = match.groups(default="")
    scale = scale or _SCALES.get(short or letter, "")
    if not scale:
        return _amount(symbol, whole, fraction or alone)
    unit = _CURRENCY[symbol][0]
    return f" {_decimal(whole, fraction or alone)} {scale} {_plural(unit)} "


def _amount(symbol: str, whole: str, fraction: str) -> str:
    unit, part = _CURRENCY[symbol]
    if not part or len(fraction) not in (0, 2):  # 1.5 dollars, but 1 dollar 50 cents
        return f" {_counted(_decimal(whole, fraction), unit)} "
    spoken = _counted(_cardinal(whole), unit) if whole.strip("0") or not fraction.strip("0") else ""
    if fraction.strip("0"):
        spoken += f" {_counted(_cardinal(fraction.lstrip('0')), part)}"
    return f" {spoken} "


def _time(match: re.Match[str]) -> str:
    hour, minute, second, half = match.groups(default="")
    if int(hour) > 24:
        return match[0]
    spoken = _cardinal(str(int(hour)))
    if minute == "00" and not second:
        spoken += "" if half else " o'clock" if 1 <= int(hour) <= 12 else " hundred"
    else:
        for part in (minute, second):
            if part:
                spoken += f" oh {_DIGITS[int(part)]}" if part[0] == "0" else f" {_cardinal(part)}"
    return f" {spoken} {half} m " if half else f" {spoken} "


def _hour(match: re.Match[str]) -> str:
    if not 1 <= int(match[1]) <= 12:
        return match[0]
    return f" {_cardinal(str(int(match[1])))} {match[2]} m "


def _year(year: int) -> str:
    if 2000 <= year <= 2009:
        return _cardinal(str(year))
    high, low = divmod(year, 100)
    if low == 0:
        return f"{_cardinal(str(high))} hundred"
    tail = _cardinal(str(low)) if low > 9 else f"oh {_DIGITS[low]}"
    return f"{_cardinal(str(high))} {tail}"


def _decade(match: re.Match[str]) -> str:
    spoken = _year(int(match[1])) if len(match[1]) == 4 else _cardinal(match[1])
    plural = f"{spoken[:-1]}ies" if spoken.endswith("y") else f"{spoken}s"
    return f" {plural} "


def _number(match: re.Match[str]) -> str:
    whole, fractions = match[1] or "", match[2] or match[3] or ""
    spoken = [_cardinal(whole)] if whole else []
    spoken += [f"point {_one_by_one(fraction)}" for fraction in fractions.split(".")[1:]]
    return f" {' '.join(spoken)} "
