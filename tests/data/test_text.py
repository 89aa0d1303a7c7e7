from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.data.text import BLANK, CHARACTERS, Tokenizer, fits_in_frames, normalize


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Hello, World!", "hello world"),
        ("don’t", "don't"),
        ("Mr. O'Brien", "mister o'brien"),
        ("$3.50", "three dollars fifty cents"),
        ("$1", "one dollar"),
        ("$2.00.", "two dollars"),
        ("$1.5 million", "one point five million dollars"),
        ("£20 million", "twenty million pounds"),
        ("€1,200.5", "one thousand two hundred point five euros"),
        ("£1.01", "one pound one penny"),
        ("7:05", "seven oh five"),
        ("at 12:00", "at twelve o'clock"),
        ("21st", "twenty first"),
        ("1,204", "one thousand two hundred four"),
        ("in 1984", "in nineteen eighty four"),
        ("1900", "nineteen hundred"),
        ("1905", "nineteen oh five"),
        ("0.25", "zero point two five"),
        ("007", "zero zero seven"),
        ("9" * 40, " ".join(["nine"] * 40)),
        ("100%", "one hundred percent"),
        ("naïve Ærø", "naive aero"),
        ("'quoted'", "quoted"),
        ("'twas the boys' turn", "'twas the boys' turn"),
        ("he said 'no' and left ‘London’", "he said no and left london"),
        ("'isn't' it?", "isn't it"),
        ("rock 'n' roll", "rock 'n' roll"),
        ("well-known — yes…", "well known yes"),
        ("", ""),
        ("?!", ""),
        ("日本", ""),
        ("the 1990s and '80s", "the nineteen nineties and eighties"),
        ("1900s, 1980's, 10s", "nineteen hundreds nineteen eighties tens"),
        ("pi is 3.1415", "pi is three point one four one five"),
        ("aged 20,30,40", "aged twenty thirty forty"),
        (
            "1914,1915 and 1066-1087",
            "nineteen fourteen nineteen fifteen and ten sixty six ten eighty seven",
        ),
        (
            "½ an hour, 1½ cups, 2 3/4",
            "one half an hour one and a half cups two and three quarters",
        ),
        ("24/7", "twenty four seven"),
        ("CO₂ 10² Windows™", "co two ten squared windows"),
        ("5€, 50¢, ¥100, $.50", "five euros fifty cents one hundred yen fifty cents"),
        (
            "$20K, $1.5m and £5bn",
            "twenty thousand dollars one point five million dollars and five billion pounds",
        ),
        ("-40 °C, .5", "minus forty degrees celsius point five"),
        ("1.2.3", "one point two point three"),
        ("Mr Smith and Mrs. Jones, etc.", "mister smith and missus jones et cetera"),
        ("mr smith", "mister smith"),
        ("Mr.Smith, Jr.", "mister smith junior"),
        ("'Mr Smith', MR2, mr's", "mister smith mister two mr's"),
        ("St. John's, Main St., No. 5", "saint john's main street number five"),
        ("Dr. No lives at 25 Elm Dr.", "doctor no lives at twenty five elm drive"),
        ("donʼt don´t co\u00adop zero\u200bwidth", "don't don't coop zerowidth"),
        ("9:00 p.m., 10:30am, 5 PM", "nine p m ten thirty a m five p m"),
        ("13:00 or 4:00 o'clock", "thirteen hundred or four o'clock"),
        ("at 5:30 a man", "at five thirty a man"),
        ("16:90", "sixteen ninety"),
        ("_Mr. Britling_, _Dr._ No", "mister britling doctor no"),
        ("the _1st_ of the _1990s_", "the first of the nineteen nineties"),
    ],
)
def test_normalize(written: str, spoken: str) -> None:
    assert normalize(written) == spoken


# Letters of abbreviations beside digits and signs, too, which any text hardly has.
@given(st.text(max_size=60) | st.text(alphabet="mrsdtno019 .'$%½-é:/", max_size=12))
def test_normal_form_holds_only_tokens_and_stays(text: str) -> None:
    normal = normalize(text)
    assert re.fullmatch(r"([a-z']+( [a-z']+)*)?", normal)
    assert normalize(normal) == normal
    Tokenizer().encode(normal)


@pytest.mark.parametrize(
    "piece",
    ["9", "1,", "111,", "1 ", "1:", "1/", "½", "1\u2044", "$", "-", ".1", "st.", "1th", "'"],
)
def test_time_grows_no_faster_than_the_text(piece: str) -> None:
    """A server is sent such texts; a rule that looks again from each digit would take minutes."""
    text = piece * (60_000 // len(piece))
    began = time.process_time()
    normalize(text)
    assert time.process_time() - began < 20


@given(st.text(alphabet="aost' ", max_size=20))
def test_text_that_is_normal_already_is_no_exception(text: str) -> None:
    assert normalize(text) == normalize(f"{text} ?")


@given(st.text(alphabet="".join(CHARACTERS), max_size=40))
def test_tokens_come_back(text: str) -> None:
    tokenizer = Tokenizer()
    assert tokenizer.tokens[0] == BLANK
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_unknown_characters_are_named() -> None:
    with pytest.raises(ValueError, match=r"no token for '9é' in 'caf9é'"):
        Tokenizer().encode("caf9é")


@pytest.mark.parametrize(
    ("text", "frames"), [("cat", 3), ("aa", 3), ("hello", 6), ("", 0), ("aaa", 5)]
)
def test_fewest_frames_for_ctc(text: str, frames: int) -> None:
    assert fits_in_frames(text, frames)
    assert not fits_in_frames(text, frames - 1)
