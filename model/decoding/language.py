"""What a hypothesis is worth besides its sound: its words, letter by letter.

A word-level language model judges words, a beam search extends texts by letters. While a word is
being spelled, the best word that begins so stands for it; at its end the true score replaces that.
Words that the language model does not know are allowed at a price. The score of a text is a
function of the text alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.lexicon import ROOT, Lexicon
from ossicle.model.decoding.phrases import PhraseMatcher
from ossicle.model.ngram.model import NgramModel

SPACE = " "


@dataclass(frozen=True)
class LanguageWeights:
    """How much the language model counts against the sound; all in natural-log units.

    Attributes:
        lm_weight: of the language model's log-probabilities ("shallow fusion").
        word_score: for each word; positive makes up for words that the language model costs.
        unknown_score: for each word that is not in the lexicon, besides the language model's own.
        letter_score: for each letter by which such a word leaves the lexicon's beginnings of words.
    """

    lm_weight: float = 0.5
    word_score: float = 0.3
    unknown_score: float = -6.0
    letter_score: float = -0.7


class Language:
    """An n-gram model as letters see it; shared by all streams.

    Attributes:
        standing: (M,) for each node of the lexicon, what an unfinished word there is worth.
    """

    def __init__(self, ngram: NgramModel, tokens: Sequence[str], weights: LanguageWeights) -> None:
        self._tokens = tuple(tokens)
        self.ngram = ngram
        self.lexicon = Lexicon(ngram.words, ngram.unigrams, tokens)
        nowhere, unknown = np.zeros(1, np.int64), np.array([ngram.unk], np.int32)
        self._unknown = float(ngram.score(nowhere, unknown)[0][0])
        self._weigh(weights)

    def _weigh(self, weights: LanguageWeights) -> None:
        self.weights = weights
        look_ahead = self.lexicon.look_ahead.astype(np.float64)
        look_ahead[self.lexicon.outside] = self._unknown
        self.standing = weights.lm_weight * look_ahead + weights.word_score
        self.standing[self.lexicon.outside] += weights.unknown_score
        self.standing[ROOT] = 0.0

    def weighed(self, weights: LanguageWeights) -> Language:
        """The same model with other weights."""
        other = copy(self)
        other._weigh(weights)
        return other

    def word_scores(
        self, contexts: NDArray[np.int64], nodes: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What words that end at nodes (N,) after contexts (N,) are worth, and the new contexts."""
        words = self.lexicon.words[nodes]
        unknown = words < 0
        log_probs, after = self.ngram.score(contexts, np.where(unknown, self.ngram.unk, words))
        scores = self.weights.lm_weight * log_probs.astype(np.float64) + self.weights.word_score
        scores[unknown] += self.weights.unknown_score
        return scores, after

    def end_scores(self, contexts: NDArray[np.int64]) -> NDArray[np.float64]:
        """What ending the sentence in contexts (N,) is worth."""
        ends = np.full(len(contexts), self.ngram.eos, dtype=np.int32)
        scores: NDArray[np.float64] = self.weights.lm_weight * self.ngram.score(contexts, ends)[
            0
        ].astype(np.float64)
        return scores

    def unknown_prices(self, word: str) -> NDArray[np.float64]:
        """What each letter of a word, and its end, costs because the lexicon lacks it, (S + 1,).

        All zeros for a word that it has.
        """
        prices = np.zeros(len(word) + 1)
        node = np.array([ROOT])
        for place, letter in enumerate(word):
            inside = node[0] != self.lexicon.outside
            node = self.lexicon.follow(node, np.array([self._tokens.index(letter)]))
            if node[0] == self.lexicon.outside:
                prices[place] = -self.weights.letter_score
                prices[place] -= self.weights.unknown_score if inside else 0.0
        if node[0] != self.lexicon.outside and self.lexicon.words[node[0]] < 0:
            prices[-1] = -self.weights.unknown_score
        return prices


