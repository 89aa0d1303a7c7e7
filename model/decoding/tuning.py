"""Finding the weights of decoding: how much the language model counts, and how much is searched.

The network hears the recordings once; the search is then repeated over its kept log-probabilities.
The mean of the sets' word error rates is lowered one weight at a time, with steps that get smaller
(coordinate search, Hooke and Jeeves 1961).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ossicle.model.decoding.beam import BeamConfig, BeamSearch, Candidate, advance_together
from ossicle.model.decoding.heard import HeardSet
from ossicle.model.decoding.language import SPACE, Language, LanguageWeights, TextScorer
from ossicle.model.decoding.reranking import RescoringWeights, advantage
from ossicle.model.decoding.rescoring import Rescorer
from ossicle.model.evaluation.scoring import word_error_rate

WIDTHS = (4, 8, 16, 32, 64, 128, 256)
MARGINS = (6.0, 8.0, 9.0, 10.0, 11.0, 12.0)
TOLERANCE = 0.001
"""Less is searched if the mean word error rate grows by no more than this, 0 to 1."""

_STEPS = {"lm_weight": 0.1, "word_score": 0.4, "unknown_score": 2.0, "letter_score": 0.4}
_HALVINGS = 2
_TOGETHER = 64  # utterances that are searched at the same time
_RESCORING_WEIGHTS = np.arange(0.1, 1.01, 0.1)


@dataclass(frozen=True)
class Trial:
    """A try of settings.

    Attributes:
        beam, language: what was tried.
        rates: word error rate of each set.
        frame_ms: what an output frame cost, in milliseconds of one processor.
    """

    beam: BeamConfig
    language: LanguageWeights
    rates: tuple[float, ...]
    frame_ms: float

    @property
    def mean(self) -> float:
        """Of the sets' word error rates; each set counts the same."""
        return sum(self.rates) / len(self.rates)


class Tuner:
    """Tries settings on sets.

    Args:
        sets: to choose by.
        tokens: all V tokens.
        language: of the model.
        report: is given each trial.
    """

    def __init__(
        self,
        sets: Sequence[HeardSet],
        tokens: Sequence[str],
        language: Language,
        report: Callable[[Trial], None],
    ) -> None:
        self.sets = tuple(sets)
        self._tokens = tuple(tokens)
        self._language = language
        self._report = report
        self._tried: dict[tuple[BeamConfig, LanguageWeights], Trial] = {}

    def search(
        self, heard: HeardSet, beam: BeamConfig, weights: LanguageWeights
    ) -> Iterator[list[Candidate]]:
        """The N-best list of each utterance of a set."""
        space = self._tokens.index(SPACE)
        scorer = TextScorer(space, self._language.weighed(weights))
        for begin in range(0, len(heard.log_probs), _TOGETHER):
            part = heard.log_probs[begin : begin + _TOGETHER]
            searches = [BeamSearch(scorer, beam) for _ in part]
            advance_together(searches, part)
            for search in searches:
                yield search.finished()

    def text(self, candidate: Candidate) -> str:
        """What a candidate says."""
        return "".join(self._tokens[token] for token in candidate.tokens)

    def try_out(self, beam: BeamConfig, weights: LanguageWeights) -> Trial:
        """Measure settings, once."""
        if (beam, weights) not in self._tried:
            start = time.process_time()
            rates = []
            for heard in self.sets:
                texts = [self.text(best) for best, *_ in self.search(heard, beam, weights)]
                rates.append(word_error_rate(heard.references, texts))
            spent = time.process_time() - start
            frames = sum(len(rows) for heard in self.sets for rows in heard.log_probs)
            trial = Trial(beam, weights, tuple(rates), 1000 * spent / frames)
            self._tried[beam, weights] = trial
            self._report(trial)
        return self._tried[beam, weights]

    def weights(self, beam: BeamConfig, start: LanguageWeights) -> Trial:
        """The best weights that small steps from `start` lead to."""
        best = self.try_out(beam, start)
        scale = 1.0
        for _ in range(_HALVINGS + 1):
            before = None
            while before is not best:
                before = best
                for name, step in _STEPS.items():
                    best = self._descend(best, name, step * scale)
            scale /= 2
        return best

    def _descend(self, best: Trial, name: str, step: float) -> Trial:
        for signed in (step, -step):
            moved = False
            while True:
                value = round(getattr(best.language, name) + signed, 4)
                if name == "lm_weight" and value < 0:
                    break
                trial = self.try_out(best.beam, replace(best.language, **{name: value}))
                if trial.mean >= best.mean:
                    break
                best, moved = trial, True
            if moved:
                break
        return best

    def narrowed(self, best: Trial, present: LanguageWeights) -> Trial:
        """The smallest margin, and with it the narrowest beam, that understand about as much.

        Args:
            best: of the weights that were found, perhaps by a narrower beam than they are for.
            present: those that the model has, which are kept if they are better with that beam.
        """
        widest = replace(best.beam, width=WIDTHS[-1])
        near = self._least([replace(widest, margin=margin) for margin in MARGINS], best.language)
        found = self._least([replace(near.beam, width=width) for width in WIDTHS], best.language)
        return min(found, self.try_out(found.beam, present), key=lambda trial: trial.mean)

    def _least(self, beams: Sequence[BeamConfig], weights: LanguageWeights) -> Trial:
        """The first of beams, each of which searches more, that is about as good as any."""
        trials = [self.try_out(beam, weights) for beam in beams]
        least = min(trial.mean for trial in trials)
        return next(trial for trial in trials if trial.mean <= least + TOLERANCE)

    def rescoring(
        self,
        best: Trial,
        start: RescoringWeights,
        rescorer: Rescorer,
        spell: Callable[[str], str] = str,
    ) -> tuple[RescoringWeights, float]:
        """The best weight of rescoring, and the mean word error rate with it.

        Args:
            best: what is rescored.
            start: how else.
            rescorer: the language model.
            spell: makes words of a text as the model's tokens write it.
        """
        lists = []
        for heard in self.sets:
            for candidates in self.search(heard, best.beam, best.language):
                scores = np.array([candidate.score for candidate in candidates])
                texts = [self.text(each) for each in candidates[: start.judged(scores)]]
                spelt = [spell(text) for text in texts]
                gain = advantage(rescorer, self._language.ngram, spelt)
                lists.append((texts, scores[: len(texts)], best.language.lm_weight * gain))
        found = replace(start, weight=0.0), best.mean
        for weight in _RESCORING_WEIGHTS.round(3).tolist():
            weights = replace(start, weight=weight)
            chosen = iter(
                texts[int(weights.combine(scores, gain).argmax())] for texts, scores, gain in lists
            )
            rates = [
                word_error_rate(heard.references, [next(chosen) for _ in heard.references])
                for heard in self.sets
            ]
            mean = sum(rates) / len(rates)
            if mean < found[1]:
                found = weights, mean
        return found
