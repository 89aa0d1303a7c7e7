"""From sounds to words: how the hypotheses of a network whose tokens are phonemes are spelled.

The search finds out what was said as a row of pronunciations. Which words they are - "their" or
"there" - the language model tells by the words around them (a Viterbi search over the words that
sound alike). What sounds like no word that is known is spelled by rules of the dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat

import numpy as np
from ossicle.model.decoding.hypothesis import Hypothesis, Word, shared_beginning
from ossicle.model.decoding.language import Language
from ossicle.model.decoding.phrases import NATS, Phrase, spoken
from ossicle.model.pronunciation.dictionary import Pronunciations

_KEPT = 8
"""Spellings of the words so far that are followed; they differ in what follows them only."""

_NOTHING = (Word("", 0.0, 0.0, 0.0),) * 2


@dataclass(frozen=True)
class _Spelling:
    score: float
    context: int
    word: str = ""
    before: _Spelling | None = None

    def words(self) -> list[str]:
        words = []
        spelling = self
        while spelling.before is not None:
            words.append(spelling.word)
            spelling = spelling.before
        return words[::-1]


@dataclass(frozen=True)
class _Expected:
    """The words of a phrase, and what it is worth to hear them, in natural-log units."""

    words: list[str]
    worth: float


class Speller:
    """Spells the hypotheses of one stream.

    Args:
        pronunciations: of the model.
        language: chooses among words that sound alike; None: the dictionary's first is taken.
        phrases: that are expected; where one sounds like what was heard, it is what was said, if
            the language model finds it less likely by no more than its boost is worth.
    """

    def __init__(
        self,
        pronunciations: Pronunciations,
        language: Language | None,
        phrases: Sequence[Phrase] = (),
    ) -> None:
        self._pronunciations = pronunciations
        self._language = language
        self._expected: dict[tuple[str, ...], _Expected] = {}
        for phrase in sorted(phrases, key=lambda phrase: phrase.boost):
            words = spoken(phrase.text).split()
            sounds = tuple(map(pronunciations.pronounce, words))
            tokens = sum(len(sound) + 1 for sound in sounds)
            self._expected[sounds] = _Expected(words, phrase.boost * NATS * tokens)
        self._longest = max(map(len, self._expected), default=0)
        self._sounds: list[str] = []
        self._steps: list[list[_Spelling]] = []  # the spellings after each of the sounds
        self._respelled: list[tuple[Word, Word]] = []  # words as they were heard and were spelled
        self._partial: tuple[Hypothesis, Hypothesis] | None = None  # the last, heard and spelled

    def partial(self, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis, spelled as far as it goes.

        For a last word that is only the beginning of one stands the likeliest that begins so.
        """
        if self._partial is None or self._partial[0] is not hypothesis:
            self._partial = hypothesis, self._spelled_so_far(hypothesis)
        return self._partial[1]

    def _spelled_so_far(self, hypothesis: Hypothesis) -> Hypothesis:
        # What a separator follows will not grow.
        ended = bool(hypothesis.tokens) and not hypothesis.tokens[-1].text.strip()
        language = self._language
        if language is None or ended or not hypothesis.words:
            return self._spelled(hypothesis, completion=None if language is None else 1.0)
        *before, last = [word.text for word in hypothesis.words]
        word, completion = self._becoming(language, before, last)
        spelled = self._spelled(hypothesis, becomes=word, completion=completion)
        if self._ends_as_expected(hypothesis, spelled):
            return replace(spelled, completion=1.0)
        return spelled

    def _ends_as_expected(self, heard: Hypothesis, spelled: Hypothesis) -> bool:
        """Whether the last words that were heard are a phrase, and are spelled as that."""
        for length in range(1, min(self._longest, len(heard.words)) + 1):
            expected = self._expected.get(tuple(word.text for word in heard.words[-length:]))
            if expected and [word.text for word in spelled.words[-length:]] == expected.words:
                return True
        return False

    def agreement(self) -> list[float]:
        """How sure the language model is of how the last `partial` is spelled.

        What follows may yet tell that "to" was "two". Words of phrases are in no doubt.

        Returns:
            Of each word, the share of the probability of all spellings among which what follows can
            choose that those have which spell the words up to it so, 0 to 1.
        """
        if self._partial is None:
            return []
        sounds = [word.text for word in self._partial[0].words]
        followed = shared_beginning(sounds, self._sounds)
        if self._language is None or not followed:
            return [1.0] * len(sounds)
        ways = self._steps[followed - 1]
        scores = np.array([way.score for way in ways])
        shares = np.exp(scores - scores.max())
        best = int(scores.argmax())
        settled = {n for begin, end, _ in self._phrases(sounds) for n in range(begin, end)}
        differ = np.full(len(ways), len(sounds))  # the first word that is not the best way's
        for place in reversed(range(followed)):
            if all(way is ways[best] for way in ways):
                break
            if place not in settled:
                differ[[way.word != ways[best].word for way in ways]] = place
            ways = [way.before for way in ways if way.before]
        places = np.arange(len(sounds))[:, None]
        return [float(share) for share in (differ > places) @ (shares / shares.sum())]

    def finals(self, hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Hypotheses of the whole of what was said, spelled; of those that become equal the first.

        At least one, where there is one.
        """
        distinct: dict[str, Hypothesis] = {}
        for hypothesis in hypotheses:
            spelled = self._spelled(hypothesis, whole=True)
            distinct.setdefault(spelled.text, spelled)
        return list(distinct.values())

    def text(self, sounds: str) -> str:
        """The words of a row of pronunciations with spaces between them, all that was said."""
        return " ".join(self._words(sounds.split(), whole=True))

    def _spelled(
        self,
        hypothesis: Hypothesis,
        *,
        whole: bool = False,
        becomes: str = "",
        completion: float | None = None,
    ) -> Hypothesis:
        texts = self._words([word.text for word in hypothesis.words], whole, becomes)
        words = [
            # Most words of a growing text are what they were: that is told without looking closely.
            respelled
            if word is heard and respelled.text == text
            else Word(text, word.start, word.end, word.confidence)
            for word, text, (heard, respelled) in zip(
                hypothesis.words, texts, chain(self._respelled, repeat(_NOTHING)), strict=False
            )
        ]
        self._respelled = list(zip(hypothesis.words, words, strict=True))
        return replace(hypothesis, text=" ".join(texts), words=tuple(words), completion=completion)

    def _words(self, sounds: Sequence[str], whole: bool, becomes: str = "") -> list[str]:
        """The words of so many sounds.

        Args:
            whole: this is all that was said.
            becomes: the word that the last sound is the beginning of, empty if it is a whole word.
        """
        language = self._language
        if language is None:
            words = list(map(self._pronunciations.spell, sounds))
        elif becomes:
            words = [*self._likeliest(language, sounds[:-1], whole), becomes]
        else:
            words = self._likeliest(language, sounds, whole)
        for begin, end, expected in self._phrases(sounds):
            if self._outweighs(expected, words, begin, end):
                words[begin:end] = expected.words
        return words

    def _phrases(self, sounds: Sequence[str]) -> Iterator[tuple[int, int, _Expected]]:
        """Where expected phrases begin and end among sounds, the longest first."""
        begin = 0
        while begin < len(sounds):
            for end in range(min(begin + self._longest, len(sounds)), begin, -1):
                expected = self._expected.get(tuple(sounds[begin:end]))
                if expected:
                    yield begin, end, expected
                    begin = end
                    break
            else:
                begin += 1

    def _outweighs(self, expected: _Expected, words: list[str], begin: int, end: int) -> bool:
        """Whether a phrase may stand for the words that sound like it."""
        language = self._language
        if language is None or words[begin:end] == expected.words:
            return True
        ngram = language.ngram
        reach = ngram.order - 1  # so far the words around can tell the difference
        before, after = words[max(begin - reach, 0) : begin], words[end : end + reach]
        rows = np.array(
            [
                ngram.numbers([*before, *middle, *after])
                for middle in (words[begin:end], expected.words)
            ]
        )
        contexts = np.full(2, ngram.start() if begin <= reach else 0, np.int64)
        likelihoods = np.zeros(2)
        for column in rows.T:
            log_probs, contexts = ngram.score(contexts, column)
            likelihoods += log_probs
        lost = language.weights.lm_weight * (likelihoods[0] - likelihoods[1])
        return bool(lost <= expected.worth)

    def _becoming(self, language: Language, before: Sequence[str], sound: str) -> tuple[str, float]:
        """What the language model takes a sound to become that may be the beginning of a word.

        Returns:
            The word, empty if the sound is one as it is, and how likely it is, 0 to 1, among those
            that begin so.
        """
        word, share = language.becoming(self._context(language, before), sound)
        if word < 0:
            return self._pronunciations.spell(sound), 0.0
        # Which of the words that sound alike it is, what follows may yet tell.
        return "" if language.words_of(sound) else language.ngram.words[word], share

    def _context(self, language: Language, sounds: Sequence[str]) -> int:
        """The language model's, after sounds as it likes them best."""
        if not sounds:
            return language.ngram.start()
        self._extend(language, sounds)
        return self._steps[len(sounds) - 1][0].context

    def _likeliest(self, language: Language, sounds: Sequence[str], whole: bool) -> list[str]:
        """The words that the language model likes best."""
        self._extend(language, sounds)
        if not sounds:
            return []
        spellings = self._steps[len(sounds) - 1]
        scores = [spelling.score for spelling in spellings]
        if whole:
            contexts = np.array([spelling.context for spelling in spellings])
            ends = np.full(len(contexts), language.ngram.eos, np.int32)
            scores = (np.array(scores) + language.ngram.score(contexts, ends)[0]).tolist()
        return spellings[int(np.argmax(scores))].words()

    def _extend(self, language: Language, sounds: Sequence[str]) -> None:
        """Find the spellings after each of the sounds; only what is new of them is looked at."""
        same = shared_beginning(sounds, self._sounds)
        if same < len(sounds):
            del self._sounds[same:], self._steps[same:]
        for sound in sounds[same:]:
            self._sounds.append(sound)
            self._steps.append(self._extended(language, sound))

    def _extended(self, language: Language, sound: str) -> list[_Spelling]:
        before = self._steps[-1] if self._steps else [_Spelling(0.0, language.ngram.start())]
        numbers = language.words_of(sound)
        words = [language.ngram.words[number] for number in numbers]
        if not words:
            numbers, words = [language.ngram.unk], [self._pronunciations.spell(sound)]
        contexts = np.repeat(np.array([spelling.context for spelling in before]), len(words))
        log_probs, after = language.ngram.score(
            contexts, np.tile(np.array(numbers, np.int32), len(before))
        )
        found: dict[int, _Spelling] = {}
        steps = ((spelling, word) for spelling in before for word in words)
        for (spelling, word), log_prob, context in zip(
            steps, log_probs.tolist(), after.tolist(), strict=True
        ):
            score = spelling.score + log_prob
            if context not in found or found[context].score < score:
                found[context] = _Spelling(score, context, word, spelling)
        return sorted(found.values(), key=lambda spelling: -spelling.score)[:_KEPT]
