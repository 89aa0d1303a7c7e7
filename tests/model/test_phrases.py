from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.phrases import (
    MOST_CHARACTERS,
    MOST_PHRASES,
    NATS,
    Phrase,
    PhraseMatcher,
    check_phrases,
)

TOKENIZER = Tokenizer()


def matcher(*phrases: tuple[str, float]) -> PhraseMatcher:
    return PhraseMatcher([Phrase(*phrase) for phrase in phrases], TOKENIZER.tokens)


def gains(phrases: PhraseMatcher, text: str) -> list[float]:
    """What each character of a text, and its end, gains."""
    state = np.array([phrases.start])
    gained = []
    for token in TOKENIZER.encode(text):
        gain, state = phrases.step(state, np.array([token]))
        gained.append(float(gain[0]))
    return [*gained, float(phrases.finish(state)[0])]


def total(phrases: PhraseMatcher, text: str) -> float:
    return sum(gains(phrases, text)) / NATS


def test_a_phrase_is_worth_its_boost_for_each_character() -> None:
    phrases = matcher(("new york", 3.0))
    assert total(phrases, "new york") == pytest.approx(3 * 9)
    assert total(phrases, "in new york city") == pytest.approx(3 * 9)
    assert total(phrases, "new york new york") == pytest.approx(2 * 3 * 9)


def test_the_bonus_comes_with_each_character_and_goes_when_the_text_turns_elsewhere() -> None:
    phrases = matcher(("new york", 1.0))
    gained = np.array(gains(phrases, "new yolk")) / NATS
    assert gained == pytest.approx([1, 1, 1, 1, 1, 1, -6, 0, 0])
    gained = np.array(gains(phrases, "new york city")) / NATS
    assert gained == pytest.approx([1] * 9 + [0] * 5)


def test_what_is_given_for_a_beginning_is_promised_until_the_phrase_is_complete() -> None:
    phrases = matcher(("new york", 2.0))
    state, promised = np.array([phrases.start]), []
    for token in TOKENIZER.encode("new york new"):
        _, state = phrases.step(state, np.array([token]))
        promised.append(float(phrases.promised(state)[0]) / NATS)
    assert promised == pytest.approx([2, 4, 6, 8, 10, 12, 14, 16, 0, 2, 4, 6])


@pytest.mark.parametrize("text", ["", "new", "a new yorker", "anew york", "newyork", "york new"])
def test_only_the_whole_phrase_as_whole_words_is_worth_anything(text: str) -> None:
    assert total(matcher(("new york", 5.0)), text) == pytest.approx(0)


def test_case_numbers_and_accents_are_written_as_they_are_spoken() -> None:
    assert total(matcher(("Café 21!", 1.0)), "the cafe twenty one") == pytest.approx(16)


def test_a_phrase_that_begins_another_is_not_paid_twice() -> None:
    phrases = matcher(("new york", 2.0), ("new york city", 2.0))
    assert total(phrases, "new york") == pytest.approx(2 * 9)
    assert total(phrases, "new york city") == pytest.approx(2 * 14)


def test_each_phrase_has_its_own_boost() -> None:
    phrases = matcher(("new york", 20.0), ("new delhi", 1.0))
    assert total(phrases, "new delhi") == pytest.approx(10)
    assert total(phrases, "new york") == pytest.approx(180)


def test_a_turn_may_lead_into_the_beginning_of_another_phrase() -> None:
    phrases = matcher(("to be sure", 1.0), ("be seen", 1.0))
    assert total(phrases, "to be seen") == pytest.approx(8)


def test_the_greatest_boost_of_a_phrase_counts() -> None:
    assert total(matcher(("Ossicle", 2.0), ("ossicle", 5.0)), "ossicle") == pytest.approx(5 * 8)


WORDS = st.sampled_from(["a", "ab", "b", "ba", "abba"])


@given(
    phrases=st.dictionaries(
        st.lists(WORDS, min_size=1, max_size=3).map(" ".join), st.floats(0.1, 20), max_size=6
    ),
    words=st.lists(WORDS, max_size=10),
)
def test_a_text_gains_at_most_what_its_phrases_are_worth(
    phrases: dict[str, float], words: list[str]
) -> None:
    """And at least the most that any of them is worth, if any is in it."""
    text = " ".join(words)
    automaton = matcher(*phrases.items())
    places = {
        phrase: f" {text} ".replace(" ", "  ").count(f" {phrase} ".replace(" ", "  "))
        for phrase in phrases
    }
    worth = {
        phrase: phrases[phrase] * (len(phrase) + 1) for phrase, count in places.items() if count
    }
    gained = total(automaton, text)
    assert max(worth.values(), default=0) - 1e-6 <= gained
    assert gained <= sum(worth[p] * max(places[p], len(words)) for p in worth) + 1e-6
    assert max(gains(automaton, text)) <= automaton.largest_gain + 1e-9


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ([Phrase("x", 1.0)] * (MOST_PHRASES + 1), "at most 1000"),
        ([Phrase("x" * MOST_CHARACTERS, 1.0), Phrase("y", 1.0)], "10001 characters"),
        ([Phrase("", 1.0)], "'' has nothing that is spoken"),
        ([Phrase("?!", 1.0)], "nothing that is spoken"),
        ([Phrase("ossicle", -0.1)], "'ossicle' is -0.1; give 0 to 20"),
        ([Phrase("ossicle", 20.5)], "is 20.5; give 0 to 20"),
        ([Phrase("ossicle", float("nan"))], "is nan; give 0 to 20"),
    ],
)
def test_what_cannot_be_listened_for_is_refused(phrases: list[Phrase], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_phrases(phrases)


def test_the_longest_list_is_accepted() -> None:
    check_phrases([Phrase("abcdefghij", 20.0)] * MOST_PHRASES)
