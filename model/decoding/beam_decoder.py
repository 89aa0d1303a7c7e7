"""Beam search as a decoder: partials while it runs, annotated alternatives at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.beam import BeamSearch, advance_together
from ossicle.model.decoding.growing_text import GrowingText
from ossicle.model.decoding.hypothesis import (
    SILENCE_KEPT,
    Decoder,
    FrameMemory,
    Hypothesis,
)
from ossicle.model.decoding.together import SomeFailedError, alone

if TYPE_CHECKING:
    from ossicle.model.decoding.annotation import Annotator
    from ossicle.model.decoding.reranking import Reranker
    from ossicle.model.decoding.spelling import Speller

LISTED = 32
"""The longest N-best list. Texts further down have next to no share of the probability, and each
costs time at every final."""

_SILENCE_LEAD = 3.0  # natural-log units by which no words must lead all words


class BeamDecoder:
    """Prefix beam search of one utterance after the other.

    Silence before the first word is forgotten: a stream in which nobody speaks does not grow.

    Args:
        tokens: all V tokens, the blank first.
        frame_seconds: length of an output frame.
        search: starts a search; it is told the number of the first frame.
        annotator: gives finals their times and confidences.
        reranker: sorts the texts at the end anew; None leaves them as they are.
        speller: of what the tokens do not spell.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        frame_seconds: float,
        search: Callable[[int], BeamSearch],
        annotator: Annotator,
        reranker: Reranker | None = None,
        speller: Speller | None = None,
    ) -> None:
        self._tokens = tuple(tokens)
        self._frame_seconds = frame_seconds
        self._new_search = search
        self._annotator = annotator
        self._reranker = reranker
        self._speller = speller
        self._final = ""
        self.reset()

    def reset(self) -> None:
        """Start the next utterance, of which the last final was the context."""
        if self._reranker:
            self._reranker.remember(self._final)
        self._final = ""
        self._search = self._new_search(0)
        self._memory = FrameMemory()
        self._silent = False
        self._text = GrowingText(self._tokens, self._frame_seconds, self._annotator.shift)

    @property
    def remembered_frames(self) -> int:
        """How many frames of the utterance are kept for its end."""
        return self._memory.end - self._memory.first

    def advance(self, log_probs: NDArray[np.float32]) -> None:
        """Take the next frames, (U, V)."""
        with alone():
            decode_together([self], [log_probs])

    def _forget_silence(self) -> None:
        silent = self._search.empty_lead() > _SILENCE_LEAD
        if silent and self._silent:
            self._search = self._new_search(self._memory.end)
            self._memory.forget(self._memory.end - SILENCE_KEPT)
        self._silent = silent

    def hypothesis(self) -> Hypothesis:
        """The best text so far; each token at the frame that most likely emitted it first."""
        best = self._search.best()
        log_probs, first = self._memory.log_probs, self._memory.first
        hypothesis = self._text.update(
            best.tokens,
            best.frames,
            lambda token, frame: math.exp(log_probs[frame - first, token]),
        )
        return self._speller.partial(hypothesis) if self._speller else hypothesis

    def agreement(self) -> list[float]:
        """How sure the search is of the words of the last `hypothesis`; see `Decoder`."""
        heard = self._search.agreement(self._text.lengths)
        if self._speller is None:
            return heard
        spelled = self._speller.agreement()
        return [one * other for one, other in zip(heard, spelled, strict=True)]

    def finish(self, alternatives: int = 1) -> list[Hypothesis]:
        """The whole utterance's hypotheses, best first, distinct texts, `LISTED` at most."""
        candidates = self._search.finished(LISTED)
        texts = ["".join(map(self._tokens.__getitem__, c.tokens)) for c in candidates]
        scores = [candidate.score for candidate in candidates]
        if self._reranker:
            texts, scores = self._reranker(texts, scores)
            self._final = texts[0]
        memory = self._memory
        found = self._annotator(memory.log_probs, texts, scores, alternatives, memory.first)
        return self._speller.finals(found) if self._speller else found


def decode_together(decoders: Sequence[Decoder], pieces: Sequence[NDArray[np.float32]]) -> None:
    """Give each decoder its next frames, (U, V) with a U of its own.

    The result is as if each were given them alone, but beam searches advance together.

    Args:
        decoders: of any kind, no two the same.

    Raises:
        SomeFailedError: those that it names have failed; the others have taken their frames.
    """
    errors: dict[int, Exception] = {}
    waiting = []
    for place, (decoder, piece) in enumerate(zip(decoders, pieces, strict=True)):
        if isinstance(decoder, BeamDecoder):
            waiting.append((place, decoder, piece))
            continue
        try:
            decoder.advance(piece)
        except Exception as error:
            errors[place] = error
    while waiting:
        # Silence is looked for at certain frames, whatever the pieces are.
        ends = [SILENCE_KEPT - decoder._memory.end % SILENCE_KEPT for _, decoder, _ in waiting]
        parts = [piece[:end] for (_, _, piece), end in zip(waiting, ends, strict=True)]
        try:
            advance_together([decoder._search for _, decoder, _ in waiting], parts)
        except SomeFailedError as failed:
            errors |= {waiting[number][0]: error for number, error in failed.errors.items()}
        rest = []
        for (place, decoder, piece), part in zip(waiting, parts, strict=True):
            if place in errors:
                continue
            decoder._memory.add(part)
            if len(part) and decoder._memory.end % SILENCE_KEPT == 0:
                decoder._forget_silence()
            if len(piece) > len(part):
                rest.append((place, decoder, piece[len(part) :]))
        waiting = rest
    if errors:
        raise SomeFailedError(errors)
