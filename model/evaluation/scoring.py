"""Error rates of recognised utterances: word alignments, WER and CER, and how sure they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import jiwer
import numpy as np
from numpy.typing import NDArray
from ossicle.data.manifest import Utterance
from ossicle.model.decoding.hypothesis import Word

EditKind = Literal["equal", "substitute", "delete", "insert"]

RESAMPLES = 1000


@dataclass(frozen=True)
class Edit:
    """One step of an alignment.

    Attributes:
        reference: the word said, empty if `kind` is "insert".
        hypothesis: the word heard, empty if `kind` is "delete".
    """

    kind: EditKind
    reference: str
    hypothesis: str


def align_words(reference: str, hypothesis: str) -> tuple[Edit, ...]:
    """The alignment of fewest word errors (Levenshtein 1966), one `Edit` for each pair of words."""
    said, heard = reference.split(), hypothesis.split()
    if not said:  # jiwer refuses empty references
        return tuple(Edit("insert", "", word) for word in heard)
    edits: list[Edit] = []
    for chunk in jiwer.process_words(reference, hypothesis).alignments[0]:
        here = said[chunk.ref_start_idx : chunk.ref_end_idx]
        there = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "delete":
            edits += [Edit("delete", word, "") for word in here]
        elif chunk.type == "insert":
            edits += [Edit("insert", "", word) for word in there]
        else:
            kind: EditKind = "equal" if chunk.type == "equal" else "substitute"
            edits += [Edit(kind, *pair) for pair in zip(here, there, strict=True)]
    return tuple(edits)


def right_words(edits: Sequence[Edit]) -> list[bool]:
    """Whether each word of the hypothesis is right."""
    return [edit.kind == "equal" for edit in edits if edit.hypothesis]


def word_error_rate(references: Sequence[str], texts: Sequence[str]) -> float:
    """Word errors to a word of the references; words where nothing is said are errors too."""
    errors = sum(
        edit.kind != "equal"
        for reference, text in zip(references, texts, strict=True)
        for edit in align_words(reference, text)
    )
    return errors / sum(len(reference.split()) for reference in references)


@dataclass(frozen=True)
class Recognized:
    """One utterance, what was said and what was heard, both in normal form.

    Attributes:
        words: those of the hypothesis, with their confidences; empty if there are none to tell.
    """

    utterance: Utterance
    reference: str
    hypothesis: str
    words: tuple[Word, ...] = ()

    @cached_property
    def edits(self) -> tuple[Edit, ...]:
        """The alignment of reference and hypothesis."""
        return align_words(self.reference, self.hypothesis)

    @cached_property
    def errors(self) -> int:
        """Word errors."""
        return sum(edit.kind != "equal" for edit in self.edits)

    @cached_property
    def character_errors(self) -> int:
        """Character errors, spaces counting as characters."""
        if not self.reference:
            return len(self.hypothesis)
        found = jiwer.process_characters(self.reference, self.hypothesis)
        return found.substitutions + found.deletions + found.insertions

    def word_confidences(self) -> list[tuple[float, bool]]:
        """Confidence of each word heard, where known, and whether it is right."""
        right = right_words(self.edits)
        return [(word.confidence, ok) for word, ok in zip(self.words, right, strict=False)]


@dataclass(frozen=True)
class Score:
    """Errors over a set of utterances.

    Attributes:
        utterances, words, characters: of the references.
        wer, cer: word and character error rate, 0 to more than 1.
        wer_low, wer_high, cer_low, cer_high: 95 % bootstrap intervals, utterances resampled.
        substitutions, deletions, insertions: of words.
    """

    utterances: int
    words: int
    characters: int
    wer: float
    wer_low: float
    wer_high: float
    cer: float
    cer_low: float
    cer_high: float
    substitutions: int
    deletions: int
    insertions: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, rates rounded to five digits."""
        return {
            name: round(value, 5) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def score(recognized: Sequence[Recognized]) -> Score:
    """Error rates of recognised utterances, which must hold at least one word.

    Raises:
        ValueError: there is nothing to score.
    """
    words = np.array([len(r.reference.split()) for r in recognized], dtype=float)
    characters = np.array([len(r.reference) for r in recognized], dtype=float)
    if not words.sum():
        raise ValueError("no reference text to score against")
    errors = np.array([r.errors for r in recognized], dtype=float)
    character_errors = np.array([r.character_errors for r in recognized], dtype=float)
    wer_low, wer_high = _interval(errors, words)
    cer_low, cer_high = _interval(character_errors, characters)
    kinds = [edit.kind for r in recognized for edit in r.edits]
    return Score(
        utterances=len(recognized),
        words=int(words.sum()),
        characters=int(characters.sum()),
        wer=float(errors.sum() / words.sum()),
        wer_low=wer_low,
        wer_high=wer_high,
        cer=float(character_errors.sum() / characters.sum()),
        cer_low=cer_low,
        cer_high=cer_high,
        substitutions=kinds.count("substitute"),
        deletions=kinds.count("delete"),
        insertions=kinds.count("insert"),
    )


def _interval(errors: NDArray[np.float64], lengths: NDArray[np.float64]) -> tuple[float, float]:
    # Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR".
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(len(errors), size=len(errors))
        if total := lengths[chosen].sum():
            rates.append(errors[chosen].sum() / total)
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
