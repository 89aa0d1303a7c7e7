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
from dataclasses import dataclass, replace
from pathlib import Path

import jiwer
import numpy as np
from numpy.typing import NDArray
from ossicle.data.manifest import Utterance, read_manifest
from ossicle.data.text import normalize
from ossicle.model.decoding.decoders import Decoding
from ossicle.model.decoding.heard import HeardSet, hear_set, kept_file
from ossicle.model.decoding.language import Language
from ossicle.model.decoding.reranking import RescoringWeights, advantage
from ossicle.model.decoding.rescoring import Rescorer
from ossicle.model.decoding.tuning import Tuner
from ossicle.model.evaluation.scoring import word_error_rate
from ossicle.model.ngram.model import NgramModel
from ossicle.model.runtime import AcousticModel

WEIGHTS = tuple(np.arange(0.0, 1.01, 0.1).round(2).tolist())
CONTEXT_UTTERANCES = 4


@dataclass(frozen=True)
class NBest:
    """What is judged of one utterance's list, best first.

    Attributes:
        alone: by how much the LSTM finds each text likelier than the n-gram model, times that
            model's weight (N,).
        in_context: the same, knowing what was said before.
        seconds: that judging took.
    """

    reference: str
    texts: list[str]
    scores: NDArray[np.float64]
    alone: NDArray[np.float64]
    in_context: NDArray[np.float64]
    seconds: float

    def best(self, weights: RescoringWeights, *, context: bool) -> str:
        """The text that rescoring chooses."""
        gain = self.in_context if context else self.alone
        return self.texts[int(weights.combine(self.scores, gain).argmax())]

    def oracle(self) -> str:
        """The text with the fewest errors."""
        if not self.reference:
            return min(self.texts, key=len)
        return min(self.texts, key=lambda text: jiwer.wer(self.reference, text))


def bits_per_character(log_probs: Sequence[float], texts: Sequence[str]) -> float:
    """Of texts with natural-log probabilities, the end of each counting as a character."""
    return -sum(log_probs) / math.log(2) / sum(len(text) + 1 for text in texts)


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
    # A word-level model says of an unknown word only that it is one: such texts do not compare.
    known = [ngram.unk not in ngram.numbers(text.split()) for text in texts]
    word_level = [float(words.sum()) for words in ngram.judge(texts)]
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
    manifest: Path,
    heard: HeardSet,
    tuner: Tuner,
    decoding: Decoding,
    language: Language,
    rescorer: Rescorer,
) -> list[NBest]:
    """The lists of a set; the context of an utterance is what the search heard before."""
    settings = decoding.settings
    utterances = read_manifest(manifest)
    # The shortest were heard first.
    order = sorted(range(len(utterances)), key=lambda number: utterances[number].duration)
    found = dict(zip(order, tuner.search(heard, settings.beam, settings.language), strict=True))
    listed = []
    for number in range(len(utterances)):
        scores = np.array([candidate.score for candidate in found[number]])
        judged = found[number][: settings.rescoring.judged(scores)]
        listed.append((scores[: len(judged)], [decoding.spell(tuner.text(c)) for c in judged]))
    lists = []
    before = contexts(utterances, [texts[0] for _, texts in listed])
    for utterance, (scores, texts), context in zip(utterances, listed, before, strict=True):
        start = time.process_time()
        alone = advantage(rescorer, language.ngram, texts)
        seconds = time.process_time() - start
        in_context = advantage(rescorer, language.ngram, texts, context) if context else alone
        gains = [language.weights.lm_weight * gain for gain in (alone, in_context)]
        lists.append(NBest(normalize(utterance.text), texts, scores, *gains, seconds))
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


def rescored(
    sets: Sequence[Sequence[NBest]], settings: RescoringWeights, *, context: bool
) -> list[list[str]]:
    """The texts that rescoring chooses, each half with the weights that the other half likes."""
    chosen: list[list[str]] = [[""] * len(items) for items in sets]
    grid = [replace(settings, weight=weight) for weight in WEIGHTS]
    for half in (0, 1):
        others = [items[1 - half :: 2] for items in sets]
        weights = min(grid, key=lambda each: mean_rate(others, each, context=context))
        print(f"half {half}, {'in context' if context else 'alone'}: weight {weights.weight}")
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
    language = decoding.language
    if rescorer is None or language is None:
        parser.error(f"{options.model} needs lm.ngram and lm.lstm.onnx")
    tuner = Tuner([], acoustic.info.tokens, language, lambda trial: None)
    sets = []
    for manifest in options.manifests:
        print(perplexities(manifest, rescorer, language.ngram), flush=True)
        graph = options.model / "model.int8.onnx"
        kept = kept_file(options.cache, graph, manifest) if options.cache else None
        heard = hear_set(acoustic, manifest, decoding.write, kept)
        sets.append(n_best_lists(manifest, heard, tuner, decoding, language, rescorer))
    settings = decoding.settings.rescoring
    alone = rescored(sets, settings, context=False)
    in_context = rescored(sets, settings, context=True)
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
