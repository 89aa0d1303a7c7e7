"""Find the weights of `service/stability.py`: of all, those with which fewest shown words change.

    python tests/bench/fit_partials.py ../shared/speech/dev-*.jsonl --cut 0 --cut 160 --cut 320

The manifests are recognised once, and what partials would show of that is measured for ever other
weights as `flicker.py` measures it (CMA-ES, Hansen and Ostermeier 2001, "Completely derandomized
self-adaptation in evolution strategies"). What is made least is the larger of flicker by 10 % and
mean delay by 100 ms, of all words, and a little of both and of each manifest's where it is more.

How it does on speakers that it was not fitted to is told besides: by weights that were fitted to
the other half of the recordings, each speaker's in the same. An hour of speech takes about twenty
minutes of two processes, for each beginning.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cma
import numpy as np
from flicker import Measured, Recognized, line, measure, recognize_all
from ossicle.data.manifest import read_manifest
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.runtime import AcousticModel, find_model
from ossicle.service.stability import WEIGHTS, Evidence, Weights

FLICKER = 0.1
DELAY = 0.1  # seconds
OVER = ("agreement", "held", "following", "tokens")
GROWING = ("agreement", "held", "completion")
NOTHING = Evidence(0.0, 0.0, 0.0, 0.0, 0.0)
START = Weights(
    over=NOTHING._replace(agreement=4.0, held=0.2, following=0.6, tokens=0.2),
    over_offset=-4.5,
    growing=NOTHING._replace(agreement=2.0, held=0.7, completion=0.7),
    growing_offset=-2.5,
    insistence=0.5,
)
"""About what tells best whether a word stays (a logistic regression)."""
STEP = 0.3
# What a weight is counted in, by the spread of its evidence: agreement seldom is less than a half.
SCALES = Evidence(agreement=4.0, held=1.0, following=0.7, tokens=0.4, completion=0.7)

Sets = dict[str, list[tuple[int, Recognized]]]
"""Of each manifest, the recordings and the half to which each belongs."""


def to_vector(weights: Weights) -> list[float]:
    """As the search varies them."""
    over = [getattr(weights.over, name) / getattr(SCALES, name) for name in OVER]
    growing = [getattr(weights.growing, name) / getattr(SCALES, name) for name in GROWING]
    return [*over, weights.over_offset, *growing, weights.growing_offset, weights.insistence]


def to_weights(vector: np.ndarray) -> Weights:
    """What a vector of the search stands for."""
    values = iter(vector.tolist())
    over = NOTHING._replace(**{name: next(values) * getattr(SCALES, name) for name in OVER})
    over_offset = next(values)
    growing = NOTHING._replace(**{name: next(values) * getattr(SCALES, name) for name in GROWING})
    return Weights(over, over_offset, growing, next(values), next(values))


def measure_all(
    sets: Sets, frame_seconds: float, weights: Weights, halves: tuple[int, ...]
) -> dict[str, Measured]:
    """Each manifest, of the recordings of some halves."""
    return {
        name: sum(
            (measure(each, frame_seconds, weights) for half, each in recordings if half in halves),
            Measured(),
        )
        for name, recordings in sets.items()
    }


def cost(measured: dict[str, Measured]) -> float:
    """What is to be made least."""

    def parts(one: Measured) -> tuple[float, float]:
        return one.shown.rate / FLICKER, float(np.mean(one.delays or [0.0])) / DELAY

    flicker, delay = parts(sum(measured.values(), Measured()))
    each = [max(part, 1.0) for one in measured.values() for part in parts(one)]
    return max(flicker, delay) + 0.3 * (flicker + delay) + 0.2 * float(np.mean(each))


def fit(sets: Sets, frame_seconds: float, halves: tuple[int, ...], evaluations: int) -> Weights:
    """The weights that suit the recordings of some halves best."""
    options = {"maxfevals": evaluations, "seed": 1, "verbose": -9}
    search = cma.CMAEvolutionStrategy(to_vector(START), STEP, options)
    while not search.stop():
        vectors = search.ask()
        measured = (
            measure_all(sets, frame_seconds, to_weights(vector), halves) for vector in vectors
        )
        search.tell(vectors, list(map(cost, measured)))
    return to_weights(search.result.xfavorite)


def main() -> int:
    """Find the weights and print them, and how they do."""
    parser = argparse.ArgumentParser(description="Find the weights of service/stability.py.")
    parser.add_argument("manifests", nargs="+", type=Path, help="JSONL manifests")
    parser.add_argument("--model", help="name of a model, or a folder")
    parser.add_argument("--utterances", type=int, help="of each manifest, from its start; all")
    parser.add_argument(
        "--cut",
        type=int,
        action="append",
        help="samples to cut off the beginnings; given several times, the recordings come as often",
    )
    parser.add_argument("--evaluations", type=int, default=1000, help="of each search; 1000")
    options = parser.parse_args()
    folder = find_model(options.model)
    model = AcousticModel.load(folder)
    decoding = Decoding.load(folder, model.info)
    sets: Sets = {}
    for manifest in options.manifests:
        utterances = read_manifest(manifest)[: options.utterances]
        speakers = [each.speaker or each.audio_filepath.name for each in utterances]
        halves = [zlib.crc32(speaker.encode()) % 2 for speaker in speakers]
        sets[manifest.stem] = [
            each
            for cut in options.cut or [0]
            for each in zip(
                halves,
                recognize_all(utterances, model, decoding, DecodingConfig(), cut),
                strict=True,
            )
        ]
    seconds = model.info.frame_seconds
    with ProcessPoolExecutor(2) as pool:
        fitted = [
            pool.submit(fit, sets, seconds, halves, options.evaluations)
            for halves in ((0,), (1,), (0, 1))
        ]
        first, second, both = [each.result() for each in fitted]
    others = [measure_all(sets, seconds, first, (1,)), measure_all(sets, seconds, second, (0,))]
    held_out = {name: others[0][name] + others[1][name] for name in sets}
    tables = {
        "as they are": measure_all(sets, seconds, WEIGHTS, (0, 1)),
        "fitted to the other half": held_out,
        "fitted to all": measure_all(sets, seconds, both, (0, 1)),
    }
    for title, measured in tables.items():
        print(title)
        for name, one in [*measured.items(), ("all", sum(measured.values(), Measured()))]:
            print(line(name, one))
    print(both)
    return 0


if __name__ == "__main__":
    sys.exit(main())
