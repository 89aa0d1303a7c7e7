"""Beam search as a stream uses it: with words, phrases, partials, finals."""

from __future__ import annotations

import itertools
from collections import defaultdict
from difflib import SequenceMatcher

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.data.text import Tokenizer
from ossicle.model.decoding.beam_decoder import LISTED, BeamDecoder
from ossicle.model.decoding.decoders import Decoding, DecodingConfig, Phrase
from ossicle.model.ngram.model import NgramModel
from ossicle.model.runtime import AcousticModel, ModelInfo, transcribe_whole

TOKENIZER = Tokenizer()
TOKENS = TOKENIZER.tokens
INFO = ModelInfo("test", "", "en-US", "", TOKENS, 0)
WEIGHTS = {
    "lm_weight": 0.7,
    "word_score": 0.3,
    "unknown_score": -5.0,
    "letter_score": -0.5,
    "beam_width": 24,
}


@pytest.fixture(scope="module")
def decoding(ngrams: NgramModel) -> Decoding:
    return Decoding(INFO, ngrams, WEIGHTS)


def said(*readings: str, share: float = 0.9) -> np.ndarray:
    """Log-probabilities (U, V) of texts of equal length, each a frame a letter and two blanks.

    Where they differ, the first has `share` of the probability, the others have the rest.
    """
    rows = []
    for letters in zip(*readings, strict=True):
        row = np.full(len(TOKENS), 0.02 / len(TOKENS))
        shares = [share] + [(1 - share) / max(len(letters) - 1, 1)] * (len(letters) - 1)
        for letter, part in zip(letters, shares if len(set(letters)) > 1 else [1.0], strict=False):
            row[TOKENS.index(letter)] += 0.98 * part
        row[0] += 1 - row.sum()
        blank = np.full(len(TOKENS), 0.02 / len(TOKENS))
        blank[0] += 1 - blank.sum()
        rows += [row, blank, blank]
    return np.log(np.array(rows)).astype(np.float32).reshape(-1, len(TOKENS))


def decoded(decoding: Decoding, log_probs: np.ndarray, **config: object) -> list[str]:
    decoder = decoding.decoder(DecodingConfig(**config))  # type: ignore[arg-type]
    decoder.advance(log_probs)
    return [hypothesis.text for hypothesis in decoder.finish(50)]


@pytest.mark.parametrize("text", ["", "a", "it's", "the boys' dog ran", "i see", "the zyqq sat"])
def test_what_is_said_clearly_is_understood(decoding: Decoding, text: str) -> None:
    assert decoded(decoding, said(text))[0] == text


def test_the_language_model_tells_words_apart_that_sound_alike(decoding: Decoding) -> None:
    sound = said("they sea it", "they see it", share=0.6), said("we see the see", "we see the sea")
    assert decoded(decoding, sound[0])[0] == "they see it"
    assert decoded(decoding, sound[1])[0] == "we see the sea"
    plain = Decoding(INFO)
    assert decoded(plain, sound[0], search="beam")[0] == "they sea it"
    assert decoded(plain, sound[1], search="beam")[0] == "we see the see"


