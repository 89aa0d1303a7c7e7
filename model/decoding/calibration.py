"""Fitting a model's word confidences and word times to recordings whose words are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from ossicle.data.audio import read_recording
from ossicle.data.manifest import Utterance, batches
from ossicle.data.text import normalize
from ossicle.model.decoding.annotation import Annotator
from ossicle.model.decoding.beam_decoder import LISTED
from ossicle.model.decoding.confidence import EVIDENCE, Calibration, fit
from ossicle.model.decoding.decoders import Decoding, DecodingConfig, Search
from ossicle.model.decoding.hypothesis import Hypothesis
from ossicle.model.decoding.word_times import Lateness
from ossicle.model.evaluation.reliability import Bin, Reliability, bins, measure
from ossicle.model.evaluation.scoring import align_words, right_words
from ossicle.model.runtime import AcousticModel, hear

FEWEST_WORDS = 100
FOLDS = 5
"""Groups of speakers, each held out once."""
BATCH = 8
"""Recordings that are heard together."""


@dataclass
class Judged:
    """The words one search found, and whether they were said.

    Attributes:
        evidence: of each utterance, (W, len(EVIDENCE)).
        confidences: of each utterance, (W,), as the model gives them now.
        right: of each utterance, (W,).
        groups: of each utterance the speaker, or the recording where no speaker is known.
    """

    evidence: list[NDArray[np.float64]] = field(default_factory=list)
    confidences: list[NDArray[np.float64]] = field(default_factory=list)
    right: list[NDArray[np.bool_]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fitted:
    """What fitting the confidences of one search came to.

    Attributes:
        calibration: fitted on all words.
        before, after: the confidences that the model gave, and those of calibrations that were
            fitted without the speaker, so that none is measured on words it has seen.
        bins_before, bins_after: the same as points of a reliability plot.
        held_out: what those were fitted without: "speakers", or "recordings" where there is but
            one speaker, or none is known.
    """

    calibration: Calibration
    before: Reliability
    after: Reliability
    bins_before: list[Bin]
    bins_after: list[Bin]
    held_out: str


class Calibrator:
    """Hears recordings, then fits.

    Args:
        model: the network to hear with.
        decoding: the model folder's decoding.
    """

    def __init__(self, model: AcousticModel, decoding: Decoding) -> None:
        self._model = model
        self._decoding = decoding
        self._plain = Annotator(model.info.tokens, model.info.frame_seconds)
        self.judged: dict[Search, Judged] = {}
        self.lateness = Lateness()
        for search in ("greedy", "beam"):
            try:
                decoding.check(DecodingConfig(search=search))
            except ValueError:
                continue
            self.judged[search] = Judged()

    def hear(self, utterances: Sequence[Utterance]) -> Iterator[Utterance]:
        """Recognise recordings with every search, in an order of its own; yields each when done.

        Raises:
            AudioError: a recording cannot be decoded; names it.
        """
        for batch in batches(utterances, BATCH):
            recordings = [read_recording(utterance.audio_filepath) for utterance in batch]
            heard = hear(self._model, recordings)
            for utterance, samples, log_probs in zip(batch, recordings, heard, strict=True):
                self._judge(utterance, samples, log_probs)
                yield utterance

    def _judge(
        self,
        utterance: Utterance,
        samples: NDArray[np.float32],
        log_probs: NDArray[np.float32],
    ) -> None:
        reference = normalize(utterance.text)
        for search, judged in self.judged.items():
            decoder = self._decoding.decoder(DecodingConfig(search=search))
            decoder.advance(log_probs)
            hypotheses = decoder.finish(LISTED)
            best = hypotheses[0]
            right = right_words(align_words(reference, best.text))
            judged.right.append(np.array(right, dtype=bool))
            judged.evidence.append(
                self._plain.evidence(
                    log_probs, [h.written for h in hypotheses], [h.score for h in hypotheses]
                )
            )
            judged.confidences.append(np.array([word.confidence for word in best.words]))
            judged.groups.append(utterance.speaker or str(utterance.audio_filepath))
        # By the last of the searches, which knows the most words.
        self.lateness.add(samples, self._unshifted(log_probs, best), right)

    def _unshifted(
        self, log_probs: NDArray[np.float32], best: Hypothesis
    ) -> list[tuple[float, float]]:
        (plain,) = self._plain(log_probs, [best.written], [best.score])
        return [(word.start, word.end) for word in plain.words]


def fit_confidences(judged: Judged) -> Fitted:
    """Fit a calibration, and measure it on speakers it was not fitted on.

    Raises:
        ValueError: fewer than `FEWEST_WORDS` words or than two recordings, or of one speaker's
            only right or wrong ones.
    """
    evidence = np.concatenate([np.zeros((0, len(EVIDENCE))), *judged.evidence])
    confidences = np.concatenate([np.zeros(0), *judged.confidences])
    right = np.concatenate([np.zeros(0, dtype=bool), *judged.right])
    if len(right) < FEWEST_WORDS:
        raise ValueError(
            f"{len(right)} words were recognised; a calibration needs {FEWEST_WORDS}: add manifests"
        )
    if len(judged.right) < 2:
        raise ValueError("there is one recording; a calibration is measured on others: give more")
    groups = judged.groups
    speakers = 1 < len(set(groups)) < len(groups)
    if len(set(groups)) < 2:  # one speaker: hold out recordings
        groups = [str(i) for i in range(len(groups))]
    names = sorted(set(groups))
    folds = {name: i % FOLDS for i, name in enumerate(names)}
    fold = np.repeat([folds[name] for name in groups], [len(r) for r in judged.right])
    held_out = np.empty(len(right))
    for i in range(FOLDS):
        if (fold == i).any():
            held_out[fold == i] = fit(evidence[fold != i], right[fold != i])(evidence[fold == i])
    return Fitted(
        calibration=fit(evidence, right),
        before=measure(confidences, right),
        after=measure(held_out, right),
        bins_before=bins(confidences, right),
        bins_after=bins(held_out, right),
        held_out="speakers" if speakers else "recordings",
    )
