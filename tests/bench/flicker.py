"""Measure how often words that were shown change, and how much later they are shown therefore.

    python tests/bench/flicker.py ../shared/speech/dev-libri.jsonl --utterances 100

Each recording is recognised in blocks of 160 ms, as the server does, and after each block two texts
are kept: the search's best hypothesis as it is, and the words of it that a partial shows
(`service/partials.py`). Flicker is the share of words shown that later change or vanish; relative
to the words of the finals it is the unstable partial word ratio of Shangguan et al. 2020. The delay
of a word is how much later, in the time of the audio, it stands in the partials for good than it
would if each hypothesis were shown as it is. A word of the final which neither shows has none.

With `--fit` the weights of `service/stability.py` are fitted to the words of all manifests, as they
were at each block of their first second.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ossicle.data.audio import read_audio
from ossicle.data.manifest import read_manifest
from ossicle.model.decoding.confidence import fit
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.decoding.hypothesis import Decoder, shared_beginning
from ossicle.model.evaluation.flicker import Flicker, flicker
from ossicle.model.evaluation.scoring import align_words
from ossicle.model.runtime import AcousticModel, find_model
from ossicle.service.partials import Known, PartialText
from ossicle.service.stability import Evidence

BLOCK_FRAMES = 4
YOUNG = np.log1p(25)  # frames


@dataclass
class Measured:
    """What was measured of one manifest."""

    plain: Flicker = field(default_factory=Flicker)
    shown: Flicker = field(default_factory=Flicker)
    delays: list[float] = field(default_factory=list)  # seconds, of each word of the finals
    known: list[Known] = field(default_factory=list)  # of young words of partials
    stayed: list[bool] = field(
        default_factory=list
    )  # whether they, and all before, were so at last


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
    plain_texts, shown_texts, known = [], [], []
    for end in range(BLOCK_FRAMES, len(log_probs) + BLOCK_FRAMES, BLOCK_FRAMES):
        decoder.advance(log_probs[end - BLOCK_FRAMES : end])
        hypothesis = decoder.hypothesis()
        frames = min(end, len(log_probs))
        words = shown.update(hypothesis, frames, decoder.agreement)
        known.append(shown.known(hypothesis, frames, decoder.agreement))
        plain_texts.append(hypothesis.text)
        shown_texts.append(" ".join(word.text for word in words))
    final = decoder.finish()[0].text
    # Rescoring may find other words, which no partial could have shown sooner.
    last = plain_texts[-1]
    for text, words in zip(plain_texts, known, strict=True):
        same = shared_beginning(text.split(), last.split())
        young = [place for place, each in enumerate(words) if each.evidence.held <= YOUNG]
        to.known += [words[place] for place in young]
        to.stayed += [place < same for place in young]
    to.plain += flicker([*plain_texts, final])
    to.shown += flicker([*shown_texts, final])
    plain = there_for_good(plain_texts)
    stable = there_for_good([*shown_texts[:-1], last])
    blocks = iter([late - soon for soon, late in zip(plain, stable, strict=True)])
    for edit in align_words(last, final):
        late = next(blocks) if edit.reference else 0
        if edit.hypothesis:
            kept = late if edit.kind == "equal" else 0
            to.delays.append(kept * BLOCK_FRAMES * frame_seconds)


def there_for_good(texts: list[str]) -> list[int]:
    """For each word of the last text, the number of the text from which on it is at its place."""
    *partials, final = [text.split() for text in texts]
    since = [len(partials)] * len(final)
    for number, partial in reversed(list(enumerate(partials))):
        for place, (before, word) in enumerate(zip(partial, final, strict=False)):
            if since[place] == number + 1 and before == word:
                since[place] = number
    return since


def fit_stability(known: Sequence[Known], stayed: np.ndarray) -> None:
    """Print weights for `stability.py` that fit what was known of words and whether they stayed."""
    grew = np.array([word.growing for word in known])
    evidence = np.array([word.evidence for word in known], dtype=np.float64)
    for name, rows in (("OVER", ~grew), ("GROWING", grew)):
        if not rows.any():
            print(f"{name}: no such word was shown")
            continue
        fitted = fit(evidence[rows], stayed[rows])
        weights = Evidence(*(round(weight, 3) for weight in fitted.weights))
        print(f"{rows.sum()} words: {name}_OFFSET = {fitted.offset:.3f}, {name} = {weights}")


def main() -> int:
    """Measure and print a line for each manifest."""
    parser = argparse.ArgumentParser(description="Measure how often shown words change.")
    parser.add_argument("manifests", nargs="+", type=Path, help="JSONL manifests")
    parser.add_argument("--model", help="name of a model, or a folder")
    parser.add_argument("--decoder", choices=("beam", "greedy"), help="default: the model's")
    parser.add_argument("--utterances", type=int, help="of each manifest, from its start; all")
    parser.add_argument("--fit", action="store_true", help="print weights for stability.py")
    options = parser.parse_args()
    folder = find_model(options.model)
    model = AcousticModel.load(folder)
    decoding = Decoding.load(folder, model.info)
    print(f"{'':<27}flicker{'':>20}delay")
    print(
        f"{'manifest':<20}{'words':>7}{'plain':>8}{'shown':>8}{'ratio':>8}{'mean':>10}{'p95':>10}"
    )
    known: list[Known] = []
    stayed: list[bool] = []
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
        known += measured.known
        stayed += measured.stayed
    if options.fit:
        fit_stability(known, np.array(stayed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
