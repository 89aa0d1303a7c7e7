"""Uncompressed and companded samples to floating point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ossicle.data.formats import AudioError
from ossicle.data.resampling import Samples

PEAK_LIMIT = 16.0
"""Floating-point samples beyond this (24 dB over full scale) are data in a wrong scale."""


@dataclass(frozen=True)
class SampleFormat:
    """How one sample is stored.

    Attributes:
        name: Name for messages.
        width: Bytes a sample.
        decode: Bytes of whole samples, as uint8 (N * width,), to float32 (N,) in -1 to 1.
    """

    name: str
    width: int
    decode: Callable[[npt.NDArray[np.uint8]], Samples]


def _mulaw_table() -> Samples:
    """ITU-T G.711 µ-law: sign, 3 bits of exponent, 4 of mantissa, all inverted."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = ((2 * mantissa + 33) << exponent) - 33
    # 14-bit values; four times as much is the customary 16-bit scale.
    return (np.where(code & 128, -magnitude, magnitude) * 4 / 32768).astype(np.float32)


def _alaw_table() -> Samples:
    """ITU-T G.711 A-law: like µ-law with every second bit inverted and a linear first segment."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = ((code >> 4) & 7).astype(np.int32), (code & 15).astype(np.int32)
    magnitude = np.where(
        exponent == 0, 2 * mantissa + 1, (2 * mantissa + 33) << np.maximum(exponent - 1, 0)
    )
    # 13-bit values; eight times as much is the customary 16-bit scale.
    return (np.where(code & 128, magnitude, -magnitude) * 8 / 32768).astype(np.float32)


_MULAW, _ALAW = _mulaw_table(), _alaw_table()


def _decode_24(raw: npt.NDArray[np.uint8]) -> Samples:
    wide = np.zeros((len(raw) // 3, 4), np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    return wide.reshape(-1).view("<i4").astype(np.float32) * np.float32(2**-31)


def _decode_integer(kind: str, bits: int) -> Callable[[npt.NDArray[np.uint8]], Samples]:
    scale = np.float32(2.0 ** (1 - bits))
    return lambda raw: raw.view(kind).astype(np.float32) * scale


def _decode_float(kind: str) -> Callable[[npt.NDArray[np.uint8]], Samples]:
    return lambda raw: checked_float(raw.view(kind))


def checked_float(samples: npt.NDArray[np.floating]) -> Samples:
    """Floating-point samples of any shape as float32, refused where they cannot be audio.

    One NaN would stay in the network's state for the rest of the stream.

    Raises:
        AudioError: A sample is not finite or far beyond full scale.
    """
    if samples.size:
        peak = float(np.max(np.abs(samples)))
        if not peak <= PEAK_LIMIT:
            raise AudioError(
                f"a floating-point sample has the magnitude {peak}; they must lie within -1 to 1"
            )
    return samples.astype(np.float32)


def to_linear16(samples: npt.NDArray[np.floating]) -> bytes:
    """Float samples of any shape, -1 to 1, as signed 16-bit little-endian ones in its order.

    Raises:
        AudioError: A sample is not finite or far beyond full scale.
    """
    scaled = np.rint(checked_float(samples) * np.float32(32768))
    data: bytes = np.clip(scaled, -32768, 32767).astype("<i2").tobytes()
    return data


MULAW = SampleFormat("µ-law", 1, lambda raw: _MULAW[raw])
ALAW = SampleFormat("A-law", 1, lambda raw: _ALAW[raw])
UNSIGNED_8 = SampleFormat(
    "8-bit", 1, lambda raw: (raw.astype(np.float32) - np.float32(128)) * np.float32(1 / 128)
)
SIGNED_16 = SampleFormat("16-bit", 2, _decode_integer("<i2", 16))
SIGNED_24 = SampleFormat("24-bit", 3, _decode_24)
SIGNED_32 = SampleFormat("32-bit", 4, _decode_integer("<i4", 32))
FLOAT_32 = SampleFormat("32-bit float", 4, _decode_float("<f4"))
FLOAT_64 = SampleFormat("64-bit float", 8, _decode_float("<f8"))
