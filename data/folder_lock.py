"""One writer to a folder at a time: a second one would mix its files with the first one's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
"""An empty file that stays; who holds it is known to the operating system, which lets go of it
when the process ends, however that is."""


class FolderInUseError(RuntimeError):
    """Another process writes to the folder."""


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Be the one who writes to a folder.

    Args:
        folder: made if it is missing.

    Raises:
        FolderInUseError: naming the folder.
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout:
        raise FolderInUseError(
            f"another process writes to {folder}: wait until it ends, or give another folder"
        ) from None
    with held:
        yield
