"""Measure how often words that were shown change, and how much later they are shown therefore.

    python tests/bench/flicker.py ../shared/speech/dev-libri.jsonl --utterances 100

Each recording is recognised in blocks of 160 ms, as the server does, and after each block two texts
are kept: the search's best hypothesis as it is, and the words of it that a partial shows
(`service/partials.py`). Flicker is the share of words shown that later change or vanish; relative
to the words of the finals it is the unstable partial word ratio of Shangguan et al. 2020. The delay
of a word is how much later, in the time of the audio, it stands in the partials for good than it
would if each hypothesis were shown as it is. A word of the final which neither shows has none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from ossicle.data.audio import read_audio
from ossicle.data.manifest import Utterance, read_manifest
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.decoding.hypothesis import Decoder, Hypothesis
from ossicle.model.evaluation.flicker import Flicker, flicker
from ossicle.model.evaluation.scoring import align_words
from ossicle.model.runtime import AcousticModel, find_model
from ossicle.service.partials import PartialText
from ossicle.service.stability import WEIGHTS, Weights

BLOCK_FRAMES = 4


@dataclass(frozen=True)
class Recognized:
    """How an utterance was recognised.

    Attributes:
        hypotheses: after each block.
        frames: how many had come by then.
        agreement: how sure the search was of each hypothesis' words.
        final: what was heard at last.
    """

    hypotheses: list[Hypothesis]
    frames: list[int]
    agreement: list[list[float]]
    final: str

    @cached_property
    def plain(self) -> Flicker:
        """If every hypothesis were shown as it is."""
        return flicker([*(hypothesis.text for hypothesis in self.hypotheses), self.final])

    @cached_property
    def since(self) -> list[int]:
        """From which hypothesis on each word of the last is at its place."""
        return there_for_good([hypothesis.text for hypothesis in self.hypotheses])


@dataclass
class Measured:
    """What was measured of one manifest."""

    plain: Flicker = field(default_factory=Flicker)
    shown: Flicker = field(default_factory=Flicker)
    delays: list[float] = field(default_factory=list)  # seconds, of each word of the finals

    def __add__(self, other: Measured) -> Measured:
        """Of both."""
        delays = self.delays + other.delays
        return Measured(self.plain + other.plain, self.shown + other.shown, delays)


def log_probabilities(model: AcousticModel, path: Path, cut: int = 0) -> np.ndarray:
    """Of a recording without so many samples of its beginning, (U, V), in whole blocks."""
    info = model.info
    samples = read_audio(path)[cut:]
    frames = -(-len(samples) // info.frame_samples) + info.lookahead_frames
    padded = np.zeros(-(-frames // BLOCK_FRAMES) * BLOCK_FRAMES * info.frame_samples, np.float32)
    padded[: len(samples)] = samples
    state = model.settled_state(1)
    blocks = []
    for block in np.split(padded, len(padded) // (BLOCK_FRAMES * info.frame_samples)):
        log_probs, state = model.step(block[None], state)
        blocks.append(log_probs[0])
    return np.concatenate(blocks)[info.lookahead_frames : frames]


def recognize(log_probs: np.ndarray, decoder: Decoder) -> Recognized:
    """One utterance, which the decoder starts with."""
    hypotheses, frames, agreement = [], [], []
    for end in range(BLOCK_FRAMES, len(log_probs) + BLOCK_FRAMES, BLOCK_FRAMES):
        decoder.advance(log_probs[end - BLOCK_FRAMES : end])
        hypotheses.append(decoder.hypothesis())
        frames.append(min(end, len(log_probs)))
        agreement.append(decoder.agreement())
    return Recognized(hypotheses, frames, agreement, decoder.finish()[0].text)


def recognize_all(
    utterances: Sequence[Utterance],
    model: AcousticModel,
    decoding: Decoding,
    config: DecodingConfig,
    cut: int = 0,
) -> Iterator[Recognized]:
    """Each, without so many samples of its beginning."""
    for utterance in utterances:
        log_probs = log_probabilities(model, utterance.audio_filepath, cut)
        yield recognize(log_probs, decoding.decoder(config))


def measure(recognized: Recognized, frame_seconds: float, weights: Weights = WEIGHTS) -> Measured:
    """How one utterance is shown."""
    partial = PartialText(weights)
    shown = []
    steps = zip(recognized.hypotheses, recognized.frames, recognized.agreement, strict=True)
    for hypothesis, frames, agreement in steps:
        words = partial.update(hypothesis, frames, lambda shares=agreement: shares)  # type: ignore[misc]
        shown.append(" ".join(word.text for word in words))
    # Rescoring may find other words, which no partial could have shown sooner.
    last = recognized.hypotheses[-1].text
    later = there_for_good([*shown[:-1], last])
    blocks = iter([late - soon for soon, late in zip(recognized.since, later, strict=True)])
    delays = []
    for edit in align_words(last, recognized.final):
        late = next(blocks) if edit.reference else 0
        if edit.hypothesis:
            kept = late if edit.kind == "equal" else 0
            delays.append(kept * BLOCK_FRAMES * frame_seconds)
    return Measured(recognized.plain, flicker([*shown, recognized.final]), delays)


def there_for_good(texts: list[str]) -> list[int]:
    """For each word of the last text, the number of the text from which on it is at its place."""
    *partials, final = [text.split() for text in texts]
    since = [len(partials)] * len(final)
    for number, partial in reversed(list(enumerate(partials))):
        for place, (before, word) in enumerate(zip(partial, final, strict=False)):
            if since[place] == number + 1 and before == word:
                since[place] = number
    return since


def line(name: str, measured: Measured) -> str:
    """What was measured, as a line of the table."""
    late = np.array(measured.delays or [np.nan]) * 1000
    return (
        f"{name:<20}{measured.shown.final:>7}{measured.plain.rate:>8.1%}"
        f"{measured.shown.rate:>8.1%}{measured.shown.ratio:>8.1%}"
        f"{late.mean():>7.0f} ms{np.quantile(late, 0.95):>7.0f} ms"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a line for each manifest, and one for all."""
    parser = argparse.ArgumentParser(description="Measure how often shown words change.")
    parser.add_argument("manifests", nargs="+", type=Path, help="JSONL manifests")
    parser.add_argument("--model", help="name of a model, or a folder")
    parser.add_argument("--decoder", choices=("beam", "greedy"), help="default: the model's")
    parser.add_argument("--utterances", type=int, help="of each manifest, from its start; all")
    options = parser.parse_args(arguments)
    folder = find_model(options.model)
    model = AcousticModel.load(folder)
    decoding = Decoding.load(folder, model.info)
    config = DecodingConfig(options.decoder)
    print(f"{'':<27}flicker{'':>20}delay")
    print(
        f"{'manifest':<20}{'words':>7}{'plain':>8}{'shown':>8}{'ratio':>8}{'mean':>10}{'p95':>10}"
    )
    total = Measured()
    for manifest in options.manifests:
        utterances = read_manifest(manifest)[: options.utterances]
        recognized = recognize_all(utterances, model, decoding, config)
        measured = sum((measure(each, model.info.frame_seconds) for each in recognized), Measured())
        print(line(manifest.stem, measured), flush=True)
        total += measured
    if len(options.manifests) > 1:
        print(line("all", total))
    return 0


if __name__ == "__main__":
    sys.exit(main())
