"""One engine that transcribes recordings, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from ossicle.data.audio import SAMPLE_RATE, stream_audio
from ossicle.model.decoding.decoders import DecodingConfig

from .admission import EngineStopped
from .engine import Engine
from .events import Event, Final, UtteranceEnd
from .formats import Alternative, Segment, Transcript, Word, segment_of
from .happenings import (
    Draft,
    FailedFile,
    Happening,
    Progress,
    ReadPosition,
    Recording,
    Spoken,
    Start,
    opened,
    recording_name,
)
from .session_config import SessionConfig

if TYPE_CHECKING:
    from ossicle.model.decoding.decoders import Decoding
    from ossicle.model.decoding.hypothesis import Word as DecodedWord
    from ossicle.model.runtime import AcousticModel

# 1.28 s of audio a step: nobody waits for partials here, and long steps cost less each.
_BLOCK_FRAMES = 32
_DECODE_SECONDS = 1.0
# What was said before is context of what follows; no language model reads further back.
_SAID_UTTERANCES = 8


class Transcriber:
    """Transcribes recordings, as many at a time as threads ask it to.

    Args:
        model: the model; no one else may use it meanwhile.
        decoding: what the model has for decoding; None for its tokens alone.
        search: how transcripts are searched for; None for the model's default.
        alternatives: readings of each segment at most, 1 to 10.
        slots: recordings at once, at most.

    Raises:
        ValueError: the model cannot be decoded so, or not so many alternatives.
    """

    def __init__(
        self,
        model: AcousticModel,
        decoding: Decoding | None,
        search: DecodingConfig | None,
        alternatives: int,
        slots: int,
    ) -> None:
        self._config = SessionConfig(
            interim_results=False, alternatives=alternatives, decoding=search or DecodingConfig()
        )
        self._engine = Engine(
            model,
            decoding,
            slots=slots,
            block_frames=_BLOCK_FRAMES,
            queue_seconds=2 * _DECODE_SECONDS,
        )
        self._engine.decoding.check(self._config.decoding)
        self._engine.start()

    def __call__(
        self,
        recording: Recording,
        draft: Draft,
        tell: Callable[[Happening], None],
        on_progress: Callable[[Progress], None],
    ) -> Transcript | FailedFile:
        """Transcribe a recording.

        Args:
            recording: a path or a binary file object.
            draft: where its transcript is kept while it is made, and gone on with.
            tell: is told each utterance as soon as it is known.
            on_progress: is told what was read.

        Raises:
            EngineStopped: the model failed, or `stop` was called.
        """
        name = recording_name(recording)
        try:
            with opened(recording) as file:
                return _transcript(name, file, self._engine, self._config, draft, tell, on_progress)
        except EngineStopped:
            raise
        except OSError as error:
            return FailedFile(name, error.strerror or str(error))
        except Exception as error:
            return FailedFile(name, str(error))
        finally:
            on_progress(Progress(name, 0, 0.0, finished=True))

    def stop(self) -> None:
        """Break off what is under way."""
        self._engine.stop()


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


def written_alternatives(final: Final) -> tuple[Alternative, ...]:
    """The readings of an utterance as a transcript has them."""
    return tuple(
        Alternative(reading.text, reading.confidence, written_words(reading.words))
        for reading in final.alternatives
    )


def written_words(words: Iterable[DecodedWord]) -> tuple[Word, ...]:
    """The words as a transcript has them."""
    return tuple(Word(word.text, word.start, word.end, word.confidence) for word in words)
