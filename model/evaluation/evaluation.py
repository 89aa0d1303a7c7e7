"""Recognising the recordings of manifests as live streams are recognised, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from ossicle.data.audio import read_recording
from ossicle.data.manifest import Utterance, batches
from ossicle.data.text import normalize
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.decoding.hypothesis import Hypothesis
from ossicle.model.evaluation.noise import Noises
from ossicle.model.evaluation.scoring import Recognized
from ossicle.model.runtime import AcousticModel


@dataclass
class Stopwatch:
    """Time spent in one kind of work.

    Attributes:
        seconds: that passed.
        cpu_seconds: of processors, all threads of this process together. On a machine that has
            other work to do, less than `seconds`: it is what the work costs.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of a `with` block."""
        start, cpu_start = time.perf_counter(), time.process_time()
        yield
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.process_time() - cpu_start


@dataclass(frozen=True)
class Condition:
    """What is done to recordings before they are recognised.

    Attributes:
        noises: to mix in.
        snr: signal-to-noise ratio in dB.
    """

    noises: Noises
    snr: float


@dataclass
class Evaluation:
    """Recognises recordings, several stepping together, each a live stream of its own.

    However the audio is cut into steps, the results are the same; the cost is not.

    Attributes:
        model: the network.
        decoding: what its folder has for decoding.
        config: which decoder each recording gets.
        step_frames: output frames (of 40 ms) to a step; 4 are the 160 ms of a live stream.
        batch: how many recordings step together.
        silence: seconds of it before each recording, as in a live stream before somebody speaks;
            times of words are counted from the recording's own start.
        audio_seconds: heard so far.
        network, decoder: time spent so far.

    Raises:
        ValueError: the model cannot decode as configured, or a step or a batch is empty.
    """

    model: AcousticModel
    decoding: Decoding
    config: DecodingConfig = field(default_factory=DecodingConfig)
    step_frames: int = 4
    batch: int = 8
    silence: float = 0.0
    audio_seconds: float = 0.0
    network: Stopwatch = field(default_factory=Stopwatch)
    decoder: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self) -> None:
        if self.step_frames < 1 or self.batch < 1:
            raise ValueError(
                f"step_frames is {self.step_frames}, batch is {self.batch}; both must be 1 or more"
            )
        if not 0 <= self.silence <= 60:
            raise ValueError(f"silence is {self.silence} s: give 0 to 60")
        self.decoding.check(self.config)

    def recognize(
        self, utterances: Sequence[Utterance], condition: Condition | None = None
    ) -> Iterator[Recognized]:
        """Transcripts, in batches of like length, not in the order given.

        Raises:
            AudioError: a recording cannot be decoded; names it.
        """
        for batch in batches(utterances, self.batch):
            recordings = [read_recording(utterance.audio_filepath) for utterance in batch]
            lengths = [len(samples) / self.model.info.sample_rate for samples in recordings]
            if condition is not None:
                recordings = [
                    condition.noises.mix(samples, condition.snr, utterance.audio_filepath.name)
                    for samples, utterance in zip(recordings, batch, strict=True)
                ]
            quiet = np.zeros(round(self.silence * self.model.info.sample_rate), dtype=np.float32)
            recordings = [np.concatenate([quiet, samples]) for samples in recordings]
            self.audio_seconds += sum(map(len, recordings)) / self.model.info.sample_rate
            for utterance, length, best in zip(
                batch, lengths, self.transcribe(recordings), strict=True
            ):
                words = tuple(
                    replace(word, start=word.start - self.silence, end=word.end - self.silence)
                    for word in best.words
                )
                # By what was heard: a manifest may claim another length.
                utterance = replace(utterance, duration=length)
                yield Recognized(utterance, normalize(utterance.text), best.text, words)

    def transcribe(self, recordings: Sequence[NDArray[np.float32]]) -> list[Hypothesis]:
        """The best hypothesis of each recording (N,), the recordings stepping together."""
        info = self.model.info
        size, delay = info.frame_samples, info.lookahead_frames
        ends = [-(-len(samples) // size) + delay for samples in recordings]
        frames = -(-max(ends) // self.step_frames) * self.step_frames
        padded = np.zeros((len(recordings), frames * size), dtype=np.float32)
        for row, samples in zip(padded, recordings, strict=True):
            row[: len(samples)] = samples
        decoders = [self.decoding.decoder(self.config) for _ in recordings]
        state = self.model.settled_state(len(recordings))
        for begin in range(0, frames, self.step_frames):
            piece = padded[:, begin * size : (begin + self.step_frames) * size]
            with self.network.running():
                log_probs, state = self.model.step(piece, state)
            with self.decoder.running():
                for decoder, rows, end in zip(decoders, log_probs, ends, strict=True):
                    # The first `delay` outputs belong to no audio, those past the end to padding.
                    if len(rows := rows[max(delay - begin, 0) : max(end - begin, 0)]):
                        decoder.advance(rows)
        with self.decoder.running():
            return [decoder.finish()[0] for decoder in decoders]
