"""From sounds to words: how the hypotheses of a network whose tokens are phonemes are spelled.

The search finds out what was said as a row of pronunciations. Which words they are - "their" or
"there" - the language model tells by the words around them (a Viterbi search over the words that
sound alike). What sounds like no word that is known is spelled by rules of the dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
from ossicle.data.text import normalize
from ossicle.model.decoding.hypothesis import Hypothesis
from ossicle.model.decoding.language import Language
from ossicle.model.decoding.phrases import Phrase
from ossicle.model.pronunciation.dictionary import Pronunciations

_KEPT = 8
"""Spellings of the words so far that are followed; they differ in what follows them only."""


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


class Speller:
    """Spells the hypotheses of one stream.

    Args:
        pronunciations: of the model.
        language: chooses among words that sound alike; None: the dictionary's first is taken.
        phrases: that are expected; where one sounds like what was heard, it is what was said.
    """

    def __init__(
        self,
        pronunciations: Pronunciations,
        language: Language | None,
        phrases: Sequence[Phrase] = (),
    ) -> None:
        self._pronunciations = pronunciations
        self._language = language
        self._expected: dict[tuple[str, ...], list[str]] = {}
        for phrase in phrases:
            words = normalize(phrase.text).split()
            self._expected[tuple(map(pronunciations.pronounce, words))] = words
        self._longest = max(map(len, self._expected), default=0)
        self._sounds: list[str] = []
        self._steps: list[list[_Spelling]] = []  # the spellings after each of the sounds

    def partial(self, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis, spelled as far as it goes.

        For a last word that is only the beginning of one stands the likeliest that begins so.
        """
        spelled = self._spelled(hypothesis, whole=False)
        return replace(spelled, completed=self._language is not None)

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

    def _spelled(self, hypothesis: Hypothesis, whole: bool) -> Hypothesis:
        words = self._words([word.text for word in hypothesis.words], whole)
        return replace(
            hypothesis,
            text=" ".join(words),
            words=tuple(
                replace(word, text=text) for word, text in zip(hypothesis.words, words, strict=True)
            ),
        )

    def _words(self, sounds: Sequence[str], whole: bool) -> list[str]:
        language = self._language
        if language is None:
            words = list(map(self._pronunciations.spell, sounds))
        elif not whole and sounds and not language.words_of(sounds[-1]):
            words = self._likeliest(language, sounds[:-1], whole)
            words.append(self._begun(language, sounds[-1]))
        else:
            words = self._likeliest(language, sounds, whole)
        begin = 0
        while begin < len(sounds):
            for end in range(min(begin + self._longest, len(sounds)), begin, -1):
                expected = self._expected.get(tuple(sounds[begin:end]))
                if expected:
                    words[begin:end] = expected
                    begin = end - 1
                    break
            begin += 1
        return words

    def _begun(self, language: Language, sound: str) -> str:
        word = language.beginning(sound)
        return language.ngram.words[word] if word >= 0 else self._pronunciations.spell(sound)

    def _likeliest(self, language: Language, sounds: Sequence[str], whole: bool) -> list[str]:
        """The words that the language model likes best; only what is new of them is looked at."""
        pairs = zip(sounds, self._sounds, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        del self._sounds[same:], self._steps[same:]
        for sound in sounds[same:]:
            self._sounds.append(sound)
            self._steps.append(self._extended(language, sound))
        if not sounds:
            return []
        spellings = self._steps[-1]
        scores = [spelling.score for spelling in spellings]
        if whole:
            contexts = np.array([spelling.context for spelling in spellings])
            ends = np.full(len(contexts), language.ngram.eos, np.int32)
            scores = (np.array(scores) + language.ngram.score(contexts, ends)[0]).tolist()
        return spellings[int(np.argmax(scores))].words()

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
