"""Checks of manifests: what would make training fail or learn something wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from pathlib import Path

from ossicle.data.duration import decoded_seconds
from ossicle.data.formats import SAMPLE_RATE, AudioError
from ossicle.data.manifest import Utterance
from ossicle.data.text import FRAME_SAMPLES, fits_in_frames, normalize

SHORTEST_SECONDS, LONGEST_SECONDS = 0.3, 20.0
"""What training takes, if its configuration does not say: what is longer may have no room."""

_AT_ONCE = 1000


class ProblemKind(str, Enum):
    """Kinds of problems, in words for the report."""

    MISSING = "missing file"
    UNDECODABLE = "cannot be decoded"
    EMPTY_TEXT = "empty text"
    TEXT_TOO_LONG = "text too long for its audio"
    NOT_ENGLISH = "letters that normal form leaves out"
    DUPLICATE = "duplicate recording"
    DURATION = "duration disagrees with the audio"


@dataclass(frozen=True)
class Problem:
    """One problem of one utterance.

    Attributes:
        kind: What is wrong.
        audio: The utterance's recording.
        detail: The offending value.
    """

    kind: ProblemKind
    audio: Path
    detail: str


def check_utterances(
    utterances: Sequence[Utterance],
    deep: bool = False,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[Problem]:
    """Find the problems of utterances, in their order.

    Args:
        utterances: Those of one or several manifests; duplicates are found across all.
        deep: Decode every recording, too, and measure it.
        workers: Threads to decode in.
        progress: Called with the number of utterances done so far, after each.
    """
    problems = []
    seen: set[Path] = set()

    def check_audio(utterance: Utterance) -> list[Problem]:
        return _audio_problems(utterance, deep)

    with ThreadPoolExecutor(workers) as pool:
        # Some at a time: each that waits in a pool takes 2 kB.
        parts = (utterances[at : at + _AT_ONCE] for at in range(0, len(utterances), _AT_ONCE))
        pairs = chain.from_iterable(
            zip(part, pool.map(check_audio, part), strict=True) for part in parts
        )
        for done, (utterance, audio_problems) in enumerate(pairs, start=1):
            if utterance.audio_filepath in seen:
                detail = "listed more than once"
                problems.append(Problem(ProblemKind.DUPLICATE, utterance.audio_filepath, detail))
            seen.add(utterance.audio_filepath)
            problems += _text_problems(utterance) + audio_problems
            if progress is not None:
                progress(done)
    return problems


def _text_problems(utterance: Utterance) -> list[Problem]:
    audio, written = utterance.audio_filepath, utterance.text
    problems = []
    lost = sorted(c for c in set(written.lower()) if c.isalnum() and not normalize(c))
    if lost:
        detail = f"{''.join(lost)!r} in {written!r}"
        problems.append(Problem(ProblemKind.NOT_ENGLISH, audio, detail))
    text = normalize(written)
    if not text:
        return [*problems, Problem(ProblemKind.EMPTY_TEXT, audio, repr(written))]
    if not fits_in_frames(text, round(utterance.duration * SAMPLE_RATE) // FRAME_SAMPLES):
        detail = f"{len(text)} characters in {utterance.duration:.2f} s: {text!r}"
        problems.append(Problem(ProblemKind.TEXT_TOO_LONG, audio, detail))
    return problems


def _audio_problems(utterance: Utterance, deep: bool) -> list[Problem]:
    audio = utterance.audio_filepath
    if not audio.is_file():
        return [Problem(ProblemKind.MISSING, audio, "no such file")]
    if not deep:
        return []
    try:
        seconds = decoded_seconds(audio)
    except (AudioError, OSError) as error:
        return [Problem(ProblemKind.UNDECODABLE, audio, str(error))]
    # Encoders pad by some 50 ms, and headers are rounded.
    if abs(seconds - utterance.duration) > max(0.1, 0.02 * seconds):
        detail = f"{utterance.duration:.2f} s in the manifest, {seconds:.2f} s of audio"
        return [Problem(ProblemKind.DURATION, audio, detail)]
    return []