def test_each_alternative_has_the_probability_of_its_paths_and_the_score_of_its_words(
    ngrams: NgramModel,
) -> None:
    tokens = (TOKENS[0], " ", "a", "i")
    limits = {"beam_margin": 1e9, "beam_least_probable": -1e9, "beam_certain_blank": 0.0}
    info = ModelInfo("test", "", "en-US", "", tokens, 0)
    decoding = Decoding(info, ngrams, WEIGHTS | limits | {"beam_width": 256})
    logits = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    truth: dict[str, float] = defaultdict(lambda: -np.inf)
    for path in itertools.product(range(4), repeat=5):
        letters = [tokens[token] for token, _ in itertools.groupby(path) if token]
        text = " ".join("".join(letters).split())
        truth[text] = np.logaddexp(truth[text], sum(log_probs[range(5), path]))
    for text in truth:
        context = np.array([ngrams.start()])
        for word in text.split():
            log_prob, context = ngrams.score(context, ngrams.numbers([word]))
            truth[text] += 0.7 * float(log_prob[0]) + 0.3
            # Of the letters a and i, "a" and "i" are words; nothing begins with "aa", "ai" or "ii".
            truth[text] -= (5.0 + 0.5 * (len(word) - 1)) * (word not in ngrams.words)
        end = ngrams.score(context, np.array([ngrams.eos], np.int32))[0]
        truth[text] += 0.7 * float(end[0])
    decoder = decoding.decoder()
    decoder.advance(log_probs)
    found = {hypothesis.text: hypothesis.score for hypothesis in decoder.finish(1000)}
    best = sorted(truth, key=truth.__getitem__, reverse=True)[:LISTED]
    assert found == pytest.approx({text: truth[text] for text in best}, abs=1e-4)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, 150), max_size=8).map(sorted),
)
def test_pieces_do_not_matter(decoding: Decoding, seed: int, cuts: list[int]) -> None:
    logits = np.random.default_rng(seed).normal(size=(150, len(TOKENS))) * 3
    logits[:, 0] += 4
    logits[:110, 0] += 9  # so long a silence that some of it is forgotten
    log_probs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    config = DecodingConfig(phrases=(Phrase("the cat", 5.0),))
    whole, pieces = decoding.decoder(config), decoding.decoder(config)
    whole.advance(log_probs)
    for piece in np.split(log_probs, cuts):
        pieces.advance(piece)
        pieces.hypothesis()
    assert pieces.hypothesis() == whole.hypothesis()
    assert pieces.finish(5) == whole.finish(5)


def test_alternatives_are_distinct_and_best_first(decoding: Decoding) -> None:
    decoder = decoding.decoder()
    decoder.advance(said("the cat sees", "the dog seas", share=0.5))
    found = decoder.finish(8)
    assert len(found) == len({hypothesis.text for hypothesis in found}) == 8
    scores = [hypothesis.score for hypothesis in found]
    assert scores == sorted(scores, reverse=True)
    assert decoder.finish(3) == found[:3]
    assert decoder.finish() == found[:1]


def test_partials_have_the_times_of_their_letters(decoding: Decoding) -> None:
    decoder = decoding.decoder()
    log_probs = said("the cat")
    decoder.advance(log_probs[:8])
    assert decoder.hypothesis().text == "the"
    decoder.advance(log_probs[8:])
    the, cat = decoder.hypothesis().words
    assert (the.start, the.end) == (pytest.approx(0.0), pytest.approx(0.28))
    assert (cat.start, cat.end) == (pytest.approx(0.48), pytest.approx(0.76))
    assert cat.confidence == pytest.approx(0.98, abs=0.01)
    (final,) = decoder.finish()
    assert [word.start for word in final.words] == [the.start, cat.start]


def test_reset_forgets(decoding: Decoding) -> None:
    decoder = decoding.decoder()
    decoder.advance(said("the cat"))
    decoder.reset()
    assert decoder.hypothesis().text == ""
    assert decoder.finish()[0].text == ""
    decoder.advance(said("the dog"))
    fresh = decoding.decoder()
    fresh.advance(said("the dog"))
    assert decoder.finish(5) == fresh.finish(5)


def test_silence_is_not_remembered_and_what_follows_has_its_time(decoding: Decoding) -> None:
    decoder = decoding.decoder()
    assert isinstance(decoder, BeamDecoder)
    silence = said("a")[1:2].repeat(1000, axis=0)
    for _ in range(5):
        decoder.advance(silence)
    assert decoder.remembered_frames <= 100
    decoder.advance(said("the cat"))
    (final,) = decoder.finish()
    assert final.text == "the cat"
    assert final.words[0].start == pytest.approx(200.0)
    assert decoder.hypothesis().words[0].start == pytest.approx(200.0)


