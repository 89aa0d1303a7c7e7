"""Compare Ossicle with pocketsphinx and faster-whisper on the same recordings, in the same run.

    pip install pocketsphinx faster-whisper
    python tests/bench/peers.py dev.jsonl --limit 20 --whisper-model tiny.en

A peer that is not installed is skipped, and why is printed. pocketsphinx brings its model;
faster-whisper takes a folder of CTranslate2 weights, or a name that it may download. Every
recording is decoded to 16 kHz once, before any clock runs; transcripts of all are brought into one
normal form ("$5" counts as "five dollars"). Recordings are recognised one after the other, each
engine on one thread where it lets us choose (`--threads`); pocketsphinx always takes one.

Cost is processor time for a second of audio, all threads together, so that a machine that has
other work to do does not count; speed is audio for a second that passed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ossicle.data.audio import SAMPLE_RATE, AudioError, read_audio
from ossicle.data.cores import usable_cores
from ossicle.data.manifest import ManifestError, Utterance, read_manifest
from ossicle.data.text import normalize
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.evaluation.evaluation import Evaluation, Stopwatch
from ossicle.model.evaluation.scoring import Recognized, Score, score
from ossicle.model.runtime import AcousticModel, ModelError, find_model

Samples = NDArray[np.float32]


@dataclass
class Engine:
    """Something that recognises one recording after the other.

    Attributes:
        transcribe: samples (N,) at 16 kHz to text.
    """

    name: str
    transcribe: Callable[[Samples], str]
    watch: Stopwatch = field(default_factory=Stopwatch)

    def recognize(self, utterances: Sequence[Utterance], audio: Sequence[Samples]) -> Score:
        """The errors in recordings (N,) of utterances."""
        heard = []
        for utterance, samples in zip(utterances, audio, strict=True):
            with self.watch.running():
                text = self.transcribe(samples)
            heard.append(Recognized(utterance, normalize(utterance.text), normalize(text)))
        return score(heard)


class SkippedError(Exception):
    """A peer that cannot take part; the message says why and what to do."""


def ossicle(model: str | None, search: str | None, threads: int) -> Engine:
    folder = find_model(model)
    network = AcousticModel.load(folder, threads=threads)
    decoding = Decoding.load(folder, network.info)
    config = DecodingConfig() if search is None else DecodingConfig(search=search)
    stream = Evaluation(network, decoding, config, batch=1)
    label = search or ("beam" if decoding.language else "greedy")
    return Engine(
        f"{network.info.name} {label}", lambda samples: stream.transcribe([samples])[0].text
    )


def pocketsphinx() -> Engine:
    if find_spec("pocketsphinx") is None:
        raise SkippedError("pocketsphinx is not installed: pip install pocketsphinx")
    from pocketsphinx import Config, Decoder

    decoder = Decoder(Config(samprate=SAMPLE_RATE, loglevel="FATAL"))

    def transcribe(samples: Samples) -> str:
        decoder.start_utt()
        pcm = np.rint(samples.clip(-1, 1) * 32767).astype(np.int16)
        decoder.process_raw(pcm.tobytes(), full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        return best.hypstr if best else ""

    return Engine(f"pocketsphinx {version('pocketsphinx')}", transcribe)


def faster_whisper(model: str | None, threads: int) -> Engine:
    if find_spec("faster_whisper") is None:
        raise SkippedError("faster-whisper is not installed: pip install faster-whisper")
    if model is None:
        raise SkippedError("faster-whisper has no weights: give --whisper-model FOLDER or tiny.en")
    from faster_whisper import WhisperModel

    try:
        whisper: Any = WhisperModel(model, "cpu", compute_type="int8", cpu_threads=threads)
    except Exception as error:  # of its hub, of CTranslate2, of the network: no common class
        raise SkippedError(
            f"faster-whisper cannot load {model!r}: {error}; give a folder of CTranslate2 weights"
        ) from error

    def transcribe(samples: Samples) -> str:
        segments, _ = whisper.transcribe(samples, language="en", beam_size=5)
        return " ".join(segment.text for segment in segments)

    return Engine(f"faster-whisper {Path(model).name} int8", transcribe)


def peers(whisper_model: str | None, threads: int) -> Iterator[tuple[Engine | None, str]]:
    """Each peer, or None and why it cannot take part."""
    for make in (pocketsphinx, partial(faster_whisper, whisper_model, threads)):
        yield _made(make)


def _made(make: Callable[[], Engine]) -> tuple[Engine | None, str]:
    try:
        return make(), ""
    except SkippedError as reason:
        return None, str(reason)


def load(manifest: Path, limit: int, seed: int) -> tuple[list[Utterance], list[Samples]]:
    """The recordings of a manifest, or so many of them drawn at random."""
    utterances = [u for u in read_manifest(manifest) if normalize(u.text)]
    if limit and limit < len(utterances):
        chosen = np.random.default_rng(seed).choice(len(utterances), limit, replace=False)
        utterances = [utterances[i] for i in sorted(chosen.tolist())]
    if not utterances:
        raise ManifestError(f"{manifest}: no recording has a text to score against")
    return utterances, [read_audio(u.audio_filepath) for u in utterances]


def compare(
    engines: Sequence[Engine], sets: dict[str, tuple[list[Utterance], list[Samples]]]
) -> None:
    """Print a table of every engine on every set, beside the first engine, which is ours."""
    print(f"\n{'set':<20}{'engine':<34}{'words':>7}{'WER %':>8}{'95 %':>16}{'WER / ours':>12}")
    for name, items in sets.items():
        scores = [engine.recognize(*items) for engine in engines]
        for engine, s in zip(engines, scores, strict=True):
            interval = f"{100 * s.wer_low:.1f} to {100 * s.wer_high:.1f}"
            ratio = f"{s.wer / scores[0].wer:.2f}" if scores[0].wer else "-"
            wer = f"{100 * s.wer:.1f}"
            print(f"{name:<20}{engine.name:<34}{s.words:>7}{wer:>8}{interval:>16}{ratio:>12}")

    seconds = sum(len(samples) for _, audio in sets.values() for samples in audio) / SAMPLE_RATE
    print(f"\n{'engine':<34}{'core s / s':>12}{'x real time':>13}{'cost / ours':>13}")
    for engine in engines:
        watch = engine.watch
        print(
            f"{engine.name:<34}{watch.cpu_seconds / seconds:>12.4f}"
            f"{seconds / watch.seconds:>13.1f}"
            f"{watch.cpu_seconds / engines[0].watch.cpu_seconds:>13.1f}"
        )
    print(f"over {seconds:.0f} s of audio")


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare with peers on the same recordings.")
    parser.add_argument("manifests", nargs="+", type=Path, help="JSONL manifests with references")
    parser.add_argument("--model", help="name or folder of our model (the default one)")
    parser.add_argument("--limit", type=int, default=0, help="recordings of each set; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of --limit (0)")
    parser.add_argument("--threads", type=int, default=1, help="ours and whisper's (1)")
    parser.add_argument("--whisper-model", help="folder of CTranslate2 weights, or a name")
    options = parser.parse_args()
    if options.limit < 0:
        parser.error(f"--limit is {options.limit}: give 0 for all, or how many")

    try:
        engines = [ossicle(options.model, None, options.threads)]
        if not engines[0].name.endswith("greedy"):
            engines.append(ossicle(options.model, "greedy", options.threads))
        sets = {str(m): load(m, options.limit, options.seed) for m in options.manifests}
    except (AudioError, ManifestError, ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for peer, why_not in peers(options.whisper_model, options.threads):
        if peer is None:
            print(f"skipped: {why_not}")
        else:
            engines.append(peer)

    names = {key: Path(key).stem for key in sets}
    if len(set(names.values())) == len(names):
        sets = {names[key]: items for key, items in sets.items()}
    print(
        f"{usable_cores()} cores, load {os.getloadavg()[0]:.1f}; {options.threads} thread(s); "
        f"one recording at a time"
    )
    compare(engines, sets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
