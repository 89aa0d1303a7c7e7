"""Live text on a terminal: what is certain scrolls up, what is not is rewritten in place below it.

The rewritten region is the utterance so far, in as many lines as it takes, and under it a status
line if there is one. Where lines cannot be rewritten (a file, a pipe, a terminal that calls itself
dumb) only what is certain is printed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from shutil import get_terminal_size
from typing import TextIO

Pieces = Sequence[tuple[str, str]]
"""Pieces of a line, each a text and the style that a terminal gives it (SGR codes, "" for none)."""

DIM = "2"
# Of an utterance that is longer, the newest lines are shown.
_MOST_LINES = 6
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class LiveText:
    """Partial results that are rewritten until the final one replaces them.

    It may be used by several threads.

    Args:
        file: where to print.
        partial_lines: print each partial on a line of its own where lines cannot be rewritten;
            otherwise only finals are printed there.
    """

    def __init__(self, file: TextIO, *, partial_lines: bool = False) -> None:
        self._file = file
        self._styled = not os.environ.get("NO_COLOR")
        self._partial_lines = partial_lines
        self._partial = ""
        self._status: Pieces = ()
        self._drawn: list[int] = []  # widths of the lines of the region
        self._cursor_hidden = False
        self._turn = threading.RLock()
        self.rewrites = file.isatty() and os.environ.get("TERM") != "dumb"

    def partial(self, text: str) -> None:
        """Show the utterance as far as it is known; of a very long one the newest words."""
        with self._turn:
            if text == self._partial:
                return
            self._partial = text
            if self.rewrites:
                self._write(self._redrawn())
            elif self._partial_lines and text:
                self._write(f"  {self._mark} {text}\n")

    def final(self, text: str) -> None:
        """Show the utterance for good; an empty one leaves no line."""
        with self._turn:
            self._partial = ""
            if self.rewrites:
                lines = wrap(text, max(get_terminal_size().columns - 1, 1))
                self._write(self._erased() + "".join(f"{line}\n" for line in lines))
                self._write(self._redrawn())
            elif text:
                self._write(f"{text}\n")

    def status(self, pieces: Pieces) -> None:
        """Show a line below the text, as much of it as fits; only where lines are rewritten."""
        with self._turn:
            if self.rewrites and pieces != self._status:
                self._status = pieces
                self._write(("" if self._cursor_hidden else _HIDE_CURSOR) + self._redrawn())
                self._cursor_hidden = True

    def end(self) -> None:
        """Take what is not certain off the screen, and the status."""
        with self._turn:
            self._status = ()
            self.final("")
            if self._cursor_hidden:
                self._cursor_hidden = False
                self._write(_SHOW_CURSOR)

    def can_show(self, text: str) -> bool:
        """Whether the file's encoding has these characters."""
        try:
            text.encode(self._file.encoding or "utf-8")
        except UnicodeEncodeError:
            return False
        return True

    @property
    def _mark(self) -> str:
        """What says that more will come."""
        return "…" if self.can_show("…") else "..."

    def _erased(self) -> str:
        """Codes that remove the region and go to its beginning."""
        if not self._drawn:
            return ""
        columns = get_terminal_size().columns
        # A terminal that became narrower has wrapped the lines anew.
        rows = sum(max(1, -(-width // columns)) for width in self._drawn)
        self._drawn = []
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "") + "\x1b[J"

    def _redrawn(self) -> str:
        """Codes and text that replace the region by what it should be now."""
        from rich.cells import cell_len

        size = get_terminal_size()
        # A full last column makes some terminals go to the next line.
        width = max(size.columns - 1, 1)
        lines: list[Pieces] = []
        if self._partial:
            room = max(min(_MOST_LINES, size.lines - 2), 1)
            wrapped = wrap(f"{self._partial} {self._mark}", width)
            lines += [[(line, DIM)] for line in wrapped[-room:]]
        if self._status:
            lines.append(cut(self._status, width))
        erased = self._erased()
        self._drawn = [sum(cell_len(text) for text, _ in line) for line in lines]
        return erased + "\n".join(
            "".join(self._with_style(text, style) for text, style in line) for line in lines
        )

    def _with_style(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if style and self._styled else text

    def _write(self, text: str) -> None:
        if text:
            encoding = self._file.encoding or "utf-8"
            self._file.write(text.encode(encoding, "replace").decode(encoding))
            self._file.flush()


def wrap(text: str, width: int) -> list[str]:
    """Text in lines of so many cells, of which wide characters take two; only long words are cut.

    Args:
        text: words with spaces between them.
        width: at least 1; a character that is wider has a line of its own.
    """
    from rich.cells import cell_len, chop_cells

    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines += chop_cells(word, width)
    return lines


def cut(pieces: Pieces, width: int) -> Pieces:
    """The first pieces of a line that fit into so many cells as a whole."""
    from rich.cells import cell_len

    kept = []
    for text, style in pieces:
        width -= cell_len(text)
        if width < 0:
            break
        kept.append((text, style))
    return kept
