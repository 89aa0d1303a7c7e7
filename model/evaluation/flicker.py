"""How often words that were shown change before the final."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ossicle.model.evaluation.scoring import align_words


@dataclass(frozen=True)
class Flicker:
    """How often words that were shown changed.

    Attributes:
        shown: words shown in partials; one that takes the place of another counts again.
        changed: those of them that a later result of the same utterance replaced or took away.
        final: words of the finals.
    """

    shown: int = 0
    changed: int = 0
    final: int = 0

    @property
    def rate(self) -> float:
        """Share of the words shown that changed, 0 to 1; 0 if none was shown."""
        return self.changed / self.shown if self.shown else 0.0

    @property
    def ratio(self) -> float:
        """Words that changed, to the words of the finals; 0 if there are none."""
        return self.changed / self.final if self.final else 0.0

    def __add__(self, other: Flicker) -> Flicker:
        """Of the utterances of both."""
        return Flicker(
            self.shown + other.shown, self.changed + other.changed, self.final + other.final
        )


def flicker(texts: Sequence[str]) -> Flicker:
    """How often the words of one utterance changed.

    Each result is aligned with the next as a reference is with a transcript. A word that grows has
    changed; one that moves since another is put in before it has not. Shangguan et al. 2020,
    "Analyzing the quality and stability of a streaming end-to-end on-device speech recognizer",
    likewise relate the words revised to the words of the finals (unstable partial word ratio).

    Args:
        texts: the utterance's results in order, partials and then its final.
    """
    shown = changed = 0
    before = ""
    for text in texts[:-1]:
        if text == before:
            continue
        kept = _kept(before, text)
        changed += len(before.split()) - kept
        shown += len(text.split()) - kept
        before = text
    changed += len(before.split()) - _kept(before, texts[-1])
    return Flicker(shown, changed, len(texts[-1].split()))


def _kept(before: str, after: str) -> int:
    return sum(edit.kind == "equal" for edit in align_words(before, after))
