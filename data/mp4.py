"""What an MP4 file says of its samples, looked at before FFmpeg believes it.

FFmpeg makes an entry of 24 bytes for each sample that the index announces: without this, a file of
five kilobytes makes gigabytes.
"""

from __future__ import annotations

import re

from ossicle.data.formats import AudioError

# Sixty hours of AAC.
MOST_SAMPLES = 10_000_000
# Samples that take no room in the index, all of one size: as many as this, and one for each so many
# bytes that have come.
_FREE_SAMPLES = 100_000
_BYTES_PER_FREE_SAMPLE = 8

# Found by their names alone, since boxes may be nested in more ways than one thinks of. Of each,
# its name, version and flags, and three numbers.
_BOX_BYTES = 20
_BOXES = re.compile(rb"(stsz|stz2|stts|elst|trun|cmov)", re.DOTALL)
_SAMPLE_FIELDS = 0xF00


class SampleCount:
    """How many samples an MP4 file announces, counted as its bytes come."""

    def __init__(self) -> None:
        self._bytes = 0
        self._tail = b""
        self._samples = 0
        self._free = 0
        self._edits = 0

    def look_at(self, data: bytes) -> None:
        """Look at the next bytes.

        Raises:
            AudioError: they announce more than any recording has, or than its bytes can hold.
        """
        self._bytes += len(data)
        data = self._tail + data
        position = 0
        while (box := _BOXES.search(data, position)) is not None:
            if len(data) < box.start() + _BOX_BYTES:
                break
            self._count(box[1], data[box.start() + 4 : box.start() + _BOX_BYTES])
            position = box.start() + 4
        rest = box.start() if box else max(position, len(data) - 3)
        self._tail = data[rest:]

    def _count(self, name: bytes, numbers: bytes) -> None:
        flags, first, second, third = (
            int.from_bytes(numbers[at : at + 4], "big") for at in range(0, 16, 4)
        )
        if name == b"cmov":
            raise AudioError("M4A with a compressed index is not supported; convert it to FLAC")
        if name == b"stts":
            # FFmpeg counts such samples by the chunk, which another table announces.
            if third == 1 and first:
                raise AudioError(
                    "M4A whose samples last a single tick is not supported; convert it to FLAC"
                )
            return
        if name == b"elst":
            self._edits += first
        elif name == b"trun":
            self._add(first, free=not flags & _SAMPLE_FIELDS)
        else:
            self._add(second, free=name == b"stsz" and first > 0)
        # Each edit may list all samples again.
        announced = self._samples * max(self._edits, 1)
        if announced > MOST_SAMPLES:
            raise AudioError(
                f"the M4A audio announces {announced} samples, more than the {MOST_SAMPLES} that "
                "are read; send it in parts, or as FLAC"
            )
        supported = _FREE_SAMPLES + self._bytes // _BYTES_PER_FREE_SAMPLE
        if self._free > supported:
            raise AudioError(
                f"the M4A audio announces {self._free} samples in {self._bytes} bytes; it is "
                "damaged, or convert it to FLAC"
            )

    def _add(self, samples: int, free: bool) -> None:
        self._samples += samples
        self._free += samples if free else 0


def first_box(data: bytes | bytearray) -> bytes | None:
    """Name of the first box of an MP4 file that decides how it can be read.

    That is `moov`, the index, or `mdat`, the samples; `None` if neither has begun yet.

    Raises:
        AudioError: a box has no size that a box can have.
    """
    position = 0
    while len(data) >= position + 16:
        size = int.from_bytes(data[position : position + 4], "big")
        name = bytes(data[position + 4 : position + 8])
        if name in (b"moov", b"mdat"):
            return name
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size < 8:
            raise AudioError(f"the M4A file is damaged: a {name!r} box of {size} bytes")
        position += size
    return None
