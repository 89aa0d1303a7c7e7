"""Memory that may still be taken, as Linux tells it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ossicle.data.free_memory import free_memory

TOLD = "MemTotal:       16000 kB\nMemFree:   10 kB\nMemAvailable:    8000 kB\n"


@pytest.mark.parametrize(
    ("meminfo", "limit", "used", "free"),
    [
        (TOLD, None, None, 8_192_000),
        (TOLD, "max", "5", 8_192_000),
        (TOLD, "3000000", "1000000", 2_000_000),
        (TOLD, "30000000", "1000000", 8_192_000),
        (TOLD, "1000000", "1000001", 0),
        ("MemTotal: 1 kB\n", "3000000", "1000000", None),
        ("MemAvailable:\n", None, None, None),
    ],
)
def test_what_is_least_counts(
    tmp_path: Path, meminfo: str, limit: str | None, used: str | None, free: int | None
) -> None:
    (tmp_path / "meminfo").write_text(meminfo)
    if limit and used:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
    assert free_memory(tmp_path / "meminfo", tmp_path) == free


def test_a_system_without_such_files_tells_nothing(tmp_path: Path) -> None:
    assert free_memory(tmp_path / "none", tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_this_machine_has_some() -> None:
    free = free_memory()
    assert free is not None
    assert 0 < free < 1 << 50
