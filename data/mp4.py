"""What an MP4 file says of its samples, looked at before FFmpeg believes it.

FFmpeg makes an entry of 24 bytes for each sample that the index announces: without this, a file of
five kilobytes makes gigabytes. A file is a row of boxes, each with its size and name before it; the
sound itself is in those named `mdat`, whose bytes may look like anything.
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

# Found by their names alone, since boxes may be nested in more ways than one thinks of; but not in
# the sound. Of each, its name, version and flags, and three numbers.
_BOX_BYTES = 20
_BOXES = re.compile(rb"(stsz|stz2|stts|elst|trun|cmov)", re.DOTALL)
_SAMPLE_FIELDS = 0xF00

# Boxes in a row: as many as this, and one for so many bytes. Each costs time.
_FREE_BOXES = 1000
_BYTES_PER_BOX = 64


class Mp4Boxes:
    """The outermost boxes of an MP4 file, as its bytes come.

    Attributes:
        first: the name of the first that decides how the file can be read: `moov`, the index, or
            `mdat`, the samples; None if neither has begun yet.
    """

    def __init__(self) -> None:
        self.first: bytes | None = None
        self._count = SampleCount()
        self._boxes = 0
        self._bytes = 0
        self._header = b""
        self._left: int | None = 0  # bytes of the present box to come, None if it has no end
        self._is_sound = False

    def look_at(self, data: bytes) -> None:
        """Look at the next bytes.

        Raises:
            AudioError: a box has no size that a box can have, or they announce more samples than
                any recording has, or than its bytes can hold.
        """
        self._bytes += len(data)
        position = 0
        while position < len(data):
            if self._left == 0:
                missing = 16 - len(self._header)
                self._header += data[position : position + missing]
                if len(self._header) < 16:
                    return
                position += missing
                self._begin(self._header)
                continue
            end = len(data) if self._left is None else min(position + self._left, len(data))
            if not self._is_sound:
                self._count.look_at(data[position:end], self._bytes)
            if self._left is not None:
                self._left -= end - position
            position = end

    def _begin(self, header: bytes) -> None:
        """A box, with the 16 bytes that it begins with, of which the last 8 may be the next's."""
        size, name = int.from_bytes(header[:4], "big"), header[4:8]
        whole = 16 if size == 1 else 8
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        decides = self.first is None and name in (b"moov", b"mdat")
        if size < whole:  # it has no end, as only a last one may
            if self.first is None and not decides:
                raise AudioError(f"the M4A file is damaged: a {name!r} box of {size} bytes")
            size = 0
        self._boxes += 1
        if self._boxes > _FREE_BOXES + self._bytes // _BYTES_PER_BOX:
            raise AudioError(f"the M4A file is damaged: {self._boxes} boxes in {self._bytes} bytes")
        if decides:
            self.first = name
        self._is_sound = name == b"mdat"
        self._left = size - whole if size else None
        self._header = b""
        if whole == 8:
            self._look_behind(header[8:])

    def _look_behind(self, eight: bytes) -> None:
        """Those bytes of a header that are behind it."""
        self._bytes -= len(eight)
        self.look_at(eight)


class SampleCount:
    """How many samples the boxes of an MP4 file announce, counted as their bytes come."""

    def __init__(self) -> None:
        self._bytes = 0
        self._tail = b""
        self._samples = 0
        self._free = 0
        self._edits = 0

    def look_at(self, data: bytes, so_far: int) -> None:
        """Look at the next bytes.

        Args:
            so_far: bytes of the file that have come, the sound too.

        Raises:
            AudioError: they announce more than any recording has, or than its bytes can hold.
        """
        self._bytes = so_far
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
