"""What a hypothesis is worth besides its sound: its words, letter by letter.

A word-level language model judges words, a beam search extends texts by letters, or by phonemes:
then words that sound alike are one text, and the likeliest of them after the words before counts.
While a word is being spelled, the best word that begins so stands for it; at its end the true
score replaces that. Words that the language model does not know are allowed at a price. The score
of a text is a function of the text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.lexicon import ROOT, Lexicon
from ossicle.model.decoding.phrases import PhraseMatcher
from ossicle.model.ngram.model import NgramModel

SPACE = " "

_COMPLETIONS = 64
"""Words that a beginning may be of, the likeliest, of which the one is chosen that it becomes."""

_REMEMBERED = 16_384  # answers


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
    """An n-gram model as tokens see it, letters or phonemes; shared by all streams.

    Args:
        ngram: of words.
        tokens: all V tokens, the blank first.
        weights: how much it counts.
        write: gives a word as it is written in tokens; None: as it is spelled.

    Attributes:
        standing: (M,) for each node of the lexicon, what an unfinished word there is worth.
        ending: (M,) what a word that ends there is worth at most.
    """

    def __init__(
        self,
        ngram: NgramModel,
        tokens: Sequence[str],
        weights: LanguageWeights,
        write: Callable[[str], str] | None = None,
    ) -> None:
        self._tokens = tuple(tokens)
        self.ngram = ngram
        written = [write(word) for word in ngram.words] if write else ngram.words
        self.lexicon = Lexicon(written, ngram.unigrams, tokens)
        self._homophones = bool((self.lexicon.alike > 1).any())
        # The same words are asked for again and again while they grow, by all streams.
        self._node = lru_cache(_REMEMBERED)(self._find_node)
        self.becoming = lru_cache(_REMEMBERED)(self._becoming)
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
        # No word is more than certain, if the language model counts for it and not against it.
        unknown = np.where(self.lexicon.words < 0, weights.unknown_score, 0.0)
        self.ending = weights.word_score + unknown

    def weighed(self, weights: LanguageWeights) -> Language:
        """The same model with other weights."""
        other = copy(self)
        other._weigh(weights)
        return other

    def words_of(self, written: str) -> list[int]:
        """The numbers of the words that are written so in tokens, the likeliest first."""
        node = self._node(written)
        first, count = self.lexicon.first[node], self.lexicon.alike[node]
        words: list[int] = self.lexicon.numbers[first : first + count].tolist()
        return words

    def _becoming(self, context: int, written: str) -> tuple[int, float]:
        """What word a beginning in tokens becomes, so far as the words before tell.

        Args:
            context: of the n-gram model.
            written: the beginning.

        Returns:
            The number of a word that is written so, or if there is none, of the likeliest that
            begins so, -1 if none does; and how likely it is, or another that is written alike,
            among the words that begin so.
        """
        alike = self.words_of(written)
        words = self.lexicon.beginning(self._node(written), _COMPLETIONS)
        if not len(words):
            return -1, 0.0
        missing = sorted(set(alike).difference(words.tolist()))
        words = np.append(words, np.array(missing, np.int32))
        scores, _ = self.ngram.score(np.full(len(words), context), words)
        shares = np.exp(scores - scores.max())
        total = float(shares.sum())
        if not alike:
            best = int(shares.argmax())
            return int(words[best]), float(shares[best]) / total
        whole = set(alike)
        likely = zip(words.tolist(), shares.tolist(), strict=True)
        return alike[0], sum(share for word, share in likely if word in whole) / total

    def _find_node(self, written: str) -> int:
        node = np.array([ROOT])
        for character in written:
            node = self.lexicon.follow(node, np.array([self._tokens.index(character)]))
        return int(node[0])

    def word_scores(
        self, contexts: NDArray[np.int64], nodes: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What words that end at nodes (N,) after contexts (N,) are worth, and the new contexts."""
        # Many texts differ in earlier words only: each question is asked once.
        _, first, asked = np.unique(
            contexts * self.lexicon.nodes + nodes, return_index=True, return_inverse=True
        )
        contexts, nodes = contexts[first], nodes[first]
        words = self.lexicon.words[nodes]
        unknown = words < 0
        if self._homophones:
            log_probs, after = self._likeliest(contexts, nodes)
        else:
            words = np.where(unknown, self.ngram.unk, words)
            log_probs, after = self.ngram.score(contexts, words)
        scores = self.weights.lm_weight * log_probs.astype(np.float64) + self.weights.word_score
        scores[unknown] += self.weights.unknown_score
        return scores[asked], after[asked]

    def _likeliest(
        self, contexts: NDArray[np.int64], nodes: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As `NgramModel.score`, of the likeliest of the words that end at each node (N,)."""
        lexicon = self.lexicon
        unknown = lexicon.words[nodes] < 0
        asked = np.maximum(lexicon.alike[nodes], 1)
        begins = np.cumsum(asked) - asked
        rows = np.repeat(np.arange(len(nodes)), asked)
        places = (lexicon.first[nodes] - begins)[rows] + np.arange(len(rows))
        words = np.full(len(rows), self.ngram.unk, np.int32)
        known = ~unknown[rows]
        words[known] = lexicon.numbers[places[known]]
        log_probs, after = self.ngram.score(contexts[rows], words)
        best: NDArray[np.float32] = np.maximum.reduceat(log_probs, begins)
        equal = np.flatnonzero(log_probs == best[rows])
        chosen = equal[np.unique(rows[equal], return_index=True)[1]]
        return best, after[chosen]

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
_NODE, _CONTEXT, _WORD, _CONTEXT_AFTER, _MATCH, STATE_ROWS = range(6)


@dataclass(frozen=True)
class TextScorer:
    """What judges the texts of one stream's hypotheses.

    The state of K texts is an int64 array (STATE_ROWS, K), whose columns may be copied, dropped and
    put in any order.

    Attributes:
        space: number of the token that separates words.
        language: None: all words are worth the same.
        phrases: to listen for.
    """

    space: int
    language: Language | None = None
    phrases: PhraseMatcher | None = None

    def start(self) -> NDArray[np.int64]:
        """The state of one empty text, (STATE_ROWS, 1)."""
        state = np.zeros((STATE_ROWS, 1), dtype=np.int64)
        state[_NODE] = ROOT
        state.view(np.float64)[_WORD] = np.nan
        if self.language:
            state[_CONTEXT] = self.language.ngram.start()
        if self.phrases:
            state[_MATCH] = self.phrases.start
        return state

    def finish(self, state: NDArray[np.int64]) -> NDArray[np.float64]:
        """What is gained when the texts end here, (K,)."""
        texts = np.arange(state.shape[1])
        gains = np.zeros(len(texts))
        contexts = state[_CONTEXT].copy()
        if self.language:
            words = np.flatnonzero(state[_NODE] != ROOT)
            scores, contexts[words] = self.language.word_scores(
                contexts[words], state[_NODE, words]
            )
            gains[words] = scores - self.language.standing[state[_NODE, words]]
            gains += self.language.end_scores(contexts)
        if self.phrases:
            gains += self.phrases.finish(state[_MATCH])
        return gains


class ScorerBatch:
    """The scorers of B streams, asked for the texts of all of them at once.

    The texts of a stream lie next to each other, in the order of the streams.

    Args:
        scorers: with the same language.

    Attributes:
        largest_gain: (B,), more than this no single token adds because of phrases.
        promises: whether any text may have something that is `promised`.
    """

    def __init__(self, scorers: Sequence[TextScorer]) -> None:
        self._space, self._language = scorers[0].space, scorers[0].language
        phrases = [scorer.phrases for scorer in scorers]
        self._phrases = [(number, each) for number, each in enumerate(phrases) if each]
        self.promises = bool(self._phrases)
        self.largest_gain = np.array([each.largest_gain if each else 0.0 for each in phrases])

    def promised(self, state: NDArray[np.int64], streams: NDArray[np.int64]) -> NDArray[np.float64]:
        """What of the scores of texts of `streams` (K,) is lost unless they complete a phrase."""
        promised = np.zeros(len(streams))
        for number, phrases in self._phrases:
            own = _part(streams, number)
            promised[own] = phrases.promised(state[_MATCH, own])
        return promised

    def leading(
        self, state: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]] | None:
        """Which tokens can be expected behind the texts of `state` (STATE_ROWS, K).

        Returns:
            Which go on with a word that is known, or end it, (K, V); and what any other gains
            besides phrases, (K,). None if words do not matter.
        """
        language = self._language
        if language is None:
            return None
        nodes = state[_NODE]
        inside = language.lexicon.leading(nodes)
        inside[:, self._space] = True
        outside = language.standing[language.lexicon.outside] + language.weights.letter_score
        return inside, outside - language.standing[nodes]

    def extend(
        self,
        state: NDArray[np.int64],
        texts: NDArray[np.int64],
        tokens: NDArray[np.int64],
        streams: NDArray[np.int64],
        needed: NDArray[np.float64],
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.int64]]:
        """Add tokens (N,) to the texts in columns `texts` (N,) of `state`.

        No space may follow a space.

        Args:
            streams: (N,), whose texts they are.
            needed: (N,). A text whose words gain no more than this is not wanted, and may be left
                out; so no word of it need be looked up.

        Returns:
            Which are not left out, as places (M,) in order; what each gains, (M,), and its new
            state, (STATE_ROWS, M).
        """
        if self._language:
            places, gains, new = self._spell(self._language, state, texts, tokens, needed)
        else:
            places, gains = np.arange(len(texts)), np.zeros(len(texts))
            new = state.take(texts, axis=1)
        if self._phrases:
            tokens, streams = tokens[places], streams[places]
            for number, phrases in self._phrases:
                own = _part(streams, number)
                gained, new[_MATCH, own] = phrases.step(new[_MATCH, own], tokens[own])
                gains[own] += gained
        return places, gains, new

    def _spell(
        self,
        language: Language,
        state: NDArray[np.int64],
        texts: NDArray[np.int64],
        tokens: NDArray[np.int64],
        needed: NDArray[np.float64],
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.int64]]:
        """As `extend`, without phrases."""
        before = state[_NODE, texts]
        spaces = tokens == self._space
        nodes = language.lexicon.follow(before, tokens)
        nodes[spaces] = ROOT
        # What it gains at most: what words that end are worth is not looked up yet.
        gains = np.where(spaces, language.ending[before], language.standing[nodes])
        gains += np.where(nodes == language.lexicon.outside, language.weights.letter_score, 0.0)
        gains -= language.standing[before]
        places = np.flatnonzero(gains > needed)
        texts, gains, before = texts[places], gains[places], before[places]
        new = state.take(texts, axis=1)
        new[_NODE] = nodes[places]
        new.view(np.float64)[_WORD] = np.nan
        spaces = np.flatnonzero(spaces[places])
        if len(spaces):
            ending = texts[spaces]
            # A text that stays in the beam is asked for its last word's score in many frames.
            known = state.view(np.float64)[_WORD]
            fresh = ending[np.isnan(known[ending])]
            if len(fresh):
                known[fresh], state[_CONTEXT_AFTER, fresh] = language.word_scores(
                    state[_CONTEXT, fresh], state[_NODE, fresh]
                )
            gains[spaces] = known[ending] - language.standing[before[spaces]]
            new[_CONTEXT, spaces] = state[_CONTEXT_AFTER, ending]
        return places, gains, new


def _part(streams: NDArray[np.int64], number: int) -> slice:
    """Where one stream's texts are among those of `streams` (N,)."""
    begin, end = streams.searchsorted([number, number + 1]).tolist()
    return slice(begin, end)
