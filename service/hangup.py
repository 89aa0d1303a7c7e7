"""SIGHUP that comes before there is a server to heed it waits for one.

By itself it would end a process that still loads its models; see :func:`run_server
<ossicle.service.server.run_server>` for what it is to do.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held() -> Iterator[None]:
    """Let it wait; where there is none, on Windows, nothing is done."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed() -> None:
    """Let it, and what has waited of it, reach this thread, whose handler is in place."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
