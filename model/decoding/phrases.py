"""Phrases that a request expects, preferred token by token while they are being said.

They are listened for as the model's tokens write them: by their letters, or by their sound.

All phrases form one automaton over tokens (Aho and Corasick 1975) that is always at the longest
beginning of a phrase that ends the text so far. A hypothesis is given a part of the phrase's bonus
with each token that matches, loses all of it when it turns elsewhere, and keeps it when the phrase
is complete, with whole words at both ends ("contextual biasing", Zhao et al. 2019).

The scale. A boost of 1 is worth `NATS` nats for each token of the phrase, counting the end of each
word as one; a boost of 20 is worth 20 times that, 2 nats. The bonus is for each token, so a long
phrase must fit as well as a short one, token by token: it is heard instead of something else if it
fits sound and language worse by less than boost times `NATS` a token. With 20 it is heard even if
each token has one in 7 of the probability of what is heard otherwise. More than that finds no more:
where a hundred phrases compete, those that nobody said then take the place of those that somebody
did. Words that the language model does not know are not charged for that inside a phrase.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from ossicle.data.text import normalize

NATS = 0.1
"""What a boost of 1 is worth for each token, in natural-log units."""

LARGEST_BOOST = 20.0
MOST_PHRASES = 1000
MOST_CHARACTERS = 10_000
_QUOTED = 40


@dataclass(frozen=True)
class Phrase:
    """Words that are likely to be said.

    Attributes:
        text: as it is written; it is normalised before it is listened for.
        boost: 0, no more likely than any other words, to 20, heard whenever at all plausible.
    """

    text: str
    boost: float


@lru_cache(4 * MOST_PHRASES)  # a stream's phrases are looked at several times, and come again
def spoken(text: str) -> str:
    """A phrase's text in normal form."""
    return normalize(text)


def check_boost(boost: float, whose: str = "") -> None:
    """Refuse what is no boost.

    Args:
        whose: it is, for the message.

    Raises:
        ValueError: it is not 0 to 20.
    """
    if not 0.0 <= boost <= LARGEST_BOOST:  # also refuses what is not a number
        raise ValueError(f"the boost {whose}is {boost}; give 0 to {LARGEST_BOOST:.0f}")


def check_phrases(phrases: Sequence[Phrase]) -> None:
    """Refuse phrases that cannot be listened for.

    Raises:
        ValueError: there are too many, one cannot be said, or a boost is not 0 to 20.
    """
    if len(phrases) > MOST_PHRASES:
        raise ValueError(
            f"phrases has {len(phrases)} entries; give at most {MOST_PHRASES}, the likeliest"
        )
    # As they are written first: what pages of digits sound like, nobody need find out.
    _check_length(sum(len(phrase.text) for phrase in phrases))
    for phrase in phrases:
        quoted = phrase.text[:_QUOTED]
        check_boost(phrase.boost, f"of the phrase {quoted!r} ")
        if not spoken(phrase.text):
            raise ValueError(
                f"the phrase {quoted!r} has nothing that is spoken; give English words or numbers"
            )
    _check_length(sum(len(spoken(phrase.text)) for phrase in phrases))


def _check_length(characters: int) -> None:
    if characters > MOST_CHARACTERS:
        raise ValueError(
            f"phrases has {characters} characters; give at most {MOST_CHARACTERS} in all"
        )


class PhraseMatcher:
    """The automaton of a list of phrases that `check_phrases` accepts.

    Its states are numbers; `start` is that of an empty text.

    Args:
        phrases: with boosts above 0.
        tokens: all V tokens, the blank first, a space among them.
        unknown_prices: of a word as it is written, what each token and its end costs because the
            language model does not know it; given back inside phrases.
        write: gives a text as it is written in tokens.
    """

    start = 1  # a word may begin: the state after a space

    def __init__(
        self,
        phrases: Sequence[Phrase],
        tokens: Sequence[str],
        unknown_prices: Callable[[str], NDArray[np.float64]] | None = None,
        write: Callable[[str], str] = str,
    ) -> None:
        boosts: dict[str, float] = {}
        for phrase in phrases:
            text = write(spoken(phrase.text))
            boosts[text] = max(phrase.boost, boosts.get(text, 0.0))
        numbers = {token: number for number, token in enumerate(tokens)}
        self._space = numbers[" "]
        # State 0: inside a word that no phrase has here.
        edges: list[dict[int, int]] = [{self._space: self.start}, {}]
        credits, bonuses = [0.0, 0.0], [0.0, 0.0]
        # The shorter first: a phrase that goes on from another is only given what it adds to it.
        for text, boost in sorted(boosts.items(), key=lambda item: len(item[0])):
            shares = _shares(text, boost, unknown_prices)
            node, worth, paid = self.start, 0.0, 0.0
            for token, share in zip(map(numbers.__getitem__, text + " "), shares, strict=True):
                if token not in edges[node]:
                    edges[node][token] = len(edges)
                    edges.append({})
                    credits.append(0.0)
                    bonuses.append(0.0)
                # Where a phrase ends, its credit is paid out; what is begun there is another's.
                credits[node] = max(credits[node], worth - paid)
                node = edges[node][token]
                worth += share
                paid += bonuses[node]
            bonuses[node] = worth - paid
        self._build(edges, credits, bonuses, len(tokens))

    def _build(
        self,
        edges: list[dict[int, int]],
        credits: list[float],
        bonuses: list[float],
        tokens: int,
    ) -> None:
        moves = np.zeros((len(edges), tokens), dtype=np.int32)
        values, kept = np.zeros(len(edges)), np.zeros(len(edges))
        moves[0, self._space] = self.start
        queue = deque([(self.start, 0)])
        while queue:
            node, fallback = queue.popleft()
            # What a shorter beginning of another phrase is worth here, if it is worth more.
            kept[node] = max(bonuses[node], kept[fallback])
            values[node] = max(credits[node], values[fallback])
            moves[node] = moves[fallback]
            for token, below in edges[node].items():
                queue.append((below, int(moves[fallback, token])))
                moves[node, token] = below
        self._moves, self._values, self._kept = moves, values, kept
        self.largest_gain = float(((values + kept)[moves] - values[:, None]).max())

    def step(
        self, states: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Add tokens (N,) to texts in states (N,): what is gained, and the new states."""
        new = self._moves[states, tokens]
        return self._values[new] + self._kept[new] - self._values[states], new.astype(np.int64)

    def promised(self, states: NDArray[np.int64]) -> NDArray[np.float64]:
        """What texts in states (N,) were given for a phrase that they have only begun."""
        given: NDArray[np.float64] = self._values[states]
        return given

    def finish(self, states: NDArray[np.int64]) -> NDArray[np.float64]:
        """What is gained when texts in states (N,) end there."""
        ended = self._moves[states, self._space]
        gains: NDArray[np.float64] = self._kept[ended] - self._values[states]
        return gains


def _shares(
    text: str,
    boost: float,
    unknown_prices: Callable[[str], NDArray[np.float64]] | None,
) -> NDArray[np.float64]:
    """What each token of a phrase and the end of its last word adds to its bonus."""
    shares = np.full(len(text) + 1, boost * NATS)
    if unknown_prices:
        begin = 0
        for word in text.split():
            shares[begin : begin + len(word) + 1] += unknown_prices(word)
            begin += len(word) + 1
    return shares
