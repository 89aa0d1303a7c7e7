"""Measure what the LSTM language model is worth to a model folder, and what it costs.

    python tests/bench/rescoring.py MODEL_FOLDER MANIFEST... [--lstm FOLDER] [--cache FOLDER]

Prints for each manifest: bits per character of the n-gram and the LSTM language model, without and
with the utterances of the same speaker before as context; word error rates of the beam search, of
its N-best list rescored, and of the best text in the list; and the processor time that rescoring
takes. The weights of rescoring are chosen on the other half of all utterances, so that the gain is
not of having chosen. A manifest's utterances count as a stream, speaker by speaker.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
from numpy.typing import NDArray
from ossicle.data.manifest import Utterance, batches, read_manifest
from ossicle.data.text import normalize
from ossicle.model.decoding.decoders import LANGUAGE_MODEL, Decoding
from ossicle.model.decoding.reranking import RescoringWeights
from ossicle.model.decoding.rescoring import Rescorer
from ossicle.model.decoding.tuning import (
    HeardSet,
    Tuner,
    cache_file,
    hear_set,
    load,
    save,
)
from ossicle.model.evaluation.scoring import word_error_rate
from ossicle.model.ngram.model import NgramModel
from ossicle.model.runtime import AcousticModel

WEIGHTS = tuple(np.arange(0.0, 1.01, 0.1).round(2).tolist())
WORD_SCORES = tuple(np.arange(0.0, 3.01, 0.5).round(2).tolist())
CONTEXT_UTTERANCES = 4


@dataclass(frozen=True)
class NBest:
    """One utterance's list, best first, with the LSTM's log-probabilities (N,)."""

    reference: str
    texts: list[str]
    scores: NDArray[np.float64]
    alone: NDArray[np.float32]
    in_context: NDArray[np.float32]
    seconds: float

    def best(self, weights: RescoringWeights, *, context: bool) -> str:
        """The text that rescoring chooses."""
        judged = self.in_context if context else self.alone
        return self.texts[int(weights.combine(self.texts, self.scores, judged).argmax())]

    def oracle(self) -> str:
        """The text with the fewest errors."""
        if not self.reference:
            return min(self.texts, key=len)
        return min(self.texts, key=lambda text: jiwer.wer(self.reference, text))


def bits_per_character(log_probs: Sequence[float], texts: Sequence[str]) -> float:
    """Of texts with natural-log probabilities, the end of each counting as a character."""
    return -sum(log_probs) / math.log(2) / sum(len(text) + 1 for text in texts)


def ngram_log_probs(model: NgramModel, texts: Sequence[str]) -> tuple[list[float], list[bool]]:
    """Log-probabilities of texts, and whether all of their words are known.

    A word-level model says of an unknown word only that it is one: such texts do not compare.
    """
    log_probs, known = [], []
    for text in texts:
        total, context = 0.0, np.array([model.start()])
        numbers = list(model.numbers(text.split()))
        for number in [*numbers, model.eos]:
            log_prob, context = model.score(context, np.array([number], np.int32))
            total += float(log_prob[0])
        log_probs.append(total)
        known.append(model.unk not in numbers)
    return log_probs, known


def contexts(utterances: Sequence[Utterance], texts: Sequence[str]) -> list[str]:
    """For each utterance, the last ones of the same speaker before it, a line each."""
    said: dict[str, list[str]] = {}
    result = []
    for utterance, text in zip(utterances, texts, strict=True):
        before = said.setdefault(utterance.speaker, [])
        result.append("\n".join(before[-CONTEXT_UTTERANCES:]))
        before.append(text)
    return result


def perplexities(manifest: Path, rescorer: Rescorer, ngram: NgramModel) -> str:
    """A line on how well the models predict a manifest's texts."""
    utterances = read_manifest(manifest)
    texts = [normalize(utterance.text) for utterance in utterances]
    before = contexts(utterances, texts)
    word_level, known = ngram_log_probs(ngram, texts)
    rows = [
        (words, float(rescorer.score([text])[0]), float(rescorer.score([text], context)[0]), text)
        for words, text, context, ok in zip(word_level, texts, before, known, strict=True)
        if ok
    ]
    kinds = list(zip(*rows, strict=True))
    n_gram, alone, context = (bits_per_character(kind, kinds[3]) for kind in kinds[:3])
    return (
        f"{manifest.stem}: bits per character, {len(rows)} of {len(texts)} texts whose words are "
        f"all known: n-gram {n_gram:.3f}, LSTM {alone:.3f}, in context {context:.3f}"
    )


