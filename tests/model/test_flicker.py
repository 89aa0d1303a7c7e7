"""How often words that were shown are said to have changed."""

from __future__ import annotations

import pytest
from ossicle.model.evaluation.flicker import Flicker, flicker


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["one two"], Flicker(0, 0, 2)),
        (["", "one", "one two", "one two"], Flicker(2, 0, 2)),
        (["w", "wo", "word", "word"], Flicker(3, 2, 1)),
        (["so one", "sew one", "sew one two"], Flicker(3, 1, 3)),
        (["one two", "one", "one two"], Flicker(2, 1, 2)),
        (["he was", "her was her", "he was her"], Flicker(4, 2, 3)),
        (["the a b", "a b", "a b"], Flicker(3, 1, 2)),
        (["good bye my dear", "goodbye my dear"], Flicker(4, 2, 3)),
    ],
)
def test_flicker_counts_words_that_do_not_stay(texts: list[str], expected: Flicker) -> None:
    assert flicker(texts) == expected


def test_rates_relate_the_changed_words_to_those_shown_and_to_those_of_the_finals() -> None:
    both = flicker(["so one", "sew one", "sew one two"]) + flicker(["a", "a b"])
    assert both == Flicker(4, 1, 5)
    assert (both.rate, both.ratio) == (0.25, 0.2)
    assert (Flicker().rate, Flicker().ratio) == (0.0, 0.0)
