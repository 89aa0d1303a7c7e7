"""WAV files and live WAV streams.

Read here and not by FFmpeg, whose reader looks at 64 KiB before it gives the first sample: two
seconds of a live 16 kHz stream.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ossicle.data import pcm
from ossicle.data.decoder import AudioDecoder, SampleDecoder
from ossicle.data.formats import AudioError, check_declared
from ossicle.data.resampling import Samples

_FORMATS = {  # (format tag, bits)
    (1, 8): pcm.UNSIGNED_8,
    (1, 16): pcm.SIGNED_16,
    (1, 24): pcm.SIGNED_24,
    (1, 32): pcm.SIGNED_32,
    (3, 32): pcm.FLOAT_32,
    (3, 64): pcm.FLOAT_64,
    (6, 8): pcm.ALAW,
    (7, 8): pcm.MULAW,
}
_EXTENSIBLE = 0xFFFE
_FORMAT_CHUNK_BYTES = 1024

# Programs that write to a pipe cannot come back to fill in the length: they leave 0 or a value
# near a limit (SoX 0x7ffff000, ALSA 0x80000000, FFmpeg 0xffffffff), some less their header.
_UNKNOWN_LENGTHS = (range(1), range(0x7FFFF000 - 0x1000, 0x80000001), range(0xFFFFF000, 1 << 32))


class WavDecoder(AudioDecoder):
    """Decodes RIFF and RF64 WAV of PCM, floating-point, µ-law and A-law samples.

    Args:
        rate: Declared rate in Hz, 0 to take the header's.
        channels: Declared channel count, 0 to take the header's.
        max_seconds: Refuse audio that lasts longer.
    """

    def __init__(self, rate: int = 0, channels: int = 0, max_seconds: float = float("inf")) -> None:
        super().__init__(max_seconds)
        self._declared = rate, channels
        self._header = bytearray()
        self._position = 12  # behind "RIFF", the length and "WAVE"
        self._long_length: int | None = None
        self._decoder: SampleDecoder | None = None
        self._left: int | None = None  # bytes of samples to come, None if unknown
        self._in_data = False

    def _push(self, data: memoryview) -> Iterator[Samples]:
        if not self._in_data:
            self._header += data
            self._skip(0)
            begin = self._read_chunks()
            if begin is None:
                return
            data = memoryview(bytes(self._header[begin:]))
            self._header.clear()
            self._in_data = True
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        assert self._decoder is not None
        yield self._decoder.push(data)

    def _flush(self) -> Iterator[Samples]:
        if not self._in_data or self._decoder is None:
            raise AudioError("the WAV audio ends inside its header; send the whole recording")
        if self._left:
            raise AudioError(
                f"the WAV audio is cut short: its header announces {self._left} more bytes; "
                "send the whole recording"
            )
        yield self._decoder.flush()

    def _read_chunks(self) -> int | None:
        """Read chunks of the header; the offset of the first sample once it is there."""
        while len(self._header) >= self._position + 8:
            name, size = struct.unpack_from("<4sI", self._header, self._position)
            body = self._position + 8
            if name == b"data":
                if self._decoder is None:
                    raise AudioError('the WAV header has no "fmt " chunk before its samples')
                self._left = self._data_length(size)
                return body
            if name in (b"fmt ", b"ds64"):
                if size > _FORMAT_CHUNK_BYTES:
                    raise AudioError(f"the WAV header is damaged: a {name!r} chunk of {size} bytes")
                if len(self._header) < body + size:
                    return None
                chunk = bytes(self._header[body : body + size])
                if name == b"fmt ":
                    self._decoder = self._read_format(chunk)
                elif size >= 16:
                    (self._long_length,) = struct.unpack_from("<Q", chunk, 8)
            self._skip(8 + size + size % 2)
        return None

    def _skip(self, size: int) -> None:
        """Go on by `size` bytes, which may not have come yet, and forget those that have."""
        self._position += size
        gone = min(self._position, len(self._header))
        del self._header[:gone]
        self._position -= gone

    def _data_length(self, size: int) -> int | None:
        if self._long_length is not None and size == 0xFFFFFFFF:
            return self._long_length
        return None if any(size in unknown for unknown in _UNKNOWN_LENGTHS) else size

    def _read_format(self, chunk: bytes) -> SampleDecoder:
        if len(chunk) < 16:
            raise AudioError(f"the WAV header is damaged: a format chunk of {len(chunk)} bytes")
        tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
        if tag == _EXTENSIBLE and len(chunk) >= 26:
            (tag,) = struct.unpack_from("<H", chunk, 24)
        sample_format = _FORMATS.get((tag, bits))
        if sample_format is None:
            raise AudioError(
                f"WAV with format tag {tag} and {bits} bits is not supported; "
                "convert it to 16-bit PCM or FLAC"
            )
        decoder = SampleDecoder(sample_format, rate, channels)
        if block != sample_format.width * channels:
            raise AudioError(
                f"the WAV header contradicts itself: {channels} channels of {bits} bits "
                f"in blocks of {block} bytes"
            )
        check_declared(*self._declared, (rate,), channels)
        return decoder
