"""What synthetic utterance number so-and-so is: sentence, speaker, speed and silence around it.

A plan is a function of the sentences, the seed and the number alone, so that a synthesis may be
stopped, continued and spread over processes and still make the same speech.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ossicle.data.synthesis_engine import SynthesisError
from ossicle.data.text import normalize
from ossicle.data.text_file import read_lines

SPEED_RANGE = (0.8, 1.3)
LEAD_RANGE = (0.05, 0.35)
"""Seconds of silence before the first sound."""
TAIL_RANGE = (0.08, 0.4)
"""Seconds of silence after the last sound."""

MAX_LETTERS = 300
"""Longer sentences would not fit into the longest utterance."""

_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", '"': " ", "\u201c": " ", "\u201d": " "})
_UNSPOKEN = re.compile(r"[^A-Za-z' ,.;:?!\u2014-]")
_BEFORE_A_MARK = re.compile(r" +(?=[,.;:?!])")
_NOT_LETTERS = re.compile(r"[^a-z]")
# Read in more than one way: initials and abbreviations ("p m", "mr"), capitals ("NASA", "IV"),
# and a full stop inside a sentence, which mostly ends an abbreviation ("Col. Smith").
_UNSURE_WORD = re.compile(r"(?<![a-z'])(?:[b-hj-np-z]|[^aeiouy' ]+)(?![a-z'])")
_UNSURE_LINE = re.compile(r"[A-Z]{2}|\.\s")


@dataclass(frozen=True)
class Sentence:
    """Something to be said.

    Attributes:
        spoken: for the engine, with punctuation, and numbers in words.
        text: the transcript, in normal form.
    """

    spoken: str
    text: str


@dataclass(frozen=True)
class UtterancePlan:
    """One utterance to be made.

    Attributes:
        speaker: the engine's name of the speaker.
        speed: 1 is the speaker's own pace.
        lead: seconds of silence before the speech.
        tail: seconds of silence after it.
        seed: for what else the engine varies.
    """

    number: int
    sentence: Sentence
    speaker: str
    speed: float
    lead: float
    tail: float
    seed: int


class SpeechPlan:
    """The plans of all utterances.

    Every sentence is said once before any is said again, in an order drawn anew each time.

    Args:
        sentences: at least one.
        speakers: at least one; each utterance's is drawn evenly.
        seed: 0 or more.
    """

    def __init__(self, sentences: Sequence[Sentence], speakers: Sequence[str], seed: int) -> None:
        self._sentences = sentences
        self._speakers = speakers
        self._seed = seed
        self._pass = -1
        self._order: list[int] = []

    def utterance(self, number: int) -> UtterancePlan:
        """The plan of an utterance, counted from 0."""
        turn, place = divmod(number, len(self._sentences))
        if turn != self._pass:
            order = np.random.default_rng([self._seed, 0, turn]).permutation(len(self._sentences))
            self._pass, self._order = turn, order.tolist()
        rng = np.random.default_rng([self._seed, 1, number])
        return UtterancePlan(
            number=number,
            sentence=self._sentences[self._order[place]],
            speaker=self._speakers[int(rng.integers(len(self._speakers)))],
            speed=round(float(np.clip(rng.normal(1.03, 0.11), *SPEED_RANGE)), 3),
            lead=round(float(rng.uniform(*LEAD_RANGE)), 3),
            tail=round(float(rng.uniform(*TAIL_RANGE)), 3),
            seed=int(rng.integers(2**31)),
        )


def read_sentences(path: Path) -> tuple[list[Sentence], int]:
    """The sentences of a text file, one a line, and how many lines are left out.

    Raises:
        TextFileError: the file cannot be read.
        SynthesisError: no line of it can be used.
    """
    sentences, left_out = [], 0
    for line in read_lines(path):
        if not line.strip():
            continue
        sentence = sentence_of(line)
        if sentence is None:
            left_out += 1
        else:
            sentences.append(sentence)
    if not sentences:
        raise SynthesisError(f"{path} has no sentence that can be spoken: give one a line")
    return sentences, left_out


def sentence_of(line: str) -> Sentence | None:
    """What is said when a line is read aloud; None if that is not sure, or it is too long."""
    line = _BEFORE_A_MARK.sub("", " ".join(line.translate(_QUOTES).split()))
    if line.isupper():  # as some corpora write all their text
        line = line.lower()
    text = normalize(line)
    if not text or len(text) > MAX_LETTERS:
        return None
    if _UNSURE_LINE.search(line) or _UNSURE_WORD.search(text):
        return None
    if _NOT_LETTERS.sub("", line.lower()) == _NOT_LETTERS.sub("", text):
        spoken = _BEFORE_A_MARK.sub("", " ".join(_UNSPOKEN.sub(" ", line).split()))
        if normalize(spoken) == text:
            return Sentence(spoken, text)
    # A number, a symbol or a short form: the words that the transcript has are said.
    return Sentence(f"{text}.", text)
