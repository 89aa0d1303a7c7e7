"""Measure word times: our own against two judges.

    python tests/bench/word_times.py ../shared/speech/dev-libri.jsonl --limit 100

The network's forced alignment of each reference text, with the model's shift, is compared with
torchaudio's alignment by the same network, which tells how far the shift moved words; and, if
pocketsphinx is installed, with the alignment of its hidden Markov models, which know nothing of
our network and are near to where a person would set the marks. Words that the network does not
hear (geometric mean of its letters below 0.4) are left out: no alignment of theirs is worth
comparing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ossicle.data.audio import read_audio
from ossicle.data.manifest import read_manifest
from ossicle.data.text import normalize
from ossicle.model.decoding.annotation import Annotator
from ossicle.model.decoding.decoders import SETTINGS, Decoding
from ossicle.model.runtime import AcousticModel, find_model, transcribe_whole
from torchaudio.functional import forced_align

HEARD = 0.4
NEAR = 0.08  # seconds

Times = list[tuple[float, float]]
Judge = Callable[[NDArray[np.float32], NDArray[np.float32], str], Times | None]


def torchaudio_judge(model: AcousticModel) -> Judge:
    """Aligns the network's output (U, V)."""
    tokens, frame = model.info.tokens, model.info.frame_seconds

    def judge(samples: NDArray[np.float32], log_probs: NDArray[np.float32], text: str) -> Times:
        targets = torch.tensor([[tokens.index(character) for character in text]])
        path = forced_align(torch.from_numpy(log_probs)[None], targets)[0][0].numpy()
        letter = np.isin(path, [i for i, token in enumerate(tokens) if i and token != " "])
        # Frames of a word have the same number of spaces before them.
        space = path == tokens.index(" ")
        number = np.cumsum(space & ~np.concatenate([[False], space[:-1]]))
        words = [np.flatnonzero(letter & (number == n)) for n in range(number[-1] + 1)]
        return [(word[0] * frame, (word[-1] + 1) * frame) for word in words]

    return judge


def pocketsphinx_judge() -> Judge:
    """Aligns the sound; None where it lacks a word or fails."""
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, loglevel="FATAL", beam=1e-80, wbeam=1e-60, pbeam=1e-80)

    def judge(
        samples: NDArray[np.float32], log_probs: NDArray[np.float32], text: str
    ) -> Times | None:
        if any(decoder.lookup_word(word) is None for word in text.split()):
            return None
        decoder.set_align_text(text)
        decoder.start_utt()
        decoder.process_raw((samples * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        segments = [s for s in decoder.seg() or () if not s.word.startswith(("<", "["))]
        if [s.word.split("(")[0] for s in segments] != text.split():
            return None
        return [(s.start_frame / 100, (s.end_frame + 1) / 100) for s in segments]

    return judge


def describe(label: str, differences: Sequence[float]) -> str:
    """One line of numbers, in milliseconds."""
    values = np.asarray(differences) * 1000
    low, middle, high = np.percentile(values, [10, 50, 90])
    near = np.mean(np.abs(values) <= NEAR * 1000 + 0.1)
    return (
        f"{label:22} {len(values):6} words  median {middle:+5.0f} ms  80 % within "
        f"{low:+.0f} to {high:+.0f}  {100 * near:5.1f} % within {1000 * NEAR:.0f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--model", help="name or folder")
    parser.add_argument("--limit", type=int, default=50, help="recordings of each manifest")
    options = parser.parse_args()
    folder = find_model(options.model)
    model = AcousticModel.load(folder)
    path = folder / SETTINGS
    settings = json.loads(path.read_text()) if path.is_file() else {}
    annotators = {
        "unshifted": Annotator(model.info.tokens, model.info.frame_seconds),
        "shifted": Annotator.configured(
            model.info.tokens, model.info.frame_seconds, {"times": settings.get("times")}, "greedy"
        ),
    }
    decoding = Decoding.load(folder, model.info)
    print(f"{model.info.name}: {annotators['shifted'].shift}")
    judges: dict[str, Judge] = {"torchaudio": torchaudio_judge(model)}
    if find_spec("pocketsphinx"):
        judges["pocketsphinx"] = pocketsphinx_judge()
    else:
        print("pocketsphinx is not installed: no judge but torchaudio")
    differences: dict[tuple[str, str, str], list[float]] = {}
    for utterance in (u for m in options.manifests for u in read_manifest(m)[: options.limit]):
        samples, text = read_audio(utterance.audio_filepath), normalize(utterance.text)
        if not text:
            continue
        written = decoding.write(text)
        state = model.settled_state(1)
        log_probs = transcribe_whole(model.step, state, samples[None], model.info.lookahead_frames)[
            0
        ]
        try:
            ours = {
                name: annotate(log_probs, [written], [0.0])[0].words
                for name, annotate in annotators.items()
            }
        except ValueError as error:  # said faster than the network writes
            print(f"{utterance.audio_filepath.name}: {error}")
            continue
        for judge, align in judges.items():
            judged = align(samples, log_probs, written if judge == "torchaudio" else text)
            for name, words in ours.items() if judged else ():
                for word, (start, end) in zip(words, judged or (), strict=True):
                    if word.confidence >= HEARD:
                        differences.setdefault((judge, name, "start"), []).append(
                            word.start - start
                        )
                        differences.setdefault((judge, name, "end"), []).append(word.end - end)
    for (judge, name, edge), values in sorted(differences.items()):
        print(describe(f"{judge} {name} {edge}", values))


if __name__ == "__main__":
    main()
