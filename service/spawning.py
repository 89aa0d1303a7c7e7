"""Processes of our own, each at the far end of a line to it."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any


def spawned(name: str, work: Callable[..., None], *args: Any) -> tuple[SpawnProcess, Connection]:
    """Start a process that ends with this one.

    Args:
        name: of the process.
        work: what it does, given `args` and its end of the line; all must be picklable.

    Returns:
        The process, and the line to it.

    Raises:
        OSError: it cannot be started.
    """
    # Not forked: threads of gRPC and ONNX Runtime do not survive that.
    spawning = get_context("spawn")
    line, far_end = spawning.Pipe()
    process = spawning.Process(target=work, args=(*args, far_end), name=name, daemon=True)
    try:
        process.start()
    except OSError:
        line.close()
        raise
    finally:
        far_end.close()
    return process, line


def ending(code: int) -> str:
    """How a process has ended, in words.

    Args:
        code: its exit code, or the negative number of the signal that ended it.
    """
    return f"signal {-code}" if code < 0 else f"exit code {code}"
