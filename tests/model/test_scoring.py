from __future__ import annotations

from pathlib import Path

import pytest
from ossicle.data.manifest import Utterance
from ossicle.model.decoding.hypothesis import Word
from ossicle.model.evaluation.breakdown import Breakdown, confusions, length_range
from ossicle.model.evaluation.scoring import (
    Edit,
    Recognized,
    align_words,
    right_words,
    score,
    score_by,
    word_error_rate,
)


def recognized(*pairs: tuple[str, str], source: str = "", seconds: float = 1.0) -> list[Recognized]:
    return [
        Recognized(Utterance(Path("x"), seconds, said, source=source), said, heard)
        for said, heard in pairs
    ]


def test_counts_errors() -> None:
    result = score(
        recognized(
            ("the cat sat", "the cat sat"),
            ("on the mat", "on a mat today"),  # one substitution, one insertion
            ("in the sun", "in"),  # two deletions
        )
    )
    assert (result.substitutions, result.deletions, result.insertions) == (1, 2, 1)
    assert (result.utterances, result.words) == (3, 9)
    assert result.wer == pytest.approx(4 / 9)
    assert result.wer_low < result.wer < result.wer_high
    assert result.cer == pytest.approx((0 + 3 + 6 + 8) / 31)
    assert result.cer_low < result.cer < result.cer_high


def test_words_heard_in_silence_are_insertions() -> None:
    result = score(recognized(("yes", "yes"), ("", "oh no")))
    assert result.insertions == 2
    assert result.wer == 2


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="no reference text"):
        score(recognized(("", "hm")))


def test_more_words_narrow_the_interval() -> None:
    pairs = [("one two three four", "one two four four"), ("five six", "five six")]
    few, many = score(recognized(*pairs * 5)), score(recognized(*pairs * 200))
    assert few.wer == pytest.approx(many.wer)
    assert many.wer_high - many.wer_low < few.wer_high - few.wer_low
    assert many.cer_high - many.cer_low < few.cer_high - few.cer_low


def test_groups() -> None:
    items = recognized(("a", "a"), source="x") + recognized(("b", "c"), source="y")
    groups = score_by(items, lambda r: r.utterance.source)
    assert {name: s.wer for name, s in groups.items()} == {"x": 0.0, "y": 1.0}


def test_alignment_goes_word_by_word() -> None:
    assert align_words("a b c d", "a x c d e") == (
        Edit("equal", "a", "a"),
        Edit("substitute", "b", "x"),
        Edit("equal", "c", "c"),
        Edit("equal", "d", "d"),
        Edit("insert", "", "e"),
    )
    assert align_words("a b", "") == (Edit("delete", "a", ""), Edit("delete", "b", ""))
    assert align_words("", "hm") == (Edit("insert", "", "hm"),)


def test_right_words() -> None:
    assert right_words(align_words("the cat sat down", "the bat sat")) == [True, False, True]
    assert sum(right_words(align_words("go", "oh go go"))) == 1
    assert right_words(align_words("", "hm")) == [False]
    assert right_words(align_words("hm", "")) == []


def test_confidences_go_with_the_words_heard() -> None:
    words = tuple(Word(text, 0.0, 0.1, c) for text, c in (("a", 0.9), ("x", 0.2), ("d", 0.8)))
    item = Recognized(Utterance(Path("x"), 1.0, "a b c d"), "a b c d", "a x d", words)
    assert item.word_confidences() == [(0.9, True), (0.2, False), (0.8, True)]


class TestBreakdown:
    items = (
        *recognized(("two to", "to to"), ("two", "to"), seconds=1.5, source="s"),
        *recognized(("the end", "end"), seconds=4.0, source="s"),
        *recognized(("right", "right"), seconds=20.0),
    )

    def test_by_length_shortest_first(self) -> None:
        scores = Breakdown("set", "", self.items).by_length
        assert {name: s.words for name, s in scores.items()} == {
            "under 2 s": 3,
            "4 to 8 s": 2,
            "16 s and more": 1,
        }
        assert length_range(2.0) == "2 to 4 s"

    def test_unknown_speakers_and_sources_are_no_group(self) -> None:
        part = Breakdown("set", "", self.items)
        assert part.by_speaker == {}
        assert {name: s.words for name, s in part.by_source.items()} == {"s": 5}

    def test_most_frequent_confusions_first(self) -> None:
        (first,) = confusions(self.items, "substitute")
        assert (first.reference, first.hypothesis, first.count) == ("two", "to", 2)
        assert [c.reference for c in confusions(self.items, "delete")] == ["the"]
        assert confusions(self.items, "insert") == []

    def test_worst_have_the_most_errors_and_some(self) -> None:
        more = recognized(("a b c", "x y z"))
        worst = Breakdown("set", "", [*self.items, *more]).worst()
        assert [r.reference for r in worst] == ["a b c", "two", "two to", "the end"]


def test_word_error_rate_counts_words_where_nothing_was_said() -> None:
    references = ["the ear hears", "", "three small bones"]
    texts = ["the year hears", "oh", "three bones"]
    assert word_error_rate(references, texts) == 3 / 6
