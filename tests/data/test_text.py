from __future__ import annotations

import re

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
        ("rock 'n' roll", "rock 'n' roll"),
        ("well-known — yes…", "well known yes"),
        ("", ""),
        ("?!", ""),
        ("日本", ""),
    ],
)
def test_normalize(written: str, spoken: str) -> None:
    assert normalize(written) == spoken


@given(st.text(max_size=60))
def test_normal_form_holds_only_tokens_and_stays(text: str) -> None:
    normal = normalize(text)
    assert re.fullmatch(r"([a-z']+( [a-z']+)*)?", normal)
    assert normalize(normal) == normal
    Tokenizer().encode(normal)


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
