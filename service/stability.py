"""Whether a word of a growing hypothesis is stable enough to be shown.

A weighted sum of what is known of the word while the search goes on, as in McGraw and Gruenstein
2012, "Estimating word-stability during incremental speech recognition"; one for words that are
over, and one for the last, which may still grow. Theirs tells how likely the word is to stay. Ours
weighs besides what is gained by waiting until more is known: the weights are those for which fewest
words changed for a given mean delay on the development sets, searched by CMA-ES (Hansen and
Ostermeier 2001) in `tests/bench/fit_partials.py`. By weights that only tell well whether words
stay, a tenth more changed, a tenth later.
"""

from __future__ import annotations

from typing import NamedTuple

MOST_FOLLOWING = 4
"""Words that follow a word, of which more make it no more stable."""


class Evidence(NamedTuple):
    """What is known of a word.

    Attributes:
        agreement: of the texts of the beam that begin with the words before, by probability, the
            share that have the word, 0 to 1.
        held: natural logarithm of one more than the frames for which it has been at its place.
        following: how many words follow it, `MOST_FOLLOWING` at most.
        tokens: how many of its tokens have been heard.
        completion: natural logarithm of how likely the language model finds it among the words that
            begin as it does; 0 of a word that is over.
    """

    agreement: float
    held: float
    following: float
    tokens: float
    completion: float


class Weights(NamedTuple):
    """What the evidence is worth.

    Attributes:
        over, over_offset: of words that are over, and the sum where all evidence is 0.
        growing, growing_offset: of the last word, which may be only the beginning of one.
        insistence: the least sum of a word that takes the place of another that was shown.
    """

    over: Evidence
    over_offset: float
    growing: Evidence
    growing_offset: float
    insistence: float

    def stability(self, evidence: Evidence, *, growing: bool) -> float:
        """How much speaks for showing a word now; it is shown from 0 on.

        Args:
            evidence: what is known of it.
            growing: whether it may be only the beginning of a word.
        """
        weights, offset = (
            (self.growing, self.growing_offset) if growing else (self.over, self.over_offset)
        )
        return offset + sum(w * value for w, value in zip(weights, evidence, strict=True))


WEIGHTS = Weights(
    over=Evidence(agreement=5.4, held=0.2, following=0.72, tokens=0.17, completion=0.0),
    over_offset=-4.58,
    growing=Evidence(agreement=2.7, held=0.4, following=0.0, tokens=0.0, completion=1.44),
    growing_offset=-2.5,
    insistence=0.6,
)
