"""Checksums of Ogg pages (RFC 3533) and FLAC frame headers (RFC 9639), put right after damage."""

from __future__ import annotations


def _table(polynomial: int, bits: int) -> list[int]:
    top = 1 << (bits - 1)
    table = []
    for value in range(256):
        rest = value << (bits - 8)
        for _ in range(8):
            rest = (rest << 1) ^ (polynomial if rest & top else 0)
        table.append(rest & ((1 << bits) - 1))
    return table


_CRC32 = _table(0x04C11DB7, 32)
_CRC8 = _table(0x07, 8)


def ogg_repaired(data: bytearray, serial: bytes | None = None) -> None:
    """Give each page of an Ogg stream the checksum that its bytes have now.

    Args:
        data: the stream, which is changed.
        serial: a number of four bytes for the stream; None leaves it as it is.
    """
    at = data.find(b"OggS")
    while at >= 0 and len(data) >= at + 27:
        segments = data[at + 26]
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        data[at + 14 : at + 18] = serial or data[at + 14 : at + 18]
        data[at + 22 : at + 26] = bytes(4)
        rest = 0
        for byte in data[at:end]:
            rest = ((rest << 8) & 0xFFFFFFFF) ^ _CRC32[(rest >> 24) ^ byte]
        data[at + 22 : at + 26] = rest.to_bytes(4, "little")
        at = data.find(b"OggS", max(end, at + 4))


def flac_repaired(data: bytearray) -> None:
    """Give what looks like the header of a FLAC frame the checksum that its bytes have now."""
    at = data.find(b"\xff\xf8", 42)
    while at >= 0 and len(data) >= at + 16:
        end = at + 4 + _coded_number_bytes(data[at + 4])
        end += {6: 1, 7: 2}.get(data[at + 2] >> 4, 0)  # the block's size follows
        end += {12: 1, 13: 2, 14: 2}.get(data[at + 2] & 15, 0)  # the rate follows
        rest = 0
        for byte in data[at:end]:
            rest = _CRC8[rest ^ byte]
        data[end : end + 1] = bytes([rest])
        at = data.find(b"\xff\xf8", end)


def _coded_number_bytes(first: int) -> int:
    """Bytes of a number that is coded like a character of UTF-8."""
    ones = 8 - (first ^ 0xFF).bit_length()
    return max(ones, 1)
