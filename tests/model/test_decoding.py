from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.hypothesis import GreedyDecoder

TOKENS = Tokenizer().tokens
FRAME = 0.04


def path(text: str, probability: float = 0.9) -> np.ndarray:
    """Log-probabilities whose best path is `text`, with _ for the blank."""
    rest = (1 - probability) / (len(TOKENS) - 1)
    rows = np.full((len(text), len(TOKENS)), rest, dtype=np.float32)
    for row, character in zip(rows, text, strict=True):
        row[0 if character == "_" else TOKENS.index(character)] = probability
    return np.log(rows)


def decode(log_probs: np.ndarray, cuts: tuple[int, ...] = ()):
    decoder = GreedyDecoder(TOKENS, FRAME)
    for piece in np.split(log_probs, cuts):
        decoder.advance(piece)
    return decoder.hypothesis()


@pytest.mark.parametrize(
    ("best_path", "text"),
    [
        ("", ""),
        ("____", ""),
        ("_cc_aa_t__", "cat"),
        ("hel_lo", "hello"),
        ("hello", "helo"),
        ("__a  _bb", "a b"),
        ("   ", ""),
        (" _a_ _ _b_ ", "a b"),
        ("it's", "it's"),
    ],
)
def test_merges_repeats_and_drops_blanks(best_path: str, text: str) -> None:
    assert decode(path(best_path)).text == text


def test_words_have_times_and_confidences() -> None:
    hypothesis = decode(np.concatenate([path("_hii_", 0.9), path(" ", 0.9), path("_yo__", 0.6)]))
    hi, yo = hypothesis.words
    assert (hi.text, hi.start, hi.end) == ("hi", pytest.approx(0.04), pytest.approx(0.16))
    assert (yo.text, yo.start, yo.end) == ("yo", pytest.approx(0.28), pytest.approx(0.36))
    assert hi.confidence == pytest.approx(0.9, abs=1e-3)
    assert yo.confidence == pytest.approx(0.6, abs=1e-3)
    # Five tokens: h, i and the space at 0.9, y and o at 0.6.
    assert hypothesis.confidence == pytest.approx(0.9 ** (3 / 5) * 0.6 ** (2 / 5), abs=1e-3)


def test_a_run_cut_in_two_is_one_token() -> None:
    log_probs = np.concatenate([path("aa", 0.5), path("a", 0.8), path("a", 0.6)])
    whole, cut = decode(log_probs), decode(log_probs, (1, 3))
    assert whole == cut
    assert len(whole.tokens) == 1
    assert whole.tokens[0].confidence == pytest.approx(0.8, abs=1e-3)


@given(
    text=st.text(alphabet="_ ab'", max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=6).map(lambda c: tuple(sorted(c))),
)
def test_pieces_do_not_matter(text: str, cuts: tuple[int, ...]) -> None:
    log_probs = path(text).reshape(len(text), len(TOKENS))
    assert decode(log_probs, cuts) == decode(log_probs)


def test_silence_is_not_remembered() -> None:
    decoder = GreedyDecoder(TOKENS, FRAME)
    for _ in range(50):
        decoder.advance(path("_ _  __ "))
    assert decoder.hypothesis().tokens == ()
    decoder.advance(path(" a"))
    assert [token.frame for token in decoder.hypothesis().tokens] == [401]


def test_reset_forgets() -> None:
    decoder = GreedyDecoder(TOKENS, FRAME)
    decoder.advance(path("ab"))
    decoder.reset()
    decoder.advance(path("b"))
    hypothesis = decoder.hypothesis()
    assert hypothesis.text == "b"
    assert hypothesis.tokens[0].frame == 0


def test_the_final_is_the_best_path_and_nothing_else() -> None:
    decoder = GreedyDecoder(TOKENS, FRAME)
    assert [hypothesis.text for hypothesis in decoder.finish(5)] == [""]
    decoder.advance(path("c_a_t"))
    assert decoder.finish(5) == [decoder.hypothesis()]
