"""The Enter key, while something else goes on on the terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# The key is looked up this often.
_POLL_SECONDS = 0.1


@contextmanager
def enter_key(pressed: Callable[[], None]) -> Iterator[bool]:
    """Call a function, from another thread, each time Enter is pressed, and show no key meanwhile.

    Yields:
        Whether there is a keyboard; False where standard input is no terminal, or not ours now.
    """
    if sys.stdin is None or not sys.stdin.isatty() or not _in_foreground():
        yield False
        return
    left = threading.Event()
    with _silent_keys():
        watch = threading.Thread(target=_watch, args=(pressed, left), name="ossicle-keys")
        watch.start()
        try:
            yield True
        finally:
            left.set()
            watch.join()


if sys.platform == "win32":
    import msvcrt

    def _in_foreground() -> bool:
        return True

    @contextmanager
    def _silent_keys() -> Iterator[None]:
        yield  # what is read key by key is not shown

    def _watch(pressed: Callable[[], None], left: threading.Event) -> None:
        while not left.wait(_POLL_SECONDS):
            while msvcrt.kbhit():
                if msvcrt.getwch() == "\r":
                    pressed()

else:
    import select
    import termios

    def _in_foreground() -> bool:
        try:
            return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
        except OSError:
            return False

    @contextmanager
    def _silent_keys() -> Iterator[None]:
        keyboard = sys.stdin.fileno()
        before = termios.tcgetattr(keyboard)
        silent = termios.tcgetattr(keyboard)
        silent[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, silent)
        try:
            yield
        finally:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)

    def _watch(pressed: Callable[[], None], left: threading.Event) -> None:
        keyboard = sys.stdin.fileno()
        while not left.is_set():
            if not select.select([keyboard], [], [], _POLL_SECONDS)[0]:
                continue
            keys = os.read(keyboard, 1024)
            if not keys:
                return  # the terminal is gone
            if b"\n" in keys or b"\r" in keys:
                pressed()
