"""How the commands report what stops them."""

from __future__ import annotations

from importlib.util import find_spec

import typer
from rich.console import Console
from rich.text import Text

_err = Console(stderr=True)


def fail(message: str, code: int = 1) -> typer.Exit:
    """Print an error and return the exception that ends the command."""
    _err.print(Text.assemble(("error:", "red"), f" {message}"), soft_wrap=True)
    return typer.Exit(code)


def one_line(error: Exception) -> str:
    """What an error says, for a person.

    An ``OSError`` names its file ("a.wav: No such file or directory") instead of its number.
    """
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename is not None else ""
        return f"{named}{error.strerror}"
    return " ".join(str(error).split())


def need_training_packages(*names: str) -> None:
    """Stop with the remedy if a package of the extra `train` is not installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise fail(f"this command needs {', '.join(missing)}: pip install 'ossicle[train]'", code=2)
