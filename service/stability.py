"""How likely a word of a growing hypothesis is to stay as it is.

A logistic regression on what is known of the word while the search goes on, after McGraw and
Gruenstein 2012, "Estimating word-stability during incremental speech recognition". The weights are
those that `tests/bench/flicker.py --fit` found on the development sets.
"""

from __future__ import annotations

import math
from typing import NamedTuple

MOST_FOLLOWING = 3
"""Words that follow a word, of which more make it no more stable."""


class Evidence(NamedTuple):
    """What is known of a word.

    Attributes:
        agreement: of the texts of the beam that begin with the words before, by probability, the
            share that have the word, 0 to 1.
        held: natural logarithm of one more than the frames for which it has been at its place.
        following: how many words follow it, `MOST_FOLLOWING` at most.
        growing: whether it may still grow, 0 or 1.
        heard: of a word that may still grow, how many of its tokens have been heard; else 0.
    """

    agreement: float
    held: float
    following: float
    growing: float
    heard: float


WEIGHTS = Evidence(agreement=4.28, held=0.207, following=0.673, growing=-1.86, heard=0.245)
OFFSET = -2.51


def stability(evidence: Evidence) -> float:
    """The probability that the word stays, 0 to 1."""
    odds = OFFSET + sum(weight * value for weight, value in zip(WEIGHTS, evidence, strict=True))
    return 1 / (1 + math.exp(-odds))
