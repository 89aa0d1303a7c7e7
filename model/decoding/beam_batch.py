"""One frame after the other for the beams of many searches at once.

The hypotheses of all beams lie side by side in one table, those of a beam next to each other.
Whatever is done to a hypothesis is done to all of them by the same few array operations, whose cost
hardly grows with the number of beams. Nothing flows from one beam to another: every sum is of
numbers of one hypothesis, every maximum and every rank is among those of one beam. So a beam is the
same to the last bit, whichever others are beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.hypothesis import BLANK
from ossicle.model.decoding.language import STATE_ROWS, ScorerBatch, TextScorer
from ossicle.model.decoding.prefixes import NO_ENTRY, PrefixTree

# The rows of a table of hypotheses. The first are float64, seen as int64: of paths that end in a
# blank, in the last token, and of both, the log-probability; the score of the text as language.
BLANK_ENDED, TOKEN_ENDED, TOTAL, LANGUAGE = range(4)
NUMBERS = slice(0, 4)
# Then the last token, the hash of the text, that of the text without its last token, and its entry
# in the tree of prefixes; and last what the scorer knows of the text.
LAST, HASH, PARENT_HASH, ENTRY = range(4, 8)
TEXTS = slice(8, 8 + STATE_ROWS)
ROWS = TEXTS.stop

_FLOOR = -1000.0  # stands for log 0: differences of infinities are not numbers
_HASH_FACTOR = np.int64(6364136223846793005)  # of Knuth's MMIX generator
_BEAM_FACTOR = np.int64(-7046029254386353131)  # 2^64 / golden ratio: sets the beams' hashes apart
_ROOM = 64  # places of the hash table for each hypothesis: more of them, fewer collisions


@dataclass(frozen=True)
class BeamConfig:
    """How much is searched.

    Attributes:
        width: hypotheses kept from frame to frame; so many of each ranking where there are phrases.
        margin: natural-log units below the best within which a hypothesis is kept.
        least_probable: log-probability below which a token extends nothing.
        certain_blank: log-probability above which the blank is the only token that is looked at.
    """

    width: int = 32
    margin: float = 10.0
    least_probable: float = math.log(1e-3)
    certain_blank: float = math.log(0.999)


class Beam:
    """The hypotheses of one utterance, between frames.

    Args:
        scorer: of the texts.
        config: how much is searched.
        frame: number of the first frame that it will be given.

    Attributes:
        scorer, config: as given.
        frame: number of the next frame.
        table: (rows, K), the K hypotheses. At first it is the empty text alone, which counts as
            ending in a space: spaces add nothing to it.
        tree: of their texts.
    """

    def __init__(self, scorer: TextScorer, config: BeamConfig, frame: int = 0) -> None:
        self.scorer = scorer
        self.config = config
        self.frame = frame
        self.tree = PrefixTree()
        self.table = np.empty((ROWS, 1), dtype=np.int64)
        self.table[NUMBERS].view(np.float64)[:, 0] = 0.0, -np.inf, 0.0, 0.0
        self.table[[LAST, HASH, PARENT_HASH, ENTRY], 0] = scorer.space, 1, 0, NO_ENTRY
        self.table[TEXTS] = scorer.start()

    def scores(self) -> NDArray[np.float64]:
        """Of the hypotheses, (K,): the log-probability of the sound, plus language."""
        numbers = self.table[NUMBERS].view(np.float64)
        scores: NDArray[np.float64] = numbers[TOTAL] + numbers[LANGUAGE]
        return scores

    def alike(self, other: Beam) -> bool:
        """Whether both may be in one batch."""
        mine, others = self.scorer, other.scorer
        same = mine.language is others.language and mine.space == others.space
        return same and self.config == other.config


class BeamBatch:
    """B beams, while they are given frames.

    Args:
        beams: all `alike`, no two the same; `close` gives them what was found.
    """

    def __init__(self, beams: Sequence[Beam]) -> None:
        self._all = beams
        self._config = beams[0].config
        self._space = beams[0].scorer.space
        self._scorers = ScorerBatch([beam.scorer for beam in beams])
        self._entries = np.array([len(beam.tree) for beam in beams])
        self._times = np.array([beam.frame for beam in beams])
        self._added: list[NDArray[np.int64]] = []
        self._moved: list[NDArray[np.int64]] = []
        counts = [beam.table.shape[1] for beam in beams]
        table = np.concatenate([beam.table for beam in beams], axis=1)
        self._set(table, np.repeat(np.arange(len(beams)), counts))

    def _set(self, table: NDArray[np.int64], beams: NDArray[np.int64]) -> None:
        """Have the hypotheses of `table` (rows, K), which belong to `beams` (K,), in order."""
        self._table = table
        self._beams = beams
        self._numbers = table[NUMBERS].view(np.float64)
        self._texts = table[TEXTS]
        self._after_space = table[LAST] == self._space
        self._columns = np.arange(len(beams))
        self._link()

    def _link(self) -> None:
        """Find out which hypotheses are others of their beam with one token more."""
        apart = self._beams * _BEAM_FACTOR
        hashes = self._table[HASH] + apart
        wanted = self._table[PARENT_HASH] + apart
        bits = max(int(len(hashes) * _ROOM).bit_length(), 1)
        # The highest bits of a product depend on all bits of the factors.
        places, sought = (
            (numbers * _HASH_FACTOR).view(np.uint64) >> np.uint64(64 - bits)
            for numbers in (hashes, wanted)
        )
        table = np.zeros(1 << bits, dtype=np.int32)
        table[places] = self._columns
        parents = table[sought].astype(np.int64)
        found = hashes[parents] == wanted
        # Few share their place with a later one, which has taken it.
        for hidden in np.flatnonzero(table[places] != self._columns).tolist():
            children = wanted == hashes[hidden]
            parents[children], found[children] = hidden, True
        self._children = np.flatnonzero(found)
        self._parents = parents[self._children]

    def advance(self, log_probs: NDArray[np.float32]) -> None:
        """Take the next frames, (B, U, V)."""
        frames = np.maximum(log_probs, _FLOOR, dtype=np.float64)
        likely = frames > self._config.least_probable
        likely &= frames[:, :, BLANK, None] <= self._config.certain_blank
        likely[:, :, BLANK] = False
        for number in range(frames.shape[1]):
            self._step(frames[:, number], likely[:, number])
            self._times += 1

    def close(self) -> None:
        """Give the beams their hypotheses, and the trees what was added to their texts."""
        numbers = np.arange(len(self._all) + 1)
        for log, write in ((self._added, PrefixTree.add), (self._moved, PrefixTree.move)):
            if log:
                entries = np.concatenate(log, axis=1)
                entries = entries.take(entries[0].argsort(kind="stable"), axis=1)
                bounds = entries[0].searchsorted(numbers).tolist()
                for beam, begin, end in zip(self._all, bounds, bounds[1:], strict=False):
                    if begin < end:
                        write(beam.tree, *entries[1:, begin:end])
        bounds = self._beams.searchsorted(numbers).tolist()
        for beam, time, begin, end in zip(
            self._all, self._times.tolist(), bounds, bounds[1:], strict=False
        ):
            # A copy: a beam that waits must not hold on to the memory of all.
            beam.table = self._table[:, begin:end].copy()
            beam.frame = time
            if beam.tree.crowded:
                beam.table[ENTRY] = beam.tree.compact(beam.table[ENTRY])

    def _step(self, frames: NDArray[np.float64], likely: NDArray[np.bool_]) -> None:
        """Take a frame (B, V) of each, in which only `likely` tokens (B, V) are new."""
        beams, last = self._beams, self._table[LAST]
        blank_ended, token_ended, total, language = self._numbers
        letter = frames[beams, last]
        # Paths that reach the text with the last token once more: there must be a blank between.
        # Spaces after spaces add nothing.
        again = np.where(self._after_space, -np.inf, blank_ended) + letter
        held = np.where(self._after_space, total, token_ended) + letter
        stays = np.empty_like(self._numbers)
        stays[LANGUAGE] = language
        np.add(total, frames[beams, BLANK], out=stays[BLANK_ENDED])
        self._reach(frames, again, held, stays[BLANK_ENDED])
        stays[TOKEN_ENDED] = held
        stays[TOTAL] = _log_add(stays[BLANK_ENDED], held)

        extends: NDArray[np.bool_] = np.logical_or.reduce(likely, axis=1)
        if not extends.any():
            self._numbers[:] = stays
            return
        scores = stays[TOTAL] + language
        texts, tokens, needed = self._hopeful(frames, likely, again, scores)
        of = beams[texts]
        paths = np.where(tokens == last[texts], again[texts], total[texts] + frames[of, tokens])
        needed = needed[texts] - paths
        places, gains, states = self._scorers.extend(self._texts, texts, tokens, of, needed)
        of, texts, tokens, paths = of[places], texts[places], tokens[places], paths[places]
        gains += language[texts]
        kept = self._choose(
            np.concatenate([scores, paths + gains]), np.concatenate([beams, of]), states
        )
        # Where nothing is new, all stay, so that such a frame costs nothing where all are such.
        kept[: len(beams)] |= ~extends[beams]
        old, new = (np.flatnonzero(part) for part in np.split(kept, [len(beams)]))
        if not len(new) and len(old) == len(beams):
            self._numbers[:] = stays
            return
        # Those that stay, then those that are new; then both in the order of their beams.
        table = np.empty((ROWS, len(old) + len(new)), dtype=np.int64)
        self._table.take(old, axis=1, out=table[:, : len(old)])
        table[NUMBERS, : len(old)] = stays.take(old, axis=1).view(np.int64)
        longer = table[:, len(old) :]
        numbers = longer[NUMBERS].view(np.float64)
        numbers[BLANK_ENDED] = -np.inf
        numbers[TOKEN_ENDED] = numbers[TOTAL] = paths[new]
        numbers[LANGUAGE] = gains[new]
        longer[TEXTS] = states.take(new, axis=1)
        self._name(longer, of[new], texts[new], tokens[new])
        beams = np.concatenate([beams[old], of[new]])
        order = beams.argsort(kind="stable")
        self._set(table.take(order, axis=1), beams[order])

    def _reach(
        self,
        frames: NDArray[np.float64],
        again: NDArray[np.float64],
        held: NDArray[np.float64],
        blank_ended: NDArray[np.float64],
    ) -> None:
        """Add to `held` (K,) the paths from texts of the beam that lack the last token."""
        children, parents = self._children, self._parents
        if not len(children):
            return
        last, beams = self._table[LAST], self._beams[children]
        tokens = last[children]
        reached = np.where(
            tokens == last[parents],
            again[parents],
            self._numbers[TOTAL, parents] + frames[beams, tokens],
        )
        held_before = held[children]
        later = np.flatnonzero(reached > _log_add(blank_ended[children], held_before))
        if len(later):
            of = beams[later]
            entries = self._table[ENTRY, children[later]]
            self._moved.append(np.stack([of, entries, self._times[of]]))
        held[children] = _log_add(held_before, reached)

    def _hopeful(
        self,
        frames: NDArray[np.float64],
        likely: NDArray[np.bool_],
        again: NDArray[np.float64],
        scores: NDArray[np.float64],
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Which longer texts may be good enough, before the new token's score is known.

        Args:
            scores: (K,) of the texts that stay.

        Returns:
            Texts (N,) and the tokens (N,) that are new behind them, in the order of the texts; and
            for each text in the beam, (K,), what paths to longer ones must have.
        """
        beams, scorers, margin = self._beams, self._scorers, self._config.margin
        last, total, language = self._table[LAST], self._numbers[TOTAL], self._numbers[LANGUAGE]
        needed = (self._best(scores) - margin - scorers.largest_gain)[beams] - language
        if scorers.promises:
            # The other ranking, in which what is promised does not count.
            promised = scorers.promised(self._texts, beams)
            best = self._best(scores - promised)
            np.minimum(needed, (best - margin)[beams] - (language - promised), out=needed)
        new = np.where(likely, frames, -np.inf)  # (B, V)
        hopeful = new.take(beams, axis=0) > (needed - total)[:, None]
        hopeful[self._columns, last] = likely[beams, last] & (again > needed)
        if leading := scorers.leading(self._texts):
            # Most tokens lead to no word that is known, and few texts can afford them.
            inside, outside = leading
            inside[new.max(axis=1)[beams] > needed - total - outside] = True
            hopeful &= inside
        # What is in the beam already has been reached by now.
        hopeful[self._parents, last[self._children]] = False
        texts, tokens = np.divmod(np.flatnonzero(hopeful), hopeful.shape[1])
        return texts, tokens, needed

    def _best(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The best score of each beam's hypotheses, (B,)."""
        best = np.full(len(self._all), -np.inf)
        np.maximum.at(best, self._beams, scores)
        return best

    def _choose(
        self,
        scores: NDArray[np.float64],
        beams: NDArray[np.int64],
        states: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Which hypotheses to go on with: those of the beams, and behind them those of `states`."""
        kept = best_of_each(scores, beams, len(self._all), self._config)
        scorers, count = self._scorers, len(self._beams)
        if scorers.promises:
            promised = np.empty_like(scores)
            promised[:count] = scorers.promised(self._texts, beams[:count])
            promised[count:] = scorers.promised(states, beams[count:])
            kept |= best_of_each(scores - promised, beams, len(self._all), self._config)
        return kept

    def _name(
        self,
        longer: NDArray[np.int64],
        beams: NDArray[np.int64],
        texts: NDArray[np.int64],
        tokens: NDArray[np.int64],
    ) -> None:
        """Enter hypotheses (rows, N), which are `texts` (N,) with `tokens` (N,) behind them."""
        parents = self._table[HASH:, texts]
        longer[LAST] = tokens
        longer[HASH] = parents[0] * _HASH_FACTOR + tokens
        longer[PARENT_HASH] = parents[0]
        counts = np.bincount(beams, minlength=len(self._all))
        first = self._entries - (np.cumsum(counts) - counts)
        longer[ENTRY] = first[beams] + np.arange(len(beams))
        self._entries = self._entries + counts
        self._added.append(np.stack([beams, self._table[ENTRY, texts], tokens, self._times[beams]]))


def best_of_each(
    scores: NDArray[np.float64], beams: NDArray[np.int64], count: int, config: BeamConfig
) -> NDArray[np.bool_]:
    """Which of the hypotheses are among their beam's best `width` and within its `margin`, (N,).

    Args:
        scores: (N,), of hypotheses in any order.
        beams: (N,), of `count`, to which they belong.
    """
    best = np.full(count, -np.inf)
    np.maximum.at(best, beams, scores)
    kept = scores > (best - config.margin)[beams]
    counts = np.bincount(beams[kept], minlength=count)
    wide = counts > config.width
    if wide.any():
        # The score of the last that is kept: those of each beam in a row, the best last.
        places = np.flatnonzero(kept & wide[beams])
        places = places[scores[places].argsort()]
        places = places[beams[places].argsort(kind="stable")]
        ends = np.cumsum(np.where(wide, counts, 0))[wide]
        last = np.full(count, -np.inf)
        last[wide] = scores[places[ends - config.width]]
        kept &= scores >= last[beams]
        # Of several with the very score of the last, those that come first.
        counts = np.bincount(beams[kept], minlength=count)
        for beam in np.flatnonzero(counts > config.width).tolist():
            equal = np.flatnonzero(kept & (beams == beam) & (scores == last[beam]))
            kept[equal[config.width - counts[beam] :]] = False
    return kept


def _log_add(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(e^a + e^b); not both may be -inf. Much faster on long arrays than `np.logaddexp`."""
    # No double is changed by a term e^-50 of it, and smaller ones would be slow to work with.
    smaller = np.exp(-np.minimum(np.abs(a - b), 50.0))
    total: NDArray[np.float64] = np.maximum(a, b) + np.log(1.0 + smaller)
    return total
