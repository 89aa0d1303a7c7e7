"""How well a model understands: error rates over manifests, with their uncertainty."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from numpy.typing import NDArray
from ossicle.data.audio import AudioError, read_audio
from ossicle.data.manifest import Utterance
from ossicle.data.text import normalize
from ossicle.model.decoding import GreedyDecoder
from ossicle.model.runtime import AcousticModel

STEP_FRAMES = 32
BATCH = 8


@dataclass(frozen=True)
class Recognized:
    """One utterance, what was said and what was heard, both in normal form."""

    utterance: Utterance
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Score:
    """Errors over a set of utterances.

    Attributes:
        utterances, words, characters: of the references.
        wer, cer: word and character error rate, 0 to more than 1.
        wer_low, wer_high: 95 % bootstrap interval of the WER, utterances resampled.
        substitutions, deletions, insertions: of words.
    """

    utterances: int
    words: int
    characters: int
    wer: float
    wer_low: float
    wer_high: float
    cer: float
    substitutions: int
    deletions: int
    insertions: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, rates rounded to five digits."""
        return {
            name: round(value, 5) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def score(recognized: Sequence[Recognized], *, resamples: int = 1000) -> Score:
    """Error rates of recognised utterances, which must hold at least one word.

    Raises:
        ValueError: there is nothing to score.
    """
    references = [r.reference for r in recognized]
    hypotheses = [r.hypothesis for r in recognized]
    if not any(references):
        raise ValueError("no reference text to score against")
    errors, lengths = np.zeros(len(recognized)), np.zeros(len(recognized))
    substitutions = deletions = insertions = character_errors = 0
    for i, (reference, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        if not reference:  # silence: every word heard is an insertion
            errors[i] = len(hypothesis.split())
            insertions += len(hypothesis.split())
            character_errors += len(hypothesis)
            continue
        words = jiwer.process_words(reference, hypothesis)
        substitutions += words.substitutions
        deletions += words.deletions
        insertions += words.insertions
        errors[i] = words.substitutions + words.deletions + words.insertions
        lengths[i] = len(reference.split())
        characters = jiwer.process_characters(reference, hypothesis)
        character_errors += characters.substitutions + characters.deletions + characters.insertions
    low, high = _bootstrap(errors, lengths, resamples)
    count = sum(len(reference) for reference in references)
    return Score(
        utterances=len(recognized),
        words=int(lengths.sum()),
        characters=count,
        wer=float(errors.sum() / lengths.sum()),
        wer_low=low,
        wer_high=high,
        cer=character_errors / count,
        substitutions=substitutions,
        deletions=deletions,
        insertions=insertions,
    )


def _bootstrap(
    errors: NDArray[np.float64], lengths: NDArray[np.float64], resamples: int
) -> tuple[float, float]:
    # Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR".
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(resamples):
        chosen = rng.integers(len(errors), size=len(errors))
        if lengths[chosen].sum():
            rates.append(errors[chosen].sum() / lengths[chosen].sum())
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


def score_by(
    recognized: Sequence[Recognized], key: Callable[[Recognized], str]
) -> dict[str, Score]:
    """Scores of groups, by name; groups without reference text are left out."""
    groups: dict[str, list[Recognized]] = defaultdict(list)
    for item in recognized:
        groups[key(item)].append(item)
    return {
        name: score(items)
        for name, items in sorted(groups.items())
        if any(i.reference for i in items)
    }


@dataclass
class Evaluation:
    """Recognises manifests and keeps the time it took.

    Attributes:
        model: to recognise with.
        audio_seconds, model_seconds: heard so far, and spent in the network and the decoder.
    """

    model: AcousticModel
    audio_seconds: float = 0.0
    model_seconds: float = 0.0

    def recognize(self, utterances: Sequence[Utterance]) -> Iterator[Recognized]:
        """Greedy transcripts, in batches of like length, not in the order given.

        Raises:
            AudioError: a recording cannot be decoded; names it.
        """
        order = sorted(utterances, key=lambda utterance: utterance.duration)
        for begin in range(0, len(order), BATCH):
            batch = order[begin : begin + BATCH]
            recordings = [_read(utterance.audio_filepath) for utterance in batch]
            start = time.perf_counter()
            texts = self._transcribe(recordings)
            self.model_seconds += time.perf_counter() - start
            self.audio_seconds += sum(map(len, recordings)) / self.model.info.sample_rate
            for utterance, text in zip(batch, texts, strict=True):
                yield Recognized(utterance, normalize(utterance.text), text)

    def _transcribe(self, recordings: Sequence[NDArray[np.float32]]) -> list[str]:
        info = self.model.info
        size, delay = info.frame_samples, info.lookahead_frames
        ends = [-(-len(samples) // size) + delay for samples in recordings]
        frames = -(-max(ends) // STEP_FRAMES) * STEP_FRAMES
        padded = np.zeros((len(recordings), frames * size), dtype=np.float32)
        for row, samples in zip(padded, recordings, strict=True):
            row[: len(samples)] = samples
        decoders = [GreedyDecoder(info.tokens, info.frame_seconds) for _ in recordings]
        state = self.model.initial_state(len(recordings))
        for begin in range(0, frames, STEP_FRAMES):
            piece = padded[:, begin * size : (begin + STEP_FRAMES) * size]
            log_probs, state = self.model.step(piece, state)
            for decoder, rows, end in zip(decoders, log_probs, ends, strict=True):
                # The first `delay` outputs belong to no audio, those past the end to padding.
                decoder.advance(rows[max(delay - begin, 0) : max(end - begin, 0)])
        return [decoder.hypothesis().text for decoder in decoders]


def _read(path: Path) -> NDArray[np.float32]:
    try:
        return read_audio(path)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
