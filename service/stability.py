"""How likely a word of a growing hypothesis is to stay as it is.

A logistic regression on what is known of the word while the search goes on, after McGraw and
Gruenstein 2012, "Estimating word-stability during incremental speech recognition"; one for words
that are over, and one for the last, which may still grow. The weights are those that
`tests/bench/flicker.py --fit` found on the development sets.
"""

from __future__ import annotations

import math
from typing import NamedTuple

MOST_FOLLOWING = 4
"""Words that follow a word, of which more make it no more stable."""

MOST_BEFORE = 5
"""Words before a word, of which more make it no more stable."""


class Evidence(NamedTuple):
    """What is known of a word.

    Attributes:
        agreement: of the texts of the beam that begin with the words before, by probability, the
            share that have the word, 0 to 1.
        held: natural logarithm of one more than the frames for which it has been at its place.
        before: how many words there are before it, `MOST_BEFORE` at most.
        following: how many words follow it, `MOST_FOLLOWING` at most.
        tokens: how many of its tokens have been heard.
        completion: natural logarithm of how likely the language model finds it among the words that
            begin as it does; 0 of a word that is over.
    """

    agreement: float
    held: float
    before: float
    following: float
    tokens: float
    completion: float


OVER = Evidence(
    agreement=4.79, held=0.064, before=0.08, following=0.699, tokens=0.178, completion=0.0
)
OVER_OFFSET = -3.48
GROWING = Evidence(
    agreement=3.05, held=0.299, before=0.002, following=0.0, tokens=0.012, completion=1.1
)
GROWING_OFFSET = -1.92


def stability(evidence: Evidence, *, growing: bool) -> float:
    """The probability that a word stays, 0 to 1.

    Args:
        evidence: what is known of it.
        growing: whether it may be only the beginning of a word.
    """
    weights, offset = (GROWING, GROWING_OFFSET) if growing else (OVER, OVER_OFFSET)
    odds = offset + sum(weight * value for weight, value in zip(weights, evidence, strict=True))
    return 1 / (1 + math.exp(-odds))
