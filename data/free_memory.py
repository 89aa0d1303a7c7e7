"""How much memory there is to use."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Bytes that processes may still take, before others are pushed out or killed.

    A container may leave less of them than the machine has.

    Args:
        meminfo: Linux's file about its memory.
        cgroup: folder of the limits of this process's container (version 2).

    Returns:
        None where the system does not tell.
    """
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        free = int(kilobytes) * 1024
    except (OSError, ValueError, IndexError):
        return None
    try:
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or "max"
        return free
    return min(free, max(limit - used, 0))
