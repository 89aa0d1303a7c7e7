"""How the processes of a pool behave when their work is to end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

_LOOK_SECONDS = 1.0


def begin() -> None:
    """Leave Ctrl-C to the process that the user talks to, and end with it, however it ends."""
    # Ctrl-C reaches every process; that one answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # How the pool ends what is left of it, whatever that process does at this signal.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, name="ossicle-parent", daemon=True).start()


def _end_with_parent() -> None:
    parent, number = multiprocessing.parent_process(), os.getppid()
    # Where processes are forked, others hold open what tells of the end, but an orphan gets another
    # parent; on Windows it is the other way round.
    while parent is not None and parent.is_alive() and os.getppid() == number:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)
