"""Decoding any audio to mono float32 at 16 kHz: whole, or in pieces as it arrives.

>>> samples = read_audio("meeting.m4a")              # (N,)
>>> for block in stream_audio(sys.stdin.buffer):     # (8000,) each, memory stays bounded
...     ...
>>> decoder = open_decoder(Encoding.MULAW, sample_rate=8000, channels=1)
>>> first, rest = decoder.feed(packet), decoder.finish()
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from ossicle.data.container import UnknownContainerError, decode_container
from ossicle.data.decoder import SLICE_BYTES, AudioDecoder, RawDecoder
from ossicle.data.formats import (
    HEAD_BYTES,
    SAMPLE_RATE,
    AudioError,
    AudioTooLongError,
    Encoding,
    check_channels,
    check_rate,
    container_of,
    id3_bytes,
)
from ossicle.data.handoff import ContainerDecoder
from ossicle.data.resampling import Samples, join
from ossicle.data.wav import WavDecoder

__all__ = [
    "SAMPLE_RATE",
    "AudioDecoder",
    "AudioError",
    "AudioTooLongError",
    "Encoding",
    "Samples",
    "open_decoder",
    "read_audio",
    "stream_audio",
]


def open_decoder(
    encoding: Encoding = Encoding.AUTO,
    sample_rate: int = 0,
    channels: int = 0,
    max_seconds: float = float("inf"),
) -> AudioDecoder:
    """A decoder for one recording that is pushed into it piece by piece.

    Live audio comes out as soon as its codec allows: raw samples and WAV at once (plus up to
    0.12 s where the rate is not 16 kHz), Opus, MP3 and AAC after a packet, FLAC about ten of its
    frames (0.7 to 2.6 s) behind.

    Args:
        encoding: How the bytes are encoded; `AUTO` goes by the header.
        sample_rate: In Hz. Required for `LINEAR16`, `MULAW` and `ALAW`; where there is a header,
            0 takes the header's rate and another value must agree with it.
        channels: Like `sample_rate`. Channels are averaged.
        max_seconds: Refuse audio that lasts longer, with `AudioTooLongError`.

    Raises:
        AudioError: The rate or the channel count is missing or not supported.
    """
    if encoding.headerless and not (sample_rate and channels):
        missing = "sample rate" if not sample_rate else "channel count"
        raise AudioError(
            f"{encoding.name} audio has no header: its {missing} is 0; declare the true one"
        )
    if sample_rate:
        check_rate(sample_rate)
    if channels:
        check_channels(channels)
    if encoding.headerless:
        return RawDecoder(encoding, sample_rate, channels, max_seconds)
    return _HeaderDecoder(encoding, sample_rate, channels, max_seconds)


def stream_audio(
    source: str | os.PathLike[str] | bytes | BinaryIO, block_seconds: float = 0.5
) -> Iterator[Samples]:
    """Blocks of samples (block_seconds * 16 000,) of a recording, the last one shorter.

    Args:
        source: A path, the bytes of a file, or a binary file object, which may be a live pipe. It
            is read as far as needed and a file object is left open. Files that can seek may be
            in any container that FFmpeg knows, video too.
        block_seconds: Length of a block; also the least delay of live audio.

    Raises:
        AudioError: The source is not audio that can be decoded.
        OSError: The source cannot be read.
    """
    size = round(block_seconds * SAMPLE_RATE)
    if size < 1:
        raise ValueError(f"block_seconds is {block_seconds}; it must be more than 0")
    waiting: list[Samples] = []
    count = 0
    for decoded in _decoded(source):
        waiting.append(decoded)
        count += len(decoded)
        if count >= size:
            samples = join(waiting)
            whole = count - count % size
            for start in range(0, whole, size):
                yield samples[start : start + size]
            waiting, count = [samples[whole:]], count - whole
    if count:
        yield join(waiting)


def read_audio(source: str | os.PathLike[str] | bytes | BinaryIO) -> Samples:
    """All samples (N,) of a recording; arguments and errors as of `stream_audio`."""
    return join(list(_decoded(source)))


def read_stretch(path: Path, start: float, seconds: float) -> Samples:
    """The samples (N,) of a part of a recording; none where it ends before.

    Raises:
        AudioError, OSError: it cannot be read.
    """
    first, last = round(start * SAMPLE_RATE), round((start + seconds) * SAMPLE_RATE)
    pieces, position = [], 0
    for block in stream_audio(path):
        pieces.append(block[max(first - position, 0) : max(last - position, 0)])
        position += len(block)
        if position >= last:
            break
    return join(pieces)


def read_recording(path: Path) -> Samples:
    """All samples (N,) of the recording of an utterance.

    Raises:
        AudioError: it is not audio that can be decoded; names it.
        OSError: it cannot be read.
    """
    try:
        return read_audio(path)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error


def _decoded(source: str | os.PathLike[str] | bytes | BinaryIO) -> Iterator[Samples]:
    with ExitStack() as stack:
        if isinstance(source, bytes | bytearray | memoryview):
            file: BinaryIO = BytesIO(source)
        elif isinstance(source, str | os.PathLike):
            file = stack.enter_context(Path(source).open("rb"))
        else:
            file = source
        if not isinstance(file, BytesIO) and (yield from _decoded_by_seeking(file)):
            return
        # read1 gives what a pipe holds at the moment, where read would wait for a full slice.
        read = getattr(file, "read1", file.read)
        decoder = stack.enter_context(open_decoder())
        while data := read(SLICE_BYTES):
            yield from decoder.feed_blocks(data)
        yield from decoder.finish_blocks()


def _decoded_by_seeking(file: BinaryIO) -> Generator[Samples, None, bool]:
    """Decode a file whose bytes cannot be taken as they come.

    That is MP4, whose index may be behind gigabytes of video, and what FFmpeg must look at: AAC
    behind a tag, say, or MP3 that begins in the midst of a frame.

    Returns:
        Whether it was such a file; of any other nothing was read.
    """
    if not file.seekable() or file.tell():
        return False
    start = 0
    while size := id3_bytes(file.read(HEAD_BYTES)):
        start += size
        file.seek(start)
    file.seek(start)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    container = container_of(head)
    if len(head) < HEAD_BYTES or container not in (None, Encoding.M4A):
        return False
    heard = False
    try:
        for block in decode_container(_Behind(file, start) if start else file, container):
            heard = heard or len(block) > 0
            yield block
    except UnknownContainerError:
        pass
    if not heard:
        file.seek(0)
    return heard


class _Behind:
    """A file from a position on, which is told nothing of what is before it.

    Args:
        file: one that can seek.
        start: the position in bytes.
    """

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._start = start
        file.seek(start)

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; none at the end."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position, counted from the start; returns it."""
        from_start = self._start if whence == os.SEEK_SET else 0
        return self._file.seek(offset + from_start, whence) - self._start

    def tell(self) -> int:
        """The position, counted from the start."""
        return self._file.tell() - self._start


