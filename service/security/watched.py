"""A value read from files, which follows them when they change."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

_Marks = tuple[tuple[int, int, int, int] | None, ...]


class Watched(Generic[T]):
    """What files say now; what they said before while they say nothing that makes sense.

    A change is noticed when the value is next asked for: nothing runs in between. May be used from
    several threads.

    Args:
        paths: the files.
        read: reads the value from them; its OSError and ValueError mean that it makes no sense.

    Raises:
        OSError, ValueError: of ``read``, the first time.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], read: Callable[[], T]) -> None:
        self._paths = [Path(path) for path in paths]
        self._read = read
        self._lock = threading.Lock()
        # Before the reading: a change meanwhile is then seen as one the next time.
        self._marks = self._look()
        self._value = read()
        self._unreadable = ""  # why they could not be read the last time

    def current(self) -> T:
        """The value, read anew if a file is not what it was."""
        with self._lock:
            marks = self._look()
            # A disk may be back, or a folder be opened, without a change of the files.
            if marks != self._marks or self._unreadable:
                changed, self._marks = marks != self._marks, marks
                names = ", ".join(map(os.fspath, self._paths))
                try:
                    self._value = self._read()
                except (OSError, ValueError) as error:
                    if changed or str(error) != self._unreadable:
                        log.error("%s: %s; what it said before stays in force", names, error)
                    self._unreadable = str(error) if isinstance(error, OSError) else ""
                else:
                    self._unreadable = ""
                    log.info("%s: read again, for it has changed", names)
            return self._value

    def _look(self) -> _Marks:
        return tuple(map(_mark, self._paths))


def _mark(path: Path) -> tuple[int, int, int, int] | None:
    """What tells one version of a file from the next, also behind a link; None if it is gone.

    The time of its status, too: who may read it is part of that.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
