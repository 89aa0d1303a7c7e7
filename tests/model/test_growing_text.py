"""A text that grows is at any time what it would be if it were spelt anew."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.alignment import TimeShift
from ossicle.model.decoding.annotation import Annotator
from ossicle.model.decoding.growing_text import GrowingText
from ossicle.model.decoding.hypothesis import TimedToken, spell_hypothesis

TOKENIZER = Tokenizer()
FRAME = 0.04
SHIFT = TimeShift(-0.08, 0.08)  # so that ends are limited by the next word's start


def confidence(token: int, frame: int) -> float:
    return 1.0 / (1 + (token * 7 + frame) % 5)


def spelt(text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens of a text, a frame to each."""
    return tuple(TOKENIZER.encode(text)), tuple(range(len(text)))


@given(
    st.lists(st.tuples(st.text("ab ", max_size=14).map(str.lstrip), st.integers(1, 3)), max_size=8)
)
def test_it_is_what_is_spelt_anew(texts: list[tuple[str, int]]) -> None:
    growing = GrowingText(TOKENIZER.tokens, FRAME, SHIFT)
    annotator = Annotator(TOKENIZER.tokens, FRAME, shift=SHIFT)
    for text, pace in texts:
        text = " ".join(text.split()) + " " * text.endswith(" ")
        numbers = tuple(TOKENIZER.encode(text))
        frames = tuple(3 + pace * place for place in range(len(numbers)))
        tokens = [
            TimedToken(letter, frame, frame + 1, confidence(number, frame))
            for letter, number, frame in zip(text, numbers, frames, strict=True)
        ]
        found = growing.update(numbers, frames, confidence)
        fresh = spell_hypothesis(tokens, FRAME, annotator)
        assert (found.text, found.tokens, found.words) == (fresh.text, fresh.tokens, fresh.words)
        assert math.isclose(found.confidence, fresh.confidence, abs_tol=1e-9)
        assert [text[:length] for length in growing.lengths] == [
            " ".join(text.split()[: count + 1]) for count in range(len(text.split()))
        ]


def test_only_what_changed_is_asked_for_its_confidence() -> None:
    asked: list[int] = []

    def note(token: int, frame: int) -> float:
        asked.append(frame)
        return 0.5

    growing = GrowingText(TOKENIZER.tokens, FRAME, TimeShift())
    growing.update(*spelt("so one"), note)
    growing.update(*spelt("so only"), note)
    assert asked == [*range(6), 5, 6]
    assert growing.update((), (), note).words == ()


@pytest.mark.parametrize("text", ["one ", "one"])
def test_a_space_behind_a_word_is_not_part_of_it(text: str) -> None:
    growing = GrowingText(TOKENIZER.tokens, FRAME, TimeShift())
    growing.update(*spelt(text), confidence)
    assert growing.lengths == [3]
