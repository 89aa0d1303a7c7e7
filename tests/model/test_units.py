"""Sub-word units: any word can be written, and nothing is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.model.lstm_lm.units import BASE, Units, learn_units

WORDS = {"lower": 5, "low": 7, "newer": 6, "wider": 3, "new": 2, "don't": 4, "x": 1}


def test_the_most_frequent_pair_is_joined_first() -> None:
    # " l"+"o" and "o"+"w" come 12 times, "e"+"r" 14 times, " n"+"e" and "e"+"w" 8 times.
    units = learn_units(WORDS, len(BASE) + 3)
    assert units.names[len(BASE) :] == ("er", " lo", " low")
    assert [units.names[n] for n in units.encode("lower xer")] == [" low", "er", " x", "er"]


def test_learning_stops_where_no_pair_comes_twice() -> None:
    units = learn_units({"ab": 1, "cd": 2}, 1000)
    assert units.names[len(BASE) :] == (" cd",)


def test_learning_equals_counting_all_pairs_anew() -> None:
    """The incremental counts give the merges of the plain algorithm of the paper."""
    spelt = {word: [f" {word[0]}", *word[1:]] for word in WORDS}
    expected: list[str] = []
    while True:
        pairs: dict[tuple[str, str], int] = {}
        for word, pieces in spelt.items():
            for pair in pairwise(pieces):
                pairs[pair] = pairs.get(pair, 0) + WORDS[word]
        if not pairs or max(pairs.values()) < 2:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        expected.append(best[0] + best[1])
        for word, pieces in spelt.items():
            joined: list[str] = []
            for piece in pieces:
                if joined and (joined[-1], piece) == best:
                    joined[-1] += piece
                else:
                    joined.append(piece)
            spelt[word] = joined
    assert learn_units(WORDS, 1000).names[len(BASE) :] == tuple(dict.fromkeys(expected))


@given(st.lists(st.text("abelnorw'", min_size=1, max_size=9), max_size=5))
def test_text_survives(words: list[str]) -> None:
    text = " ".join(words)
    units = learn_units(WORDS, len(BASE) + 8)
    assert units.decode([0, *units.encode(text), 0]) == text


def test_bad_input_is_named() -> None:
    units = learn_units(WORDS, 70)
    with pytest.raises(ValueError, match="'Low' is not in normal form"):
        units.encode("new Low")
    with pytest.raises(ValueError, match="9 units: take more than the 55"):
        learn_units(WORDS, 9)
    with pytest.raises(ValueError, match="begin with the 55 of the alphabet"):
        Units(["a", "b"])
    with pytest.raises(ValueError, match="not distinct"):
        Units([*BASE, " th", " th"])