# The rows of a text's state. `_WORD` is a float64 seen as an int64.
_NODE, _CONTEXT, _WORD, _CONTEXT_AFTER, _MATCH, _ROWS = range(6)


class TextScorer:
    """Scores the texts of one stream's hypotheses as they grow.

    The state of K texts is an int64 array (rows, K), whose columns may be copied, dropped and put
    in any order.

    Args:
        space: number of the token that separates words.
        language: None: all words are worth the same.
        phrases: to listen for.
    """

    def __init__(
        self, space: int, language: Language | None, phrases: PhraseMatcher | None
    ) -> None:
        self._space = space
        self._language = language
        self._phrases = phrases

    @property
    def largest_gain(self) -> float:
        """More than this no single token adds because of phrases."""
        return self._phrases.largest_gain if self._phrases else 0.0

    @property
    def promises(self) -> bool:
        """Whether any text may have something that is `promised`."""
        return self._phrases is not None

    def promised(self, state: NDArray[np.int64]) -> NDArray[np.float64]:
        """What of the scores of K texts is lost unless they complete a phrase, (K,)."""
        if not self._phrases:
            return np.zeros(state.shape[1])
        return self._phrases.promised(state[_MATCH])

    def start(self) -> NDArray[np.int64]:
        """The state of one empty text, (rows, 1)."""
        state = np.zeros((_ROWS, 1), dtype=np.int64)
        state[_NODE] = ROOT
        state.view(np.float64)[_WORD] = np.nan
        if self._language:
            state[_CONTEXT] = self._language.ngram.start()
        if self._phrases:
            state[_MATCH] = self._phrases.start
        return state

    def extend(
        self, state: NDArray[np.int64], texts: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Add tokens (N,) to the texts in columns `texts` (N,) of `state`.

        No space may follow a space.

        Returns:
            What is gained by it, (N,), and the new states (rows, N).
        """
        new = state[:, texts]
        gains = np.zeros(len(texts))
        if self._language:
            gains += self._spell(self._language, state, new, texts, tokens)
        if self._phrases:
            gained, new[_MATCH] = self._phrases.step(new[_MATCH], tokens)
            gains += gained
        return gains, new

    def _spell(
        self,
        language: Language,
        state: NDArray[np.int64],
        new: NDArray[np.int64],
        texts: NDArray[np.int64],
        tokens: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        lexicon = language.lexicon
        before = new[_NODE]
        nodes = lexicon.follow(before, tokens)
        gains: NDArray[np.float64] = language.standing[nodes] - language.standing[before]
        gains += (nodes == lexicon.outside) * language.weights.letter_score
        spaces = np.flatnonzero(tokens == self._space)
        if len(spaces):
            ending = texts[spaces]
            # A text that stays in the beam is asked for its last word's score in many frames.
            known = state.view(np.float64)[_WORD]
            fresh = np.unique(ending[np.isnan(known[ending])])
            if len(fresh):
                known[fresh], state[_CONTEXT_AFTER, fresh] = language.word_scores(
                    state[_CONTEXT, fresh], state[_NODE, fresh]
                )
            gains[spaces] = known[ending] - language.standing[before[spaces]]
            nodes[spaces] = ROOT
            new[_CONTEXT, spaces] = state[_CONTEXT_AFTER, ending]
        new[_NODE] = nodes
        new.view(np.float64)[_WORD] = np.nan
        return gains

    def finish(self, state: NDArray[np.int64]) -> NDArray[np.float64]:
        """What is gained when the texts end here, (K,)."""
        texts = np.arange(state.shape[1])
        gains = np.zeros(len(texts))
        contexts = state[_CONTEXT].copy()
        if self._language:
            words = np.flatnonzero(state[_NODE] != ROOT)
            scores, contexts[words] = self._language.word_scores(
                contexts[words], state[_NODE, words]
            )
            gains[words] = scores - self._language.standing[state[_NODE, words]]
            gains += self._language.end_scores(contexts)
        if self._phrases:
            gains += self._phrases.finish(state[_MATCH])
        return gains
