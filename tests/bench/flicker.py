"""Measure how often words that were shown change, and how much later they are shown therefore.

    python tests/bench/flicker.py ../shared/speech/dev-libri.jsonl --utterances 100

Each recording is recognised in blocks of 160 ms, as the server does, and after each block two texts
are kept: the search's best hypothesis as it is, and the words of it that a partial shows
(`service/partials.py`). Flicker is the share of words shown that later change or vanish; relative
to the words of the finals it is the unstable partial word ratio of Shangguan et al. 2020. The delay
of a word is how much later, in the time of the audio, it stands in the partials for good than it
would if each hypothesis were shown as it is. A word of which neither shows more than the final does
has none.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ossicle.data.audio import read_audio
from ossicle.data.manifest import read_manifest
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.decoding.hypothesis import Decoder
from ossicle.model.runtime import AcousticModel, find_model
from ossicle.service.partials import Flicker, PartialText, flicker

BLOCK_FRAMES = 4


@dataclass
class Measured:
    """What was measured of one manifest."""

    plain: Flicker = field(default_factory=Flicker)
    shown: Flicker = field(default_factory=Flicker)
    delays: list[float] = field(default_factory=list)  # seconds, of each word of the finals


def log_probabilities(model: AcousticModel, path: Path) -> np.ndarray:
    """Of a recording, (U, V), in whole blocks."""
    info = model.info
    samples = read_audio(path)
    frames = -(-len(samples) // info.frame_samples) + info.lookahead_frames
    padded = np.zeros(-(-frames // BLOCK_FRAMES) * BLOCK_FRAMES * info.frame_samples, np.float32)
    padded[: len(samples)] = samples
    state = model.settled_state(1)
    blocks = []
    for block in np.split(padded, len(padded) // (BLOCK_FRAMES * info.frame_samples)):
        log_probs, state = model.step(block[None], state)
        blocks.append(log_probs[0])
    return np.concatenate(blocks)[info.lookahead_frames : frames]


def measure(log_probs: np.ndarray, decoder: Decoder, frame_seconds: float, to: Measured) -> None:
    """Add one utterance, which the decoder starts with."""
    shown = PartialText()
    plain_texts, shown_texts = [], []
    for end in range(BLOCK_FRAMES, len(log_probs) + BLOCK_FRAMES, BLOCK_FRAMES):
        decoder.advance(log_probs[end - BLOCK_FRAMES : end])
        hypothesis = decoder.hypothesis()
        words = shown.update(hypothesis, min(end, len(log_probs)), decoder.agreement)
        plain_texts.append(hypothesis.text)
        shown_texts.append(" ".join(word.text for word in words))
    final = decoder.finish()[0].text
    to.plain += flicker([*plain_texts, final])
    to.shown += flicker([*shown_texts, final])
    # The final comes with the last block, in place of its partial.
    plain = there_for_good([*plain_texts[:-1], final])
    stable = there_for_good([*shown_texts[:-1], final])
    blocks = (late - soon for soon, late in zip(plain, stable, strict=True))
    to.delays += [number * BLOCK_FRAMES * frame_seconds for number in blocks]


def there_for_good(texts: list[str]) -> list[int]:
    """For each word of the last text, the number of the text from which on it is at its place."""
    *partials, final = [text.split() for text in texts]
    since = [len(partials)] * len(final)
    for number, partial in reversed(list(enumerate(partials))):
        for place, (before, word) in enumerate(zip(partial, final, strict=False)):
            if since[place] == number + 1 and before == word:
                since[place] = number
    return since


def main() -> int:
    """Measure and print a line for each manifest."""
    parser = argparse.ArgumentParser(description="Measure how often shown words change.")
    parser.add_argument("manifests", nargs="+", type=Path, help="JSONL manifests")
    parser.add_argument("--model", help="name of a model, or a folder")
    parser.add_argument("--decoder", choices=("beam", "greedy"), help="default: the model's")
    parser.add_argument("--utterances", type=int, help="of each manifest, from its start; all")
    options = parser.parse_args()
    folder = find_model(options.model)
    model = AcousticModel.load(folder)
    decoding = Decoding.load(folder, model.info)
    print(f"{'':<27}flicker{'':>20}delay")
    print(
        f"{'manifest':<20}{'words':>7}{'plain':>8}{'shown':>8}{'ratio':>8}{'mean':>10}{'p95':>10}"
    )
    for path in options.manifests:
        measured = Measured()
        for utterance in read_manifest(path)[: options.utterances]:
            log_probs = log_probabilities(model, utterance.audio_filepath)
            decoder = decoding.decoder(DecodingConfig(options.decoder))
            measure(log_probs, decoder, model.info.frame_seconds, measured)
        late = np.array(measured.delays or [np.nan]) * 1000
        print(
            f"{path.stem:<20}{measured.shown.final:>7}{measured.plain.rate:>8.1%}"
            f"{measured.shown.rate:>8.1%}{measured.shown.ratio:>8.1%}"
            f"{late.mean():>7.0f} ms{np.quantile(late, 0.95):>7.0f} ms"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
