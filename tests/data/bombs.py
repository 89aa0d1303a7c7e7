"""Small files that would be much work or much memory: what each says is not what it holds."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import soundfile

MANY = 80_000_000
_OPUS_HEAD = b"OpusHead\x01\x01" + bytes(2) + struct.pack("<I", 48_000) + bytes(3)


def bombs(recordings: dict[str, bytes]) -> dict[str, bytes]:
    """The bombs by name, made from recordings of a moment in every container."""
    first, last = recordings["m4a-index-first"], recordings["m4a-index-last"]
    fragmented, flac, mp3 = (recordings[name] for name in ("m4a-fragmented", "flac", "mp3"))
    picture = _png(8000)
    return {
        "m4a of many samples": _same_samples(first),
        "m4a of many samples, index last": _same_samples(last),
        "m4a of many samples in a fragment": _with(fragmented, b"trun", (0, MANY)),
        "m4a of many samples of one tick": _with(first, b"stts", (0, 1, MANY, 1)),
        "m4a of many edits": _with(first, b"elst", (0, MANY)),
        "m4a with a compressed index": first.replace(b"udta", b"cmov"),
        "mp3 with a compressed tag": _id3(b"TIT2", _synchsafe(1 << 27) + _zeros(1 << 27)) + mp3,
        "mp3 with a large picture": _id3(b"APIC", b"\0image/png\0\3\0" + picture, b"\0\0") + mp3,
        "flac with a large picture": _flac_with_picture(flac, picture),
        "flac of hours of silence": _silence(2),
        "mp3 of noise": mp3[:400] + _noise(17 << 20),
        "flac of noise": flac[:4000] + _noise(17 << 20),
        "webm of many tracks": _webm(b"".join(_track(number) for number in range(1000))),
        "webm of a large block": _webm(_track(0), b"\xa3\x01" + _bytes7(1 << 28) + bytes(17 << 20)),
        "webm of compressed blocks": _webm(_track(0, _COMPRESSED), _compressed_blocks(200)),
    }


def _with(data: bytes, box: bytes, numbers: tuple[int, ...]) -> bytes:
    """The file with other numbers in a box."""
    at = data.index(box) + 4
    new = struct.pack(f">{len(numbers)}I", *numbers)
    return data[:at] + new + data[at + len(new) :]


def _same_samples(data: bytes) -> bytes:
    """All samples are said to be of one size, and to be in one chunk."""
    data = _with(data, b"stsz", (0, 1, MANY))
    data = _with(data, b"stsc", (0, 1, 1, MANY))
    return _with(data, b"stts", (0, 1, MANY, 1024))


def _synchsafe(number: int) -> bytes:
    return bytes((number >> shift) & 0x7F for shift in (21, 14, 7, 0))


def _zeros(count: int) -> bytes:
    squeezer = zlib.compressobj(9)
    pieces = [squeezer.compress(bytes(1 << 20)) for _ in range(count >> 20)]
    return b"".join([*pieces, squeezer.flush()])


def _id3(name: bytes, content: bytes, flags: bytes = b"\0\x09") -> bytes:
    frame = name + _synchsafe(len(content)) + flags + content
    return b"ID3\x04\0\0" + _synchsafe(len(frame)) + frame


def _png(side: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    pixels = _zeros((side * (4 * side + 1) + (1 << 20)) >> 20 << 20)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _flac_with_picture(flac: bytes, picture: bytes) -> bytes:
    about = struct.pack(">II9sI4I", 3, 9, b"image/png", 0, 8000, 8000, 32, 0)
    block = about + struct.pack(">I", len(picture)) + picture
    streaminfo, frames = flac[5:42], flac[flac.index(b"\xff\xf8") :]
    return b"fLaC\0" + streaminfo + b"\x86" + len(block).to_bytes(3, "big") + block + frames


def _silence(hours: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(hours * 3600 * 16_000, np.int16), 16_000, format="FLAC")
    return file.getvalue()


def _noise(size: int) -> bytes:
    """Bytes in which no frame of any codec begins."""
    return np.random.default_rng(1).integers(0, 0xFE, size, np.uint8).tobytes()


def _bytes7(number: int) -> bytes:
    return number.to_bytes(7, "big")


def _element(mark: bytes, content: bytes) -> bytes:
    return mark + b"\x01" + _bytes7(len(content)) + content


def _track(number: int, more: bytes = b"") -> bytes:
    audio = _element(b"\xb5", struct.pack(">d", 48_000)) + _element(b"\x9f", b"\1")
    return _element(
        b"\xae",
        _element(b"\xd7", bytes([number % 127 + 1]))
        + _element(b"\x83", b"\2")
        + _element(b"\x86", b"A_OPUS")
        + _element(b"\x63\xa2", _OPUS_HEAD)
        + _element(b"\xe1", audio)
        + more,
    )


_COMPRESSED = _element(
    b"\x6d\x80",
    _element(
        b"\x62\x40",
        _element(b"\x50\x31", b"\0")
        + _element(b"\x50\x32", b"\1")
        + _element(b"\x50\x33", b"\0")
        + _element(b"\x50\x34", _element(b"\x42\x54", b"\0")),
    ),
)


def _compressed_blocks(count: int) -> bytes:
    return _element(b"\xa3", b"\x81\0\0\x80" + _zeros(9 << 20)) * count


def _webm(tracks: bytes, cluster: bytes = b"") -> bytes:
    live = b"\x01" + b"\xff" * 7  # a length that nobody knows yet
    return (
        _element(b"\x1a\x45\xdf\xa3", _element(b"\x42\x82", b"webm"))
        + (b"\x18\x53\x80\x67" + live + _element(b"\x16\x54\xae\x6b", tracks))
        + (b"\x1f\x43\xb6\x75" + live + _element(b"\xe7", b"\0") + cluster)
    )
