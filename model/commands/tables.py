"""Tables of names, on a terminal or in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 10_000  # columns: what reads a pipe has no edge


def print_table(table: Table) -> None:
    """Print a table of whole words: what is too long for a terminal goes on in the next line.

    Its texts are shown as they are: a device may be called "[hw:1,0]", which to Rich is a style.
    """
    from rich.console import Console

    for column in table.columns:
        column.overflow = "fold"
    console = Console(markup=False)
    if not console.is_terminal:
        console.width = _WIDE
    console.print(table)
