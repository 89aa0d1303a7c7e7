"""Where synthetic speech is kept: a folder of Ogg/Opus recordings with a manifest.

::

    manifest.jsonl     the recordings, in the order of their numbers
    rejected.jsonl     numbers of the plan that gave no usable speech, and why
    synthesis.json     what the speech depends on; a synthesis with other settings is refused
    0000/0000007.ogg   utterance number 7 of the plan

A recording is written before its line, and numbers are done in order, so that a folder that was
left at any moment tells where to go on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from ossicle.data.augment import encode, set_peak
from ossicle.data.folder_lock import FolderInUseError, only_writer
from ossicle.data.formats import SAMPLE_RATE
from ossicle.data.manifest import read_manifest
from ossicle.data.replacing import replacing
from ossicle.data.synthesis_engine import SynthesisError
from ossicle.data.synthesis_plan import UtterancePlan
from ossicle.data.text import FRAME_SAMPLES, fits_in_frames

BIT_RATE = 24_000
PEAK_DB = -3.0
MAX_SECONDS = 20.0
LETTER_SECONDS = (0.028, 0.2)
"""Speech with less or more to a letter of its text (and a second) has lost or repeated words."""
SILENCE = 1e-3
AUDIBLE = 0.02
"""Share of the loudest sample below which the edges of an utterance are silence."""


class OddSpeechError(ValueError):
    """Speech that is not what it should be; the message says how."""


@dataclass(frozen=True)
class Spoken:
    """An utterance that was made, or why it was not.

    Attributes:
        audio: Ogg/Opus; empty if it was rejected.
        seconds: its length.
        rejection: what was odd; empty if nothing was.
    """

    plan: UtterancePlan
    audio: bytes = b""
    seconds: float = 0.0
    rejection: str = ""


def trim(samples: NDArray[np.float32], rate: int, plan: UtterancePlan) -> NDArray[np.float32]:
    """Speech (N,) of an engine at 16 kHz, at one level, with the planned silence around it.

    Raises:
        OddSpeechError: it is silent, no sound at all, or too short or too long for its text.
    """
    if not np.isfinite(samples).all():
        raise OddSpeechError("not finite")
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < SILENCE:
        raise OddSpeechError("silent")
    audible = np.flatnonzero(np.abs(samples) > AUDIBLE * peak)
    first, last = int(audible[0]), int(audible[-1]) + 1
    letters, seconds = len(plan.sentence.text), (last - first) / SAMPLE_RATE
    if not letters * LETTER_SECONDS[0] < seconds < letters * LETTER_SECONDS[1] + 1:
        raise OddSpeechError(f"{seconds:.2f} s for {letters} letters")
    # What lies within the planned silence is kept: a breath, the decay of the last sound.
    lead, tail = round(plan.lead * SAMPLE_RATE), round(plan.tail * SAMPLE_RATE)
    padded = np.pad(samples, (lead, tail))[first : last + lead + tail]
    if len(padded) > MAX_SECONDS * SAMPLE_RATE:
        raise OddSpeechError(f"{len(padded) / SAMPLE_RATE:.1f} s, longer than {MAX_SECONDS:g} s")
    if not fits_in_frames(plan.sentence.text, len(padded) // FRAME_SAMPLES):
        raise OddSpeechError(f"{letters} letters do not fit into {seconds:.2f} s")
    return set_peak(np.asarray(padded, dtype=np.float32), PEAK_DB)


def compress(samples: NDArray[np.float32]) -> bytes:
    """Ogg/Opus of 16 kHz samples (N,)."""
    return encode(samples, "ogg", "libopus", BIT_RATE)


class SpeechFolder:
    """A folder of synthetic speech that can be added to, by one process until it is closed.

    Args:
        folder: made if it is missing.
        settings: all that the speech depends on.

    Attributes:
        number: of the next utterance to make.
        utterances: kept so far.
        rejected: numbers that gave none.
        seconds: of speech so far.

    Raises:
        SynthesisError: the folder holds something else, or speech made with other settings, or
            another process adds to it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = folder / "manifest.jsonl"
        self._rejections = folder / "rejected.jsonl"
        self.number = self.utterances = self.rejected = 0
        self.seconds = 0.0
        self._claimed = ExitStack()
        try:
            self._claim(settings)
            self._claimed.enter_context(only_writer(folder))
            _drop_cut_line(self.manifest)
            _drop_cut_line(self._rejections)
            self._count()
        except FolderInUseError as error:
            raise SynthesisError(str(error)) from error
        except (OSError, ValueError, KeyError) as error:
            raise SynthesisError(f"cannot go on with {folder}: {error}") from error

    def close(self) -> None:
        """Let another process add to the folder."""
        self._claimed.close()

    def add(self, spoken: Spoken) -> None:
        """Keep the next utterance.

        Raises:
            SynthesisError: the folder cannot be written to.
        """
        plan = spoken.plan
        try:
            if spoken.rejection:
                record = {"number": plan.number, "text": plan.sentence.text}
                _append(self._rejections, {**record, "reason": spoken.rejection})
                self.rejected += 1
            else:
                name = f"{plan.number // 1000:04d}/{plan.number:07d}.ogg"
                audio = self.folder / name
                audio.parent.mkdir(exist_ok=True)
                audio.write_bytes(spoken.audio)
                record = {
                    "audio_filepath": name,
                    "duration": round(spoken.seconds, 4),
                    "text": plan.sentence.text,
                    "speaker": plan.speaker,
                    "source": "synthetic",
                }
                _append(self.manifest, record)
                self.utterances += 1
                self.seconds += round(spoken.seconds, 4)
        except OSError as error:
            raise SynthesisError(f"cannot write to {self.folder}: {error.strerror}") from error
        self.number = plan.number + 1

    def _claim(self, settings: Mapping[str, Any]) -> None:
        file = self.folder / "synthesis.json"
        if not file.exists():
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise SynthesisError(
                    f"{self.folder} holds something else: give a folder that is empty or new"
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(file) as new:
                new.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        there = json.loads(file.read_text(encoding="utf-8"))
        for name, value in settings.items():
            if there.get(name) != value:
                raise SynthesisError(
                    f"{self.folder} was made with another {name}: {there.get(name)}, not {value}; "
                    "give the same, or another folder"
                )

    def _count(self) -> None:
        if self.manifest.exists() and self.manifest.stat().st_size:
            for utterance in read_manifest(self.manifest):
                self.number = max(self.number, int(utterance.audio_filepath.stem) + 1)
                self.utterances += 1
                self.seconds += utterance.duration
        if self._rejections.exists():
            for line in self._rejections.read_text(encoding="utf-8").splitlines():
                self.number = max(self.number, json.loads(line)["number"] + 1)
                self.rejected += 1


def _append(file: Path, record: Mapping[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record) + "\n")


def _drop_cut_line(file: Path) -> None:
    """Take off a last line that was cut when the writer was killed."""
    if not file.exists():
        return
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(file, whole)
