"""Pushing bytes into a decoder that pulls them.

FFmpeg asks for bytes when it wants some; a network stream gives bytes when it has some. The decoder
therefore runs in a thread of its own, and caller and thread take turns: `feed` hands over bytes
and comes back when the thread has used them all and waits for more. Neither side ever holds more
than one slice of input and a limited amount of output.
"""

from __future__ import annotations

import io
import threading
import time
import weakref
from collections.abc import Callable, Iterator

from ossicle.data.container import ByteSource, decode_container
from ossicle.data.decoder import AudioDecoder
from ossicle.data.formats import SAMPLE_RATE, AudioError, Encoding
from ossicle.data.mp4 import Mp4Boxes
from ossicle.data.resampling import Samples, join

# FFmpeg may take another path where it meets a short read (it loses the first frame of some MP3
# files), so it is given blocks of one size whatever the pieces were. 512 bytes of speech at
# 24 kbit/s are 0.17 s.
_READ_BYTES = 512
_OUTPUT_LIMIT = 10 * SAMPLE_RATE
_M4A_LIMIT = 64 << 20

# A small recording may be much work, and a large one no sound at all. FFmpeg decodes speech a
# hundred times as fast as it is spoken, and no picture in a recording is that large.
_SILENT_BYTES = 16 << 20
_SPARE_SECONDS = 5.0


class _Exchange:
    """The place where caller and decoding thread meet; all fields are guarded by `_turn`."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._input = b""
        self._position = 0
        self._ended = False
        self._hungry = False
        self._output: list[Samples] = []
        self._output_samples = 0
        self._unheard = 0  # bytes since the last sound
        self._heard = 0.0  # seconds
        self._done = False
        self._closed = False
        self._error: Exception | None = None

    def read(self, size: int) -> bytes:
        """For the thread: the next bytes, waiting for them; none at the end or when closed."""
        with self._turn:
            size = min(size, _READ_BYTES)
            while not (len(self._input) - self._position >= size or self._ended or self._closed):
                self._hungry = True
                self._turn.notify_all()
                self._turn.wait()
            # Closing looks like the end of the recording: PyAV would log an exception from here.
            if self._closed or self._refuses():
                return b""
            data = self._input[self._position : self._position + size]
            self._position += size
            self._unheard += len(data)
            return data

    def run(self, decode: Callable[[ByteSource], Iterator[Samples]]) -> None:
        """For the thread: decode to the end, to an error or until closed."""
        try:
            for block in decode(self):
                with self._turn:
                    self._output.append(block)
                    self._output_samples += len(block)
                    self._heard += len(block) / SAMPLE_RATE
                    self._unheard = 0 if len(block) else self._unheard
                    while self._output_samples >= _OUTPUT_LIMIT and not self._closed:
                        self._turn.notify_all()
                        self._turn.wait()
                    if self._closed:
                        return
        except Exception as error:
            with self._turn:
                # To this thread, closing looks like a recording cut short: that error is nobody's.
                self._error = None if self._closed else self._error or error
        finally:
            with self._turn:
                self._done = True
                self._turn.notify_all()

    def _refuses(self) -> bool:
        """Whether the recording is more trouble than sound."""
        work = time.thread_time()
        if self._unheard > _SILENT_BYTES:
            self._error = AudioError(
                f"{self._unheard >> 20} MiB of the recording have no sound in them; send the "
                "sound alone, or convert it to FLAC"
            )
        elif work > self._heard + _SPARE_SECONDS:
            self._error = AudioError(
                f"decoding takes too long: {work:.1f} s of work for {self._heard:.1f} s of audio; "
                "convert it to FLAC"
            )
        return self._error is not None

    def exchange(self, data: bytes, end: bool = False) -> Iterator[Samples]:
        """For the caller: give bytes, get the blocks (N_i,) that they complete."""
        with self._turn:
            self._input, self._position = self._input[self._position :] + data, 0
            self._ended, self._hungry = end, False
            self._turn.notify_all()
        rests = False
        while not rests:
            with self._turn:
                while not (
                    self._hungry
                    or self._done
                    or self._closed
                    or self._output_samples >= _OUTPUT_LIMIT
                ):
                    self._turn.wait()
                rests = self._hungry or self._done or self._closed
                block, self._output, self._output_samples = join(self._output), [], 0
                self._turn.notify_all()
            yield block
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            # It knows this frame and those that read it, down to the decoder that `finalize` keeps
            # for as long as something here knows it.
            del error

    def close(self) -> None:
        """Wake both sides and end the thread at its next step."""
        with self._turn:
            self._closed = True
            self._error = None
            self._input = b""
            self._output.clear()
            self._turn.notify_all()


class ContainerDecoder(AudioDecoder):
    """Decodes a compressed container from pushed bytes.

    Args:
        container: What `container_of` says it is.
        declared: What the caller says it is.
        rate: Declared rate in Hz, 0 to take the header's.
        channels: Declared channel count, 0 to take the header's.
        max_seconds: Refuse audio that lasts longer.
    """

    def __init__(
        self,
        container: Encoding,
        declared: Encoding = Encoding.AUTO,
        rate: int = 0,
        channels: int = 0,
        max_seconds: float = float("inf"),
    ) -> None:
        super().__init__(max_seconds)
        self._container = container
        m4a = container is Encoding.M4A
        self._collected: bytearray | None = bytearray() if m4a else None
        self._boxes = Mp4Boxes() if m4a else None
        self._exchange = exchange = _Exchange()
        # Neither the thread nor its arguments refer to this object, so that a forgotten decoder
        # is collected and takes its thread along.
        weakref.finalize(self, exchange.close)

        def decode(source: ByteSource) -> Iterator[Samples]:
            return decode_container(source, container, declared, rate, channels)

        self._decode = decode
        self._thread = threading.Thread(
            target=exchange.run, args=(decode,), name="audio-decoder", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Release everything; the thread ends by itself at its next step."""
        super().close()
        self._exchange.close()

    def _push(self, data: memoryview) -> Iterator[Samples]:
        if self._boxes is not None:
            self._boxes.look_at(bytes(data))
        if self._collected is None or self._boxes is None:
            yield from self._exchange.exchange(bytes(data))
            return
        self._collected += data
        if self._boxes.first == b"moov":
            collected, self._collected = bytes(self._collected), None
            yield from self._exchange.exchange(collected)
        elif len(self._collected) > _M4A_LIMIT:
            raise AudioError(
                f"M4A audio whose index is at its end can be read up to {_M4A_LIMIT >> 20} MiB; "
                "move the index to the front (ffmpeg -i in.m4a -c copy -movflags +faststart "
                "out.m4a) or convert it to FLAC"
            )

    def _flush(self) -> Iterator[Samples]:
        if self._collected is None:
            yield from self._exchange.exchange(b"", end=True)
        else:
            yield from self._decode(io.BytesIO(bytes(self._collected)))
