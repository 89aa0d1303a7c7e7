"""When each token of a known text was said: CTC forced alignment.

Of all CTC paths that spell a text, the most probable one (Viterbi 1967 on the states of Graves et
al. 2006) tells the frames of each token. It is the path that `torchaudio.functional.forced_align`
finds, without torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.hypothesis import BLANK

_MOST_MOVES = 1 << 26  # that are remembered, a byte each


@dataclass(frozen=True)
class Span:
    """A token and the output frames that emit it.

    Attributes:
        token: its number.
        frame: the first frame.
        end_frame: one past the last.
        mean_log_prob: natural log-probability of the token, mean over these frames.
        max_log_prob: the highest of them.
    """

    token: int
    frame: int
    end_frame: int
    mean_log_prob: float
    max_log_prob: float


@dataclass(frozen=True)
class TimeShift:
    """What makes the times of a network's words those of the sound.

    A network that runs forward in time is sure of a letter only after it was heard, so that all its
    spans lie late by about the same time. `ossicle calibrate` measures by how much and keeps it in
    the model folder's `decoding.json`; see `model/decoding/word_times.py`.

    Attributes:
        start, end: seconds to add to where a word's spans start and end, at most `LIMIT` away
            from 0: a word stays that near to its forced alignment.
    """

    LIMIT: ClassVar[float] = 0.08

    start: float = 0.0
    end: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("end", self.end)):
            if not abs(value) <= self.LIMIT:
                raise ValueError(
                    f"a time shift's {name} is {value} s: at most {self.LIMIT} either way"
                )

    def __call__(self, times: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Shift the start and end, in seconds, of words in order; none before 0, none overlap."""
        starts = [max(start + self.start, 0.0) for start, _ in times]
        latest = [*starts, math.inf][1:]  # also of no words
        return [
            (start, max(min(end + self.end, limit), start))
            for start, limit, (_, end) in zip(starts, latest, times, strict=True)
        ]


def align(log_probs: NDArray[np.floating], tokens: Sequence[int]) -> list[Span]:
    """The frames of each token on the most probable path that spells them.

    Of equally probable paths, the one that moves on later is taken, as torchaudio does.

    Args:
        log_probs: (U, V), natural logarithms.
        tokens: (S,) numbers of tokens, without blanks.

    Returns:
        S spans in order; they do not overlap, and frames between them are blank.

    Raises:
        ValueError: a token is not one of 1 to V - 1, or the tokens need more frames than U: one
            each, and one more between two that are equal.
    """
    if not tokens:
        return []
    numbers = np.asarray(tokens, dtype=np.int64)
    frames, vocabulary = log_probs.shape
    if numbers.min() < 1 or numbers.max() >= vocabulary:
        wrong = next(token for token in tokens if not 0 < token < vocabulary)
        raise ValueError(f"token {wrong} is not one of 1 to {vocabulary - 1} (0 is the blank)")
    repeats = numbers[1:] == numbers[:-1]
    needed = len(numbers) + int(repeats.sum())
    if needed > frames:
        raise ValueError(
            f"{len(numbers)} tokens need at least {needed} frames, there are {frames}: "
            "align a shorter text, or the log-probabilities of all of it"
        )
    states = _best_path(log_probs, numbers, repeats)
    # Odd states are tokens, even ones the blanks around them; a path never leaves a token out.
    said = np.flatnonzero(states % 2)
    places = states[said] // 2
    begins = places.searchsorted(np.arange(len(numbers)))
    ends = np.append(begins[1:], len(said))
    scores = log_probs[said, numbers[places]].astype(np.float64)
    return [
        Span(*span)
        for span in zip(
            numbers.tolist(),
            said[begins].tolist(),
            (said[ends - 1] + 1).tolist(),
            (np.add.reduceat(scores, begins) / (ends - begins)).tolist(),
            np.maximum.reduceat(scores, begins).tolist(),
            strict=True,
        )
    ]


def _best_path(
    log_probs: NDArray[np.floating], numbers: NDArray[np.int64], repeats: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The state of each frame, (U,): of 2 S + 1, blank, token, blank, token, ..., blank."""
    frames = len(log_probs)
    labels = np.full(2 * len(numbers) + 1, BLANK)
    labels[1::2] = numbers
    # What a step from two states before costs: only a token may leave out the blank before it,
    # and only if the token before that is another one.
    skip = np.full(len(labels), -np.inf)
    skip[3::2][~repeats] = 0.0
    # Two columns of -inf stand for the states before the first.
    scores = np.full(len(labels) + 2, -np.inf)
    scores[2:4] = log_probs[0, labels[:2]]
    # An hour's moves would take gigabytes: all but the last stretch's are found a second time, from
    # the scores that it began with.
    stretch = max(_MOST_MOVES // len(labels), 1)
    stretches = [log_probs[first : first + stretch] for first in range(1, frames, stretch)]
    begun, moves = [], np.empty((0, len(labels)), dtype=np.uint8)
    for part in stretches:
        begun.append(scores)
        scores, moves = _advance(scores, part, labels, skip)
    state = len(labels) - 1
    if scores[-1] <= scores[-2]:
        state -= 1
    backwards = [state]
    for number, part in reversed(list(enumerate(stretches))):
        if number < len(stretches) - 1:
            _, moves = _advance(begun[number], part, labels, skip)
        for row in moves[::-1]:
            state -= int(row[state])
            backwards.append(state)
    return np.array(backwards[::-1])


def _advance(
    scores: NDArray[np.float64],
    log_probs: NDArray[np.floating],
    labels: NDArray[np.int64],
    skip: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """The scores of the states some frames later, and each frame's moves.

    A move is how many states further the best path to a state came from, by which it is found
    again; a byte each, since they are many. Of equals the path that stays is taken.
    """
    moves = np.zeros((len(log_probs), len(labels)), dtype=np.uint8)
    before, scores = np.full_like(scores, -np.inf), scores.copy()
    jump = np.empty(len(labels))
    for move, row in zip(moves, log_probs, strict=True):
        before, scores = scores, before
        now, stay, step = scores[2:], before[2:], before[1:-1]
        np.greater(step, stay, out=move, casting="unsafe")
        np.maximum(stay, step, out=now)
        np.add(before[:-2], skip, out=jump)
        np.copyto(move, 2, where=jump > now)
        np.maximum(now, jump, out=now)
        now += row.astype(np.float64)[labels]
    return scores, moves
