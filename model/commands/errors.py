"""How the commands report what stops them."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.markup import escape

_err = Console(stderr=True)


def fail(message: str, code: int = 1) -> typer.Exit:
    """Print an error and return the exception that ends the command."""
    _err.print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(code)
