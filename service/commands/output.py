"""How every command tells what stops it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from ossicle.model.commands.errors import one_line

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
