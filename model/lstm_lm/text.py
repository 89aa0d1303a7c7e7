"""Text for language models: sentences from files, and windows of units cut from them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.data.manifest import iterate_manifest
from ossicle.data.shared_text import HeldOutText
from ossicle.data.text import normalize
from ossicle.data.text_file import is_manifest, read_lines
from ossicle.model.lstm_lm.config import TextSet
from ossicle.model.lstm_lm.units import END, Units


def read_sentences(path: Path) -> Iterator[tuple[str, str]]:
    """Sentences in normal form and their source ("" outside manifests), empty ones left out.

    The sentences of a manifest come speaker by speaker, as a stream would bring them.

    Raises:
        TextFileError: the text cannot be read.
        ManifestError: the manifest cannot be read, or a line of it is not valid.
    """
    if is_manifest(path):
        utterances = sorted(iterate_manifest(path), key=lambda u: (u.source, u.speaker))
        texts = ((utterance.text, utterance.source) for utterance in utterances)
    else:
        texts = ((line, "") for line in read_lines(path))
    for text, source in texts:
        if sentence := normalize(text):
            yield sentence, source


@dataclass(frozen=True)
class Text:
    """Training text as one row of words: an end before each sentence, and at the very end.

    Attributes:
        words: every word once; number 0 is the end.
        row: (total,) word numbers.
        starts: (sentences,) place in the row of the end before each sentence, ascending.
        weights: (sentences,) how often each sentence comes in an epoch.
        excluded: sentences left out because validation texts have them.
    """

    words: tuple[str, ...]
    row: NDArray[np.uint32]
    starts: NDArray[np.int64]
    weights: NDArray[np.float32]
    excluded: int

    @classmethod
    def read(cls, texts: Sequence[TextSet], validation: Sequence[Path] = ()) -> Text:
        """Read training texts without the sentences of those that the model is judged by.

        Raises:
            TextFileError, ManifestError: a file cannot be read or is not valid.
            ValueError: a manifest lacks a source that is weighed.
        """
        held_out = HeldOutText(
            sentence for path in validation for sentence, _ in read_sentences(path)
        )
        excluded = 0
        numbers = {END: 0}
        fresh = count(1)
        row, starts, weights = array("I"), array("q"), array("f")
        for text_set in texts:
            lacking = set(text_set.sources)
            for sentence, source in read_sentences(text_set.path):
                lacking.discard(source)
                weight = text_set.repeat * text_set.sources.get(source, 1.0)
                if weight == 0:
                    continue
                if held_out.shares(sentence):
                    excluded += 1
                    continue
                starts.append(len(row))
                weights.append(weight)
                row.append(0)
                for word in sentence.split():
                    number = numbers.get(word)
                    if number is None:
                        number = numbers[word] = next(fresh)
                    row.append(number)
            if lacking:
                raise ValueError(
                    f"{text_set.path} has no sentence of the source {sorted(lacking)[0]!r}: leave "
                    "it out or spell it as the manifest does"
                )
        row.append(0)
        return cls(
            tuple(numbers),
            np.frombuffer(row, np.uint32),
            np.frombuffer(starts, np.int64),
            np.frombuffer(weights, np.float32),
            excluded,
        )

    def counts(self) -> dict[str, int]:
        """How often each word comes in one epoch: what units are learnt from."""
        lengths = np.diff(self.starts, append=len(self.row) - 1)
        weights = np.append(np.repeat(self.weights, lengths), 0.0)
        total = np.bincount(self.row, weights, minlength=len(self.words))
        return {
            word: int(number)
            for word, number in zip(self.words[1:], np.ceil(total[1:]), strict=True)
        }

    def cut(self, units: Units) -> Corpus:
        """The text in units."""
        pieces = [[0], *(units.encode(word) for word in self.words[1:])]
        lengths = np.array([len(piece) for piece in pieces], np.int64)
        spelt = np.concatenate([np.array(piece, np.uint16) for piece in pieces])
        begins = np.cumsum(lengths) - lengths  # of each word in `spelt`
        places = np.concatenate([[0], np.cumsum(lengths[self.row])])  # of each word in the result
        index = np.arange(places[-1])
        index -= np.repeat(places[:-1] - begins[self.row], lengths[self.row])
        return Corpus(spelt[index], places[self.starts], self.weights)


@dataclass(frozen=True)
class Corpus:
    """All text as one row of units: an end before each sentence, and at the very end.

    Attributes:
        units: (total,) unit numbers.
        starts: (sentences,) place of the end before each sentence, ascending.
        weights: (sentences,) how often each sentence comes in an epoch.
    """

    units: NDArray[np.uint16]
    starts: NDArray[np.int64]
    weights: NDArray[np.float32]

    def windows(self, length: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Places of examples of `length` units and the unit that follows, and their weights.

        Each example begins where a sentence begins, as every text to score does, and goes on over
        the sentences after it, which is what teaches the network to use context. The sentence
        that the end of an example cuts begins the next one.

        Raises:
            ValueError: there is less text than one example.
        """
        last = len(self.units) - length - 1
        chosen: list[int] = []
        index = 0
        while index < len(self.starts) and self.starts[index] <= last:
            chosen.append(index)
            # The sentence that the end cuts, or the one after it if that is where the end is.
            after = int(np.searchsorted(self.starts, self.starts[index] + length, "right")) - 1
            index = max(after, index + 1)
        if not chosen:
            raise ValueError(
                f"{len(self.units)} units of text are less than a window of {length}: give more "
                "text or make the window smaller"
            )
        return self.starts[chosen], self.weights[chosen]
