"""The recordings in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ossicle.data.formats import RECORDING_SUFFIXES


def recordings_in(
    folder: Path, on_error: Callable[[OSError], None] | None = None
) -> Iterator[Path]:
    """The recordings at any depth of a folder by their suffixes, those of each folder sorted.

    Hidden ones are left out, such as what macOS puts beside files; linked folders are not.

    Args:
        on_error: told of folders that cannot be read.
    """
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:  # a link to where it is already
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() in RECORDING_SUFFIXES and not name.startswith("."):
                yield path
