"""The memory of a server's process once its models are loaded."""

from __future__ import annotations

import ctypes
import gc
import sys


def settle() -> None:
    """Take what there is now as what will stay, and give back what loading it has freed.

    Python's collector looks through it once more and then no longer: it neither delays steps nor
    keeps the collector from looking often for the few objects that know each other which gRPC
    leaves of each call. glibc keeps freed memory below memory in use, tens of megabytes after a
    language model was read, unless it is told to give it back.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
