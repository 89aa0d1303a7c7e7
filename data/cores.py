"""How many processors there are to use."""

from __future__ import annotations

import os
import sys


def usable_cores() -> int:
    """Processors that this process may use.

    A container, a batch system or `taskset` may leave it some of the machine's alone.
    """
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
