"""Which words of a growing hypothesis are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ossicle.model.decoding.hypothesis import Hypothesis, TimedToken, spell_hypothesis
from ossicle.service.partials import HELD_FRAMES, PATIENCE, PartialText
from ossicle.service.stability import WEIGHTS, Evidence


def heard(text: str) -> Hypothesis:
    """A hypothesis with a frame to each character."""
    tokens = [TimedToken(letter, i, i + 1, 0.9) for i, letter in enumerate(text)]
    return spell_hypothesis(tokens, 0.04)


def agreed() -> list[float]:
    """A beam that agrees on all words there may be."""
    return [1.0] * 9


def shown(*steps: tuple[str, int] | tuple[str, int, tuple[float, ...]]) -> list[str]:
    """What is shown after each of the hypotheses.

    Args:
        steps: their texts, how many frames they are about, and how far the beam agrees on them.
    """
    partial = PartialText()
    texts = []
    for text, frames, *rest in steps:
        agreement = list(*rest) if rest else agreed()
        words = partial.update(heard(text), frames, lambda shares=agreement: shares)  # type: ignore[misc]
        texts.append(" ".join(word.text for word in words))
    return texts


def test_a_word_is_shown_when_a_separator_follows_it() -> None:
    steps = [("o", 4), ("one", 8), ("one ", 12), ("one tw", 16), ("one two ", 20)]
    assert shown(*steps) == ["", "", "one", "one", "one two"]


def test_a_word_is_shown_when_no_letter_follows_it_for_long() -> None:
    assert shown(("one", 4), ("one", 14), ("one", 15)) == ["", "", "one"]


def test_a_word_that_few_texts_have_is_not_shown_until_it_has_stayed() -> None:
    steps = [("one ", 4 + n, (0.3,)) for n in (0, HELD_FRAMES - 1, HELD_FRAMES)]
    assert shown(*steps) == ["", "", "one"]
    steps = [("one ", 4, (0.3,))]
    steps += [("won ", 8 + n, (0.3,)) for n in (0, HELD_FRAMES - 4, HELD_FRAMES)]
    assert shown(*steps) == ["", "", "", "won"]
    assert shown(("one ", 4, (0.3,)), ("one ", 8, (0.9,))) == ["", "one"]


def test_doubt_about_a_word_is_no_doubt_about_the_next() -> None:
    steps = [("one ", n, (0.3,)) for n in (4, 4 + HELD_FRAMES)]
    then = 8 + HELD_FRAMES
    assert shown(*steps, ("one two ", then, (0.3, 0.27)))[-1] == "one two"
    assert shown(*steps, ("one two ", then, (0.3, 0.05)))[-1] == "one"


def test_a_word_is_surer_when_others_follow_it() -> None:
    doubted = ("one two three four ", 8, (0.5, 0.5, 0.5, 0.2))
    assert shown(("one ", 4, (0.5,)), doubted) == ["", "one two three"]


@pytest.mark.parametrize(
    ("completion", "expected"), [(0.9, "tomorrow"), (0.2, ""), (0.0, ""), (None, "")]
)
def test_a_word_that_grows_is_shown_only_as_the_word_that_it_likely_becomes(
    completion: float | None, expected: str
) -> None:
    beginning = replace(heard("təmɑr"), completion=completion)
    word = replace(beginning.words[0], text="tomorrow")
    partial = PartialText()
    words = partial.update(replace(beginning, text="tomorrow", words=(word,)), 6, agreed)
    assert " ".join(word.text for word in words) == expected


def test_a_word_that_grows_is_taken_back_if_it_becomes_another() -> None:
    partial = PartialText()
    texts = []
    others = [("təmAt", "tomato"), *[("təmAtO", "tomatoes")] * 3]
    for frames, (sounds, text) in enumerate([("təmɑr", "tomorrow"), *others]):
        hypothesis = replace(heard(sounds), completion=0.9)
        word = replace(hypothesis.words[0], text=text)
        words = partial.update(
            replace(hypothesis, text=text, words=(word,)), 8 + 4 * frames, agreed
        )
        texts.append(" ".join(word.text for word in words))
    assert texts == ["tomorrow"] * 3 + ["tomatoes"] * 2


def test_the_beam_is_asked_only_where_there_is_something_to_show() -> None:
    partial = PartialText()
    partial.update(heard("one "), 4, agreed)

    def asked() -> list[float]:
        raise AssertionError("nothing is to be shown")

    assert len(partial.update(heard("one tw"), 8, asked)) == 1
    assert partial.update(heard("one"), 8, asked)


EVIDENCE = Evidence(agreement=0.5, held=1.0, following=0, tokens=3, completion=-1.0)


@pytest.mark.parametrize(
    ("growing", "more"),
    [
        (False, {"agreement": 0.8}),
        (False, {"held": 2.0}),
        (False, {"following": 1}),
        (False, {"tokens": 6}),
        (True, {"agreement": 0.8}),
        (True, {"held": 2.0}),
        (True, {"completion": -0.1}),
    ],
)
def test_what_makes_a_word_stable(more: dict[str, float], growing: bool) -> None:
    before = WEIGHTS.stability(EVIDENCE, growing=growing)
    assert before < WEIGHTS.stability(EVIDENCE._replace(**more), growing=growing)


def test_other_weights_show_other_words() -> None:
    hasty = WEIGHTS._replace(over_offset=0.0)
    doubted = heard("one ")
    for weights, expected in ((WEIGHTS, 0), (hasty, 1)):
        assert len(PartialText(weights).update(doubted, 4, lambda: [0.3])) == expected


def test_what_takes_the_place_of_shown_words_must_be_agreed_on_too() -> None:
    agreed_on = {8: 0.5, 12: 0.6, 16: 0.9}
    steps = [("so one ", 4), *[("sew won ", at, (agreed_on[at], 0.2)) for at in agreed_on]]
    assert shown(*steps) == ["so one", "so one", "so one", "sew"]


def test_a_word_stays_when_the_search_doubts_that_it_is_over() -> None:
    assert shown(("one ", 4), ("one", 8), ("one ", 12)) == ["one", "one", "one"]


def test_a_word_is_changed_by_doubtful_contradictions_only_if_there_are_many_in_a_row() -> None:
    others = ["sew "] * (PATIENCE - 1) + ["so "] + ["sew "] * PATIENCE
    steps = [("so ", 8), *[(text, 12 + 4 * n, (0.5,)) for n, text in enumerate(others)]]
    assert shown(*steps) == ["so"] * (2 * PATIENCE) + [""]


def test_a_word_is_changed_at_once_when_what_contradicts_it_is_sure() -> None:
    steps = [("so one ", 8), ("sew one ", 12, (0.4, 0.4)), ("sew one ", 16)]
    assert shown(*steps) == ["so one", "so one", "sew one"]


def test_a_shown_word_that_grows_after_all_is_a_contradiction() -> None:
    steps = [("one ", 4), *[("only", n) for n in (8, 12)], ("only ", 16)]
    assert shown(*steps) == ["one"] * 3 + ["only"]


def test_the_next_utterance_starts_with_nothing_shown() -> None:
    partial = PartialText()
    partial.update(heard("one "), 4, agreed)
    partial.reset()
    assert partial.update(heard("two"), 4, agreed) == ()


def test_the_search_is_asked_only_where_its_answer_matters() -> None:
    asked = []

    def agreement() -> list[float]:
        asked.append(True)
        return agreed()

    partial = PartialText()
    # Hardly any word that begins so is the one that stands there: certain or not, it is not shown.
    assert not partial.update(replace(heard("o"), completion=0.01), 4, agreement)
    assert not asked
    assert partial.update(replace(heard("on"), completion=0.99), 8, agreement)
    assert asked == [True]
