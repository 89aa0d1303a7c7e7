"""The last look at an N-best list: does what it says make sense?

An LSTM language model reads whole sentences and what was said before them
(`model/decoding/rescoring.py`); in the scores of the search its judgement takes the place of a part
of the n-gram model's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.language import Language
from ossicle.model.decoding.rescoring import Rescorer
from ossicle.model.ngram.model import NgramModel

_REMEMBERED = 4  # utterances


@dataclass(frozen=True)
class RescoringWeights:
    """How much the LSTM language model counts.

    Attributes:
        weight: share of the n-gram model's say that it takes over, 0 to 1; 0: it is not asked.
        texts: of the N-best list that it judges, at most.
        margin: natural-log units by which a text may be worse than the best to be judged.
        lead: natural-log units that the text which the search likes best gets for having been
            shown: others must be better by more to take its place.
    """

    weight: float = 0.0
    texts: int = 16
    margin: float = 3.0
    lead: float = 0.5

    def judged(self, scores: NDArray[np.float64]) -> int:
        """How many of the first texts are judged, of scores (N,) that fall."""
        return min(int((scores >= scores[0] - self.margin).sum()), self.texts)

    def combine(
        self, scores: NDArray[np.float64], gain: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """New scores of N texts; those that are not judged keep their distance from the best.

        Args:
            scores: (N,) of the search, falling.
            gain: (J,) of the first, the judged, by how much the one language model finds them
                likelier than the other, times what that counts in the search.
        """
        new: NDArray[np.float64] = scores + self.weight * gain[0]
        new[: len(gain)] += self.weight * (gain - gain[0])
        new[0] += self.lead
        return new


def advantage(
    rescorer: Rescorer, ngram: NgramModel, texts: Sequence[str], context: str = ""
) -> NDArray[np.float64]:
    """By how much one language model finds texts likelier than the other, (N,).

    Of a word that the n-gram model does not know it says only that it is one, and what else it
    costs is for the search to say, which may expect it: such words do not count.

    Args:
        texts: in normal form.
        context: as of `Rescorer.judge`.
    """
    judgements = zip(texts, rescorer.judge(texts, context), ngram.judge(texts), strict=True)
    return np.array(
        [
            (one - other)[np.append(ngram.numbers(text.split()) != ngram.unk, True)].sum()
            for text, one, other in judgements
        ],
        dtype=np.float64,
    )


class Reranker:
    """Sorts the N-best lists of one stream anew, knowing what was said before.

    The two language models are mixed log-linearly; that of the search has seen more texts like
    those of the stream, the LSTM reads further back (Mikolov et al. 2010, "Recurrent neural
    network based language model", mixes them likewise).

    Args:
        rescorer: the LSTM language model.
        language: the language model of the search.
        weights: how much the one takes over from the other.
        said: what was said before the stream, the latest last.
        spell: makes words of a text as the model's tokens write it.
    """

    def __init__(
        self,
        rescorer: Rescorer,
        language: Language,
        weights: RescoringWeights,
        said: Sequence[str] = (),
        spell: Callable[[str], str] = str,
    ) -> None:
        self._rescorer = rescorer
        self._ngram = language.ngram
        self._weights = weights
        self._lm_weight = language.weights.lm_weight
        self._spell = spell
        self._said = deque(filter(None, said), maxlen=_REMEMBERED)

    def remember(self, text: str) -> None:
        """Take what an utterance said as context of the next."""
        if text:
            self._said.append(self._spell(text))

    def __call__(
        self, texts: Sequence[str], scores: Sequence[float]
    ) -> tuple[list[str], list[float]]:
        """The texts and their new scores, best first; both were best first."""
        new = np.array(scores, dtype=np.float64)
        count = self._weights.judged(new)
        if count > 1:
            spelt = [self._spell(text) for text in texts[:count]]
            gain = advantage(self._rescorer, self._ngram, spelt, "\n".join(self._said))
            new = self._weights.combine(new, self._lm_weight * gain)
        order = np.argsort(-new, kind="stable").tolist()
        return [texts[number] for number in order], new[order].tolist()
