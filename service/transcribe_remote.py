"""Transcribe files through a server: each is streamed as fast as the server takes it.

Streaming has no limit on the length of a recording, and a file is never held in memory. It is
decoded here: whatever container it is in, a stream whose server is gone goes on at another from its
last final, where a container could be read from its start only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from ossicle.data.audio import SAMPLE_RATE, AudioError, stream_audio
from ossicle.data.pcm import to_linear16

from .client import BusyError, OssicleError, SpeechClient
from .files.together import as_it_comes
from .formats import Segment, Transcript, segment_of
from .happenings import (
    FailedFile,
    Happening,
    Progress,
    ReadPosition,
    Recording,
    Spoken,
    opened,
    recording_name,
)

# Enough to keep a server's batch filled without taking many of the streams of others.
DEFAULT_JOBS = 4
_CHUNK_SECONDS = 1.0
# A server without a free stream is asked again for this long.
_BUSY_SECONDS = 60.0


def transcribing_remote(
    recordings: Sequence[Recording],
    client: SpeechClient,
    *,
    model: str = "",
    options: Mapping[str, Any] | None = None,
    jobs: int = DEFAULT_JOBS,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[tuple[int, Happening]]:
    """Transcribe recordings, several at a time, and tell what happens as it happens.

    Args:
        recordings: paths, or binary file objects such as ``sys.stdin.buffer``.
        client: the connection to the server.
        model: a name of ``client.list_models()``; "" is the default model.
        options: more arguments of ``client.stream``, such as ``decoder`` and ``alternatives``.
        jobs: recordings at once, a stream of the server each.
        on_progress: called from several threads while files are read.

    Yields:
        The number of a recording, from 0, with each utterance of it as soon as it is known, and
        at last with its transcript or with what was wrong with it.

    Raises:
        OssicleError: the server cannot be asked for its models.
    """
    models = client.list_models().models
    wanted = {
        **(options or {}),
        "model": model,
        "words": True,
        "encoding": "linear16",
        "sample_rate": SAMPLE_RATE,
    }
    used = next((known for known in models if known.name == model), models[0])

    def work(recording: Recording, tell: Callable[[Happening], None]) -> Transcript | FailedFile:
        name = recording_name(recording)
        try:
            segments, duration = _patiently(recording, client, wanted, tell, on_progress)
        except OSError as error:
            return FailedFile(name, error.strerror or str(error))
        except AudioError as error:
            return FailedFile(name, str(error))
        except OssicleError as error:
            return FailedFile(name, error.message)
        except Exception as error:  # of one recording, which the others need not pay for
            return FailedFile(name, str(error))
        finally:
            on_progress(Progress(name, 0, 0.0, finished=True))
        if not duration:
            # A stream may end before it began; a recording without a sample is a mistake.
            return FailedFile(name, "the audio is empty; send at least one sample")
        return Transcript(name, duration, used.languages[0], used.name, segments)

    yield from as_it_comes(recordings, [work] * jobs)


def _patiently(
    recording: Recording,
    client: SpeechClient,
    options: Mapping[str, Any],
    tell: Callable[[Happening], None],
    on_progress: Callable[[Progress], None],
) -> tuple[tuple[Segment, ...], float]:
    """The utterances of one recording and its length in seconds; a busy server is asked again."""
    name = recording_name(recording)
    give_up = time.monotonic() + _BUSY_SECONDS
    read = 0
    answered = False

    def report(progress: Progress) -> None:
        nonlocal read
        read += progress.bytes_read
        on_progress(progress)

    def answer(progress: Progress) -> None:
        nonlocal answered
        answered = True
        on_progress(progress)

    while True:
        try:
            # A file object cannot be begun anew: part of it is read before the server refuses.
            with opened(recording) as file:
                return _stream(name, file, client, options, tell, report, answer)
        except BusyError as error:
            wait = error.retry_after or 1.0
            again = isinstance(recording, str | os.PathLike) and time.monotonic() + wait <= give_up
            # What was answered has been told, and the stream has had patience of its own.
            if answered or not again:
                raise
            report(Progress(name, -read, 0.0))
        time.sleep(wait)


def _stream(
    name: str,
    file: BinaryIO,
    client: SpeechClient,
    options: Mapping[str, Any],
    tell: Callable[[Happening], None],
    on_read: Callable[[Progress], None],
    on_answer: Callable[[Progress], None],
) -> tuple[tuple[Segment, ...], float]:
    def chunks() -> Iterator[bytes]:
        position = ReadPosition(file)
        for samples in stream_audio(file, _CHUNK_SECONDS):
            # Where nothing is said there are no results, but there is progress.
            on_read(Progress(name, position.advance(), 0.0))
            yield to_linear16(samples)

    segments = []
    processed = 0.0
    for result in client.stream(chunks(), **options):
        if result.is_final and result.text:
            segments.append(segment_of(result.alternatives))
            tell(Spoken(name, segments[-1]))
        # The end of a silence is looked at again.
        advance = max(result.audio_processed - processed, 0.0)
        processed += advance
        on_answer(Progress(name, 0, advance))
    return tuple(segments), processed
