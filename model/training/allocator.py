"""How the C library's allocator treats the large tensors of training on a processor."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 256 << 20


def keep_freed_memory() -> bool:
    """Keep freed memory for the next tensor instead of giving it back to the system.

    By default glibc maps each large block anew and unmaps it when it is freed, and the system
    zeroes its pages every time: a tenth of the processor time of a training step and more.

    Returns:
        Whether the C library is one that can be told; others are left as they are.
    """
    mallopt = _function("mallopt")
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _TOP_PAD_BYTES))
    return all(mallopt(name, value) for name, value in settings)


def give_back_freed_memory() -> bool:
    """Give freed memory back to the system for once.

    Batches differ in length, so what is kept has gaps that nothing fits into, and a process that
    keeps all grows for hours.

    Returns:
        Whether the C library is one that can be told.
    """
    trim = _function("malloc_trim")
    if trim is None:
        return False
    trim(0)
    return True


def _function(name: str) -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), name, None)