class _HeaderDecoder(AudioDecoder):
    """Waits for the first bytes, then decodes with the decoder of the container they begin."""

    def __init__(self, encoding: Encoding, rate: int, channels: int, max_seconds: float) -> None:
        super().__init__(max_seconds)
        self._encoding = encoding
        self._declared = rate, channels
        self._head = b""
        self._tag = 0  # bytes of a tag that are still to come
        self._inner: AudioDecoder | None = None

    def close(self) -> None:
        super().close()
        if self._inner is not None:
            self._inner.close()

    def _push(self, data: memoryview) -> Iterator[Samples]:
        if self._inner is None:
            self._head += data
            self._skip_tags()
            if self._tag or len(self._head) < HEAD_BYTES:
                return
            self._inner = self._open(self._head)
            data, self._head = memoryview(self._head), b""
        yield from self._inner.feed_blocks(data)

    def _flush(self) -> Iterator[Samples]:
        if self._inner is None:
            if self._tag:
                raise AudioError(
                    f"the recording ends inside its ID3 tag, which announces {self._tag} more "
                    "bytes; send the whole recording"
                )
            if not self._head:
                return
            self._inner = self._open(self._head)
            yield from self._inner.feed_blocks(self._head)
        yield from self._inner.finish_blocks()

    def _skip_tags(self) -> None:
        """Drop ID3 tags before the audio, whose compressed texts FFmpeg would inflate."""
        while True:
            gone = min(self._tag, len(self._head))
            self._head, self._tag = self._head[gone:], self._tag - gone
            if self._tag or not (size := id3_bytes(self._head)):
                return
            self._tag = size

    def _open(self, head: bytes) -> AudioDecoder:
        found = container_of(head)
        if found is None:
            raise AudioError(
                f"this is no audio we know: it starts with {head[:HEAD_BYTES]!r}; give WAV, FLAC, "
                "MP3, Ogg, WebM or M4A; write samples without a header into a WAV file, or in a "
                "request declare them LINEAR16, MULAW or ALAW with sample rate and channel count"
            )
        if self._encoding not in (Encoding.AUTO, found):
            raise AudioError(
                f"the audio is declared {self._encoding.name} but starts like {found.name}; "
                f"declare {found.name} or AUTO"
            )
        if found is Encoding.WAV:
            return WavDecoder(*self._declared)
        return ContainerDecoder(found, self._encoding, *self._declared)
