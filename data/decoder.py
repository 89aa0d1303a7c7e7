"""The decoder interface, and the decoder of bare samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from types import TracebackType

import numpy as np
from ossicle.data import pcm
from ossicle.data.formats import (
    SAMPLE_RATE,
    AudioError,
    AudioTooLongError,
    Encoding,
    check_channels,
    container_of,
)
from ossicle.data.resampling import Resampler, Samples, join, mix_to_mono

SLICE_BYTES = 1 << 16
"""Input is worked off in slices, so that blocks are of moderate size whatever is fed."""


class AudioDecoder(ABC):
    """Turns the bytes of one recording, as they come, into mono float32 at 16 kHz.

    Feed bytes in pieces of any size; the samples, put together, are the same. Not for use from
    several threads at a time, except `close`, which any thread may call at any moment.

    Args:
        max_seconds: Refuse audio that lasts longer.
    """

    def __init__(self, max_seconds: float = float("inf")) -> None:
        self._max_seconds = max_seconds
        self._samples = 0
        self._finished = False
        self._closed = False
        self._error: AudioError | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> Samples:
        """Take the next bytes and return the samples (N,) they complete, possibly none.

        Raises:
            AudioError: The bytes are not audio of the encoding. All later calls raise it too.
            AudioTooLongError: There is more audio than `max_seconds`.
            RuntimeError: The decoder is finished or closed.
        """
        return join(list(self.feed_blocks(data)))

    def feed_blocks(self, data: bytes | bytearray | memoryview) -> Iterator[Samples]:
        """Like `feed`, in blocks (N_i,) of moderate size: a little FLAC may hold hours of silence.

        Read the iterator to its end before the next call.
        """
        self._check_open()
        view = memoryview(data)
        for start in range(0, len(view), SLICE_BYTES):
            yield from self._guard(self._push(view[start : start + SLICE_BYTES]))

    def finish(self) -> Samples:
        """Say that there are no more bytes and return the remaining samples (N,).

        Raises:
            AudioError: The recording is empty, cut short or not audio at all.
            AudioTooLongError: There is more audio than `max_seconds`.
            RuntimeError: The decoder is finished or closed.
        """
        return join(list(self.finish_blocks()))

    def finish_blocks(self) -> Iterator[Samples]:
        """Like `finish`, in blocks (N_i,) of moderate size."""
        self._check_open()
        self._finished = True
        yield from self._guard(self._last())

    def close(self) -> None:
        """Release everything. Returns at once, whatever the decoder is doing; may be repeated."""
        self._closed = True

    def __enter__(self) -> AudioDecoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _push(self, data: memoryview) -> Iterator[Samples]:
        """Decode the next bytes to blocks of samples (N_i,) at 16 kHz."""

    @abstractmethod
    def _flush(self) -> Iterator[Samples]:
        """Decode what is left after the last byte."""

    def _last(self) -> Iterator[Samples]:
        yield from self._flush()
        if self._samples == 0:
            raise AudioError("the audio is empty; send at least one sample")

    def _guard(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        try:
            for block in blocks:
                room = self._max_seconds * SAMPLE_RATE - self._samples
                self._samples += len(block)
                if len(block) > room:
                    if room >= 1:
                        yield block[: int(room)]
                    raise AudioTooLongError(
                        f"the audio is longer than the allowed {self._max_seconds:g} s; "
                        "send it in parts"
                    )
                if len(block):
                    yield block
        except AudioError as error:
            # A copy, which has not been raised: by its traceback an error knows the frames that it
            # came through, and they know this decoder, so that the two would stay in memory.
            self._error = copy(error)
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the decoder is closed")
        if self._error is not None:
            raise copy(self._error)
        if self._finished:
            raise RuntimeError("the decoder is finished; open another for another recording")


class SampleDecoder:
    """Interleaved samples of a fixed format, in pieces, to mono at 16 kHz.

    Args:
        sample_format: How a sample is stored.
        rate: Samples a second of the input.
        channels: Interleaved channels, which are averaged.

    Raises:
        AudioError: The rate or the channel count is out of range.
    """

    def __init__(self, sample_format: pcm.SampleFormat, rate: int, channels: int) -> None:
        check_channels(channels)
        self._format = sample_format
        self._channels = channels
        self._resampler = Resampler(rate)
        self._rest = b""

    def push(self, data: bytes | memoryview) -> Samples:
        """Decode the next bytes to samples (N,); bytes of an unfinished sample wait."""
        data = self._rest + data
        whole = len(data) - len(data) % (self._format.width * self._channels)
        self._rest = data[whole:]
        samples = self._format.decode(np.frombuffer(data, np.uint8, whole))
        return self._resampler.process(mix_to_mono(samples.reshape(-1, self._channels)))

    def flush(self) -> Samples:
        """The samples (N,) still in the resampler.

        Raises:
            AudioError: The last sample is incomplete.
        """
        if self._rest:
            raise AudioError(
                f"the audio ends in the middle of a sample: {len(self._rest)} byte(s) are left "
                f"over, {self._format.name} samples of {self._channels} channel(s) have "
                f"{self._format.width * self._channels}; is the encoding declared right?"
            )
        return self._resampler.flush()


class RawDecoder(AudioDecoder):
    """Decodes `LINEAR16`, `MULAW` and `ALAW` without a header."""

    _FORMATS = {  # noqa: RUF012
        Encoding.LINEAR16: pcm.SIGNED_16,
        Encoding.MULAW: pcm.MULAW,
        Encoding.ALAW: pcm.ALAW,
    }

    def __init__(
        self, encoding: Encoding, rate: int, channels: int, max_seconds: float = float("inf")
    ) -> None:
        super().__init__(max_seconds)
        self._encoding = encoding
        self._samples_decoder = SampleDecoder(self._FORMATS[encoding], rate, channels)
        self._head = b""

    def _push(self, data: memoryview) -> Iterator[Samples]:
        if len(self._head) < 12:
            self._head = (self._head + data[:12])[:12]
            if container_of(self._head) is Encoding.WAV:
                raise AudioError(
                    f"the audio is declared {self._encoding.name}, which has no header, but it "
                    "starts with a WAV header; declare WAV"
                )
        yield self._samples_decoder.push(data)

    def _flush(self) -> Iterator[Samples]:
        yield self._samples_decoder.flush()
