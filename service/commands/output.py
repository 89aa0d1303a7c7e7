"""What every command prints alike: errors, and live text that rewrites itself on one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import NoReturn, TextIO

import typer

FAILURE = 1
"""Exit code of a command that could not do all it was asked; 2 means it was asked wrongly."""

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, as shells have it."""


def complain(message: str) -> None:
    """Print one error on standard error; the command goes on."""
    label = "\x1b[31merror:\x1b[0m" if sys.stderr.isatty() else "error:"
    print(f"{label} {message}", file=sys.stderr, flush=True)


def fail(message: str, code: int = FAILURE) -> NoReturn:
    """Print one error on standard error and end the command."""
    complain(message)
    raise typer.Exit(code)


@contextmanager
def errors_in_one_line(*kinds: type[Exception]) -> Iterator[None]:
    """End the command with the message, not the traceback, of the errors a user can cause."""
    try:
        yield
    except BrokenPipeError:
        # The reader of our output has seen enough; typer ends the command quietly.
        raise
    except kinds as error:
        fail(one_line(error))


def one_line(error: Exception) -> str:
    """What an error says, for a person.

    An ``OSError`` names its file ("a.wav: No such file or directory") instead of its number.
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


class LiveText:
    """Partial results that rewrite one line of a terminal until the final one replaces them.

    Args:
        file: where to print.
        partial_lines: print each partial on a line of its own where lines cannot be rewritten
            (``file`` is not a terminal); otherwise only finals are printed there.
    """

    def __init__(self, file: TextIO, *, partial_lines: bool = False) -> None:
        self._file = file
        self._rewrites = file.isatty()
        self._partial_lines = partial_lines
        self._last_partial = ""

    def partial(self, text: str) -> None:
        """Show the utterance as far as it is known; of a long one the newest words."""
        if text == self._last_partial:
            return
        self._last_partial = text
        # A line that wrapped could not be taken back.
        room = get_terminal_size().columns - 5
        shown = f"  … {text[-room:]}"
        if self._rewrites:
            self._write(f"\r\x1b[2K\x1b[2m{shown}\x1b[0m")
        elif self._partial_lines:
            self._write(f"{shown}\n")

    def final(self, text: str) -> None:
        """Show the utterance for good; an empty one leaves no line."""
        erase = "\r\x1b[2K" if self._rewrites and self._last_partial else ""
        self._last_partial = ""
        self._write(f"{erase}{text}\n" if text else erase)

    def end(self) -> None:
        """Take a partial that was never followed by a final off the screen."""
        self.final("")

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()
