"""The processes of a pool do not outlive the one that they work for."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

PROGRAM = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from ossicle.data import pool_process
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    pool = ProcessPoolExecutor(2, mp_context=context, initializer=pool_process.begin)
    print(*{future.result() for future in [pool.submit(os.getpid) for _ in range(8)]}, flush=True)
    time.sleep(60)
"""


def alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux to look at them")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_they_end_with_a_parent_that_is_killed(method: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, program, method], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(number) for number in parent.stdout.readline().split()]
    assert children
    assert all(map(alive, children))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 20
    while any(map(alive, children)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(alive, children))
