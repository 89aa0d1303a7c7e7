"""The record of an evaluation: what was recognised with what, and its JSON form.

`ossicle evaluate --json` prints, and `report.json` holds, one object. Rates are shares (0.05 is
5 %), a *score* is the fields of `scoring.Score`::

    model, model_digest, precision, search, beam_width, language_model, rescoring, chunk_ms, batch,
    threads, date, version, noise_digest, silence     the fields of `Settings`
    times_real_time   seconds of audio in a second that passed
    cost              audio_seconds, and for network and decoder: seconds, cpu_seconds,
                      real_time_factor (cpu_seconds / audio_seconds)
    scores            {set: score, "set: source": score, "set at 20 dB": score}: the flat table
    sets              of each set: name, digest (SHA-256 of the manifest), score, and
      by_source, by_speaker, by_length, by_snr        {group: score}
      substitutions, deletions, insertions            [{reference, hypothesis, count}], the most
                                                      frequent of each kind
      reliability     null, or words, accuracy, ece, nce, brier of the words' confidences
    transcripts       {set: [{audio_filepath, speaker, source, duration, reference, hypothesis,
                      errors, character_errors}]}
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ossicle.model.evaluation.breakdown import Breakdown, confusions
from ossicle.model.evaluation.reliability import Reliability, measure
from ossicle.model.evaluation.scoring import Recognized, Score


@dataclass(frozen=True)
class Cost:
    """What recognising cost.

    Attributes:
        audio_seconds: recognised.
        network_seconds, decoder_seconds: that passed meanwhile.
        network_cpu_seconds, decoder_cpu_seconds: of processors, all threads together.
    """

    audio_seconds: float
    network_seconds: float
    decoder_seconds: float
    network_cpu_seconds: float
    decoder_cpu_seconds: float

    @property
    def network(self) -> float:
        """Seconds of one core for a second of audio, in the network."""
        return self.network_cpu_seconds / self.audio_seconds

    @property
    def decoder(self) -> float:
        """Seconds of one core for a second of audio, in the decoder."""
        return self.decoder_cpu_seconds / self.audio_seconds

    @property
    def speed(self) -> float:
        """Seconds of audio in a second that passed."""
        return self.audio_seconds / (self.network_seconds + self.decoder_seconds)


@dataclass(frozen=True)
class Settings:
    """With what an evaluation was made.

    Attributes:
        model, model_digest, precision: its name, the SHA-256 of its graph, int8 or float.
        search, beam_width, language_model, rescoring: of the decoder; a width of 0 for greedy
            search; whether finished hypotheses are weighed by a second language model.
        chunk_ms, batch, threads: audio of a step, recordings that step together, of the network.
        date, version: when, in ISO 8601, and by which version of Ossicle.
        noise_digest: SHA-256 of the noise manifest; empty if no noise was mixed in.
        silence: seconds of it before each recording.
    """

    model: str
    model_digest: str
    precision: str
    search: str
    beam_width: int
    language_model: bool
    rescoring: bool
    chunk_ms: int
    batch: int
    threads: int
    date: str
    version: str
    noise_digest: str = ""
    silence: float = 0.0

    @property
    def decoder(self) -> str:
        """The decoder in words."""
        if self.search == "greedy":
            return "greedy search"
        words = "with" if self.language_model else "without"
        last = ", rescored" if self.rescoring else ""
        return f"beam search of width {self.beam_width} {words} a language model{last}"


@dataclass(frozen=True)
class Record:
    """An evaluation, complete."""

    settings: Settings
    cost: Cost
    sets: Sequence[Breakdown]

    def table(self) -> dict[str, Score]:
        """All scores in a flat table: sets, their sources if several, and their noise levels."""
        rows: dict[str, Score] = {}
        for part in self.sets:
            rows[part.name] = part.score
            if len(part.by_source) > 1:
                rows |= {f"{part.name}: {source}": s for source, s in part.by_source.items()}
            rows |= {f"{part.name} at {snr} dB": s for snr, s in part.by_snr.items()}
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; see this module's docstring."""
        c = self.cost
        return {
            **asdict(self.settings),
            "times_real_time": round(c.speed, 1),
            "cost": {
                "audio_seconds": round(c.audio_seconds, 2),
                "network": _cost(c.network_seconds, c.network_cpu_seconds, c.network),
                "decoder": _cost(c.decoder_seconds, c.decoder_cpu_seconds, c.decoder),
            },
            "scores": _scores(self.table()),
            "sets": [_set(part) for part in self.sets],
            "transcripts": {p.name: [_transcript(r) for r in p.recognized] for p in self.sets},
        }


def reliability(part: Breakdown) -> Reliability | None:
    """How well the confidences of a set's words foretell which are right; None without words."""
    confidences, right = part.confidences()
    return measure(confidences, right) if len(right) else None


def _cost(seconds: float, cpu_seconds: float, factor: float) -> dict[str, float]:
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "real_time_factor": round(factor, 5),
    }


def _scores(scores: dict[str, Score]) -> dict[str, Any]:
    return {name: s.to_dict() for name, s in scores.items()}


def _set(part: Breakdown) -> dict[str, Any]:
    found = reliability(part)
    return {
        "name": part.name,
        "digest": part.digest,
        "score": part.score.to_dict(),
        "by_source": _scores(part.by_source),
        "by_speaker": _scores(part.by_speaker),
        "by_length": _scores(part.by_length),
        "by_snr": _scores({f"{snr} dB": s for snr, s in part.by_snr.items()}),
        "substitutions": [asdict(c) for c in confusions(part.recognized, "substitute")],
        "deletions": [asdict(c) for c in confusions(part.recognized, "delete")],
        "insertions": [asdict(c) for c in confusions(part.recognized, "insert")],
        "reliability": _finite(found.to_dict()) if found else None,
    }


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    # JSON has no NaN.
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _transcript(item: Recognized) -> dict[str, Any]:
    return {
        "audio_filepath": str(item.utterance.audio_filepath),
        "speaker": item.utterance.speaker,
        "source": item.utterance.source,
        "duration": item.utterance.duration,
        "reference": item.reference,
        "hypothesis": item.hypothesis,
        "errors": item.errors,
        "character_errors": item.character_errors,
    }
