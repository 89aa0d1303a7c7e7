"""The command ``ossicle stream``: a recording to a server at the pace at which it was spoken."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from ossicle.service.commands.connection import Connection, with_connection
from ossicle.service.commands.live_text import LiveText
from ossicle.service.commands.options import (
    DEFAULT_SERVER,
    SearchOptions,
    ServerModelOption,
    ServerOption,
    with_search,
)
from ossicle.service.commands.output import errors_in_one_line, fail

if TYPE_CHECKING:
    from ossicle.service.client import SpeechClient
    from ossicle.service.values import Result

CHUNK_SECONDS = 0.1
SAMPLE_RATE = 16_000


@with_connection
@with_search
def stream_command(
    file: Annotated[str, typer.Argument(help="A recording in any common format.")],
    server: ServerOption = DEFAULT_SERVER,
    model: ServerModelOption = "",
    *,
    connection: Connection,
    search: SearchOptions,
) -> None:
    """Stream a recording to a server as if it were being spoken now.

    On a terminal the words appear as they are recognised; otherwise each utterance is printed
    when it is over.

    Example: `ossicle stream talk.flac --server localhost:50051`
    """
    from ossicle.data.audio import AudioError
    from ossicle.service.client import OssicleError

    with errors_in_one_line(OssicleError, OSError), connection.open(server) as client:
        try:
            with spoken_now(file) as chunks:
                results = stream_samples(client, chunks, model=model, **search.request())
                show(results, LiveText(sys.stdout))
        except AudioError as error:
            fail(f"{file}: {error}")


def stream_samples(
    client: SpeechClient, chunks: Iterable[bytes], *, model: str = "", **options: Any
) -> Iterator[Result]:
    """Results for chunks of 16-bit mono samples at 16 kHz, partial ones included.

    Args:
        client: the connection to the server.
        chunks: the samples.
        model: as for ``client.stream``.
        options: more arguments of it, such as ``decoder``.
    """
    return client.stream(
        chunks,
        encoding="linear16",
        sample_rate=SAMPLE_RATE,
        channels=1,
        model=model,
        interim_results=True,
        **options,
    )


@contextmanager
def spoken_now(file: str | Path) -> Iterator[Iterator[bytes]]:
    """A recording in chunks of 16-bit samples, each when a microphone would have recorded it.

    At the end its decoder is released, though the thread that reads for gRPC may still be in it.

    Raises:
        AudioError, OSError: while the chunks are read, if the recording cannot be.
    """
    left = threading.Event()
    chunks = _in_real_time(file, left)
    try:
        yield chunks
    finally:
        left.set()
        for _ in range(100):
            try:
                chunks.close()
                break
            except ValueError:  # it is being read; it looks at the event before it goes on
                time.sleep(0.01)


def _in_real_time(file: str | Path, left: threading.Event) -> Generator[bytes, None, None]:
    from ossicle.data.audio import stream_audio
    from ossicle.data.pcm import to_linear16

    began = time.monotonic()
    samples = 0
    for block in stream_audio(file, CHUNK_SECONDS):
        samples += len(block)
        if left.wait(max(0.0, began + samples / SAMPLE_RATE - time.monotonic())):
            return
        yield to_linear16(block)


def show(results: Iterable[Result], text: LiveText) -> list[Result]:
    """Print results as they come.

    Returns:
        The final ones.
    """
    finals = []
    try:
        for result in results:
            if result.is_final:
                text.final(result.text)
                finals.append(result)
            else:
                text.partial(result.text)
    finally:
        text.end()
    return finals
