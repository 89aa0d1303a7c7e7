from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.lexicon import MOST_ALIKE, ROOT, Lexicon

TOKENIZER = Tokenizer()
SCORED = st.lists(
    st.tuples(st.text(alphabet="ab", min_size=1, max_size=3), st.floats(-20, 0, width=32)),
    min_size=1,
    max_size=40,
)


def reach(lexicon: Lexicon, letters: str) -> int:
    node = np.array([ROOT])
    for token in TOKENIZER.encode(letters):
        node = lexicon.follow(node, np.array([token]))
    return int(node[0])


@given(
    st.dictionaries(
        st.text(alphabet="ab'z", min_size=1, max_size=6),
        st.floats(-20, 0, width=32),
        min_size=1,
        max_size=40,
    )
)
def test_every_word_is_found_and_nothing_else(scores: dict[str, float]) -> None:
    words = sorted(scores)
    lexicon = Lexicon(words, np.array([scores[w] for w in words], np.float32), TOKENIZER.tokens)
    for number, word in enumerate(words):
        assert lexicon.words[reach(lexicon, word)] == number
    beginnings = {word[:end] for word in words for end in range(len(word) + 1)}
    assert lexicon.nodes == len(beginnings) + 1
    assert (lexicon.words >= 0).sum() == len(words)
    for beginning in beginnings:
        below = max(score for word, score in scores.items() if word.startswith(beginning))
        assert lexicon.look_ahead[reach(lexicon, beginning)] == pytest.approx(below)
        for letter in "abz'q":
            outside = beginning + letter not in beginnings
            assert (reach(lexicon, beginning + letter) == lexicon.outside) == outside


@given(SCORED, st.integers(1, 50))
def test_the_likeliest_words_that_begin_so_are_found(
    words: list[tuple[str, float]], most: int
) -> None:
    written = [word for word, _ in words]
    scores = np.array([score for _, score in words], np.float32)
    lexicon = Lexicon(written, scores, TOKENIZER.tokens)
    for beginning in ("", *{word[:end] for word in written for end in (1, 2, 3)}):
        found = lexicon.beginning(reach(lexicon, beginning), most).tolist()
        below = [n for n, word in enumerate(written) if word.startswith(beginning)]
        assert len(set(found)) == len(found) == min(most, len(below))
        assert set(found) <= set(below)
        assert sorted(scores[found]) == sorted(scores[below])[-most:]
    assert not len(lexicon.beginning(lexicon.outside, most))


@given(SCORED)
def test_words_written_alike_end_at_one_node_the_likeliest_first(
    words: list[tuple[str, float]],
) -> None:
    written = [word for word, _ in words]
    scores = np.array([score for _, score in words], np.float32)
    lexicon = Lexicon(written, scores, TOKENIZER.tokens)
    for word in set(written):
        node = reach(lexicon, word)
        first, count = lexicon.first[node], lexicon.alike[node]
        found = lexicon.numbers[first : first + count]
        alike = [number for number, other in enumerate(written) if other == word]
        assert count == min(len(alike), MOST_ALIKE) == len(set(found.tolist()))
        assert set(found.tolist()) <= set(alike)
        assert scores[found].tolist() == sorted(scores[alike].tolist(), reverse=True)[:count]
        assert lexicon.words[node] == found[0]


def test_tokens_may_be_any_characters() -> None:
    tokens = ("<blank>", " ", "ʧ", "ʌ", "t")
    lexicon = Lexicon(["tʌʧ", "ʧʌ", "tʌ𝄞", "tʌx"], np.zeros(4, np.float32), tokens)
    assert sorted(lexicon.numbers.tolist()) == [0, 1]


def test_who_leaves_the_tree_stays_outside() -> None:
    lexicon = Lexicon(["cat"], np.zeros(1, np.float32), TOKENIZER.tokens)
    assert reach(lexicon, "cad") == lexicon.outside
    assert reach(lexicon, "cadcat") == lexicon.outside
    assert lexicon.words[lexicon.outside] == -1


def test_words_that_the_tokens_cannot_spell_are_left_out() -> None:
    words = ["cat", "naïve", "c3po", "", "two words", "dog"]
    lexicon = Lexicon(words, np.arange(6, dtype=np.float32), TOKENIZER.tokens)
    assert sorted(lexicon.words[lexicon.words >= 0].tolist()) == [0, 5]
    assert lexicon.words[reach(lexicon, "dog")] == 5


def test_a_lexicon_may_be_empty() -> None:
    lexicon = Lexicon([], np.zeros(0, np.float32), TOKENIZER.tokens)
    assert reach(lexicon, "a") == lexicon.outside


def test_tokens_may_have_any_order() -> None:
    tokens = ("<blank>", "z", "b", " ", "a", "'")
    lexicon = Lexicon(["az", "ab", "zb", "z'"], np.array([-1, -2, -3, -4], np.float32), tokens)
    for number, word in enumerate(["az", "ab", "zb", "z'"]):
        node = np.array([ROOT])
        for letter in word:
            node = lexicon.follow(node, np.array([tokens.index(letter)]))
        assert lexicon.words[node[0]] == number


@pytest.mark.parametrize("others", [0, 150])
def test_tokens_that_lead_on_are_those_that_stay_inside(others: int) -> None:
    tokens = ("<blank>", " ", *map(chr, range(0x400, 0x400 + others)), "a", "b", "c")
    words = ["a", "abc", "ac", "bca", "ca"] + ([f"b{tokens[100]}a"] if others else [])
    lexicon = Lexicon(words, np.zeros(len(words), np.float32), tokens)
    nodes = np.arange(lexicon.nodes)
    reached = [lexicon.follow(nodes, np.full(len(nodes), token)) for token in range(len(tokens))]
    assert (lexicon.leading(nodes) == (np.stack(reached, axis=1) != lexicon.outside)).all()
    assert lexicon.leading(nodes).any()
