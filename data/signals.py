"""Signals that ask a command to end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def heeded(
    names: Sequence[str], handler: Callable[[int, FrameType | None], None]
) -> Iterator[dict[int, Any]]:
    """Let a function answer signals meanwhile.

    Args:
        names: of signals; those that this system lacks are passed over, and so are those that are
            ignored: as nohup has it, they stay so.
        handler: as of `signal.signal`.

    Yields:
        What answered each before, by its number.
    """
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield before
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def stoppable(consequence: str, fail: Callable[[str, int], Exception]) -> Iterator[None]:
    """End a command by Ctrl-C or SIGTERM with one line that says what became of it.

    Args:
        consequence: what became of it.
        fail: tells a message and makes the exception that ends the command with an exit code.

    Raises:
        Exception: that.
    """
    code = 130

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal code
        code = 128 + number
        raise KeyboardInterrupt

    try:
        with heeded(("SIGTERM",), end):
            yield
    except KeyboardInterrupt:
        raise fail(f"stopped; {consequence}", code) from None
