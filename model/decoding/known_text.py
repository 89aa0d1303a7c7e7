"""When each word of a recording with a known text was said: forced alignment of manifests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from ossicle.data.audio import AudioError, read_recording
from ossicle.data.manifest import Utterance, batches
from ossicle.data.text import normalize
from ossicle.model.decoding.decoders import Decoding
from ossicle.model.decoding.hypothesis import Word
from ossicle.model.runtime import AcousticModel, hear

LEAST = 0.2
"""Geometric mean of the probabilities that the network gives the tokens of a text where it finds
them, below which the text is taken for something else than what was said."""

_TOGETHER = 8  # recordings that are heard at the same time


class Aligner:
    """Finds the words of known texts in their recordings.

    Args:
        model: that hears them.
        decoding: of that model, for its word times.
    """

    def __init__(self, model: AcousticModel, decoding: Decoding) -> None:
        self._model = model
        self._write = decoding.write
        self._annotate = decoding.annotator("greedy")

    def __call__(
        self, utterances: Sequence[Utterance]
    ) -> Iterator[tuple[int, Utterance, AudioError | OSError | None]]:
        """The utterances with their word times, shortest first, each with its place of before.

        No word times get those that say nothing, that say it faster than the network writes,
        whose text is not what the network hears (`LEAST`), or whose recording cannot be decoded.

        Yields:
            Place, utterance, and why its recording cannot be decoded, which names it.
        """
        places = {id(utterance): place for place, utterance in enumerate(utterances)}
        for group in batches(utterances, _TOGETHER):
            recordings = []
            for utterance in group:
                try:
                    recordings.append((utterance, read_recording(utterance.audio_filepath)))
                except (AudioError, OSError) as error:  # noqa: PERF203
                    yield places[id(utterance)], replace(utterance, word_times=()), error
            if not recordings:
                continue
            heard = hear(self._model, [samples for _, samples in recordings])
            for (utterance, _), log_probs in zip(recordings, heard, strict=True):
                words = self._words(log_probs, normalize(utterance.text))
                times = tuple((round(word.start, 3), round(word.end, 3)) for word in words)
                yield places[id(utterance)], replace(utterance, word_times=times), None

    def _words(self, log_probs: NDArray[np.float32], text: str) -> Sequence[Word]:
        try:
            (hypothesis,) = self._annotate(log_probs, [self._write(text)], [0.0])
        except ValueError:  # more tokens than frames
            return ()
        tokens = hypothesis.tokens
        total = sum(math.log(max(token.confidence, 1e-10)) for token in tokens)
        return hypothesis.words if tokens and total / len(tokens) >= math.log(LEAST) else ()
