"""How a word is probably pronounced, and a pronunciation probably spelt: one model for both.

A word with its pronunciation is a sequence of graphones, letters that stand for phonemes, and an
n-gram model over graphones tells which sequences are likely (Bisani and Ney 2008, "Joint-sequence
models for grapheme-to-phoneme conversion"). Given one side, the most probable sequence with these
letters, or these phonemes, is searched for; the other side of that is the answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.data.text import CHARACTERS
from ossicle.model.ngram.counting import count_ngrams, read_corpus
from ossicle.model.ngram.file import NgramError, write_trie
from ossicle.model.ngram.model import NgramModel
from ossicle.model.ngram.pruning import counted
from ossicle.model.ngram.smoothing import kneser_ney
from ossicle.model.ngram.training import prune
from ossicle.model.pronunciation.alignment import Graphone, align

_SEPARATOR = "|"
"""Between letters and phonemes of a graphone, which is a word of the n-gram model."""

_LETTERS = frozenset(CHARACTERS) - {" "}

_WIDTH = 12
"""Sequences followed at each place: with more of them, hardly an answer is another."""

_SILENT = 2
"""Graphones without phonemes in a row at most, when spelling: there could be any number."""

_PIECE = 30
"""Characters that are answered as one; hardly a word is longer, and then time grows with length."""

_CACHED = 20_000
"""Answers kept in each direction."""


class Graphones:
    """Pronunciations of unknown words, and spellings of unknown pronunciations.

    What is read of it may be shared by threads. The same question has the same answer.

    Attributes:
        phonemes: all that it knows, one character each, sorted.
        about: facts that its maker stored.
    """

    def __init__(self, model: NgramModel) -> None:
        if any(word.count(_SEPARATOR) != 1 for word in model.words):
            raise NgramError("the n-gram model is one of words, not of graphones")
        graphones = [Graphone(*word.split(_SEPARATOR)) for word in model.words]
        self.about = model.about
        self.phonemes = "".join(sorted({sound for _, sounds in graphones for sound in sounds}))
        self._letters_to_phonemes = _Direction(model, graphones)
        self._phonemes_to_letters = _Direction(model, [Graphone(*g[::-1]) for g in graphones])
        # Of the instance: a cache on the method would keep every instance alive.
        self._pronounce = lru_cache(_CACHED)(self._letters_to_phonemes.answer)
        self._spell = lru_cache(_CACHED)(self._phonemes_to_letters.answer)

    @classmethod
    def load(cls, path: Path) -> Graphones:
        """Read what `train_graphones` made.

        Raises:
            NgramError: there is no such file, or it is no n-gram model or damaged.
        """
        return cls(NgramModel.load(path))

    def pronounce(self, word: str) -> str:
        """The phonemes of a word: some for whatever letters, and none only for no letters.

        Raises:
            ValueError: naming a character that is neither a to z nor an apostrophe.
        """
        for character in word:
            if character not in _LETTERS:
                raise ValueError(f"{word!r} has {character!r}: give a to z and apostrophes only")
        return _in_pieces(self._pronounce, word)

    def spell(self, phonemes: str) -> str:
        """Letters that are pronounced so: some for whatever phonemes, and none only for none.

        Raises:
            ValueError: naming a character that is none of `phonemes`.
        """
        for character in phonemes:
            if character not in self.phonemes:
                raise ValueError(f"{phonemes!r} has {character!r}: give some of {self.phonemes}")
        return _in_pieces(self._spell, phonemes)


def _in_pieces(answer: Callable[[str], str], given: str) -> str:
    return "".join(answer(given[i : i + _PIECE]) for i in range(0, len(given), _PIECE))


def train_graphones(
    pairs: Sequence[tuple[str, str]], path: Path, *, order: int = 8, megabytes: float = 1.5
) -> Graphones:
    """Learn from words and their pronunciations, and write the model.

    Args:
        pairs: words of a to z and apostrophes, and their phonemes, one character each. Pairs with
            other letters, or that cannot be aligned, are left out; `about` counts them.
        path: the file.
        order: graphones in the longest n-grams.
        megabytes: (10^6 bytes) of the file at most.

    Raises:
        NgramError: nothing can be learnt from the pairs, or the graphones alone take more space.
        OSError: the folder cannot be written to.
    """
    spoken = [pair for pair in pairs if all(pair) and _LETTERS.issuperset(pair[0])]
    alignment = align(spoken)
    different = len(set(chain.from_iterable(alignment.words)))
    corpus = read_corpus([map(_sentence, alignment.words)], vocabulary=different)
    tables = count_ngrams(corpus, order)
    trie = prune(corpus, tables, kneser_ney(tables, 0), counted(tables, [1.0]), megabytes)
    learnt = len(alignment.words)
    trie = replace(trie, about={"order": order, "words": learnt, "left_out": len(pairs) - learnt})
    write_trie(trie, path)
    return Graphones.load(path)


def _sentence(word: Sequence[Graphone]) -> str:
    return " ".join(_SEPARATOR.join(graphone) for graphone in word)


@dataclass(frozen=True)
class _Window:
    """All graphones that may come next.

    Attributes:
        numbers: (M,) int32, of the n-gram model.
        lengths: (M,) how much of what is given they take.
        outputs: what they answer, M.
    """

    numbers: NDArray[np.int32]
    lengths: NDArray[np.int64]
    outputs: list[str]


@dataclass(frozen=True)
class _Hypotheses:
    """Sequences of graphones that take the same of what is given, N.

    Attributes:
        scores: (N,) float32, natural-log probabilities.
        contexts: (N,) int64, of the n-gram model.
        outputs: what they answer, N.
    """

    scores: NDArray[np.float32]
    contexts: NDArray[np.int64]
    outputs: list[str]


class _Direction:
    """Answers in one direction; a graphone is what is given and what is the answer."""

    def __init__(self, model: NgramModel, graphones: Sequence[tuple[str, str]]) -> None:
        self._model = model
        self._by_given: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        for number, (given, output) in enumerate(graphones):
            self._by_given[given].append((number, output))
        self._longest = max(map(len, self._by_given))
        # The most probable answer to each text that one graphone takes, the most probable first.
        self._alone: dict[str, str] = {}
        for number in np.argsort(-model.unigrams, kind="stable").tolist():
            given, output = graphones[number]
            if given and output:
                self._alone.setdefault(given, output)
        self._window = lru_cache(_CACHED)(self._build_window)

    def answer(self, given: str) -> str:
        """What the most probable sequence answers that answers anything."""
        if not given:
            return ""
        places: list[list[_Hypotheses]] = [[] for _ in range(len(given) + self._longest)]
        start = np.array([self._model.start()], np.int64)
        places[0].append(_Hypotheses(np.zeros(1, np.float32), start, [""]))
        for place in range(len(given)):
            hypotheses = self._with_silent(_best(places[place]))
            window = self._window(given[place : place + self._longest])
            for length, longer in self._extended(hypotheses, window):
                places[place + length].append(longer)
        hypotheses = self._with_silent(_best(places[len(given)]))
        ends = np.full(len(hypotheses.scores), self._model.eos, np.int32)
        scores = hypotheses.scores + self._model.score(hypotheses.contexts, ends)[0]
        ranked: list[int] = np.argsort(-scores, kind="stable").tolist()
        answers = (hypotheses.outputs[place] for place in ranked if hypotheses.outputs[place])
        alone = (self._alone[character] for character in given if character in self._alone)
        return next(chain(answers, alone, self._alone.values()))

    def _build_window(self, given: str) -> _Window:
        found = [
            (number, length, output)
            for length in range(1, len(given) + 1)
            for number, output in self._by_given.get(given[:length], ())
        ]
        if given[0] not in self._by_given:
            # What no graphone takes alone may be passed over, so that there is always a way on.
            found.append((self._model.unk, 1, ""))
        return _window(found)

    def _with_silent(self, hypotheses: _Hypotheses) -> _Hypotheses:
        """These, and those with graphones after them that take nothing of what is given."""
        if "" not in self._by_given:
            return hypotheses
        silent = _window([(number, 0, output) for number, output in self._by_given[""]])
        everything = [hypotheses]
        for _ in range(_SILENT):
            everything += [longer for _, longer in self._extended(everything[-1], silent)]
        return _best(everything)

    def _extended(
        self, hypotheses: _Hypotheses, window: _Window
    ) -> Iterator[tuple[int, _Hypotheses]]:
        """The best hypotheses with one graphone more, by what that takes."""
        size, choices = len(hypotheses.scores), len(window.numbers)
        gains, contexts = self._model.score(
            np.repeat(hypotheses.contexts, choices), np.tile(window.numbers, size)
        )
        scores = np.repeat(hypotheses.scores, choices) + gains
        lengths = np.tile(window.lengths, size)
        for length in np.unique(window.lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            rows = rows[_distinct(scores[rows], contexts[rows])]
            outputs = [
                hypotheses.outputs[row // choices] + window.outputs[row % choices]
                for row in rows.tolist()
            ]
            yield length, _Hypotheses(scores[rows], contexts[rows], outputs)


def _window(graphones: Sequence[tuple[int, int, str]]) -> _Window:
    numbers, lengths, outputs = zip(*graphones, strict=True)
    return _Window(np.array(numbers, np.int32), np.array(lengths), list(outputs))


def _best(everything: Sequence[_Hypotheses]) -> _Hypotheses:
    """The best of hypotheses that take the same."""
    scores = np.concatenate([hypotheses.scores for hypotheses in everything])
    contexts = np.concatenate([hypotheses.contexts for hypotheses in everything])
    outputs = [output for hypotheses in everything for output in hypotheses.outputs]
    rows = _distinct(scores, contexts)
    return _Hypotheses(scores[rows], contexts[rows], [outputs[row] for row in rows.tolist()])


def _distinct(scores: NDArray[np.float32], contexts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the `_WIDTH` best scores, best first; of equal contexts, only the best."""
    ranked = np.argsort(-scores, kind="stable")
    _, first = np.unique(contexts[ranked], return_index=True)
    first.sort()
    return ranked[first[:_WIDTH]]
