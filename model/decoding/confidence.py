"""How sure a word is: the probability that it is what was said.

A network's own probabilities are not that: it is trained to be sure, and a word that the language
model chose may have letters of low probability and be right all the same. So a few measures of a
word, its *evidence*, are weighed by a logistic regression fitted on words whose truth is known
(Platt 1999; for word confidences Yu, Li and Deng 2011). `ossicle calibrate` fits it and keeps it
in the model folder's `decoding.json`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.alignment import Span
from ossicle.model.decoding.hypothesis import BLANK

EVIDENCE = ("letters", "path", "length", "agreement")
"""What is known of a word, in the order of the columns that `word_evidence` gives.

    letters: log-odds of the geometric mean of its tokens' highest probabilities.
    path: log-probability of the best path from its first frame to its last, blanks included.
    length: logarithm of the number of its tokens.
    agreement: log-odds of the share of the N-best list that has the word at this place.
"""

_SUREST = 1e-4  # a probability is taken to be at least this far from 0 and from 1
_NEWTON_STEPS = 50
_RIDGE = 1e-3  # keeps the weights finite where a measure parts right from wrong perfectly


def word_evidence(
    log_probs: NDArray[np.floating],
    words: Sequence[Sequence[Span]],
    agreement: Sequence[float],
) -> NDArray[np.float64]:
    """The evidence of aligned words, (W, len(EVIDENCE)).

    Args:
        log_probs: (U, V) of the utterance.
        words: of each of W words the spans of its tokens, at least one.
        agreement: of each word, the share of the N-best list that has it, 0 to 1.
    """
    rows = np.empty((len(words), len(EVIDENCE)))
    labels = np.full(len(log_probs), BLANK)
    for spans in words:
        for span in spans:
            labels[span.frame : span.end_frame] = span.token
    path = log_probs[np.arange(len(log_probs)), labels]
    for row, spans, share in zip(rows, words, agreement, strict=True):
        letters = math.exp(sum(span.max_log_prob for span in spans) / len(spans))
        word = path[spans[0].frame : spans[-1].end_frame].sum()
        row[:] = _log_odds(letters), word, math.log(len(spans)), _log_odds(share)
    return rows


def agreement(texts: Sequence[str], scores: Sequence[float], best: int = 0) -> list[float]:
    """For each word of one text, the share of an N-best list that has it at the same place.

    A text's share is its posterior among the N (softmax of the scores); places are matched by the
    longest common runs of words (`difflib`).

    Args:
        texts: N texts, words separated by spaces.
        scores: N natural-log scores.
        best: which of the texts.
    """
    weights = np.exp(np.asarray(scores, dtype=np.float64) - max(scores))
    weights /= weights.sum()
    words = texts[best].split()
    shares = np.zeros(len(words))
    # SequenceMatcher remembers its second sequence.
    matcher = SequenceMatcher(b=words, autojunk=False)
    for text, weight in zip(texts, weights, strict=True):
        matcher.set_seq1(text.split())
        for match in matcher.get_matching_blocks():
            shares[match.b : match.b + match.size] += weight
    return [min(share, 1.0) for share in shares.tolist()]


@dataclass(frozen=True)
class Calibration:
    """From evidence to the probability that a word is right.

    Attributes:
        offset: log-odds where all evidence is 0.
        weights: log-odds for each unit of each of `EVIDENCE`.
    """

    offset: float
    weights: tuple[float, ...]

    def __call__(self, evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (W,) of words with evidence (W, len(EVIDENCE))."""
        odds = self.offset + evidence @ np.asarray(self.weights)
        return _probability(odds)

    def to_dict(self) -> dict[str, float]:
        """As it is kept in `decoding.json`."""
        weights = zip(EVIDENCE, self.weights, strict=True)
        return {"offset": round(self.offset, 5)} | {name: round(w, 5) for name, w in weights}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """What `to_dict` gave.

        Raises:
            ValueError: a number is missing, or there is something else.
        """
        names = ("offset", *EVIDENCE)
        if set(values) != set(names):
            raise ValueError(f"a calibration has the numbers {', '.join(names)}, not {values}")
        try:
            offset, *weights = (float(values[name]) for name in names)
        except (TypeError, ValueError) as error:
            raise ValueError(f"a calibration is made of numbers, not {values}") from error
        if not all(map(math.isfinite, (offset, *weights))):
            raise ValueError(f"a calibration is made of finite numbers, not {values}")
        return cls(offset, tuple(weights))


def fit(evidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Calibration:
    """Fit a calibration to words whose truth is known.

    Logistic regression by Newton's method, with a faint ridge penalty on standardised evidence.

    Args:
        evidence: (W, len(EVIDENCE)).
        right: (W,) whether each word was said.

    Raises:
        ValueError: all words are right, or all are wrong, or no calibration is the best.
    """
    if right.all() or not right.any():
        raise ValueError(
            f"all {len(right)} words are {'right' if right.all() else 'wrong'}: "
            "a calibration needs words of both kinds"
        )
    mean, deviation = evidence.mean(axis=0), evidence.std(axis=0)
    # What is the same for every word, such as the agreement of a list of one, tells nothing.
    scale = np.where(deviation > 1e-9, deviation, np.inf)
    inputs = np.column_stack([np.ones(len(evidence)), (evidence - mean) / scale])
    targets = right.astype(np.float64)
    penalty = np.full(inputs.shape[1], _RIDGE * len(inputs))
    penalty[0] = 0.0
    weights = np.zeros(inputs.shape[1])
    weights[0] = math.log(targets.mean() / (1.0 - targets.mean()))

    def loss(weights: NDArray[np.float64]) -> float:
        log_odds = inputs @ weights
        likelihood = targets @ log_odds - np.logaddexp(0.0, log_odds).sum()
        return float(penalty @ weights**2 / 2 - likelihood)

    for _ in range(_NEWTON_STEPS):
        probabilities = _probability(inputs @ weights)
        gradient = inputs.T @ (probabilities - targets) + penalty * weights
        variances = probabilities * (1.0 - probabilities)
        curvature = (inputs.T * variances) @ inputs + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        # Where nearly all words are right, a whole step may lead away, and the next yet further.
        while np.abs(step).max() >= 1e-8 and loss(weights - step) > loss(weights):
            step /= 2
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    else:
        raise ValueError(f"no calibration fits the {len(right)} words best: give more recordings")
    slopes = weights[1:] / scale
    return Calibration(float(weights[0] - slopes @ mean), tuple(slopes.tolist()))


def _probability(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -30.0, 30.0)))
    return probabilities


def _log_odds(probability: float) -> float:
    probability = min(max(probability, _SUREST), 1.0 - _SUREST)
    return math.log(probability / (1.0 - probability))
