"""The colours of values: dark where there is nothing, bright where there is much."""

from __future__ import annotations

from base64 import b64encode
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

INK, FAINT, RULE = "#1d1f23", "#5c626b", "#e2dfd9"
MARK, WARM = "#1f6f8b", "#b3541e"
"""The colours of a page in light, for images that know no other."""

_STOPS = ("#0d1321", "#143c55", "#1f6f8b", "#54a99a", "#e9b44c", "#fff6df")


def _ramp() -> NDArray[np.uint8]:
    stops = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in _STOPS])
    places = np.linspace(0, len(_STOPS) - 1, 256)
    channels = [np.interp(places, range(len(_STOPS)), stops[:, c]) for c in range(3)]
    ramp: NDArray[np.uint8] = np.rint(np.stack(channels, axis=1)).astype(np.uint8)
    return ramp


RAMP = _ramp()
"""(256, 3): the colours of 0 to 1; each is brighter than the one before."""


def heat_image(values: NDArray[np.floating]) -> str:
    """Values (T, R), 0 to 1, as an image T wide and R high, row 0 lowest: a data URI of a PNG."""
    numbers = np.rint(np.clip(np.nan_to_num(values), 0.0, 1.0) * 255).astype(np.uint8)
    pixels = RAMP[numbers.T[::-1]]
    height, width = numbers.T.shape
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "rgb24"
    codec.time_base = Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    data = b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
    return f"data:image/png;base64,{b64encode(data).decode()}"