def test_boost_0_is_no_phrase_at_all(decoding: Decoding) -> None:
    sound = said("the cat sees", "the kat seas", share=0.5)
    plain, boosted = (
        decoding.decoder(),
        decoding.decoder(DecodingConfig(phrases=(Phrase("the kat", 0.0), Phrase("seas", 0.0)))),
    )
    for decoder in (plain, boosted):
        decoder.advance(sound)
    assert boosted.finish(20) == plain.finish(20)


@pytest.mark.parametrize("phrase", ["Zyq", "the zyq", "Zyq ran"])
def test_a_boosted_phrase_is_heard_where_it_is_plausible(decoding: Decoding, phrase: str) -> None:
    sound = said("the dog ran", "the zyq ran", share=0.75)
    assert decoded(decoding, sound)[0] == "the dog ran"
    boosted = {b: decoded(decoding, sound, phrases=(Phrase(phrase, b),))[0] for b in (1, 20)}
    assert boosted == {1: "the dog ran", 20: "the zyq ran"}


def test_the_greatest_boost_invents_nothing(decoding: Decoding) -> None:
    phrases = tuple(Phrase(text, 20.0) for text in ("Llanfair", "worcester sauce", "quixotic"))
    assert decoded(decoding, said("the dog ran"), phrases=phrases)[0] == "the dog ran"
    assert decoded(decoding, said("a")[1:2].repeat(50, axis=0), phrases=phrases)[0] == ""


def test_a_boosted_beginning_of_a_phrase_is_worth_nothing(decoding: Decoding) -> None:
    sound = said("the dog ran", "the zyq ran", share=0.97)
    boosted = decoded(decoding, sound, phrases=(Phrase("zyq sat", 20.0),))
    assert boosted[0] == "the dog ran"


def test_a_phrase_that_is_only_begun_does_not_crowd_out_what_is_said() -> None:
    """Even a beam of one hypothesis goes on with what is best without the bonus, too."""
    sound = said("the dog ran", "the zyq ran", share=0.6)
    config = {"search": "beam", "beam_width": 1, "phrases": (Phrase("zyq sat", 20.0),)}
    assert decoded(Decoding(INFO), sound, **config)[0] == "the dog ran"


@pytest.mark.parametrize("boost", [5.0, 10.0, 20.0])
def test_no_word_is_lost_between_phrases(boost: float) -> None:
    text = " ".join(["hello", "hello", "a", "hello", "bed"] * 5)
    sound = said(text.replace("hello", "hollo"), text, share=0.6)
    phrases = (Phrase("hello", boost),)
    assert decoded(Decoding(INFO), sound, search="beam", phrases=phrases)[0] == text


def test_real_speech(shipped_int8: AcousticModel, sample: np.ndarray) -> None:
    """Without a language model a beam hears what greedy search hears, or something likelier."""
    info = shipped_int8.info
    state = shipped_int8.settled_state(1)
    log_probs = transcribe_whole(shipped_int8.step, state, sample[None], info.lookahead_frames)[0]
    decoding = Decoding(info)
    greedy = decoding.decoder(DecodingConfig(search="greedy"))
    whole = decoding.decoder(DecodingConfig(search="beam"))
    live = decoding.decoder(DecodingConfig(search="beam"))
    for decoder in (greedy, whole):
        decoder.advance(log_probs)
    for begin in range(0, len(log_probs), 4):
        live.advance(log_probs[begin : begin + 4])
    (best_path,) = greedy.finish()
    found = whole.finish(10)
    assert found == live.finish(10)
    scores = {hypothesis.text: hypothesis.score for hypothesis in found}
    assert scores[found[0].text] >= scores.get(best_path.text, -np.inf)
    assert SequenceMatcher(None, found[0].text, best_path.text).ratio() > 0.8
    ends = [time for word in found[0].words for time in (word.start, word.end)]
    assert ends == sorted(ends)
    assert ends[-1] <= len(log_probs) * info.frame_seconds
