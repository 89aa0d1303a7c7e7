"""Transcribe files without a server: many at once over the slots of one engine.

Each of a few worker threads takes the next file, decodes it block by block and writes it to a
slot of the engine, which steps all slots as one batch. A worker waits while its slot has enough
audio, so memory stays bounded however long and however many the files are.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from ossicle.data.audio import SAMPLE_RATE, stream_audio
from ossicle.model.decoding.decoders import DecodingConfig

from .engine import Engine, EngineStopped
from .formats import Alternative, Segment, Transcript, Word
from .session import Event, Final, SessionConfig

if TYPE_CHECKING:
    from ossicle.model.decoding.decoders import Decoding
    from ossicle.model.decoding.hypothesis import Word as DecodedWord
    from ossicle.model.runtime import AcousticModel

T = TypeVar("T")
R = TypeVar("R")

Recording = str | os.PathLike[str] | BinaryIO

STANDARD_INPUT = "-"
"""What a recording that is read from a file object is called."""

# Files at once. More slots make larger batches, but the last files leave most of them empty.
DEFAULT_SLOTS = 8
# 1.28 s of audio a step: nobody waits for partials here, and long steps cost less each.
_BLOCK_FRAMES = 32
_DECODE_SECONDS = 1.0


@dataclass(frozen=True)
class FailedFile:
    """A recording that could not be transcribed.

    Attributes:
        file: its name as the caller gave it.
        message: what is wrong with it and what to do, without the name.
    """

    file: str
    message: str


@dataclass(frozen=True)
class Progress:
    """What was read of a recording since its last report.

    Attributes:
        file: its name as the caller gave it.
        bytes_read: bytes of the file, 0 for one without a known size.
        seconds: seconds of audio.
        finished: nothing more will be reported of this recording.
    """

    file: str
    bytes_read: int
    seconds: float
    finished: bool = False


def transcribe(
    recordings: Sequence[Recording],
    model: AcousticModel,
    decoding: Decoding | None = None,
    *,
    search: DecodingConfig | None = None,
    alternatives: int = 1,
    slots: int = DEFAULT_SLOTS,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[Transcript | FailedFile]:
    """Transcribe recordings, several at a time, and give the results in their order.

    Leaving the loop early stops all work.

    Args:
        recordings: paths, or binary file objects such as ``sys.stdin.buffer``.
        model: the model; no one else may use it meanwhile.
        decoding: what the model has for decoding; None for its tokens alone.
        search: how transcripts are searched for; None for the model's default.
        alternatives: readings of each segment at most, 1 to 10.
        slots: files at once.
        on_progress: called from several threads while files are read.

    Yields:
        For each recording its transcript, or what was wrong with it; the others go on.

    Raises:
        EngineStopped: the model failed, which ends them all.
        ValueError: the model cannot be decoded so, or not so many alternatives.
    """
    slots = max(1, min(slots, len(recordings)))
    config = SessionConfig(
        interim_results=False, alternatives=alternatives, decoding=search or DecodingConfig()
    )
    engine = Engine(
        model,
        decoding,
        slots=slots,
        block_frames=_BLOCK_FRAMES,
        queue_seconds=2 * _DECODE_SECONDS,
    )
    engine.decoding.check(config.decoding)

    def outcome(recording: Recording) -> Transcript | FailedFile:
        name = recording_name(recording)
        try:
            with opened(recording) as file:
                return _transcript(name, file, engine, config, on_progress)
        except EngineStopped:
            raise
        except OSError as error:
            return FailedFile(name, error.strerror or str(error))
        except Exception as error:
            return FailedFile(name, str(error))
        finally:
            on_progress(Progress(name, 0, 0.0, finished=True))

    engine.start()
    try:
        yield from in_order(recordings, outcome, slots)
    finally:
        engine.stop()


def in_order(items: Sequence[T], work: Callable[[T], R], workers: int) -> Iterator[R]:
    """The results of ``work`` for each item, several at a time, in the order of the items.

    An exception that ``work`` raises is raised here. Leaving the loop early starts no more work.
    """
    futures: list[Future[R]] = [Future() for _ in items]
    waiting: queue.SimpleQueue[tuple[T, Future[R]]] = queue.SimpleQueue()
    for pair in zip(items, futures, strict=True):
        waiting.put(pair)

    def run() -> None:
        while True:
            try:
                item, future = waiting.get_nowait()
            except queue.Empty:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work(item))
            except BaseException as error:
                future.set_exception(error)

    try:
        for number in range(min(workers, len(items))):
            # Daemons: a worker that waits for a silent pipe must not keep the program alive.
            threading.Thread(target=run, name=f"ossicle-file-{number}", daemon=True).start()
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def recording_name(recording: Recording) -> str:
    """The path as it was given, "-" for a file object."""
    return os.fspath(recording) if isinstance(recording, str | os.PathLike) else STANDARD_INPUT


@contextmanager
def opened(recording: Recording) -> Iterator[BinaryIO]:
    """The recording as a binary file; a file object is left open afterwards.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(recording, str | os.PathLike):
        if Path(recording).is_dir():
            raise IsADirectoryError(
                errno.EISDIR, f"is a folder; name its recordings: {recording}/*.flac"
            )
        with Path(recording).open("rb") as file:
            yield file
    else:
        yield recording


def _transcript(
    name: str,
    file: BinaryIO,
    engine: Engine,
    config: SessionConfig,
    on_progress: Callable[[Progress], None],
) -> Transcript:
    finals: list[Final] = []
    end: Future[Exception | None] = Future()

    def keep(events: list[Event]) -> None:
        finals.extend(event for event in events if isinstance(event, Final) and event.text)

    samples = 0
    position = ReadPosition(file)
    stream = engine.open(config, keep, end.set_result)
    try:
        for block in stream_audio(file, _DECODE_SECONDS):
            stream.wait_for_room()
            if end.done():
                break
            stream.write(block)
            samples += len(block)
            on_progress(Progress(name, position.advance(), len(block) / SAMPLE_RATE))
    finally:
        # Only a stream that has ended has given its slot back, which the next file needs.
        stream.close()
        error = end.result()
    if error is not None:
        raise error
    return Transcript(
        file=name,
        duration=samples / SAMPLE_RATE,
        language=engine.info.language,
        model=engine.info.name,
        segments=tuple(segment_of(written_alternatives(final)) for final in finals),
    )


def segment_of(readings: Sequence[Alternative]) -> Segment:
    """An utterance that spans the words of its best reading; there is at least one."""
    best = readings[0]
    return Segment(
        best.text,
        best.words[0].start,
        best.words[-1].end,
        best.confidence,
        best.words,
        tuple(readings) if len(readings) > 1 else (),
    )


def written_alternatives(final: Final) -> tuple[Alternative, ...]:
    """The readings of an utterance as a transcript has them."""
    return tuple(
        Alternative(reading.text, reading.confidence, written_words(reading.words))
        for reading in final.alternatives
    )


def written_words(words: Iterable[DecodedWord]) -> tuple[Word, ...]:
    """The words as a transcript has them."""
    return tuple(Word(word.text, word.start, word.end, word.confidence) for word in words)


class ReadPosition:
    """How far a file has been read, by differences; always 0 for one that cannot tell."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file if file.seekable() else None
        self._before = 0

    def advance(self) -> int:
        """Bytes read since the last call."""
        if self._file is None:
            return 0
        before, self._before = self._before, self._file.tell()
        return self._before - before