def n_best_lists(
    manifest: Path, heard: HeardSet, tuner: Tuner, decoding: Decoding, rescorer: Rescorer
) -> list[NBest]:
    """The lists of a set; the context of an utterance is what the search heard before."""
    settings = decoding.settings
    utterances = read_manifest(manifest)
    # The shortest were heard first.
    order = sorted(range(len(utterances)), key=lambda number: utterances[number].duration)
    found = dict(zip(order, tuner.search(heard, settings.beam, settings.language), strict=True))
    candidates = [found[number][: RescoringWeights.texts] for number in range(len(utterances))]
    texts = [[decoding.spell(tuner.text(each)) for each in listed] for listed in candidates]
    lists = []
    before = contexts(utterances, [listed[0] for listed in texts])
    for utterance, listed, spelt, context in zip(
        utterances, candidates, texts, before, strict=True
    ):
        start = time.process_time()
        alone = rescorer.score(spelt)
        seconds = time.process_time() - start
        scores = np.array([candidate.score for candidate in listed])
        in_context = rescorer.score(spelt, context) if context else alone
        reference = normalize(utterance.text)
        lists.append(NBest(reference, spelt, scores, alone, in_context, seconds))
    return lists


def mean_rate(
    sets: Sequence[Sequence[NBest]], weights: RescoringWeights, *, context: bool
) -> float:
    """The mean of the sets' word error rates."""
    rates = [
        word_error_rate(
            [item.reference for item in items],
            [item.best(weights, context=context) for item in items],
        )
        for items in sets
    ]
    return sum(rates) / len(rates)


def choose(sets: Sequence[Sequence[NBest]], *, context: bool) -> RescoringWeights:
    """The weights with the lowest mean of the sets' word error rates."""
    grid = [
        RescoringWeights(weight, word_score)
        for weight in WEIGHTS
        for word_score in (WORD_SCORES if weight else (0.0,))
    ]
    return min(grid, key=lambda weights: mean_rate(sets, weights, context=context))


def rescored(sets: Sequence[Sequence[NBest]], *, context: bool) -> list[list[str]]:
    """The texts that rescoring chooses, each half with the weights that the other half likes."""
    chosen: list[list[str]] = [[""] * len(items) for items in sets]
    for half in (0, 1):
        weights = choose([items[1 - half :: 2] for items in sets], context=context)
        where = "in context" if context else "alone"
        print(f"half {half}, {where}: weight {weights.weight}, word score {weights.word_score}")
        for row, items in zip(chosen, sets, strict=True):
            row[half::2] = [item.best(weights, context=context) for item in items[half::2]]
    return chosen


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="model folder with lm.ngram")
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--lstm", type=Path, help="folder of lm.lstm.onnx, if it is another")
    parser.add_argument("--cache", type=Path, help="keeps what the network heard")
    options = parser.parse_args()

    rescorer = Rescorer.load(options.lstm or options.model)
    acoustic = AcousticModel.load(options.model)
    decoding = Decoding.load(options.model, acoustic.info)
    if rescorer is None or decoding.language is None:
        parser.error(f"{options.model} needs lm.ngram and lm.lstm.onnx")
    ngram = NgramModel.load(options.model / LANGUAGE_MODEL)
    tuner = Tuner([], acoustic.info.tokens, decoding.language, lambda trial: None)
    sets = []
    for manifest in options.manifests:
        print(perplexities(manifest, rescorer, ngram), flush=True)
        graph = options.model / "model.int8.onnx"
        kept = cache_file(options.cache, graph, manifest) if options.cache else None
        if kept and kept.exists():
            heard = load(manifest.stem, kept)
        else:
            heard = hear_set(
                acoustic, manifest.stem, batches(read_manifest(manifest), 8), decoding.write
            )
            if kept:
                save(heard, kept)
        sets.append(n_best_lists(manifest, heard, tuner, decoding, rescorer))
    alone, in_context = rescored(sets, context=False), rescored(sets, context=True)
    for manifest, items, first, second in zip(
        options.manifests, sets, alone, in_context, strict=True
    ):
        references = [item.reference for item in items]
        rates = [
            100 * word_error_rate(references, texts)
            for texts in ([i.texts[0] for i in items], first, second, [i.oracle() for i in items])
        ]
        spent = np.array([item.seconds for item in items]) * 1000
        print(
            f"{manifest.stem}: WER % beam {rates[0]:.2f}, rescored {rates[1]:.2f}, in context "
            f"{rates[2]:.2f}, best in list {rates[3]:.2f}; {spent.mean():.1f} ms a list, "
            f"95 % under {np.quantile(spent, 0.95):.1f} ms"
        )


if __name__ == "__main__":
    main()
