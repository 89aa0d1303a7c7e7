"""Transcribe files without a server: many at once over the slots of one engine.

Each of a few worker threads takes the next file, decodes it block by block and writes it to a
slot of the engine, which steps all slots as one batch. A worker waits while its slot has enough
audio, so memory stays bounded however long and however many the files are.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ossicle.data.audio import SAMPLE_RATE, stream_audio
from ossicle.model.decoding.decoders import DecodingConfig

from .admission import EngineStopped
from .engine import Engine
from .events import Event, Final, UtteranceEnd
from .files.together import as_it_comes, in_order
from .formats import Alternative, Segment, Transcript, Word
from .session_config import SessionConfig

if TYPE_CHECKING:
    from ossicle.model.decoding.decoders import Decoding
    from ossicle.model.decoding.hypothesis import Word as DecodedWord
    from ossicle.model.runtime import AcousticModel

Recording = str | os.PathLike[str] | BinaryIO

STANDARD_INPUT = "-"
"""What a recording that is read from a file object is called."""

# Files at once. More slots make larger batches, but the last files leave most of them empty.
DEFAULT_SLOTS = 8
# 1.28 s of audio a step: nobody waits for partials here, and long steps cost less each.
_BLOCK_FRAMES = 32
_DECODE_SECONDS = 1.0
# What was said before is context of what follows; no language model reads further back.
_SAID_UTTERANCES = 8


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
class Spoken:
    """An utterance of a recording, as soon as it is known.

    Attributes:
        file: the recording's name as the caller gave it.
        segment: what was said.
    """

    file: str
    segment: Segment


Happening = Spoken | Transcript | FailedFile


@dataclass(frozen=True)
class Progress:
    """What was read of a recording since its last report.

    Attributes:
        file: its name as the caller gave it.
        bytes_read: bytes of the file, 0 for one without a known size.
        seconds: seconds of audio, 0 for what was transcribed before.
        finished: nothing more will be reported of this recording.
    """

    file: str
    bytes_read: int
    seconds: float
    finished: bool = False


class Start(NamedTuple):
    """Where the work on a recording begins, or goes on.

    Attributes:
        sample: of the recording, at 16 kHz.
        context: seconds after that which were transcribed before and are heard again.
    """

    sample: int = 0
    context: float = 0.0


class Draft:
    """The transcript of a recording while it is being made.

    Attributes:
        start: where the work goes on.
    """

    def __init__(self) -> None:
        self.start = Start()
        self._segments: list[Segment] = []

    def add(self, segment: Segment, after: Start | None) -> None:
        """Take the next utterance.

        Args:
            segment: what was said.
            after: where the work goes on after it; None: it must be heard again.
        """
        self._segments.append(segment)

    def segments(self) -> tuple[Segment, ...]:
        """The utterances in order."""
        return tuple(self._segments)


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
    happenings = transcribing(
        recordings,
        model,
        decoding,
        search=search,
        alternatives=alternatives,
        slots=slots,
        on_progress=on_progress,
    )
    outcomes = ((number, event) for number, event in happenings if not isinstance(event, Spoken))
    for _, outcome in in_order(outcomes, lambda outcome: True):
        yield outcome


def transcribing(
    recordings: Sequence[Recording],
    model: AcousticModel,
    decoding: Decoding | None = None,
    *,
    search: DecodingConfig | None = None,
    alternatives: int = 1,
    slots: int = DEFAULT_SLOTS,
    drafts: Sequence[Draft] = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[tuple[int, Happening]]:
    """Transcribe recordings, several at a time, and tell what happens as it happens.

    Args:
        recordings: as for :func:`transcribe`, as are the others.
        model: likewise.
        decoding: likewise.
        search: likewise.
        alternatives: likewise.
        slots: likewise.
        drafts: where the transcript of each recording is kept while it is made, and gone on with;
            by default in memory.
        on_progress: likewise.

    Yields:
        The number of a recording, from 0, with each utterance of it as soon as it is known, and
        at last with its transcript or with what was wrong with it.

    Raises:
        EngineStopped, ValueError: as :func:`transcribe`.
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

    def work(
        item: tuple[Recording, Draft], tell: Callable[[Happening], None]
    ) -> Transcript | FailedFile:
        recording, draft = item
        name = recording_name(recording)
        try:
            with opened(recording) as file:
                return _transcript(name, file, engine, config, draft, tell, on_progress)
        except EngineStopped:
            raise
        except OSError as error:
            return FailedFile(name, error.strerror or str(error))
        except Exception as error:
            return FailedFile(name, str(error))
        finally:
            on_progress(Progress(name, 0, 0.0, finished=True))

    drafts = drafts or [Draft() for _ in recordings]
    engine.start()
    try:
        yield from as_it_comes(list(zip(recordings, drafts, strict=True)), work, slots)
    finally:
        engine.stop()


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
        if not os.fspath(recording):
            raise FileNotFoundError(errno.ENOENT, "the name of a recording is empty")
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
    draft: Draft,
    tell: Callable[[Happening], None],
    on_progress: Callable[[Progress], None],
) -> Transcript:
    begin, context = draft.start
    said = tuple(segment.text for segment in draft.segments()[-_SAID_UTTERANCES:])
    config = replace(config, decoding=replace(config.decoding, said=said), context=context)
    end: Future[Exception | None] = Future()

    def keep(events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Final) and event.text:
                segment = _delayed(segment_of(written_alternatives(event)), begin / SAMPLE_RATE)
                resume = begin + round(event.resume * SAMPLE_RATE)
                after = Start(resume, event.offset - event.resume)
                # The audio ends also where the work on it is broken off, then within a word.
                ends = event.reason is UtteranceEnd.END_OF_AUDIO
                draft.add(segment, None if ends else after)
                tell(Spoken(name, segment))

    samples = 0
    position = ReadPosition(file)
    stream = engine.open(config, keep, end.set_result)
    try:
        for block in stream_audio(file, _DECODE_SECONDS):
            known = min(max(begin - samples, 0), len(block))
            samples += len(block)
            stream.wait_for_room()
            if end.done():
                break
            stream.write(block[known:])
            on_progress(Progress(name, position.advance(), (len(block) - known) / SAMPLE_RATE))
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
        segments=draft.segments(),
    )


def _delayed(segment: Segment, seconds: float) -> Segment:
    """The segment with later times."""
    if not seconds:
        return segment

    def words(words: Iterable[Word]) -> tuple[Word, ...]:
        return tuple(
            replace(word, start=word.start + seconds, end=word.end + seconds) for word in words
        )

    return replace(
        segment,
        start=segment.start + seconds,
        end=segment.end + seconds,
        words=words(segment.words),
        alternatives=tuple(
            replace(reading, words=words(reading.words)) for reading in segment.alternatives
        ),
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
