"""The last look at an N-best list: does what it says make sense?

An LSTM language model reads whole sentences and what was said before them
(`model/decoding/rescoring.py`); its judgement is added to the scores of the search.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.rescoring import Rescorer

_REMEMBERED = 4  # utterances


@dataclass(frozen=True)
class RescoringWeights:
    """How much the LSTM language model counts; in natural-log units.

    Attributes:
        weight: of its log-probabilities; 0: it is not asked.
        word_score: for each word; makes up for what more words cost.
        texts: of the N-best list that it judges; the others are dropped.
    """

    weight: float = 0.0
    word_score: float = 0.0
    texts: int = 16

    def combine(
        self, texts: Sequence[str], scores: NDArray[np.float64], judged: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """New scores (N,) of texts with scores (N,) that were judged (N,)."""
        words = np.array([len(text.split()) for text in texts])
        combined: NDArray[np.float64] = scores + self.weight * judged + self.word_score * words
        return combined


class Reranker:
    """Sorts the N-best lists of one stream anew, knowing what was said before.

    Args:
        rescorer: the language model.
        weights: how much it counts.
        said: what was said before the stream, the latest last.
        spell: makes words of a text as the model's tokens write it.
    """

    def __init__(
        self,
        rescorer: Rescorer,
        weights: RescoringWeights,
        said: Sequence[str] = (),
        spell: Callable[[str], str] = str,
    ) -> None:
        self._rescorer = rescorer
        self._weights = weights
        self._spell = spell
        self._said = deque(filter(None, said), maxlen=_REMEMBERED)

    def remember(self, text: str) -> None:
        """Take what an utterance said as context of the next."""
        if text:
            self._said.append(self._spell(text))

    def __call__(
        self, texts: Sequence[str], scores: Sequence[float]
    ) -> tuple[list[str], list[float]]:
        """The best texts and their new scores, best first; texts and scores are best first."""
        texts, old = texts[: self._weights.texts], np.array(scores[: self._weights.texts])
        judged = self._rescorer.score([self._spell(text) for text in texts], "\n".join(self._said))
        new = self._weights.combine(texts, old, judged)
        order = np.argsort(-new, kind="stable").tolist()
        return [texts[number] for number in order], new[order].tolist()
