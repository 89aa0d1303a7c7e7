"""The score of a text is a function of the text alone, however it came about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.language import Language, LanguageWeights, ScorerBatch, TextScorer
from ossicle.model.decoding.phrases import NATS, Phrase, PhraseMatcher
from ossicle.model.ngram.model import NgramModel

TOKENIZER = Tokenizer()
SPACE = TOKENIZER.tokens.index(" ")
WEIGHTS = LanguageWeights(lm_weight=0.7, word_score=0.3, unknown_score=-5.0, letter_score=-0.9)


@pytest.fixture(scope="module")
def language(ngrams: NgramModel) -> Language:
    return Language(ngrams, TOKENIZER.tokens, WEIGHTS)


def extend(
    scorer: TextScorer,
    state: np.ndarray,
    texts: list[int],
    tokens: list[int],
    needed: float = -np.inf,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add tokens to texts of one stream."""
    none = np.zeros(len(texts), dtype=np.int64)
    least = np.full(len(texts), needed)
    return ScorerBatch([scorer]).extend(state, np.array(texts), np.array(tokens), none, least)


def score(scorer: TextScorer, text: str) -> float:
    """What a text gains, letter by letter, in the company of others."""
    state = np.repeat(scorer.start(), 3, axis=1)
    total = 0.0
    for token in TOKENIZER.encode(text):
        _, gains, states = extend(scorer, state, [1, 2, 1], [3, token, token])
        total += gains[2]
        state = states[:, [1, 2, 0]]
    return total + float(scorer.finish(state)[1])


def by_definition(ngrams: NgramModel, text: str) -> float:
    context = np.array([ngrams.start()])
    total = 0.0
    for word in text.split():
        log_prob, context = ngrams.score(context, ngrams.numbers([word]))
        total += WEIGHTS.lm_weight * float(log_prob[0]) + WEIGHTS.word_score
        if word not in ngrams.words:
            total += WEIGHTS.unknown_score
            beginnings = [word[:end] for end in range(1, len(word) + 1)]
            total += WEIGHTS.letter_score * sum(
                not any(known.startswith(beginning) for known in ngrams.words)
                for beginning in beginnings
            )
    end = ngrams.score(context, np.array([ngrams.eos], np.int32))[0]
    return total + WEIGHTS.lm_weight * float(end[0])


@given(
    st.lists(
        st.sampled_from(["the", "cat", "sees", "it's", "boys'", "dog", "th", "cats", "zoo", "'"]),
        max_size=7,
    ),
    st.booleans(),
)
def test_a_text_is_worth_its_words(
    language: Language, ngrams: NgramModel, words: list[str], space: bool
) -> None:
    text = " ".join(words)
    scorer = TextScorer(SPACE, language)
    truth = by_definition(ngrams, text)
    assert score(scorer, text) == pytest.approx(truth, abs=1e-4)
    if words and space:
        assert score(scorer, text + " ") == pytest.approx(truth, abs=1e-4)


def test_while_a_word_is_spelled_the_best_that_begins_so_stands_for_it(
    language: Language, ngrams: NgramModel
) -> None:
    scorer = TextScorer(SPACE, language)
    state, total = scorer.start(), 0.0
    for token in TOKENIZER.encode("th"):
        _, (gain,), state = extend(scorer, state, [0], [token])
        total += gain
    best = max(
        float(log_prob)
        for word, log_prob in zip(ngrams.words, ngrams.unigrams, strict=True)
        if word.startswith("th")
    )
    assert total == pytest.approx(0.7 * best + 0.3, abs=1e-5)


def test_other_weights_leave_the_first_as_they_are(language: Language) -> None:
    before = language.standing.copy()
    other = language.weighed(LanguageWeights(lm_weight=0.1))
    assert not np.array_equal(other.standing, before)
    assert np.array_equal(language.standing, before)
    assert language.weights == WEIGHTS


@pytest.mark.parametrize("word", ["zoo", "catz", "th", "thequick"])
def test_a_word_of_a_phrase_is_not_charged_for_being_unknown(language: Language, word: str) -> None:
    plain = TextScorer(SPACE, language)
    phrases = PhraseMatcher([Phrase(f"the {word}", 2.0)], TOKENIZER.tokens, language.unknown_prices)
    scorer = TextScorer(SPACE, language, phrases)
    text = f"see the {word}"
    charged = (
        WEIGHTS.unknown_score
        + WEIGHTS.letter_score * {"zoo": 3, "catz": 1, "th": 0, "thequick": 5}[word]
    )
    gained = score(scorer, text) - score(plain, text)
    assert gained == pytest.approx(2 * NATS * (len(word) + 5) - charged)
    # Elsewhere it is as unknown as ever.
    assert score(scorer, f"a {word}") == pytest.approx(score(plain, f"a {word}"))


def test_without_language_model_all_texts_are_worth_the_same() -> None:
    assert score(TextScorer(SPACE), "any words") == 0.0
