"""Models whose tokens are phonemes: from pronunciations to words, in every decoder."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ossicle.model.config import ModelConfig
from ossicle.model.decoding.decoders import Decoding, DecodingConfig, Phrase, Search
from ossicle.model.decoding.hypothesis import (
    Decoder,
    Hypothesis,
    TimedToken,
    Word,
    spell_hypothesis,
)
from ossicle.model.decoding.language import Language, LanguageWeights
from ossicle.model.decoding.spelling import Speller
from ossicle.model.ngram.model import NgramModel
from ossicle.model.pronunciation.dictionary import Pronunciations
from ossicle.model.runtime import ModelInfo

TOKENS = ModelConfig(units="phonemes").tokens
INFO = ModelInfo("test", "", "en-US", "", TOKENS, 0, units="phonemes")


@pytest.fixture(scope="module")
def language(ngrams: NgramModel, pronunciations: Pronunciations) -> Language:
    return Language(ngrams, TOKENS, LanguageWeights(), pronunciations.pronounce)


@pytest.fixture
def decoding(ngrams: NgramModel, pronunciations: Pronunciations) -> Decoding:
    return Decoding(INFO, ngrams, pronunciations=pronunciations)


def heard(written: str, sure: float = 0.98) -> NDArray[np.float32]:
    """Log-probabilities (U, V) of a network that hears this: two frames a token, one a blank."""
    rows = []
    for character in written:
        rows += [TOKENS.index(character)] * 2 + [0]
    probs = np.full((len(rows), len(TOKENS)), (1 - sure) / (len(TOKENS) - 1))
    probs[np.arange(len(rows)), rows] = sure
    return np.log(probs).astype(np.float32)


@pytest.mark.parametrize(
    "text",
    [
        "we see the sea",
        "they see it",
        "we saw the two of them",
        "it is too late to see them",
        "the boys' dog ran",
        "",
    ],
)
def test_the_words_around_tell_which_word_it_is(
    text: str, language: Language, pronunciations: Pronunciations
) -> None:
    assert Speller(pronunciations, language).text(pronunciations.pronounce_text(text)) == text


def test_words_that_sound_alike_share_a_node_and_the_likeliest_counts(
    language: Language, ngrams: NgramModel
) -> None:
    numbers = language.words_of("tu")
    assert {ngrams.words[number] for number in numbers} == {"to", "two", "too"}
    assert language.words_of("tutu") == []
    assert [ngrams.words[number] for number in language.words_of("kæt")] == ["cat"]
    node = np.array([0])
    for phoneme in "tu":
        node = language.lexicon.follow(node, np.array([TOKENS.index(phoneme)]))
    for before in ("the", "is", "late", "cat"):
        _, context = ngrams.score(np.array([0]), ngrams.numbers([before]))
        each, after = ngrams.score(np.repeat(context, 3), np.array(numbers, np.int32))
        nodes = np.array([node[0], language.lexicon.outside, node[0]])
        score, context_after = language.word_scores(np.repeat(context, 3), nodes)
        expected = each.max() * language.weights.lm_weight + language.weights.word_score
        assert score[[0, 2]] == pytest.approx([expected, expected])
        assert context_after[[0, 2]].tolist() == [after[each.argmax()]] * 2


def test_what_no_word_sounds_like_is_spelled_by_rules(
    language: Language, pronunciations: Pronunciations
) -> None:
    text = Speller(pronunciations, language).text("ðə blɪkstʌmp")
    assert text.split()[0] == "the"
    assert set(text.split()[1]) <= set("abcdefghijklmnopqrstuvwxyz'")


def begun(sounds: str) -> Hypothesis:
    """A hypothesis whose last sound may be the beginning of a word."""
    words = tuple(Word(sound, 0.0, 0.0, 1.0) for sound in sounds.split())
    return Hypothesis("", 1.0, (), words)


def test_a_word_that_is_begun_is_shown_as_the_likeliest_that_begins_so(
    language: Language, pronunciations: Pronunciations
) -> None:
    speller = Speller(pronunciations, language)
    assert speller.partial(begun("ðə kæ")).text == "the cat"
    assert speller.partial(begun("ðə kæt sæ")).text == "the cat sat"
    assert speller.partial(begun("ðə blɪk")).text.startswith("the b")
    assert speller.text("ðə kæ") != "the cat"


def test_what_a_begun_word_becomes_is_what_fits_the_words_before(
    language: Language, pronunciations: Pronunciations
) -> None:
    speller = Speller(pronunciations, language)
    for text in ("he sat", "the sea", "we see"):
        before, sound = pronunciations.pronounce_text(text).rsplit(" ", 1)
        assert speller.partial(begun(f"{before} {sound[0]}")).text == text


def test_how_likely_it_becomes_that_is_its_share_of_the_words_that_begin_so(
    language: Language, ngrams: NgramModel, pronunciations: Pronunciations
) -> None:
    speller = Speller(pronunciations, language)
    _, context = ngrams.score(np.array([ngrams.start()]), ngrams.numbers(["the"]))
    words = [w for w in ngrams.words if pronunciations.pronounce(w).startswith("s")]
    scores, _ = ngrams.score(np.repeat(context, len(words)), ngrams.numbers(words))
    likely = dict(zip(words, np.exp(scores) / np.exp(scores).sum(), strict=True))
    hypothesis = speller.partial(begun("ðə s"))
    assert likely[hypothesis.words[-1].text] == max(likely.values())
    assert hypothesis.completion == pytest.approx(max(likely.values()), rel=1e-4)
    # A sound that is a word as it is will stay so, unless it is the beginning of another.
    whole = speller.partial(begun("ðə si")).completion
    longer = likely["sees"] / (likely["sees"] + likely["sea"] + likely["see"])
    assert whole == pytest.approx(1 - longer, rel=1e-4)
    assert speller.partial(begun("ðə kæt")).completion == pytest.approx(1.0)
    assert speller.partial(begun("ðə blɪk")).completion == 0.0


def test_a_phrase_that_is_heard_whole_becomes_nothing_else(
    language: Language, pronunciations: Pronunciations
) -> None:
    for text in ("ossicle", "sat ossicle"):
        sounds = pronunciations.pronounce_text(text)
        heard = begun(f"ðə {sounds}")
        hypothesis = Speller(pronunciations, language, [Phrase(text, 20.0)]).partial(heard)
        assert (hypothesis.text, hypothesis.completion) == (f"the {text}", 1.0)
        assert Speller(pronunciations, language).partial(heard).completion == 0.0
        short = Speller(pronunciations, language, [Phrase(text, 20.0)]).partial(begun(sounds[:-2]))
        assert short.completion == 0.0


@pytest.mark.parametrize(("with_language", "expected"), [(True, 1.0), (False, None)])
def test_a_word_that_a_separator_follows_becomes_no_other(
    language: Language,
    pronunciations: Pronunciations,
    with_language: bool,
    expected: float | None,
) -> None:
    speller = Speller(pronunciations, language if with_language else None)
    tokens = tuple(TimedToken(token, n, n + 1, 0.9) for n, token in enumerate("si "))
    assert speller.partial(spell_hypothesis(tokens, 0.04)).completion == expected


WORDS = ("see", "sea", "the", "two", "to", "dog", "sat", "blick")


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=6), max_size=6))
def test_a_speller_that_has_spelled_before_spells_as_a_new_one(
    language: Language, pronunciations: Pronunciations, texts: list[list[str]]
) -> None:
    used = Speller(pronunciations, language)
    heard = {word: Word(pronunciations.pronounce(word), 0.0, 0.0, 1.0) for word in WORDS}
    for words in texts:
        hypothesis = Hypothesis("", 1.0, (), tuple(heard[word] for word in words))
        fresh = Speller(pronunciations, language)
        assert used.partial(hypothesis) == fresh.partial(hypothesis)
        assert used.finals([hypothesis]) == fresh.finals([hypothesis])
        assert len(used.partial(hypothesis).words) == len(words)


def test_equal_texts_are_given_once(language: Language, pronunciations: Pronunciations) -> None:
    sea = Hypothesis("si", 0.9, (), (Word("si", 0.0, 1.0, 0.9),), -0.1)
    dog = Hypothesis("dɔɡ", 0.5, (), (Word("dɔɡ", 0.0, 1.0, 0.5),), -2.0)
    speller = Speller(pronunciations, language)
    finals = speller.finals([sea, dog, replace(sea, score=-3.0)])
    assert [(f.text, f.score) for f in finals] == [(speller.text("si"), -0.1), ("dog", -2.0)]


@pytest.mark.parametrize("search", ["beam", "greedy"])
def test_decoders_give_words_and_keep_their_sounds(decoding: Decoding, search: Search) -> None:
    decoder = decoding.decoder(DecodingConfig(search=search))
    log_probs = heard("wi si ðə si")
    decoder.advance(log_probs)
    for hypothesis in (decoder.hypothesis(), decoder.finish()[0]):
        assert hypothesis.text == "we see the sea"
        assert hypothesis.written == "wi si ðə si"
        assert [word.text for word in hypothesis.words] == hypothesis.text.split()
        starts = [word.start for word in hypothesis.words]
        assert starts == pytest.approx([0.04 * 3 * place for place in (0, 3, 6, 9)], abs=0.05)
    assert len(decoder.agreement()) == 4
    decoder.reset()
    decoder.advance(heard("ðə kæt"))
    assert decoder.finish()[0].text == "the cat"


@pytest.mark.parametrize(
    "sounds", ["", "tu", "ðə tu", "ðə tu kæt", "ðə kæt sɔ tu si", "si ðə si tu"]
)
def test_the_agreement_on_a_spelling_is_the_share_of_all_ways_to_spell(
    sounds: str, language: Language, pronunciations: Pronunciations, ngrams: NgramModel
) -> None:
    speller = Speller(pronunciations, language)
    spelled = speller.partial(begun(sounds)).text.split()
    each = [[ngrams.words[n] for n in language.words_of(sound)] for sound in sounds.split()]
    ways = [list(way) for way in product(*each)]
    rows = np.array([ngrams.numbers(way) for way in ways])
    contexts, likelihood = np.full(len(ways), ngrams.start(), np.int64), np.zeros(len(ways))
    for column in rows.T:
        log_probs, contexts = ngrams.score(contexts, column)
        likelihood += log_probs
    # Between ways after which the language model is in the same state nothing that follows chooses.
    best: dict[int, tuple[float, list[str]]] = {}
    for way, score, context in zip(ways, likelihood.tolist(), contexts.tolist(), strict=True):
        if context not in best or best[context][0] < score:
            best[context] = score, way
    left = [(way, np.exp(score)) for score, way in best.values()]
    expected = [
        sum(share for way, share in left if way[:length] == spelled[:length])
        / sum(share for _, share in left)
        for length in range(1, len(spelled) + 1)
    ]
    assert speller.agreement() == pytest.approx(expected)


def test_how_what_is_expected_or_begun_is_spelled_is_in_no_doubt(
    language: Language, pronunciations: Pronunciations
) -> None:
    without = Speller(pronunciations, None)
    assert without.agreement() == []
    without.partial(begun("tu kæ"))
    assert without.agreement() == [1.0, 1.0]
    plain = Speller(pronunciations, language)
    plain.partial(begun("ðə tu kæ"))
    the, two, cat = plain.agreement()
    assert (the, cat) == pytest.approx((1.0, two))
    assert two < 0.99
    expecting = Speller(pronunciations, language, [Phrase("two cats", 20.0), Phrase("two", 20.0)])
    assert expecting.partial(begun("ðə tu kæ")).text == "the two cat"
    assert expecting.agreement() == pytest.approx([1.0, 1.0, 1.0])


def said(decoder: Decoder, written: str, sure: float = 0.98) -> str:
    decoder.advance(heard(written, sure))
    return decoder.finish()[0].text


def test_phrases_are_listened_for_by_their_sound(decoding: Decoding) -> None:
    sounds = decoding.write("ossicle sees the sea")
    plain, expecting = (
        said(decoding.decoder(DecodingConfig(phrases=phrases)), sounds, 0.9)
        for phrases in ((), (Phrase("Ossicle", 20.0), Phrase("seize the C", 20.0)))
    )
    assert plain.endswith("sees the sea")
    assert expecting == "ossicle seize the c"


@pytest.mark.parametrize(
    ("phrases", "expected"),
    [
        ((), "we see the sea"),
        ((Phrase("C", 0.01),), "we see the sea"),
        ((Phrase("C", 20.0),), "we c the c"),
        ((Phrase("C", 0.01), Phrase("sea", 20.0)), "we sea the sea"),
        ((Phrase("sea", 20.0), Phrase("C", 0.01)), "we sea the sea"),
    ],
)
def test_a_boost_is_weighed_against_the_language_model(
    phrases: tuple[Phrase, ...],
    expected: str,
    language: Language,
    pronunciations: Pronunciations,
) -> None:
    certain = language.weighed(LanguageWeights(lm_weight=0.6))
    speller = Speller(pronunciations, certain, phrases)
    assert speller.text(pronunciations.pronounce_text("we see the sea")) == expected


def test_a_word_that_has_ended_is_not_the_beginning_of_another(
    language: Language, pronunciations: Pronunciations
) -> None:
    speller = Speller(pronunciations, language)
    begun = spell_hypothesis([TimedToken(c, i, i + 1, 0.9) for i, c in enumerate("ðə kæ")], 0.04)
    ended = replace(begun, tokens=(*begun.tokens, TimedToken(" ", 6, 7, 0.9)))
    assert speller.partial(begun).text == "the cat"
    assert speller.partial(ended).text == f"the {pronunciations.spell('kæ')}" != "the cat"


def test_of_phrases_that_overlap_the_first_is_spelled(
    language: Language, pronunciations: Pronunciations
) -> None:
    phrases = (Phrase("seize the C", 5.0), Phrase("thee see", 5.0))
    heard_so = pronunciations.pronounce_text("we sees the sea")
    sounds = {phrase.text: pronunciations.pronounce_text(phrase.text.lower()) for phrase in phrases}
    speller = Speller(pronunciations, language, phrases)
    assert sounds["seize the C"] in heard_so
    assert speller.text(heard_so) == "we seize the c"
    assert speller.text(sounds["thee see"]) == "thee see"


def test_a_model_without_language_model_spells_by_its_dictionary(
    pronunciations: Pronunciations,
) -> None:
    decoding = Decoding(INFO, pronunciations=pronunciations)
    assert said(decoding.decoder(), "ðə kæt").startswith("the ")
    assert decoding.spell("ðə") == "the"


def test_a_model_of_letters_writes_as_it_spells(ngrams: NgramModel) -> None:
    decoding = Decoding(ModelInfo("test", "", "en-US", "", ModelConfig().tokens, 0), ngrams)
    assert decoding.write("the cat") == decoding.spell("the cat") == "the cat"
