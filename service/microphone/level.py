"""How loud a recording is, as a bar."""

from __future__ import annotations

import math

import numpy as np

# From the quietest that the bar shows to full scale, in dB.
_RANGE = 60.0
# A peak stays to be seen: the bar falls no faster than this, in dB a chunk.
_FALL = 3.0
# Below it a device gives nothing but its own rounding: three steps of 16 bits.
_NOTHING = -80.0
_CELLS = 12
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_GREEN, _YELLOW, _RED = "32", "33", "31"


class LevelMeter:
    """The peak of the last chunks, in dB of full scale."""

    def __init__(self) -> None:
        self.level = -math.inf
        self.silent_chunks = 0
        """Chunks in a row that had no sound at all, not even that of a quiet room."""

    def add(self, chunk: bytes) -> None:
        """Take 16-bit samples."""
        samples = np.frombuffer(chunk, "<i2")
        peak = int(np.abs(samples.astype(np.int32)).max(initial=0))
        level = 20 * math.log10(peak / 32768) if peak else -math.inf
        self.silent_chunks = self.silent_chunks + 1 if level < _NOTHING else 0
        self.level = max(level, self.level - _FALL)

    @property
    def style(self) -> str:
        """Green, yellow close to full scale, red at it, where sound is cut off."""
        return _RED if self.level > -0.5 else _YELLOW if self.level > -6 else _GREEN

    def bar(self, blocks: bool) -> str:
        """The level in twelve characters.

        Args:
            blocks: with block elements, else with signs of ASCII.
        """
        share = min(max(1 + self.level / _RANGE, 0.0), 1.0)
        eighths = round(share * _CELLS * 8)
        if not blocks:
            return ("#" * (eighths // 8)).ljust(_CELLS)
        full, rest = divmod(eighths, 8)
        return (_EIGHTHS[8] * full + (_EIGHTHS[rest] if rest else "")).ljust(_CELLS)
